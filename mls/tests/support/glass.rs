//! A suite through which a test sees what the library does with its keys: which (key, nonce) pairs it seals with, which
//! MACs it computes, which secrets it derives. It can also put bytes in the place of what a decryption gives, as a
//! member could who knows the keys.
//!
//! What is seen belongs to the thread, so that tests run beside each other.
#![allow(dead_code, reason = "each binary uses a part of it")]

use std::{
    cell::RefCell,
    collections::{HashSet, VecDeque},
};

use mls::crypto::{
    Aead, CryptoError, CryptoRng, Hash, HashOutput, Hpke, Kdf, Kem, KemPrivateKey, KemPublicKey,
    Secret, SignatureScheme, SigningKey, Suite, TAG_LENGTH, VerifyingKey,
};

/// What a thread has seen.
#[derive(Default)]
struct Seen {
    recording: bool,
    mac: Vec<u8>,
    mac_key: Vec<u8>,
    seals: Option<HashSet<(Vec<u8>, Vec<u8>)>>,
    hpke_plaintexts: Vec<Vec<u8>>,
    opened: Vec<u8>,
    substitutes: VecDeque<Option<Vec<u8>>>,
}

thread_local! {
    static SEEN: RefCell<Seen> = RefCell::default();
}

fn see<T>(look: impl FnOnce(&mut Seen) -> T) -> T {
    SEEN.with_borrow_mut(look)
}

/// Keeps what passes from here on: [`last_mac`], [`last_opened`], [`take_hpke_plaintexts`].
pub(crate) fn record() {
    see(|seen| seen.recording = true);
}

/// The key of the last MAC, and the MAC.
pub(crate) fn last_mac() -> (Vec<u8>, Vec<u8>) {
    see(|seen| (seen.mac_key.clone(), seen.mac.clone()))
}

/// From here on, sealing twice with the same key and nonce panics.
pub(crate) fn watch_nonces() {
    see(|seen| seen.seals = Some(HashSet::new()));
}

/// How many (key, nonce) pairs have been used since [`watch_nonces`].
pub(crate) fn nonces_seen() -> usize {
    see(|seen| seen.seals.as_ref().map_or(0, HashSet::len))
}

/// Does something that is no part of the life of a group, such as saving the same state twice to compare it.
pub(crate) fn unwatched<T>(work: impl FnOnce() -> T) -> T {
    let seals = see(|seen| seen.seals.take());
    let done = work();
    see(|seen| seen.seals = seals);
    done
}

/// What HPKE has encrypted since the last call.
pub(crate) fn take_hpke_plaintexts() -> Vec<Vec<u8>> {
    see(|seen| std::mem::take(&mut seen.hpke_plaintexts))
}

/// What the AEAD opened last.
pub(crate) fn last_opened() -> Vec<u8> {
    see(|seen| seen.opened.clone())
}

/// The next decryptions by the AEAD give these bytes, whatever the ciphertext; `None` stands for the genuine ones.
pub(crate) fn substitute(plaintexts: impl IntoIterator<Item = Option<Vec<u8>>>) {
    see(|seen| seen.substitutes = plaintexts.into_iter().collect());
}

fn sealed(key: &[u8], nonce: &[u8]) {
    let fresh = see(|seen| match &mut seen.seals {
        Some(seals) => seals.insert((key.to_vec(), nonce.to_vec())),
        None => true,
    });
    assert!(fresh, "a key and nonce were used twice");
}

