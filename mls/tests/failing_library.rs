//! A cryptographic library that fails, at every point of every operation in turn: the error says that it was this machine,
//! the state stays as it was, and the operation succeeds when the library works again.
//!
//! Only what may fail by itself fails here. A refused signature, ciphertext or public key is a verdict on what came in.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "these are tests"
)]

mod support;

use std::{cell::Cell, collections::BTreeSet, fmt::Debug};

use mls::{
    Client, ClientError, CommitError, ExportError, ExternalJoinOptions, Fault, Group, GroupId,
    GroupInfoOptions, GroupOptions, Identity, JoinError, LocalError, ProcessError, Processed,
    SnapshotError, SnapshotKey,
    crypto::{
        Aead, CryptoError, CryptoRng, Encapsulation, Hpke, Kdf, Kem, KemPrivateKey, KemPublicKey,
        Secret, SignaturePrivateKey, SignatureScheme, SigningKey, Suite, TAG_LENGTH, VerifyingKey,
    },
    framing::FramingError,
    schedule::{ScheduleError, SecretTreeError},
    tree::UpdatePathError,
};
use support::*;

const FAILURE: CryptoError = CryptoError::Backend("made to fail");

thread_local! {
    /// How many calls still succeed.
    static SUCCEED: Cell<Option<u32>> = const { Cell::new(None) };
}

fn call() -> Result<(), CryptoError> {
    match SUCCEED.get() {
        Some(0) => Err(FAILURE),
        Some(more) => {
            SUCCEED.set(Some(more - 1));
            Ok(())
        }
        None => Ok(()),
    }
}

fn failing(suite: &'static Suite) -> &'static Suite {
    Box::leak(Box::new(Suite {
        kdf: Box::leak(Box::new(Failing(suite.kdf))),
        aead: Box::leak(Box::new(Failing(suite.aead))),
        kem: Box::leak(Box::new(Failing(suite.kem))),
        hpke: Box::leak(Box::new(Failing(suite.hpke))),
        signature: Box::leak(Box::new(Failing(suite.signature))),
        ..*suite
    }))
}

struct Failing<T>(T);

impl Kdf for Failing<&'static dyn Kdf> {
    fn length(&self) -> usize {
        self.0.length()
    }

    fn extract(&self, salt: &[u8], ikm: &[&[u8]]) -> Secret {
        self.0.extract(salt, ikm)
    }

    fn expand(&self, prk: &[u8], info: &[&[u8]], out: &mut [u8]) -> Result<(), CryptoError> {
        call()?;
        self.0.expand(prk, info, out)
    }
}

impl Aead for Failing<&'static dyn Aead> {
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
        call()?;
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
}

impl Kem for Failing<&'static dyn Kem> {
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
        call()?;
        self.0.generate(rng)
    }

    fn fresh(&self, rng: &mut dyn CryptoRng) -> Result<Box<dyn KemPrivateKey>, CryptoError> {
        call()?;
        self.0.fresh(rng)
    }

    fn derive_key_pair(&self, ikm: &[u8]) -> Result<Box<dyn KemPrivateKey>, CryptoError> {
        call()?;
        self.0.derive_key_pair(ikm)
    }

    fn private_key(&self, bytes: &[u8]) -> Result<Box<dyn KemPrivateKey>, CryptoError> {
        self.0.private_key(bytes)
    }

    fn check_kem_output(&self, bytes: &[u8]) -> Result<(), CryptoError> {
        self.0.check_kem_output(bytes)
    }

    fn public_key(&self, bytes: &[u8]) -> Result<Box<dyn KemPublicKey>, CryptoError> {
        Ok(Box::new(Failing(self.0.public_key(bytes)?)))
    }
}

impl KemPublicKey for Failing<Box<dyn KemPublicKey>> {
    fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }

    fn encap(&self, rng: &mut dyn CryptoRng) -> Result<Encapsulation, CryptoError> {
        call()?;
        self.0.encap(rng)
    }
}

