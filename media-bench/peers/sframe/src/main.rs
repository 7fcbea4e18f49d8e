//! Measures the `sframe` crate on request, so that the report can take turns between it and others.
//!
//! Each line of standard input is `protect SUITE SIZE FRAMES` or `unprotect SUITE SIZE FRAMES`, SUITE one of `aes128gcm` and
//! `aes256gcm`. The answer is a line of JSON: `{"cpu_ns":123.4}`, the mean CPU time of a frame, or `{"error":"..."}`. Some frames go
//! before those that count, so that memory and caches are warm.

use std::{
    error::Error,
    hint::black_box,
    io::{self, BufRead, Write},
};

use sframe::{
    CipherSuite,
    frame::{EncryptedFrameView, MediaFrameView, MonotonicCounter},
    key::{DecryptionKey, EncryptionKey},
};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// A key identifier of three bytes, as a KID with context, leaf and epoch takes.
const KID: u64 = 0x01_00_01;
/// Bytes of frames that are sealed before they are opened: they fit into the cache.
const BATCH: usize = 64 * 1024;
/// The most frames that are sealed before they are opened.
const MOST: usize = 128;

fn main() -> Result<()> {
    let mut answers = io::stdout().lock();
    for line in io::stdin().lock().lines() {
        match answer(&line?) {
            Ok(cpu_ns) => writeln!(answers, "{{\"cpu_ns\":{cpu_ns}}}")?,
            Err(error) => writeln!(answers, "{{\"error\":{:?}}}", error.to_string())?,
        }
        answers.flush()?;
    }
    Ok(())
}

fn answer(request: &str) -> Result<f64> {
    let mut words = request.split(' ');
    let mut word = || words.next().ok_or("expected: OPERATION SUITE SIZE FRAMES");
    let operation = word()?;
    let (suite, key) = match word()? {
        "aes128gcm" => (CipherSuite::AesGcm128Sha256, &[0x42; 32][..16]),
        "aes256gcm" => (CipherSuite::AesGcm256Sha512, &[0x42; 32][..]),
        other => return Err(format!("unknown suite {other}").into()),
    };
    let (size, frames) = (word()?.parse()?, word()?.parse()?);
    let sending = EncryptionKey::derive_from(suite, KID, key)?;
    let mut counter = MonotonicCounter::with_start_value(256u64, u64::MAX);
    let plain = vec![7; size];
    match operation {
        "protect" => {
            let mut out = Vec::with_capacity(size + 64);
            let mut protect = || {
                let frame = MediaFrameView::try_new(&mut counter, &plain)?;
                black_box(frame.encrypt_into(&sending, &mut out)?);
                Ok(())
            };
            cpu_time_of(frames / 8 + 1, &mut protect)?;
            cpu_time_of(frames, protect)
        }
        "unprotect" => {
            let receiving = DecryptionKey::derive_from(suite, KID, key)?;
            let mut out = vec![0; size + 64];
            let batch = (BATCH / size.max(1)).clamp(1, MOST);
            let (mut total, mut done, mut warm) = (0.0, 0, false);
            while done < frames {
                let mut sealed = Vec::with_capacity(batch);
                for _ in 0..batch {
                    let mut wire = Vec::new();
                    let frame = MediaFrameView::try_new(&mut counter, &plain)?;
                    frame.encrypt_into(&sending, &mut wire)?;
                    sealed.push(wire);
                }
                let mut waiting = sealed.iter();
                let each = cpu_time_of(batch, || {
                    let wire = waiting.next().ok_or("no frame left")?;
                    let frame = EncryptedFrameView::try_new(wire.as_slice())?;
                    black_box(frame.decrypt_into(&receiving, &mut out)?);
                    Ok(())
                })?;
                if warm {
                    total += each * batch as f64;
                    done += batch;
                }
                warm = true;
            }
            Ok(total / done as f64)
        }
        other => Err(format!("unknown operation {other}").into()),
    }
}

/// Nanoseconds of CPU time for each of `times` executions.
fn cpu_time_of(times: usize, mut work: impl FnMut() -> Result<()>) -> Result<f64> {
    let start = cpu_time()?;
    for _ in 0..times {
        work()?;
    }
    Ok((cpu_time()? - start) / times as f64)
}

fn cpu_time() -> Result<f64> {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is to a local of the right type, which the call fills.
    if unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &raw mut time) } != 0 {
        return Err(io::Error::last_os_error().into());
    }
    Ok(time.tv_sec as f64 * 1e9 + time.tv_nsec as f64)
}
