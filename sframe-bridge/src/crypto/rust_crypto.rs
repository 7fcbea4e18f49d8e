//! The backend in pure Rust, which also runs in a browser.

#[cfg(feature = "rust-crypto")]
mod ctr_hmac;

use super::{
    Aead, BackendError, FrameCipher, FrameProvider, GCM_TAG_LENGTH, Kdf, NONCE_LENGTH, Prk,
    SuiteCrypto, Unauthentic,
};
use crate::suite::CipherSuite;
use aes_gcm::aead::{AeadInOut, KeyInit as _};
use aes_gcm::{Aes128Gcm, Tag};
use core::marker::PhantomData;
use sha2::Sha256;

/// The backend in pure Rust: all suites, or suite 4 alone with nothing but the feature `rust-crypto-suite-2`.
pub static RUST_CRYPTO: FrameProvider = FrameProvider { name: "rust-crypto", suites: SUITES };

static SUITES: &[SuiteCrypto] = &[
    SuiteCrypto {
        suite: CipherSuite::Aes128GcmSha256_128,
        kdf: &HkdfSha256,
        aead: &Gcm::<Aes128Gcm>(PhantomData),
    },
    #[cfg(feature = "rust-crypto")]
    SuiteCrypto {
        suite: CipherSuite::Aes256GcmSha512_128,
        kdf: &HkdfSha512,
        aead: &Gcm::<aes_gcm::Aes256Gcm>(PhantomData),
    },
    #[cfg(feature = "rust-crypto")]
    ctr_hmac::AES_128_SHA_256_80,
    #[cfg(feature = "rust-crypto")]
    ctr_hmac::AES_128_SHA_256_64,
    #[cfg(feature = "rust-crypto")]
    ctr_hmac::AES_128_SHA_256_32,
    #[cfg(feature = "rust-crypto")]
    ctr_hmac::AES_256_SHA_512_80,
    #[cfg(feature = "rust-crypto")]
    ctr_hmac::AES_256_SHA_512_64,
    #[cfg(feature = "rust-crypto")]
    ctr_hmac::AES_256_SHA_512_32,
];

macro_rules! kdf {
    ($name:ident, $hash:ty) => {
        struct $name;

        impl Kdf for $name {
            fn extract(&self, salt: &[u8], input: &[u8]) -> Prk {
                let (mut prk, _) = hkdf::Hkdf::<$hash>::extract(Some(salt), input);
                let held = Prk::new(&prk);
                zeroize::Zeroize::zeroize(prk.as_mut_slice());
                held
            }

            fn expand(&self, prk: &Prk, info: &[u8], out: &mut [u8]) -> Result<(), BackendError> {
                hkdf::Hkdf::<$hash>::from_prk(prk.expose_secret())
                    .map_err(|_| BackendError)?
                    .expand(info, out)
                    .map_err(|_| BackendError)
            }
        }
    };
}

kdf!(HkdfSha256, Sha256);
#[cfg(feature = "rust-crypto")]
kdf!(HkdfSha512, sha2::Sha512);

struct Gcm<C>(PhantomData<C>);

macro_rules! gcm {
    ($cipher:ty) => {
        impl Aead for Gcm<$cipher> {
            fn cipher(&self, key: &[u8]) -> Result<Box<dyn FrameCipher>, BackendError> {
                let cipher = <$cipher>::new_from_slice(key).map_err(|_| BackendError)?;
                Ok(Box::new(cipher))
            }
        }

        impl FrameCipher for $cipher {
            fn seal_in_place(
                &self,
                nonce: &[u8; NONCE_LENGTH],
                aad: &[u8],
                in_out: &mut [u8],
            ) -> Result<(), BackendError> {
                let plain = in_out.len().checked_sub(GCM_TAG_LENGTH).ok_or(BackendError)?;
                let (text, tag) = in_out.split_at_mut_checked(plain).ok_or(BackendError)?;
                let made = self
                    .encrypt_inout_detached(&(*nonce).into(), aad, text.into())
                    .map_err(|_| BackendError)?;
                tag.copy_from_slice(&made);
                Ok(())
            }

            fn open_in_place(
                &self,
                nonce: &[u8; NONCE_LENGTH],
                aad: &[u8],
                in_out: &mut [u8],
            ) -> Result<usize, Unauthentic> {
                let plain = in_out.len().checked_sub(GCM_TAG_LENGTH).ok_or(Unauthentic)?;
                let (text, tag) = in_out.split_at_mut_checked(plain).ok_or(Unauthentic)?;
                let tag: [u8; GCM_TAG_LENGTH] = (&*tag).try_into().map_err(|_| Unauthentic)?;
                self.decrypt_inout_detached(&(*nonce).into(), aad, text.into(), &Tag::from(tag))
                    .map_err(|_| Unauthentic)?;
                Ok(plain)
            }
        }
    };
}

gcm!(Aes128Gcm);
#[cfg(feature = "rust-crypto")]
gcm!(aes_gcm::Aes256Gcm);
