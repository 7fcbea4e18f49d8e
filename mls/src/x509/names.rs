//! Whom a certificate is for.

use crate::wire::Credential;

use super::{der, validator::X509Error};

const KEY_USAGE: [u8; 3] = [0x55, 0x1d, 0x0f];
const SUBJECT_ALT_NAME: [u8; 3] = [0x55, 0x1d, 0x11];

const RFC822_NAME: u8 = 0x81;
const DNS_NAME: u8 = 0x82;
const URI: u8 = 0x86;

/// The names that a certificate gives its subject in the subjectAltName extension (RFC 5280 section 4.2.1.6), each list sorted.
/// Names of other kinds are left out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct X509Names {
    /// Email addresses.
    pub emails: Vec<String>,
    /// DNS names, which may begin with a wildcard label.
    pub dns: Vec<String>,
    /// URIs.
    pub uris: Vec<String>,
}

impl X509Names {
    /// The names in the first certificate of a credential. That the certificate is to be believed is not checked here.
    ///
    /// # Errors
    /// [`X509Error::OtherType`], [`X509Error::Empty`], [`X509Error::NoNames`].
    pub fn of(credential: &Credential) -> Result<Self, X509Error> {
        let Credential::X509(chain) = credential else { return Err(X509Error::OtherType) };
        Self::of_certificate(chain.first().ok_or(X509Error::Empty)?)
    }

    pub(super) fn of_certificate(certificate: &[u8]) -> Result<Self, X509Error> {
        let mut names = Self::default();
        let extension = der::extension(certificate, &SUBJECT_ALT_NAME).unwrap_or_default();
        for name in der::Elements(extension).sequence().into_iter().flatten() {
            let list = match name.tag {
                RFC822_NAME => &mut names.emails,
                DNS_NAME => &mut names.dns,
                URI => &mut names.uris,
                _ => continue,
            };
            let text = std::str::from_utf8(name.content).map_err(|_| X509Error::Malformed)?;
            list.push(text.to_owned());
        }
        for list in [&mut names.emails, &mut names.dns, &mut names.uris] {
            list.sort_unstable();
            list.dedup();
        }
        if names == Self::default() { Err(X509Error::NoNames) } else { Ok(names) }
    }
}

/// What the key of a certificate may be used for (RFC 5280 section 4.2.1.3). Without the extension it may be used for all.
#[derive(Clone, Copy, Debug)]
pub(super) enum Usage {
    DigitalSignature = 0x80,
    CertificateSigning = 0x04,
}

pub(super) fn permits(certificate: &[u8], usage: Usage) -> bool {
    let Some(extension) = der::extension(certificate, &KEY_USAGE) else { return true };
    let bits = der::Elements(extension).next_of(der::BIT_STRING);
    bits.and_then(|bits| bits.get(1)).is_some_and(|bits| bits & usage as u8 != 0)
}
