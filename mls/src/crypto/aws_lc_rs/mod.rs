//! The fast native backend: AWS-LC.

mod ec;
mod symmetric;

use aws_lc_rs::{aead, digest, hmac};
use hpke_rs_crypto::types::{AeadAlgorithm, KdfAlgorithm, KemAlgorithm, TwoStageKdfAlgorithm};

use self::{
    ec::{Ed25519, P256, P256Dh, X25519},
    symmetric::{Cipher, HashSuite},
};
use super::{
    Aead, CryptoProvider, Kdf, Suite,
    dhkem::DhKem,
    hpke::{HpkeParts, HpkeSuite},
    kdf::HkdfOverHmac,
};
use crate::wire::CipherSuite;

/// The fast native backend.
pub static AWS_LC_RS: CryptoProvider = CryptoProvider { name: "aws-lc-rs", suites: SUITES };

static SUITES: &[Suite] = &[
    Suite {
        id: CipherSuite::X25519_AES128GCM_SHA256_ED25519,
        hash: &SHA256,
        kdf: &HKDF_SHA256,
        aead: &AES_128_GCM,
        kem: &DHKEM_X25519,
        hpke: &HpkeSuite::<Parts>::new(
            KemAlgorithm::DhKem25519,
            KdfAlgorithm::HkdfSha256,
            AeadAlgorithm::Aes128Gcm,
        ),
        signature: &Ed25519,
    },
    Suite {
        id: CipherSuite::P256_AES128GCM_SHA256_P256,
        hash: &SHA256,
        kdf: &HKDF_SHA256,
        aead: &AES_128_GCM,
        kem: &DHKEM_P256,
        hpke: &HpkeSuite::<Parts>::new(
            KemAlgorithm::DhKemP256,
            KdfAlgorithm::HkdfSha256,
            AeadAlgorithm::Aes128Gcm,
        ),
        signature: &P256,
    },
    Suite {
        id: CipherSuite::X25519_CHACHA20POLY1305_SHA256_ED25519,
        hash: &SHA256,
        kdf: &HKDF_SHA256,
        aead: &CHACHA20_POLY1305,
        kem: &DHKEM_X25519,
        hpke: &HpkeSuite::<Parts>::new(
            KemAlgorithm::DhKem25519,
            KdfAlgorithm::HkdfSha256,
            AeadAlgorithm::ChaCha20Poly1305,
        ),
        signature: &Ed25519,
    },
];

static SHA256: HashSuite = HashSuite { hash: &digest::SHA256, hmac: hmac::HMAC_SHA256 };
static HKDF_SHA256: HkdfOverHmac = HkdfOverHmac(&SHA256);
static AES_128_GCM: Cipher = Cipher(&aead::AES_128_GCM);
static CHACHA20_POLY1305: Cipher = Cipher(&aead::CHACHA20_POLY1305);
static DHKEM_X25519: DhKem<X25519> = DhKem::new();
static DHKEM_P256: DhKem<P256Dh> = DhKem::new();

#[derive(Debug)]
struct Parts;

impl HpkeParts for Parts {
    const NAME: &'static str = "aws-lc-rs";

    fn kdf(id: TwoStageKdfAlgorithm) -> Option<&'static dyn Kdf> {
        match id {
            TwoStageKdfAlgorithm::HkdfSha256 => Some(&HKDF_SHA256),
            _ => None,
        }
    }

    fn aead(id: AeadAlgorithm) -> Option<&'static dyn Aead> {
        match id {
            AeadAlgorithm::Aes128Gcm => Some(&AES_128_GCM),
            AeadAlgorithm::ChaCha20Poly1305 => Some(&CHACHA20_POLY1305),
            _ => None,
        }
    }
}
