//! Validating chains of certificates.

use std::{sync::Arc, time::Duration};

use pki_types::{AlgorithmIdentifier, CertificateDer, TrustAnchor, alg_id};
use webpki::{EndEntityCert, Error, ExtendedKeyUsageValidator, KeyPurposeIdIter, KeyUsage};

use crate::{
    validation::{CredentialRejected, CredentialValidator},
    wire::{Credential, SignaturePublicKey, UnixTime},
};

use super::{
    der,
    names::{Usage, X509Names, permits},
};

/// The most certificates that a credential may hold.
pub const MAX_CHAIN: usize = 6;

/// The most bytes that one certificate may have.
pub const MAX_CERTIFICATE: usize = 16 * 1024;

/// The extended key usage extension: `OBJECT_IDENTIFIER { 2.5.29.37 }`.
const EXTENDED_KEY_USAGE: [u8; 3] = [0x55, 0x1d, 0x25];

/// Ed448 (RFC 8410 section 3): `OBJECT_IDENTIFIER { 1.3.101.113 }`.
const ED448: AlgorithmIdentifier = AlgorithmIdentifier::from_slice(&[0x06, 0x03, 0x2b, 0x65, 0x71]);

/// Why a chain of certificates is not accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum X509Error {
    /// The root at this place of the list is not a certificate.
    #[error("root {0} is not a certificate")]
    Root(usize),
    /// The credential is not of type x509.
    #[error("the credential is not of type x509")]
    OtherType,
    /// The chain holds no certificate.
    #[error("the chain is empty")]
    Empty,
    /// The chain or a certificate is longer than permitted.
    #[error("the chain or one of its certificates is too long")]
    TooLong,
    /// The first certificate, or a name in it, cannot be read.
    #[error("the member's certificate is not well formed")]
    Malformed,
    /// The key of the certificate is not the signature key of the leaf, or not of an algorithm of the suites.
    #[error("the certificate is for another key than the leaf's")]
    OtherKey,
    /// A key usage extension forbids what the key is used for.
    #[error("the key usage does not permit signatures")]
    KeyUsage,
    /// The certificate has no DNS name, URI or email address.
    #[error("the certificate names nobody")]
    NoNames,
    /// The application does not accept the names.
    #[error("the names of the certificate are not accepted")]
    NamesRejected,
    /// The successor of a credential names somebody else.
    #[error("the certificate names another subject than the one that it replaces")]
    OtherNames,
    /// The chain does not lead to a root by RFC 5280.
    #[error("the chain does not lead to a root: {0}")]
    Chain(Error),
}

impl From<X509Error> for CredentialRejected {
    fn from(error: X509Error) -> Self {
        Self::new(error.to_string())
    }
}

/// When the validity periods of a chain are compared with the clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Expiry {
    /// When a credential is brought into a group by this client. What others bring in must have been valid at some time. This
    /// is for members.
    #[default]
    WhenSent,
    /// Always. This is for a delivery service that decides for all; members with it split their group.
    Always,
}

type NamePolicy = dyn Fn(&X509Names) -> bool + Send + Sync;

/// Accepts chains of certificates that lead to the application's roots. See the [module](super).
#[derive(Clone)]
pub struct X509Validator {
    roots: Vec<TrustAnchor<'static>>,
    known: Vec<CertificateDer<'static>>,
    purpose: Option<&'static [u8]>,
    names: Option<Arc<NamePolicy>>,
    expiry: Expiry,
    others: Option<Arc<dyn CredentialValidator>>,
}

impl X509Validator {
    /// Trusts these roots: certificates in DER, or any that are to be trusted like a root.
    ///
    /// # Errors
    /// [`X509Error::Root`].
    pub fn new(roots: impl IntoIterator<Item = Vec<u8>>) -> Result<Self, X509Error> {
        let anchor = |(place, root): (usize, Vec<u8>)| {
            webpki::anchor_from_trusted_cert(&CertificateDer::from(root))
                .map(|anchor| anchor.to_owned())
                .map_err(|_| X509Error::Root(place))
        };
        let roots = roots.into_iter().enumerate().map(anchor).collect::<Result<_, _>>()?;
        Ok(Self {
            roots,
            known: Vec::new(),
            purpose: None,
            names: None,
            expiry: Expiry::default(),
            others: None,
        })
    }