/// The suite, transparent. `derived` is called with every secret that the key derivation gives, and with every private
/// key that is made.
pub(crate) fn glass(suite: &'static Suite, derived: Option<fn(&[u8])>) -> &'static Suite {
    Box::leak(Box::new(Suite {
        hash: Box::leak(Box::new(GlassHash(suite.hash))),
        kdf: Box::leak(Box::new(GlassKdf(suite.kdf, derived))),
        aead: Box::leak(Box::new(GlassAead(suite.aead))),
        kem: Box::leak(Box::new(GlassKem(suite.kem, derived))),
        hpke: Box::leak(Box::new(GlassHpke(suite.hpke))),
        signature: Box::leak(Box::new(GlassSignature(suite.signature, derived))),
        ..*suite
    }))
}

struct GlassHash(&'static dyn Hash);

impl Hash for GlassHash {
    fn length(&self) -> usize {
        self.0.length()
    }

    fn hash(&self, parts: &[&[u8]]) -> HashOutput {
        self.0.hash(parts)
    }

    fn hmac(&self, key: &[u8], parts: &[&[u8]]) -> Secret {
        let output = self.0.hmac(key, parts);
        see(|seen| {
            if seen.recording {
                seen.mac = output.as_bytes().to_vec();
                seen.mac_key = key.to_vec();
            }
        });
        output
    }
}

struct GlassKdf(&'static dyn Kdf, Option<fn(&[u8])>);

impl Kdf for GlassKdf {
    fn length(&self) -> usize {
        self.0.length()
    }

    fn extract(&self, salt: &[u8], ikm: &[&[u8]]) -> Secret {
        let secret = self.0.extract(salt, ikm);
        if let Some(derived) = self.1 {
            derived(secret.as_bytes());
        }
        secret
    }

    fn expand(&self, prk: &[u8], info: &[&[u8]], out: &mut [u8]) -> Result<(), CryptoError> {
        self.0.expand(prk, info, out)?;
        if let Some(derived) = self.1 {
            derived(out);
        }
        Ok(())
    }
}

struct GlassAead(&'static dyn Aead);

impl Aead for GlassAead {
    fn key_length(&self) -> usize {
        self.0.key_length()
    }

    fn nonce_length(&self) -> usize {
        self.0.nonce_length()
    }

    fn seal_in_place(
        &self,
        key: &[u8],
        nonce: &[u8],
        aad: &[u8],
        data: &mut [u8],
    ) -> Result<[u8; TAG_LENGTH], CryptoError> {
        sealed(key, nonce);
        self.0.seal_in_place(key, nonce, aad, data)
    }

    fn open_in_place(
        &self,
        key: &[u8],
        nonce: &[u8],
        aad: &[u8],
        data: &mut [u8],
        tag: &[u8; TAG_LENGTH],
    ) -> Result<(), CryptoError> {
        self.0.open_in_place(key, nonce, aad, data, tag)
    }

    fn open(
        &self,
        key: &[u8],
        nonce: &[u8],
        aad: &[u8],
        ciphertext: &[u8],
    ) -> Result<Vec<u8>, CryptoError> {
        if let Some(Some(substitute)) = see(|seen| seen.substitutes.pop_front()) {
            return Ok(substitute);
        }
        let opened = self.0.open(key, nonce, aad, ciphertext)?;
        see(|seen| {
            if seen.recording {
                seen.opened.clone_from(&opened);
            }
        });
        Ok(opened)
    }
}

struct GlassKem(&'static dyn Kem, Option<fn(&[u8])>);

impl GlassKem {
    fn look(
        &self,
        key: Result<Box<dyn KemPrivateKey>, CryptoError>,
    ) -> Result<Box<dyn KemPrivateKey>, CryptoError> {
        let key = key?;
        if let Some(derived) = self.1 {
            derived(key.export()?.as_bytes());
        }
        Ok(key)
    }
}

impl Kem for GlassKem {
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
        self.look(self.0.generate(rng))
    }

    fn fresh(&self, rng: &mut dyn CryptoRng) -> Result<Box<dyn KemPrivateKey>, CryptoError> {
        self.look(self.0.fresh(rng))
    }

    fn derive_key_pair(&self, ikm: &[u8]) -> Result<Box<dyn KemPrivateKey>, CryptoError> {
        self.look(self.0.derive_key_pair(ikm))
    }

    fn private_key(&self, bytes: &[u8]) -> Result<Box<dyn KemPrivateKey>, CryptoError> {
        self.look(self.0.private_key(bytes))
    }

    fn check_kem_output(&self, bytes: &[u8]) -> Result<(), CryptoError> {
        self.0.check_kem_output(bytes)
    }

    fn public_key(&self, bytes: &[u8]) -> Result<Box<dyn KemPublicKey>, CryptoError> {
        self.0.public_key(bytes)
    }
}

struct GlassSignature(&'static dyn SignatureScheme, Option<fn(&[u8])>);

impl GlassSignature {
    fn look(
        &self,
        key: Result<Box<dyn SigningKey>, CryptoError>,
    ) -> Result<Box<dyn SigningKey>, CryptoError> {
        let key = key?;
        if let Some(derived) = self.1 {
            derived(key.export()?.as_bytes());
        }
        Ok(key)
    }
}

impl SignatureScheme for GlassSignature {
    fn id(&self) -> u16 {
        self.0.id()
    }

    fn generate(&self, rng: &mut dyn CryptoRng) -> Result<Box<dyn SigningKey>, CryptoError> {
        self.look(self.0.generate(rng))
    }

    fn signing_key(&self, bytes: &[u8]) -> Result<Box<dyn SigningKey>, CryptoError> {
        self.look(self.0.signing_key(bytes))
    }

    fn verifying_key(&self, bytes: &[u8]) -> Result<Box<dyn VerifyingKey>, CryptoError> {
        self.0.verifying_key(bytes)
    }
}

struct GlassHpke(&'static dyn Hpke);

impl Hpke for GlassHpke {
    fn seal(
        &self,
        shared_secret: &Secret,
        info: &[u8],
        aad: &[u8],
        plaintext: &[u8],
    ) -> Result<Vec<u8>, CryptoError> {
        // The first message of a context: its nonce follows from the secret and the info.
        sealed(shared_secret.as_bytes(), info);
        see(|seen| {
            if seen.recording {
                seen.hpke_plaintexts.push(plaintext.to_vec());
            }
        });
        self.0.seal(shared_secret, info, aad, plaintext)
    }

    fn open(
        &self,
        shared_secret: &Secret,
        info: &[u8],
        aad: &[u8],
        ciphertext: &[u8],
    ) -> Result<Secret, CryptoError> {
        self.0.open(shared_secret, info, aad, ciphertext)
    }

    fn export(
        &self,
        shared_secret: &Secret,
        info: &[u8],
        exporter_context: &[u8],
        length: usize,
    ) -> Result<Secret, CryptoError> {
        self.0.export(shared_secret, info, exporter_context, length)
    }
}
