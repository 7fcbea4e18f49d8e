//! The backend in pure Rust, which also runs in a browser.

use super::{
    Aead, BackendError, FrameCipher, FrameProvider, GCM_TAG_LENGTH, Kdf, NONCE_LENGTH, Prk,
    SuiteCrypto, Unauthentic, ctr_hmac_lengths, ctr_initial_block,
};
use crate::suite::CipherSuite;
use aes::{Aes128, Aes256};
use aes_gcm::aead::{AeadInOut, KeyInit as _};
use aes_gcm::{Aes128Gcm, Aes256Gcm, Tag};
use core::marker::PhantomData;
use ctr::cipher::{InnerIvInit as _, StreamCipher as _};
use hmac::{Hmac, Mac as _};
use sha2::{Sha256, Sha512};
use subtle::ConstantTimeEq as _;

/// The backend in pure Rust, all suites.
pub static RUST_CRYPTO: FrameProvider = FrameProvider { name: "rust-crypto", suites: &SUITES };

static SUITES: [SuiteCrypto; 8] = [
    ctr128(&CtrHmac128 { tag_length: 10 }, CipherSuite::Aes128CtrHmacSha256_80),
    ctr128(&CtrHmac128 { tag_length: 8 }, CipherSuite::Aes128CtrHmacSha256_64),
    ctr128(&CtrHmac128 { tag_length: 4 }, CipherSuite::Aes128CtrHmacSha256_32),
    SuiteCrypto {
        suite: CipherSuite::Aes128GcmSha256_128,
        kdf: &HkdfSha256,
        aead: &Gcm::<Aes128Gcm>(PhantomData),
    },
    SuiteCrypto {
        suite: CipherSuite::Aes256GcmSha512_128,
        kdf: &HkdfSha512,
        aead: &Gcm::<Aes256Gcm>(PhantomData),
    },
    ctr256(&CtrHmac256 { tag_length: 10 }, CipherSuite::Aes256CtrHmacSha512_80),
    ctr256(&CtrHmac256 { tag_length: 8 }, CipherSuite::Aes256CtrHmacSha512_64),
    ctr256(&CtrHmac256 { tag_length: 4 }, CipherSuite::Aes256CtrHmacSha512_32),
];

const fn ctr128(aead: &'static CtrHmac128, suite: CipherSuite) -> SuiteCrypto {
    SuiteCrypto { suite, kdf: &HkdfSha256, aead }
}

const fn ctr256(aead: &'static CtrHmac256, suite: CipherSuite) -> SuiteCrypto {
    SuiteCrypto { suite, kdf: &HkdfSha512, aead }
}

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
kdf!(HkdfSha512, Sha512);

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
gcm!(Aes256Gcm);

macro_rules! ctr_hmac {
    ($aead:ident, $cipher:ident, $aes:ty, $hash:ty, $key_length:literal) => {
        struct $aead {
            tag_length: usize,
        }

        impl Aead for $aead {
            fn cipher(&self, key: &[u8]) -> Result<Box<dyn FrameCipher>, BackendError> {
                let (encryption, authentication) =
                    key.split_at_checked($key_length).ok_or(BackendError)?;
                Ok(Box::new($cipher {
                    encryption: <$aes>::new_from_slice(encryption).map_err(|_| BackendError)?,
                    authentication: <Hmac<$hash>>::new_from_slice(authentication)
                        .map_err(|_| BackendError)?,
                    tag_length: self.tag_length,
                }))
            }
        }

        struct $cipher {
            encryption: $aes,
            authentication: Hmac<$hash>,
            tag_length: usize,
        }

        impl $cipher {
            fn tag(
                &self,
                nonce: &[u8; NONCE_LENGTH],
                aad: &[u8],
                ciphertext: &[u8],
            ) -> impl AsRef<[u8]> + use<> {
                let mut mac = self.authentication.clone();
                mac.update(&ctr_hmac_lengths(aad.len(), ciphertext.len(), self.tag_length));
                mac.update(nonce);
                mac.update(aad);
                mac.update(ciphertext);
                mac.finalize().into_bytes()
            }

            fn apply_keystream(&self, nonce: &[u8; NONCE_LENGTH], in_out: &mut [u8]) {
                let core = ctr::CtrCore::<&$aes, ctr::flavors::Ctr32BE>::inner_iv_init(
                    &self.encryption,
                    &ctr_initial_block(nonce).into(),
                );
                ctr::cipher::StreamCipherCoreWrapper::from_core(core).apply_keystream(in_out);
            }
        }

        impl FrameCipher for $cipher {
            fn seal_in_place(
                &self,
                nonce: &[u8; NONCE_LENGTH],
                aad: &[u8],
                in_out: &mut [u8],
            ) -> Result<(), BackendError> {
                let plain = in_out.len().checked_sub(self.tag_length).ok_or(BackendError)?;
                let (text, tag) = in_out.split_at_mut_checked(plain).ok_or(BackendError)?;
                self.apply_keystream(nonce, text);
                for (target, byte) in tag.iter_mut().zip(self.tag(nonce, aad, text).as_ref()) {
                    *target = *byte;
                }
                Ok(())
            }

            fn open_in_place(
                &self,
                nonce: &[u8; NONCE_LENGTH],
                aad: &[u8],
                in_out: &mut [u8],
            ) -> Result<usize, Unauthentic> {
                let plain = in_out.len().checked_sub(self.tag_length).ok_or(Unauthentic)?;
                let (text, tag) = in_out.split_at_mut_checked(plain).ok_or(Unauthentic)?;
                let made = self.tag(nonce, aad, text);
                let made = made.as_ref().get(..self.tag_length).ok_or(Unauthentic)?;
                if !bool::from(made.ct_eq(tag)) {
                    return Err(Unauthentic);
                }
                self.apply_keystream(nonce, text);
                Ok(plain)
            }
        }
    };
}

ctr_hmac!(CtrHmac128, CtrHmac128Cipher, Aes128, Sha256, 16);
ctr_hmac!(CtrHmac256, CtrHmac256Cipher, Aes256, Sha512, 32);