    /// Intermediate certificates, in DER, that a chain may leave out (RFC 9420 section 5.3). All who validate one group must have the
    /// same.
    #[must_use]
    pub fn known_intermediates(mut self, certificates: impl IntoIterator<Item = Vec<u8>>) -> Self {
        self.known = certificates.into_iter().map(CertificateDer::from).collect();
        self
    }

    /// Asks for an extended key usage (RFC 5280 section 4.2.1.12), by the content of its object identifier in DER. The member's
    /// certificate must have the extension and name it; others of the chain that have it must name it as well.
    #[must_use]
    pub fn require_purpose(mut self, object_identifier: &'static [u8]) -> Self {
        self.purpose = Some(object_identifier);
        self
    }

    /// Which names are acceptable in a group. It must depend on nothing but its argument. Without it all are.
    #[must_use]
    pub fn accept_names(
        mut self,
        accept: impl Fn(&X509Names) -> bool + Send + Sync + 'static,
    ) -> Self {
        self.names = Some(Arc::new(accept));
        self
    }

    /// When validity periods are compared with the clock.
    #[must_use]
    pub fn expiry(mut self, expiry: Expiry) -> Self {
        self.expiry = expiry;
        self
    }

    /// Who judges credentials of other types. Without it they are rejected. A member cannot go from one type to another.
    #[must_use]
    pub fn other_types(mut self, validator: impl CredentialValidator + 'static) -> Self {
        self.others = Some(Arc::new(validator));
        self
    }

    /// Checks that a chain is for this key, and was valid at some time.
    ///
    /// # Errors
    /// [`X509Error`].
    pub fn check(
        &self,
        credential: &Credential,
        signature_key: &SignaturePublicKey,
    ) -> Result<X509Names, X509Error> {
        let chain = Chain::of(credential)?;
        let names = X509Names::of_certificate(chain.own)?;
        let der = CertificateDer::from(chain.own);
        let certificate = EndEntityCert::try_from(&der).map_err(|_| X509Error::Malformed)?;
        if !permits(chain.own, Usage::DigitalSignature) {
            return Err(X509Error::KeyUsage);
        }
        if self.purpose.is_some() && der::extension(chain.own, &EXTENDED_KEY_USAGE).is_none() {
            return Err(X509Error::KeyUsage);
        }
        let found = certificate.subject_public_key_info();
        if public_key_info(signature_key).as_deref() != Some(found.as_ref()) {
            return Err(X509Error::OtherKey);
        }
        if self.names.as_ref().is_some_and(|accept| !accept(&names)) {
            return Err(X509Error::NamesRejected);
        }
        self.check_at_some_time(&chain)?;
        Ok(names)
    }

    /// Checks that a chain is valid at this time. Whether it is for the right key is not asked.
    ///
    /// # Errors
    /// [`X509Error`].
    pub fn check_at(&self, credential: &Credential, now: UnixTime) -> Result<(), X509Error> {
        self.verify(&Chain::of(credential)?, now.0)
    }

    /// Tries the beginnings of the validity periods, one after the other, from the earliest: each attempt names the next one.
    fn check_at_some_time(&self, chain: &Chain<'_>) -> Result<(), X509Error> {
        let mut moment = 0;
        for _ in 0..=MAX_CHAIN + self.known.len() {
            match self.verify(chain, moment) {
                Err(X509Error::Chain(Error::CertNotValidYet { not_before, .. }))
                    if not_before.as_secs() > moment =>
                {
                    moment = not_before.as_secs();
                }
                verdict => return verdict,
            }
        }
        Err(X509Error::TooLong)
    }

