//! X.509 credentials (RFC 9420 section 5.3), behind the feature `x509`.
//!
//! [`X509Validator`] is a [`CredentialValidator`](crate::CredentialValidator) that follows a chain of certificates to roots which the
//! application gives, through `rustls-webpki`. What it asks of a chain:
//!
//! - It leads to a root: signatures, CA flags, path lengths and name constraints by RFC 5280, as `rustls-webpki` checks them. The
//!   first certificate is the member's own, and not that of a CA.
//! - The public key of the member's certificate is the leaf's signature key, byte for byte, under the algorithm of the
//!   suites: Ed25519, Ed448, ECDSA on P-256, P-384 or P-521 with an uncompressed point.
//! - A key usage extension of the member's certificate, if there is one, permits digital signatures; that of an intermediate
//!   certificate, if there is one, permits the signing of certificates. An extended key usage is asked for only
//!   [on demand](X509Validator::require_purpose).
//! - The certificate names its subject by a subjectAltName: DNS names, URIs or email addresses ([`X509Names`]). Which names are acceptable
//!   in a group is for the application to say, by [`X509Validator::accept_names`] or by its own validator around this one.
//! - The chain has no more than [`MAX_CHAIN`] certificates, none longer than [`MAX_CERTIFICATE`] bytes.
//!
//! A member that changes its credential in the group has to keep its names: the successor names exactly the same.
//!
//! # Time
//!
//! Members see one commit at different times, and their clocks differ. If a verdict on a commit depended on the clock, a
//! certificate that expires meanwhile would split the group. So there are two questions:
//!
//! - *Was there a time at which the whole chain was valid?* That is what every receiver of a commit asks, and everybody
//!   who joins. The answer is the same for all, for ever.
//! - *Is it valid now?* That is asked by those who bring a credential in: when a key package is
//!   [read](crate::Client::read_key_package), proposed or committed by this client, and by a delivery service that [looks at a key
//!   package](crate::PublicGroup::check_key_package).
//!
//! A delivery service that alone decides which commit wins an epoch may [ask the second question always](Expiry::Always): it may be
//! stricter than the members, never more lenient. With members it must not be used, unless all process each commit at a time
//! that they agree on. As RFC 9420 section 5.3.2 advises, members renew their certificates before they expire, and whoever
//! commits may look for expired ones with [`X509Validator::check_at`] and remove their members. Revocation lists are not read: revoked
//! members are removed in the same way.
//!
//! ```
//! use mls::{AcceptAnyCredential, ClientOptions, x509::{X509Error, X509Validator}};
//!
//! fn options(root: Vec<u8>) -> Result<ClientOptions, X509Error> {
//!     let validator = X509Validator::new([root])?
//!         .accept_names(|names| names.emails.iter().any(|email| email.ends_with("@example.org")))
//!         // For development: whoever has no certificate names itself.
//!         .other_types(AcceptAnyCredential);
//!     let mut options = ClientOptions::new(validator);
//!     // A credential may be used in a group when every member lists its type.
//!     options.capabilities.credentials = vec![mls::wire::CredentialType::X509, mls::wire::CredentialType::BASIC];
//!     Ok(options)
//! }
//!
//! assert_eq!(options(b"not a certificate".to_vec()).err(), Some(X509Error::Root(0)));
//! ```
//!
//! The member's own identity is [`Identity::new`](crate::Identity::new) of [`Credential::X509`](crate::wire::Credential::X509), its chain with
//! the member's certificate first and the root left out, and the key pair that the certificate is for.

mod der;
mod names;
mod validator;

pub use names::X509Names;
pub use validator::{Expiry, MAX_CERTIFICATE, MAX_CHAIN, X509Error, X509Validator};
