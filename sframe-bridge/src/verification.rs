//! The long verification code: that two members are in the same group, with nobody in between.

use crate::crypto::{BackendError, Kdf};
use core::fmt;
use subtle::ConstantTimeEq as _;

const ROSTER_LABEL: &[u8] = b"Framelock 1.0 roster";
const CODE_LABEL: &[u8] = b"Framelock 1.0 long code";
const DIGITS_LABEL: &[u8] = b"Framelock 1.0 long code digits";
const QR_VERSION: u8 = 1;

/// Bytes of the payload of a QR code.
pub const QR_LENGTH: usize = 1 + 8 + 32;

const GROUPS: usize = 8;
const GROUP_BYTES: usize = 5;
const GROUP_VALUES: u64 = 100_000;

/// A member as the code binds it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RosterEntry<'a> {
    /// The member's leaf.
    pub leaf: u32,
    /// The member's credential, encoded.
    pub credential: &'a [u8],
    /// The member's signature key.
    pub signature_key: &'a [u8],
}

/// What a code is computed over.
#[derive(Clone, Copy)]
pub struct VerificationInput<'a> {
    /// The epoch authenticator (RFC 9420 section 8.7) of the pinned epoch.
    pub epoch_authenticator: &'a [u8],
    /// The group's id.
    pub group_id: &'a [u8],
    /// The pinned epoch's number. Both sides say it to each other with the code.
    pub epoch: u64,
    /// All members of that epoch, in any order.
    pub roster: &'a [RosterEntry<'a>],
}

impl fmt::Debug for VerificationInput<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VerificationInput").field("epoch", &self.epoch).finish_non_exhaustive()
    }
}

/// The long code of a pinned epoch: 40 digits to read aloud, or 256 bits to scan.
///
/// Its length matters: a short cut of a bare authenticator could be ground by somebody who sits
/// in two groups until both show the same.
#[derive(Clone, Copy)]
pub struct LongCode {
    epoch: u64,
    digits: [u8; GROUPS * GROUP_BYTES],
    fingerprint: [u8; 32],
}

impl LongCode {
    /// Computes the code with HKDF over the epoch authenticator, bound to group id, epoch and the
    /// hash of the roster sorted by leaf. All members use the same `kdf`, that of the call's
    /// suite.
    ///
    /// # Errors
    ///
    /// [`BackendError`] if the backend fails.
    pub fn derive(kdf: &dyn Kdf, input: &VerificationInput<'_>) -> Result<Self, BackendError> {
        let prk = kdf.extract(CODE_LABEL, input.epoch_authenticator);
        let roster = roster_hash(kdf, input.roster);
        let mut fingerprint = [0; 32];
        kdf.expand(&prk, &binding(CODE_LABEL, input, &roster), &mut fingerprint)?;
        let mut digits = [0; GROUPS * GROUP_BYTES];
        kdf.expand(&prk, &binding(DIGITS_LABEL, input, &roster), &mut digits)?;
        Ok(Self { epoch: input.epoch, digits, fingerprint })
    }

    /// The pinned epoch.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// The 8 groups of 5 digits, each below 100,000.
    pub fn groups(&self) -> impl Iterator<Item = u32> + '_ {
        self.digits.chunks(GROUP_BYTES).map(|bytes| {
            let value = bytes.iter().fold(0, |value: u64, &byte| (value << 8) | u64::from(byte));
            (value % GROUP_VALUES) as u32
        })
    }

    /// The bytes of a QR code: a version, the epoch, and the 256 bits.
    pub fn qr_payload(&self) -> [u8; QR_LENGTH] {
        let mut payload = [0; QR_LENGTH];
        let source =
            [QR_VERSION].into_iter().chain(self.epoch.to_be_bytes()).chain(self.fingerprint);
        for (target, byte) in payload.iter_mut().zip(source) {
            *target = byte;
        }
        payload
    }

    /// Compares with a scanned QR code, in constant time.
    pub fn matches_qr(&self, scanned: &[u8]) -> bool {
        self.qr_payload().ct_eq(scanned).into()
    }

    /// Compares with digits that were typed in; everything but digits is ignored.
    pub fn matches_digits(&self, typed: &str) -> bool {
        let digits = |text: &str| text.bytes().filter(u8::is_ascii_digit).collect::<Vec<_>>();
        digits(&self.to_string()).ct_eq(&digits(typed)).into()
    }
}

impl fmt::Display for LongCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, group) in self.groups().enumerate() {
            let separator = if index == 0 { "" } else { " " };
            write!(f, "{separator}{group:05}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for LongCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LongCode").field("epoch", &self.epoch).finish_non_exhaustive()
    }
}

/// Whether a member's identity has been verified.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Verification {
    /// This credential with this key was verified.
    Verified,
    /// Nothing is known of this credential.
    Unverified,
    /// This credential was verified, but with another key.
    KeyChanged,
}

/// The identities that one has compared codes with. A success lasts over later epochs.
#[derive(Clone, Debug, Default)]
pub struct VerifiedPeers {
    peers: Vec<(Vec<u8>, Vec<u8>)>,
}

impl VerifiedPeers {
    /// Nobody.
    pub fn new() -> Self {
        Self::default()
    }

    /// Records that the codes matched with the member of this credential and key.
    pub fn insert(&mut self, credential: &[u8], signature_key: &[u8]) {
        if self.status(credential, signature_key) != Verification::Verified {
            self.peers.push((credential.to_vec(), signature_key.to_vec()));
        }
    }

    /// What is known of a member.
    pub fn status(&self, credential: &[u8], signature_key: &[u8]) -> Verification {
        let mut known = Verification::Unverified;
        for (verified, key) in &self.peers {
            if verified == credential {
                if key == signature_key {
                    return Verification::Verified;
                }
                known = Verification::KeyChanged;
            }
        }
        known
    }
}

/// Hashes the roster, sorted by leaf, each part with its length: HMAC under a fixed key is the
/// hash.
fn roster_hash(kdf: &dyn Kdf, roster: &[RosterEntry<'_>]) -> Vec<u8> {
    let mut sorted: Vec<_> = roster.iter().collect();
    sorted.sort_unstable_by_key(|entry| entry.leaf);
    let mut encoded = Vec::new();
    for entry in sorted {
        encoded.extend(entry.leaf.to_be_bytes());
        append(&mut encoded, entry.credential);
        append(&mut encoded, entry.signature_key);
    }
    kdf.extract(ROSTER_LABEL, &encoded).expose_secret().to_vec()
}

fn binding(label: &[u8], input: &VerificationInput<'_>, roster: &[u8]) -> Vec<u8> {
    let mut info = Vec::new();
    append(&mut info, label);
    append(&mut info, input.group_id);
    info.extend(input.epoch.to_be_bytes());
    append(&mut info, roster);
    info
}

fn append(out: &mut Vec<u8>, part: &[u8]) {
    out.extend((part.len() as u64).to_be_bytes());
    out.extend_from_slice(part);
}
