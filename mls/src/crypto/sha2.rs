//! SHA-2, HMAC and HKDF, the same in every backend.
//!
//! The AWS-LC backend uses them too: for inputs as short as those of key schedule and ratchet tree, a call into AWS-LC takes
//! about twice as long, and its HKDF bounds the length of `info`, of which a GroupContext is part.

use core::marker::PhantomData;

use hkdf::{
    Hkdf, HmacImpl,
    hmac::{EagerHash, Hmac},
};
use hpke_rs_crypto::types::TwoStageKdfAlgorithm;
use sha2::{Digest, Sha256};
#[cfg(any(feature = "aws-lc-rs", feature = "rust-crypto"))]
use sha2::{Sha384, Sha512};
use zeroize::Zeroize;

use super::{CryptoError, Hash, HashOutput, Kdf, Secret, kdf::check_expand};

pub(super) static SHA256: HashSuite<Sha256> = HashSuite(PhantomData);
#[cfg(any(feature = "aws-lc-rs", feature = "rust-crypto"))]
pub(super) static SHA384: HashSuite<Sha384> = HashSuite(PhantomData);
#[cfg(any(feature = "aws-lc-rs", feature = "rust-crypto"))]
pub(super) static SHA512: HashSuite<Sha512> = HashSuite(PhantomData);

/// The HKDF that HPKE knows by this identifier, if a suite that is compiled in uses it.
pub(super) fn hkdf(id: TwoStageKdfAlgorithm) -> Option<&'static dyn Kdf> {
    match id {
        TwoStageKdfAlgorithm::HkdfSha256 => Some(&SHA256),
        #[cfg(any(feature = "aws-lc-rs", feature = "rust-crypto"))]
        TwoStageKdfAlgorithm::HkdfSha384 => Some(&SHA384),
        #[cfg(any(feature = "aws-lc-rs", feature = "rust-crypto"))]
        TwoStageKdfAlgorithm::HkdfSha512 => Some(&SHA512),
        #[cfg(not(any(feature = "aws-lc-rs", feature = "rust-crypto")))]
        _ => None,
    }
}

/// A hash with HMAC and HKDF over it.
pub(super) struct HashSuite<D>(PhantomData<fn() -> D>);

impl<D: EagerHash> Hash for HashSuite<D> {
    fn length(&self) -> usize {
        <D as Digest>::output_size()
    }

    fn hash(&self, parts: &[&[u8]]) -> HashOutput {
        let mut hash = D::new();
        for part in parts {
            Digest::update(&mut hash, part);
        }
        HashOutput::from_digest(&hash.finalize())
    }

    fn hmac(&self, key: &[u8], parts: &[&[u8]]) -> Secret {
        let mut hmac = <Hmac<D> as HmacImpl>::new_from_slice(key);
        for part in parts {
            HmacImpl::update(&mut hmac, part);
        }
        let mut output = HmacImpl::finalize(hmac);
        let secret = Secret::from_slice(&output);
        output.as_mut_slice().zeroize();
        secret
    }
}

impl<D: EagerHash> Kdf for HashSuite<D> {
    fn length(&self) -> usize {
        <D as Digest>::output_size()
    }

    fn extract(&self, salt: &[u8], ikm: &[&[u8]]) -> Secret {
        self.hmac(salt, ikm)
    }

    fn expand(&self, prk: &[u8], info: &[&[u8]], out: &mut [u8]) -> Result<(), CryptoError> {
        check_expand(self, prk, out)?;
        let hkdf = Hkdf::<D>::from_prk(prk).map_err(|_| CryptoError::Backend("a kdf secret"))?;
        hkdf.expand_multi_info(info, out).map_err(|_| CryptoError::OutputTooLong)
    }
}
