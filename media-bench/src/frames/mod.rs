//! Subjects that protect and open frames: this project over each backend, bare ciphers, the `sframe` crate. And what it costs
//! to sign frames.
//!
//! All of them answer the same question, so that they can take turns: what does one frame cost on average, over so many of
//! this size.

mod ours;
mod raw;
mod sframe_peer;
mod signatures;

pub use ours::{Ours, Parallel, in_parallel, installed};
pub use raw::{Raw, RawCipher};
pub use sframe_peer::{Backend, SframePeer};
pub use signatures::{STREAMS, SignatureCost, SignedStream, Stream};

use anyhow::Result;
use sframe_bridge::CipherSuite;

use crate::measure::{once, repeated};

/// The base key of all frames here, cut to what a suite needs.
const BASE_KEY: [u8; 96] = [0x42; 96];

/// Bytes of frames that are sealed before they are opened: they fit into the cache.
const BATCH: usize = 64 * 1024;
/// The most frames that are sealed before they are opened.
const MOST: usize = 128;

/// Something that protects and opens frames of one suite.
pub trait Subject {
    /// Its name in reports.
    fn name(&self) -> String;

    /// Mean CPU nanoseconds to protect a frame of `size` bytes. Errors are those of the implementation.
    fn protect(&mut self, size: usize, frames: u32) -> Result<f64>;

    /// Mean CPU nanoseconds to open a frame of `size` bytes. Errors are those of the implementation.
    fn unprotect(&mut self, size: usize, frames: u32) -> Result<f64>;
}

/// The name of a suite in reports.
#[must_use]
pub const fn suite_name(suite: CipherSuite) -> &'static str {
    match suite {
        CipherSuite::Aes128CtrHmacSha256_80 => "aes128ctr_hmac80",
        CipherSuite::Aes128CtrHmacSha256_64 => "aes128ctr_hmac64",
        CipherSuite::Aes128CtrHmacSha256_32 => "aes128ctr_hmac32",
        CipherSuite::Aes128GcmSha256_128 => "aes128gcm",
        CipherSuite::Aes256GcmSha512_128 => "aes256gcm",
        CipherSuite::Aes256CtrHmacSha512_80 => "aes256ctr_hmac80",
        CipherSuite::Aes256CtrHmacSha512_64 => "aes256ctr_hmac64",
        CipherSuite::Aes256CtrHmacSha512_32 => "aes256ctr_hmac32",
        _ => "other",
    }
}

/// Mean CPU nanoseconds to protect a frame. Some go before those that count, so that memory and caches are warm.
fn protected_warm<E>(frames: u32, mut protect: impl FnMut() -> Result<(), E>) -> Result<f64, E> {
    repeated(frames / 8 + 1, &mut protect)?;
    Ok(repeated(frames, protect)?.cpu)
}

/// Seals frames in batches and measures how they are opened: mean CPU nanoseconds for each. The first batch does not count.
fn opened_in_batches<T>(
    size: usize,
    frames: u32,
    mut seal: impl FnMut() -> Result<T>,
    mut open: impl FnMut(&mut T) -> Result<()>,
) -> Result<f64> {
    let batch = (BATCH / size.max(1)).clamp(1, MOST);
    let (mut total, mut done, mut warm) = (0.0, 0, false);
    while done < frames {
        let mut sealed = (0..batch).map(|_| seal()).collect::<Result<Vec<_>>>()?;
        let opened = once(|| sealed.iter_mut().try_for_each(&mut open));
        opened.value?;
        if warm {
            total += opened.cost.cpu;
            done = done.saturating_add(u32::try_from(batch)?);
        }
        warm = true;
    }
    Ok(total / f64::from(done))
}
