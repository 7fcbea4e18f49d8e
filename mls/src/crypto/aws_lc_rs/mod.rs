//! The fast native backend: AWS-LC.

mod ec;
mod symmetric;

use aws_lc_rs::aead;
use hpke_rs_crypto::types::AeadAlgorithm;

use self::{
    ec::{Ecdsa, Ed25519, NistDh, X25519},
    symmetric::Cipher,
};
#[cfg(feature = "post-quantum")]
use super::x_wing::XWing;
use super::{
    Aead, CryptoProvider, Suite,
    dhkem::DhKem,
    hpke::HpkeParts,
    nist::{P256, P384, P521},
    sha2::{SHA256, SHA384, SHA512},
    suite::suites,
};

/// The fast native backend.
pub static AWS_LC_RS: CryptoProvider = CryptoProvider { name: "aws-lc-rs", suites: SUITES };

static SUITES: &[Suite] = suites![Parts;
    X25519_AES128GCM_SHA256_ED25519:
        DhKem::<X25519>::new() => DhKem25519, SHA256, SHA256 => HkdfSha256, AES_128_GCM => Aes128Gcm, Ed25519;
    P256_AES128GCM_SHA256_P256:
        DhKem::<NistDh<P256>>::new() => DhKemP256, SHA256, SHA256 => HkdfSha256, AES_128_GCM => Aes128Gcm,
        Ecdsa::<P256>::new();
    X25519_CHACHA20POLY1305_SHA256_ED25519:
        DhKem::<X25519>::new() => DhKem25519, SHA256, SHA256 => HkdfSha256,
        CHACHA20_POLY1305 => ChaCha20Poly1305, Ed25519;
    P521_AES256GCM_SHA512_P521:
        DhKem::<NistDh<P521>>::new() => DhKemP521, SHA512, SHA512 => HkdfSha512, AES_256_GCM => Aes256Gcm,
        Ecdsa::<P521>::new();
    P384_AES256GCM_SHA384_P384:
        DhKem::<NistDh<P384>>::new() => DhKemP384, SHA384, SHA384 => HkdfSha384, AES_256_GCM => Aes256Gcm,
        Ecdsa::<P384>::new();
    #[cfg(feature = "post-quantum")]
    MLKEM768X25519_AES256GCM_SHA384_ED25519:
        XWing => XWingDraft06, SHA384, SHA384 => HkdfSha384, AES_256_GCM => Aes256Gcm, Ed25519;
];

static AES_128_GCM: Cipher = Cipher(&aead::AES_128_GCM);
static AES_256_GCM: Cipher = Cipher(&aead::AES_256_GCM);
static CHACHA20_POLY1305: Cipher = Cipher(&aead::CHACHA20_POLY1305);

#[derive(Debug)]
struct Parts;

impl HpkeParts for Parts {
    const NAME: &'static str = "aws-lc-rs";

    fn aead(id: AeadAlgorithm) -> Option<&'static dyn Aead> {
        match id {
            AeadAlgorithm::Aes128Gcm => Some(&AES_128_GCM),
            AeadAlgorithm::Aes256Gcm => Some(&AES_256_GCM),
            AeadAlgorithm::ChaCha20Poly1305 => Some(&CHACHA20_POLY1305),
            _ => None,
        }
    }
}