impl Hpke for Failing<&'static dyn Hpke> {
    fn seal(
        &self,
        shared_secret: &Secret,
        info: &[u8],
        aad: &[u8],
        plaintext: &[u8],
    ) -> Result<Vec<u8>, CryptoError> {
        call()?;
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
        call()?;
        self.0.export(shared_secret, info, exporter_context, length)
    }
}

impl SignatureScheme for Failing<&'static dyn SignatureScheme> {
    fn id(&self) -> u16 {
        self.0.id()
    }

    fn generate(&self, rng: &mut dyn CryptoRng) -> Result<Box<dyn SigningKey>, CryptoError> {
        call()?;
        Ok(Box::new(Failing(self.0.generate(rng)?)))
    }

    fn signing_key(&self, bytes: &[u8]) -> Result<Box<dyn SigningKey>, CryptoError> {
        Ok(Box::new(Failing(self.0.signing_key(bytes)?)))
    }

    fn verifying_key(&self, bytes: &[u8]) -> Result<Box<dyn VerifyingKey>, CryptoError> {
        self.0.verifying_key(bytes)
    }
}

impl SigningKey for Failing<Box<dyn SigningKey>> {
    fn public(&self) -> &[u8] {
        self.0.public()
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, CryptoError> {
        call()?;
        self.0.sign(message)
    }

    fn export(&self) -> Result<SignaturePrivateKey, CryptoError> {
        self.0.export()
    }
}

/// Does the work again and again, each time with the library failing one call later, until nothing fails any more.
fn at_every_point<S, T, E: Debug>(
    subject: &mut S,
    state: impl Fn(&S) -> Vec<u8>,
    mut work: impl FnMut(&mut S) -> Result<T, E>,
    mut check: impl FnMut(&E),
) -> T {
    for succeed in 0.. {
        let before = state(subject);
        SUCCEED.set(Some(succeed));
        let done = work(subject);
        let failed = SUCCEED.take() == Some(0);
        match done {
            Ok(value) => {
                assert!(succeed > 0, "nothing can fail here");
                // The last call may have been the one after which none was to succeed.
                return value;
            }
            Err(error) => {
                assert!(failed, "{error:?} without a failure");
                check(&error);
                assert!(state(subject) == before, "{error:?} changed the state");
            }
        }
    }
    unreachable!("some number of calls is enough")
}

fn stateless<S>(_: &S) -> Vec<u8> {
    Vec::new()
}

fn key() -> SnapshotKey {
    SnapshotKey::new(&[9; SnapshotKey::LENGTH])
}

fn saved(group: &Group) -> Vec<u8> {
    group.save(&key(), &mut rng(0)).unwrap()
}

/// Which parts have failed, by the names of the variants.
#[derive(Default)]
struct Parts(BTreeSet<&'static str>);

impl Parts {
    fn note(&mut self, error: &LocalError) {
        assert_eq!(error.fault(), Fault::Local);
        self.0.insert(match error {
            LocalError::Crypto(CryptoError::Backend(_)) => "crypto",
            LocalError::Schedule(ScheduleError::Crypto(FAILURE)) => "schedule",
            LocalError::Framing(
                FramingError::Crypto(FAILURE)
                | FramingError::SecretTree(SecretTreeError::Crypto(FAILURE)),
            ) => "framing",
            LocalError::Path(
                UpdatePathError::Crypto(FAILURE) | UpdatePathError::Encrypt { error: FAILURE, .. },
            ) => "path",
            other => panic!("unexpected {other:?}"),
        });
    }
}

macro_rules! local {
    ($parts:ident, $family:ident::$variant:ident) => {
        |error: &$family| match error {
            $family::$variant(local) => $parts.note(local),
            other => assert_eq!(other.fault(), Fault::Local, "{other:?}"),
        }
    };
}

#[test]
fn whatever_fails_the_state_stays_and_the_next_attempt_succeeds() {
    let suite = failing(suite());
    let parts = &mut Parts::default();
    for options in [public_options(), private_options()] {
        let public = options.handshake == mls::HandshakeFormat::Public;
        let rng = &mut rng(1);
        let mut groups = group_of(5, suite, &options, rng);

        let identity = at_every_point(
            &mut (),
            stateless,
            |()| Identity::basic(*b"newcomer", suite, rng),
            local!(parts, ClientError::Local),
        );
        let mut newcomer = Client::new(suite, identity, options.clone());
        let bundle = at_every_point(
            &mut newcomer,
            stateless,
            |client| client.key_package(rng, NOW),
            local!(parts, ClientError::Local),
        );
        at_every_point(
            &mut newcomer,
            stateless,
            |client| client.create_group(GroupId(vec![1]), GroupOptions::default(), rng, NOW),
            local!(parts, ClientError::Local),
        );
        // A message that is encrypted spends a key even where it fails later.
        let state = |group: &Group| if public { saved(group) } else { Vec::new() };
        let update = at_every_point(
            &mut groups[2],
            |_| Vec::new(),
            |group| group.propose_update(rng),
            local!(parts, CommitError::Local),
        );
        propose_to(&mut groups, &update.message, 2);
        let pending = at_every_point(
            &mut groups[0],
            state,
            |group| group.commit().add(bundle.key_package().clone()).build(rng, NOW),
            local!(parts, CommitError::Local),
        );
        at_every_point(
            &mut groups[0],
            state,
            |group| pending.save(group, &key(), rng),
            local!(parts, SnapshotError::Local),
        );
        for group in &mut groups[1..] {
            // An encrypted one can be processed once: what opened it is gone.
            let processed = match public {
                true => at_every_point(
                    group,
                    saved,
                    |group| group.process(pending.commit(), NOW),
                    local!(parts, ProcessError::Local),
                ),
                false => group.process(pending.commit(), NOW).unwrap(),
            };
            let Processed::Commit(staged) = processed else { panic!("expected a commit") };
            group.merge(*staged).unwrap();
        }
        let welcome = pending.welcome().unwrap().to_vec();
        groups[0].confirm(pending).unwrap();
        let joined = at_every_point(
            &mut newcomer,
            stateless,
            |client| client.join(&welcome, [&bundle], None, NOW),
            local!(parts, JoinError::Local),
        );
        groups.push(joined.accept());
        assert_agreement(&groups);

        let data = at_every_point(
            &mut groups[1],
            stateless,
            |group| group.protect(b"data", b"", rng),
            local!(parts, ExportError::Local),
        );
        at_every_point(
            &mut groups[3],
            saved,
            |group| group.process(&data, NOW).map(drop),
            local!(parts, ProcessError::Local),
        );
        at_every_point(
            &mut groups[1],
            saved,
            |group| group.export("label", b"", 32),
            local!(parts, ExportError::Local),
        );
        let info = at_every_point(
            &mut groups[1],
            saved,
            |group| group.group_info(GroupInfoOptions::default()),
            local!(parts, ExportError::Local),
        );
        at_every_point(
            &mut newcomer,
            stateless,
            |client| {
                let options = ExternalJoinOptions { resync: true, ..Default::default() };
                client.join_external(&info, None, options, rng, NOW).map(|_| ())
            },
            local!(parts, JoinError::Local),
        );
        let snapshot = at_every_point(
            &mut groups[1],
            saved,
            |group| group.save(&key(), rng),
            local!(parts, SnapshotError::Local),
        );
        let mut owner = groups[1].client().clone();
        groups[1] = at_every_point(
            &mut owner,
            stateless,
            |client| client.restore(&snapshot, &key()),
            local!(parts, SnapshotError::Local),
        );
        everybody_commits(&mut groups, rng);
    }
    assert!(parts.0.iter().eq(&["crypto", "framing", "path", "schedule"]), "{:?}", parts.0);
}
