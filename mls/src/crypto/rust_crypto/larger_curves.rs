//! P-384 and P-521.

use p384::NistP384;
use p521::NistP521;

use super::ec::Curve;
use crate::crypto::{
    Kdf, nist,
    sha2::{SHA384, SHA512},
};

impl Curve for NistP384 {
    type Parameters = nist::P384;
    type Signing = p384::ecdsa::SigningKey;
    type Verifying = p384::ecdsa::VerifyingKey;
    type Signature = p384::ecdsa::DerSignature;

    fn kdf() -> &'static dyn Kdf {
        &SHA384
    }
}

impl Curve for NistP521 {
    type Parameters = nist::P521;
    type Signing = p521::ecdsa::SigningKey;
    type Verifying = p521::ecdsa::VerifyingKey;
    type Signature = p521::ecdsa::DerSignature;

    fn kdf() -> &'static dyn Kdf {
        &SHA512
    }
}
