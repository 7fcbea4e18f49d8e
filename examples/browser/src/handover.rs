//! AES-GCM of large frames by the browser itself.
//!
//! WebCrypto encrypts large frames much faster than wasm does, but takes its time. So the cipher of a large frame hands it
//! over as a [`Task`], which the worker gives to WebCrypto. All that decides (counters, epochs, replay windows) stays
//! here: the counter is reserved before, and a frame counts as opened only when its task comes back with the plaintext.
//! Should nobody do a task, zeros stand in the frame's place: nothing goes out in the clear, and nothing is shown.

use std::sync::{Mutex, MutexGuard, PoisonError};

use sframe_bridge::crypto::{
    Aead, BackendError, FrameCipher, FrameProvider, NONCE_LENGTH, SuiteCrypto, Unauthentic,
    default_provider,
};
use subtle::ConstantTimeEq as _;
use wasm_bindgen::prelude::*;
use zeroize::Zeroizing;

/// Of AES-GCM in all SFrame suites that a browser has, in bytes.
const TAG_LENGTH: usize = 16;

/// Something for WebCrypto: to encrypt, or to open.
#[wasm_bindgen]
pub struct Task {
    /// Which key this is, the same as long as the key is in use.
    pub cipher: u32,
    key: Zeroizing<Vec<u8>>,
    nonce: [u8; NONCE_LENGTH],
    aad: Vec<u8>,
    text: Vec<u8>,
}

#[wasm_bindgen]
impl Task {
    /// The AES key, 16 bytes. Whoever asks for it overwrites it after use.
    pub fn key(&self) -> Vec<u8> {
        self.key.to_vec()
    }

    /// The nonce, 12 bytes.
    pub fn nonce(&self) -> Vec<u8> {
        self.nonce.to_vec()
    }

    /// What is authenticated beside the text.
    pub fn aad(&self) -> Vec<u8> {
        self.aad.clone()
    }

    /// The plaintext, or the ciphertext and its tag.
    pub fn take_text(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.text)
    }
}

/// A task of opening that WebCrypto has done: without plaintext it found the frame not authentic.
struct Done {
    task: Task,
    plain: Option<Vec<u8>>,
}

struct Place {
    /// Plaintexts of at least so many bytes are handed over.
    large: usize,
    task: Option<Task>,
    done: Option<Done>,
    /// Nobody can wait at the moment.
    at_once: bool,
    ciphers: u32,
    /// Ciphers whose keys are gone.
    dropped: Vec<u32>,
}

/// Where ciphers leave their tasks. One for each call.
pub(crate) struct Handover(Mutex<Place>);

impl Handover {
    /// A handover for plaintexts of at least `large` bytes, and the provider whose ciphers use it. Both stay until the
    /// worker ends.
    pub(crate) fn new(large: usize) -> (&'static Self, FrameProvider) {
        let place = Place {
            large,
            task: None,
            done: None,
            at_once: false,
            ciphers: 0,
            dropped: Vec::new(),
        };
        let handover: &'static Self = Box::leak(Box::new(Self(Mutex::new(place))));
        let suite = |software: &SuiteCrypto| {
            let aead = Box::leak(Box::new(ByLength { handover, software: software.aead }));
            SuiteCrypto { aead, ..*software }
        };
        let suites: Vec<_> = default_provider().suites.iter().map(suite).collect();
        (handover, FrameProvider { name: "webcrypto", suites: suites.leak() })
    }

    fn place(&self) -> MutexGuard<'_, Place> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The task that the last frame has left.
    pub(crate) fn take_task(&self) -> Option<Task> {
        self.place().task.take()
    }

    pub(crate) fn has_task(&self) -> bool {
        self.place().task.is_some()
    }

    /// Runs what cannot wait for WebCrypto.
    pub(crate) fn at_once<R>(&self, run: impl FnOnce() -> R) -> R {
        self.place().at_once = true;
        let result = run();
        self.place().at_once = false;
        result
    }

    /// Opens once more the frame that has left this task, by what WebCrypto has made of it.
    pub(crate) fn with_done<R>(
        &self,
        task: Task,
        plain: Option<Vec<u8>>,
        open: impl FnOnce() -> R,
    ) -> R {
        self.place().done = Some(Done { task, plain });
        let result = open();
        self.place().done = None;
        result
    }

    /// Ciphers whose keys nobody uses any more.
    pub(crate) fn take_dropped(&self) -> Vec<u32> {
        std::mem::take(&mut self.place().dropped)
    }
}

struct ByLength {
    handover: &'static Handover,
    software: &'static dyn Aead,
}

impl Aead for ByLength {
    fn cipher(&self, key: &[u8]) -> Result<Box<dyn FrameCipher>, BackendError> {
        let software = self.software.cipher(key)?;
        let mut place = self.handover.place();
        place.ciphers = place.ciphers.wrapping_add(1);
        Ok(Box::new(Cipher {
            handover: self.handover,
            software,
            number: place.ciphers,
            key: Zeroizing::new(key.to_vec()),
        }))
    }
}

struct Cipher {
    handover: &'static Handover,
    software: Box<dyn FrameCipher>,
    number: u32,
    key: Zeroizing<Vec<u8>>,
}

impl Cipher {
    fn hands_over(&self, plain: usize) -> bool {
        let place = self.handover.place();
        plain >= place.large && !place.at_once
    }