    fn verify(&self, chain: &Chain<'_>, moment: u64) -> Result<(), X509Error> {
        let certificate = CertificateDer::from(chain.own);
        let certificate = EndEntityCert::try_from(&certificate).map_err(X509Error::Chain)?;
        let sent = chain.others.iter().map(|other| CertificateDer::from(other.as_slice()));
        let intermediates: Vec<CertificateDer<'_>> =
            sent.chain(self.known.iter().cloned()).collect();
        let path = certificate
            .verify_for_usage(
                webpki::ALL_VERIFICATION_ALGS,
                &self.roots,
                &intermediates,
                pki_types::UnixTime::since_unix_epoch(Duration::from_secs(moment)),
                Purpose(self.purpose),
                None,
                None,
            )
            .map_err(X509Error::Chain)?;
        let may_sign =
            |issuer: &webpki::Cert<'_>| permits(&issuer.der(), Usage::CertificateSigning);
        let all = path.intermediate_certificates().all(may_sign);
        if all { Ok(()) } else { Err(X509Error::KeyUsage) }
    }
}

impl CredentialValidator for X509Validator {
    fn validate(
        &self,
        credential: &Credential,
        signature_key: &SignaturePublicKey,
        now: UnixTime,
    ) -> Result<(), CredentialRejected> {
        match (credential, &self.others) {
            (Credential::X509(_), _) | (_, None) => {
                self.check(credential, signature_key)?;
                match self.expiry {
                    Expiry::WhenSent => Ok(()),
                    Expiry::Always => Ok(self.check_at(credential, now)?),
                }
            }
            (_, Some(others)) => others.validate(credential, signature_key, now),
        }
    }

    fn validate_current(
        &self,
        credential: &Credential,
        now: UnixTime,
    ) -> Result<(), CredentialRejected> {
        match (credential, &self.others) {
            (Credential::X509(_), _) | (_, None) => Ok(self.check_at(credential, now)?),
            (_, Some(others)) => others.validate_current(credential, now),
        }
    }

    fn validate_successor(
        &self,
        old: &Credential,
        new: &Credential,
    ) -> Result<(), CredentialRejected> {
        match (old, new, &self.others) {
            (Credential::X509(_), Credential::X509(_), _) => {
                let same = X509Names::of(old)? == X509Names::of(new)?;
                if same { Ok(()) } else { Err(X509Error::OtherNames.into()) }
            }
            (Credential::X509(_), _, _) | (_, Credential::X509(_), _) | (_, _, None) => {
                Err(X509Error::OtherType.into())
            }
            (_, _, Some(others)) => others.validate_successor(old, new),
        }
    }
}

impl std::fmt::Debug for X509Validator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("X509Validator")
            .field("roots", &self.roots.len())
            .field("expiry", &self.expiry)
            .finish_non_exhaustive()
    }
}

/// A credential's certificates, within the limits.
struct Chain<'a> {
    own: &'a [u8],
    others: &'a [Vec<u8>],
}

impl<'a> Chain<'a> {
    fn of(credential: &'a Credential) -> Result<Self, X509Error> {
        let Credential::X509(chain) = credential else { return Err(X509Error::OtherType) };
        let (own, others) = chain.split_first().ok_or(X509Error::Empty)?;
        if chain.len() > MAX_CHAIN || chain.iter().any(|one| one.len() > MAX_CERTIFICATE) {
            return Err(X509Error::TooLong);
        }
        Ok(Self { own, others })
    }
}

/// The SubjectPublicKeyInfo of a signature key of a suite. The lengths tell the algorithms apart.
fn public_key_info(key: &SignaturePublicKey) -> Option<Vec<u8>> {
    let algorithm = match (key.as_bytes().len(), key.as_bytes().first()) {
        (32, _) => alg_id::ED25519,
        (57, _) => ED448,
        (65, Some(4)) => alg_id::ECDSA_P256,
        (97, Some(4)) => alg_id::ECDSA_P384,
        (133, Some(4)) => alg_id::ECDSA_P521,
        _ => return None,
    };
    Some(der::public_key_info(&algorithm, key.as_bytes()))
}

/// The extended key usage that is asked for, if any.
struct Purpose(Option<&'static [u8]>);

impl ExtendedKeyUsageValidator for Purpose {
    fn validate(&self, listed: KeyPurposeIdIter<'_, '_>) -> Result<(), Error> {
        match self.0 {
            Some(asked) => KeyUsage::required_if_present(asked).validate(listed),
            None => Ok(()),
        }
    }
}
