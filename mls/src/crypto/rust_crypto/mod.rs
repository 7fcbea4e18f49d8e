//! The pure Rust backend: the crates of RustCrypto and dalek. It also runs in a browser.

#[cfg(feature = "curve448-prerelease")]
mod curve448;
#[cfg(feature = "rust-crypto")]
mod dalek;
mod ec;
#[cfg(feature = "rust-crypto")]
mod larger_curves;
mod symmetric;

use hpke_rs_crypto::types::AeadAlgorithm;
use p256::NistP256;
#[cfg(feature = "rust-crypto")]
use p384::NistP384;
#[cfg(feature = "rust-crypto")]
use p521::NistP521;

#[cfg(feature = "curve448-prerelease")]
use self::curve448::{Ed448, X448};
#[cfg(feature = "rust-crypto")]
use self::{
    dalek::{Ed25519, X25519},
    symmetric::{AES_256_GCM, CHACHA20_POLY1305},
};
use self::{
    ec::{Ecdsa, NistDh},
    symmetric::AES_128_GCM,
};
#[cfg(feature = "rust-crypto")]
use super::sha2::{SHA384, SHA512};
#[cfg(feature = "post-quantum")]
use super::x_wing::XWing;
use super::{
    Aead, CryptoProvider, Suite, dhkem::DhKem, hpke::HpkeParts, sha2::SHA256, suite::suites,
};

/// The pure Rust backend.
pub static RUST_CRYPTO: CryptoProvider = CryptoProvider { name: "rust-crypto", suites: SUITES };

static SUITES: &[Suite] = suites![Parts;
    #[cfg(feature = "rust-crypto")]
    X25519_AES128GCM_SHA256_ED25519:
        DhKem::<X25519>::new() => DhKem25519, SHA256, SHA256 => HkdfSha256, AES_128_GCM => Aes128Gcm, Ed25519;
    P256_AES128GCM_SHA256_P256:
        DhKem::<NistDh<NistP256>>::new() => DhKemP256, SHA256, SHA256 => HkdfSha256, AES_128_GCM => Aes128Gcm,
        Ecdsa::<NistP256>::new();
    #[cfg(feature = "rust-crypto")]
    X25519_CHACHA20POLY1305_SHA256_ED25519:
        DhKem::<X25519>::new() => DhKem25519, SHA256, SHA256 => HkdfSha256, CHACHA20_POLY1305 => ChaCha20Poly1305,
        Ed25519;
    #[cfg(feature = "curve448-prerelease")]
    X448_AES256GCM_SHA512_ED448:
        DhKem::<X448>::new() => DhKem448, SHA512, SHA512 => HkdfSha512, AES_256_GCM => Aes256Gcm, Ed448;
    #[cfg(feature = "rust-crypto")]
    P521_AES256GCM_SHA512_P521:
        DhKem::<NistDh<NistP521>>::new() => DhKemP521, SHA512, SHA512 => HkdfSha512, AES_256_GCM => Aes256Gcm,
        Ecdsa::<NistP521>::new();
    #[cfg(feature = "curve448-prerelease")]
    X448_CHACHA20POLY1305_SHA512_ED448:
        DhKem::<X448>::new() => DhKem448, SHA512, SHA512 => HkdfSha512, CHACHA20_POLY1305 => ChaCha20Poly1305, Ed448;
    #[cfg(feature = "rust-crypto")]
    P384_AES256GCM_SHA384_P384:
        DhKem::<NistDh<NistP384>>::new() => DhKemP384, SHA384, SHA384 => HkdfSha384, AES_256_GCM => Aes256Gcm,
        Ecdsa::<NistP384>::new();
    #[cfg(feature = "post-quantum")]
    MLKEM768X25519_AES256GCM_SHA384_ED25519:
        XWing => XWingDraft06, SHA384, SHA384 => HkdfSha384, AES_256_GCM => Aes256Gcm, Ed25519;
];

#[derive(Debug)]
struct Parts;

impl HpkeParts for Parts {
    const NAME: &'static str = "rust-crypto";

    fn aead(id: AeadAlgorithm) -> Option<&'static dyn Aead> {
        match id {
            AeadAlgorithm::Aes128Gcm => Some(&AES_128_GCM),
            #[cfg(feature = "rust-crypto")]
            AeadAlgorithm::Aes256Gcm => Some(&AES_256_GCM),
            #[cfg(feature = "rust-crypto")]
            AeadAlgorithm::ChaCha20Poly1305 => Some(&CHACHA20_POLY1305),
            _ => None,
        }
    }
}
