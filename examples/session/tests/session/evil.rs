//! A backend that deceives those to whom it encrypts.

use std::cell::Cell;
use std::sync::OnceLock;

use mls::crypto::{CryptoError, CryptoRng, Encapsulation, Kem, KemPrivateKey, KemPublicKey, Suite};

/// What the backend does in this thread.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Deceit {
    None,
    /// Encrypts the first so many times to whom it should, and then to nobody.
    FailsAfter(usize),
    /// Derives key pairs that belong to nothing.
    FalseKeys,
}

thread_local! {
    static DECEIT: Cell<Deceit> = const { Cell::new(Deceit::None) };
}

/// Deceives while it does this.
pub(crate) fn deceiving<T>(deceit: Deceit, work: impl FnOnce() -> T) -> T {
    DECEIT.set(deceit);
    let done = work();
    DECEIT.set(Deceit::None);
    done
}

struct EvilKem(&'static dyn Kem);

struct EvilKey {
    kem: &'static dyn Kem,
    key: Box<dyn KemPublicKey>,
}

pub(crate) fn suite(honest: &'static Suite) -> &'static Suite {
    static SUITE: OnceLock<Suite> = OnceLock::new();
    SUITE.get_or_init(|| Suite { kem: Box::leak(Box::new(EvilKem(honest.kem))), ..*honest })
}

impl Kem for EvilKem {
    fn id(&self) -> u16 {
        self.0.id()
    }

    fn public_key_length(&self) -> usize {
        self.0.public_key_length()
    }

    fn private_key_length(&self) -> usize {
        self.0.private_key_length()
    }

    fn generate(&self, rng: &mut dyn CryptoRng) -> Result<Box<dyn KemPrivateKey>, CryptoError> {
        self.0.generate(rng)
    }

    fn derive_key_pair(&self, ikm: &[u8]) -> Result<Box<dyn KemPrivateKey>, CryptoError> {
        match DECEIT.get() {
            Deceit::FalseKeys => self.0.generate(&mut mls::crypto::os_rng()),
            _ => self.0.derive_key_pair(ikm),
        }
    }

    fn private_key(&self, bytes: &[u8]) -> Result<Box<dyn KemPrivateKey>, CryptoError> {
        self.0.private_key(bytes)
    }

    fn check_kem_output(&self, bytes: &[u8]) -> Result<(), CryptoError> {
        self.0.check_kem_output(bytes)
    }

    fn public_key(&self, bytes: &[u8]) -> Result<Box<dyn KemPublicKey>, CryptoError> {
        Ok(Box::new(EvilKey { kem: self.0, key: self.0.public_key(bytes)? }))
    }
}

impl KemPublicKey for EvilKey {
    fn as_bytes(&self) -> &[u8] {
        self.key.as_bytes()
    }

    fn encap(&self, rng: &mut dyn CryptoRng) -> Result<Encapsulation, CryptoError> {
        match DECEIT.get() {
            Deceit::FailsAfter(0) => {
                let nobody = self.kem.generate(rng)?;
                self.kem.public_key(nobody.public())?.encap(rng)
            }
            Deceit::FailsAfter(left) => {
                DECEIT.set(Deceit::FailsAfter(left - 1));
                self.key.encap(rng)
            }
            _ => self.key.encap(rng),
        }
    }
}
