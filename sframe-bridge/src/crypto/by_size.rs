//! The AEADs of two backends behind one key, each for the lengths at which it is faster.

use super::gcm::{aws_lc_rs, ring};
use super::{
    Aead, BackendError, FrameCipher, FrameProvider, GCM_TAG_LENGTH, NONCE_LENGTH, SuiteCrypto,
    Unauthentic, aws_lc,
};
use core::hint::black_box;

/// `aws-lc-rs` with the AES-GCM of `ring` for frames up to [`RING_UP_TO`] bytes.
///
/// Both are chosen at run time by what the processor has, inside one portable binary. The price is
/// a second key schedule for each stream (about 550 bytes) and a second implementation of AES-GCM
/// to trust; both are checked against the same vectors and against each other.
pub static AWS_LC_RS_AND_RING: FrameProvider =
    FrameProvider { name: "aws-lc-rs+ring", suites: &SUITES };

/// The longest plaintext that `ring` encrypts, in bytes: about an RTP packet. Processors differ in
/// where `aws-lc-rs` overtakes it, from 200 bytes to several thousand; from here on neither is far behind.
pub const RING_UP_TO: usize = 1_400;

static SUITES: [SuiteCrypto; 8] = {
    let mut suites = aws_lc::SUITES;
    suites[3].aead = &GcmBySize { large: &aws_lc_rs::AES_128_GCM, small: &ring::AES_128_GCM };
    suites[4].aead = &GcmBySize { large: &aws_lc_rs::AES_256_GCM, small: &ring::AES_256_GCM };
    suites
};

struct GcmBySize {
    large: &'static aws_lc_rs::Gcm,
    small: &'static ring::Gcm,
}

impl Aead for GcmBySize {
    fn cipher(&self, key: &[u8]) -> Result<Box<dyn FrameCipher>, BackendError> {
        let (large, small) = (self.large.expand(key)?, self.small.expand(key)?);
        Ok(Box::new(BySize { large, small, algorithm: self.small }))
    }
}

struct BySize {
    large: aws_lc_rs::GcmCipher,
    small: ring::GcmCipher,
    algorithm: &'static ring::Gcm,
}

impl FrameCipher for BySize {
    fn seal_in_place(
        &self,
        nonce: &[u8; NONCE_LENGTH],
        aad: &[u8],
        in_out: &mut [u8],
    ) -> Result<(), BackendError> {
        if in_out.len() > RING_UP_TO + GCM_TAG_LENGTH {
            return self.large.seal_in_place(nonce, aad, in_out);
        }
        self.small.seal_in_place(nonce, aad, in_out)
    }

    fn open_in_place(
        &self,
        nonce: &[u8; NONCE_LENGTH],
        aad: &[u8],
        in_out: &mut [u8],
    ) -> Result<usize, Unauthentic> {
        if in_out.len() > RING_UP_TO + GCM_TAG_LENGTH {
            return self.large.open_in_place(nonce, aad, in_out);
        }
        self.small.open_in_place(nonce, aad, in_out)
    }
}

impl Drop for BySize {
    fn drop(&mut self) {
        // `ring` leaves a dropped key in memory: the schedule of a key that is no secret takes its
        // place, and `black_box` keeps the compiler from leaving that out.
        let zeros = [0; 32];
        let zeros = zeros.get(..self.algorithm.0.key_len()).unwrap_or_default();
        if let Ok(public) = self.algorithm.expand(zeros) {
            self.small = public;
            black_box(&mut self.small);
        }
    }
}