    fn hand_over(&self, nonce: &[u8; NONCE_LENGTH], aad: &[u8], text: &[u8]) {
        self.handover.place().task = Some(Task {
            cipher: self.number,
            key: self.key.clone(),
            nonce: *nonce,
            aad: aad.to_vec(),
            text: text.to_vec(),
        });
    }
}

impl FrameCipher for Cipher {
    fn seal_in_place(
        &self,
        nonce: &[u8; NONCE_LENGTH],
        aad: &[u8],
        in_out: &mut [u8],
    ) -> Result<(), BackendError> {
        let plain = in_out.len().checked_sub(TAG_LENGTH).ok_or(BackendError)?;
        if !self.hands_over(plain) {
            return self.software.seal_in_place(nonce, aad, in_out);
        }
        self.hand_over(nonce, aad, in_out.get(..plain).unwrap_or_default());
        in_out.fill(0);
        Ok(())
    }

    fn open_in_place(
        &self,
        nonce: &[u8; NONCE_LENGTH],
        aad: &[u8],
        in_out: &mut [u8],
    ) -> Result<usize, Unauthentic> {
        let plain = in_out.len().checked_sub(TAG_LENGTH).ok_or(Unauthentic)?;
        if !self.hands_over(plain) {
            return self.software.open_in_place(nonce, aad, in_out);
        }
        let Some(Done { task, plain: opened }) = self.handover.place().done.take() else {
            self.hand_over(nonce, aad, in_out);
            return Err(Unauthentic);
        };
        let same_key: bool = task.key.ct_eq(&self.key).into();
        if !same_key || task.nonce != *nonce || task.aad != aad {
            return Err(Unauthentic);
        }
        let opened = opened.filter(|opened| opened.len() == plain).ok_or(Unauthentic)?;
        in_out.get_mut(..plain).ok_or(Unauthentic)?.copy_from_slice(&opened);
        Ok(plain)
    }
}

impl Drop for Cipher {
    fn drop(&mut self) {
        self.handover.place().dropped.push(self.number);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    const NONCE: [u8; NONCE_LENGTH] = [7; NONCE_LENGTH];

    fn cipher(handover: FrameProvider, key: u8) -> Box<dyn FrameCipher> {
        handover.suites[0].aead.cipher(&[key; 16]).unwrap()
    }

    #[test]
    fn short_frames_are_sealed_and_opened_at_once_and_large_ones_where_nobody_can_wait() {
        let (handover, provider) = Handover::new(100);
        let cipher = cipher(provider, 1);
        for (length, at_once) in [(99, false), (100, true), (5000, true)] {
            let mut frame = vec![5; length + TAG_LENGTH];
            let mut work = || {
                cipher.seal_in_place(&NONCE, b"aad", &mut frame).unwrap();
                cipher.open_in_place(&NONCE, b"aad", &mut frame).unwrap()
            };
            let opened = if at_once { handover.at_once(&mut work) } else { work() };
            assert!(opened == length && frame[..length] == vec![5; length]);
            assert!(handover.take_task().is_none());
        }
    }

    #[test]
    fn a_large_frame_leaves_zeros_and_a_task() {
        let (handover, provider) = Handover::new(100);
        let mut frame = vec![5; 100 + TAG_LENGTH];
        cipher(provider, 1).seal_in_place(&NONCE, b"aad", &mut frame).unwrap();
        assert!(frame.iter().all(|byte| *byte == 0), "nothing in the clear may stay");
        let mut task = handover.take_task().unwrap();
        assert!(task.key() == [1; 16] && task.nonce() == NONCE && task.aad() == b"aad");
        assert_eq!(task.take_text(), [5; 100]);
        assert!(!handover.has_task());
        assert_eq!(handover.take_dropped(), [task.cipher]);
    }

    #[test]
    fn a_large_frame_opens_only_with_what_was_made_of_its_own_task() {
        let (handover, provider) = Handover::new(100);
        let [ours, other] = [1, 2].map(|key| cipher(provider, key));
        let ask = |nonce: &[u8; NONCE_LENGTH], aad: &[u8]| {
            let mut frame = vec![9; 100 + TAG_LENGTH];
            assert_eq!(ours.open_in_place(nonce, aad, &mut frame), Err(Unauthentic));
            handover.take_task().unwrap()
        };
        let open = |cipher: &dyn FrameCipher, task: Task, plain: Option<Vec<u8>>| {
            let mut frame = vec![9; 100 + TAG_LENGTH];
            let opened = handover
                .with_done(task, plain, || cipher.open_in_place(&NONCE, b"aad", &mut frame));
            (opened, frame)
        };
        let plain = || Some(vec![5; 100]);
        let (opened, frame) = open(&*ours, ask(&NONCE, b"aad"), plain());
        assert!(opened == Ok(100) && frame[..100] == [5; 100]);
        assert!(!handover.has_task());
        for (cipher, task, plain) in [
            (&ours, ask(&NONCE, b"aad"), None),
            (&ours, ask(&NONCE, b"aad"), Some(vec![5; 99])),
            (&ours, ask(&[8; NONCE_LENGTH], b"aad"), plain()),
            (&ours, ask(&NONCE, b"bad"), plain()),
            (&other, ask(&NONCE, b"aad"), plain()),
        ] {
            assert_eq!(open(&**cipher, task, plain).0, Err(Unauthentic));
            assert!(!handover.has_task(), "a task that was done is not asked for again");
        }
        // What was made of one frame is of no use for the next.
        drop(ask(&NONCE, b"aad"));
    }
}
