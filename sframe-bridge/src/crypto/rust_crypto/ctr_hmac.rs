//! The suites of AES-CTR with a truncated HMAC (RFC 9605 section 4.5.1).

use super::{HkdfSha256, HkdfSha512};
use crate::crypto::{
    Aead, BackendError, FrameCipher, NONCE_LENGTH, SuiteCrypto, Unauthentic, ctr_hmac_lengths,
    ctr_initial_block,
};
use crate::suite::CipherSuite;
use aes::{Aes128, Aes256};
use aes_gcm::aead::KeyInit as _;
use ctr::cipher::{InnerIvInit as _, StreamCipher as _};
use hmac::{Hmac, Mac as _};
use sha2::{Sha256, Sha512};
use subtle::ConstantTimeEq as _;

pub(super) const AES_128_SHA_256_80: SuiteCrypto = SuiteCrypto {
    suite: CipherSuite::Aes128CtrHmacSha256_80,
    kdf: &HkdfSha256,
    aead: &CtrHmac128 { tag_length: 10 },
};
pub(super) const AES_128_SHA_256_64: SuiteCrypto = SuiteCrypto {
    suite: CipherSuite::Aes128CtrHmacSha256_64,
    kdf: &HkdfSha256,
    aead: &CtrHmac128 { tag_length: 8 },
};
pub(super) const AES_128_SHA_256_32: SuiteCrypto = SuiteCrypto {
    suite: CipherSuite::Aes128CtrHmacSha256_32,
    kdf: &HkdfSha256,
    aead: &CtrHmac128 { tag_length: 4 },
};
pub(super) const AES_256_SHA_512_80: SuiteCrypto = SuiteCrypto {
    suite: CipherSuite::Aes256CtrHmacSha512_80,
    kdf: &HkdfSha512,
    aead: &CtrHmac256 { tag_length: 10 },
};
pub(super) const AES_256_SHA_512_64: SuiteCrypto = SuiteCrypto {
    suite: CipherSuite::Aes256CtrHmacSha512_64,
    kdf: &HkdfSha512,
    aead: &CtrHmac256 { tag_length: 8 },
};
pub(super) const AES_256_SHA_512_32: SuiteCrypto = SuiteCrypto {
    suite: CipherSuite::Aes256CtrHmacSha512_32,
    kdf: &HkdfSha512,
    aead: &CtrHmac256 { tag_length: 4 },
};

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
