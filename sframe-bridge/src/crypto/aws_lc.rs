//! The backend on `aws-lc-rs`.

use super::gcm::aws_lc_rs::{AES_128_GCM, AES_256_GCM};
use super::{
    Aead, BackendError, FrameCipher, FrameProvider, Kdf, NONCE_LENGTH, Prk, SuiteCrypto,
    Unauthentic, ctr_hmac_lengths, ctr_initial_block,
};
use crate::suite::CipherSuite;
use aws_lc_rs::cipher::{self, EncryptingKey, EncryptionContext, UnboundCipherKey};
use aws_lc_rs::{hkdf, hmac, iv::FixedLength};
use subtle::ConstantTimeEq as _;

/// The backend on `aws-lc-rs`, all suites.
pub static AWS_LC_RS: FrameProvider = FrameProvider { name: "aws-lc-rs", suites: &SUITES };

pub(super) static SUITES: [SuiteCrypto; 8] = [
    ctr(
        CipherSuite::Aes128CtrHmacSha256_80,
        &SHA256,
        &CtrHmac(CipherSuite::Aes128CtrHmacSha256_80),
    ),
    ctr(
        CipherSuite::Aes128CtrHmacSha256_64,
        &SHA256,
        &CtrHmac(CipherSuite::Aes128CtrHmacSha256_64),
    ),
    ctr(
        CipherSuite::Aes128CtrHmacSha256_32,
        &SHA256,
        &CtrHmac(CipherSuite::Aes128CtrHmacSha256_32),
    ),
    SuiteCrypto { suite: CipherSuite::Aes128GcmSha256_128, kdf: &SHA256, aead: &AES_128_GCM },
    SuiteCrypto { suite: CipherSuite::Aes256GcmSha512_128, kdf: &SHA512, aead: &AES_256_GCM },
    ctr(
        CipherSuite::Aes256CtrHmacSha512_80,
        &SHA512,
        &CtrHmac(CipherSuite::Aes256CtrHmacSha512_80),
    ),
    ctr(
        CipherSuite::Aes256CtrHmacSha512_64,
        &SHA512,
        &CtrHmac(CipherSuite::Aes256CtrHmacSha512_64),
    ),
    ctr(
        CipherSuite::Aes256CtrHmacSha512_32,
        &SHA512,
        &CtrHmac(CipherSuite::Aes256CtrHmacSha512_32),
    ),
];

const fn ctr(suite: CipherSuite, kdf: &'static dyn Kdf, aead: &'static CtrHmac) -> SuiteCrypto {
    SuiteCrypto { suite, kdf, aead }
}

struct Hkdf {
    hmac: &'static hmac::Algorithm,
    hkdf: &'static hkdf::Algorithm,
}

static SHA256: Hkdf = Hkdf { hmac: &hmac::HMAC_SHA256, hkdf: &hkdf::HKDF_SHA256 };
static SHA512: Hkdf = Hkdf { hmac: &hmac::HMAC_SHA512, hkdf: &hkdf::HKDF_SHA512 };

struct OutputLength(usize);

impl hkdf::KeyType for OutputLength {
    fn len(&self) -> usize {
        self.0
    }
}

impl Kdf for Hkdf {
    fn extract(&self, salt: &[u8], input: &[u8]) -> Prk {
        let key = hmac::Key::new(*self.hmac, salt);
        Prk::new(hmac::sign(&key, input).as_ref())
    }

    fn expand(&self, prk: &Prk, info: &[u8], out: &mut [u8]) -> Result<(), BackendError> {
        hkdf::Prk::new_less_safe(*self.hkdf, prk.expose_secret())
            .expand(&[info], OutputLength(out.len()))
            .and_then(|okm| okm.fill(out))
            .map_err(|_| BackendError)
    }
}

struct CtrHmac(CipherSuite);

impl Aead for CtrHmac {
    fn cipher(&self, key: &[u8]) -> Result<Box<dyn FrameCipher>, BackendError> {
        let (encryption, authentication) =
            key.split_at_checked(self.0.encryption_key_length()).ok_or(BackendError)?;
        let (aes, hash) = match self.0.encryption_key_length() {
            16 => (&cipher::AES_128, hmac::HMAC_SHA256),
            _ => (&cipher::AES_256, hmac::HMAC_SHA512),
        };
        let encryption = UnboundCipherKey::new(aes, encryption)
            .and_then(EncryptingKey::ctr)
            .map_err(|_| BackendError)?;
        Ok(Box::new(CtrHmacCipher {
            encryption,
            authentication: hmac::Key::new(hash, authentication),
            tag_length: self.0.tag_length(),
        }))
    }
}

struct CtrHmacCipher {
    encryption: EncryptingKey,
    authentication: hmac::Key,
    tag_length: usize,
}

impl CtrHmacCipher {
    fn tag(&self, nonce: &[u8; NONCE_LENGTH], aad: &[u8], ciphertext: &[u8]) -> hmac::Tag {
        let mut context = hmac::Context::with_key(&self.authentication);
        context.update(&ctr_hmac_lengths(aad.len(), ciphertext.len(), self.tag_length));
        context.update(nonce);
        context.update(aad);
        context.update(ciphertext);
        context.sign()
    }

    fn apply_keystream(
        &self,
        nonce: &[u8; NONCE_LENGTH],
        in_out: &mut [u8],
    ) -> Result<(), BackendError> {
        let context = EncryptionContext::Iv128(FixedLength::from(ctr_initial_block(nonce)));
        self.encryption.less_safe_encrypt(in_out, context).map(drop).map_err(|_| BackendError)
    }
}

impl FrameCipher for CtrHmacCipher {
    fn seal_in_place(
        &self,
        nonce: &[u8; NONCE_LENGTH],
        aad: &[u8],
        in_out: &mut [u8],
    ) -> Result<(), BackendError> {
        let plain = in_out.len().checked_sub(self.tag_length).ok_or(BackendError)?;
        let (text, tag) = in_out.split_at_mut_checked(plain).ok_or(BackendError)?;
        self.apply_keystream(nonce, text)?;
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
        self.apply_keystream(nonce, text).map_err(|_| Unauthentic)?;
        Ok(plain)
    }
}
