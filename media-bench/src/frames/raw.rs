//! Bare AES-GCM of three libraries: a cached key, in place, and nothing else. The data stand where those of an SFrame frame
//! stand, behind a header or room for it, because unaligned data cost more.

use aes_gcm::{Aes128Gcm, Aes256Gcm, KeyInit as _, Tag, aead::AeadInOut};
use anyhow::{Result, anyhow};
use aws_lc_rs::aead as aws;
use ring::aead as ring_aead;
use sframe_bridge::{CipherSuite, HEADROOM};

use super::{BASE_KEY, Subject, opened_in_batches, protected_warm};

/// An SFrame header like that of the frames it is compared with: config byte, two bytes of KID, two of CTR.
const AAD: [u8; 5] = [0x99, 2, 1, 1, 0];
const TAG_LENGTH: usize = 16;

/// A library's AES-GCM.
pub enum RawCipher {
    /// `aes-gcm`, 128 bits.
    Aes128Gcm(Box<Aes128Gcm>),
    /// `aes-gcm`, 256 bits.
    Aes256Gcm(Box<Aes256Gcm>),
    /// `ring`.
    Ring(Box<ring_aead::LessSafeKey>),
    /// `aws-lc-rs`.
    AwsLc(Box<aws::LessSafeKey>),
}

/// A bare cipher as a subject.
pub struct Raw {
    name: &'static str,
    cipher: RawCipher,
    counter: u64,
}

impl Raw {
    /// The ciphers of all three libraries for a suite; none for suites without AES-GCM.
    ///
    /// # Errors
    /// When a library refuses the key.
    pub fn all(suite: CipherSuite) -> Result<Vec<Self>> {
        let long = BASE_KEY.first_chunk::<32>().ok_or_else(|| anyhow!("a key of 32 bytes"))?;
        let short = BASE_KEY.first_chunk::<16>().ok_or_else(|| anyhow!("a key of 16 bytes"))?;
        let raw = |name, cipher| Self { name, cipher, counter: 0 };
        let refused = |_| anyhow!("the key was refused");
        let (rust, ring_key, aws_key) = match suite {
            CipherSuite::Aes128GcmSha256_128 => (
                RawCipher::Aes128Gcm(Box::new(Aes128Gcm::new(short.into()))),
                ring_aead::UnboundKey::new(&ring_aead::AES_128_GCM, short).map_err(refused)?,
                aws::UnboundKey::new(&aws::AES_128_GCM, short)?,
            ),
            CipherSuite::Aes256GcmSha512_128 => (
                RawCipher::Aes256Gcm(Box::new(Aes256Gcm::new(long.into()))),
                ring_aead::UnboundKey::new(&ring_aead::AES_256_GCM, long).map_err(refused)?,
                aws::UnboundKey::new(&aws::AES_256_GCM, long)?,
            ),
            _ => return Ok(Vec::new()),
        };
        Ok(vec![
            raw("raw_aes_gcm", rust),
            raw("raw_ring", RawCipher::Ring(Box::new(ring_aead::LessSafeKey::new(ring_key)))),
            raw("raw_aws_lc_rs", RawCipher::AwsLc(Box::new(aws::LessSafeKey::new(aws_key)))),
        ])
    }

    fn seal(&mut self, data: &mut [u8]) -> Result<[u8; TAG_LENGTH]> {
        self.counter += 1;
        let nonce = nonce(self.counter);
        let failed = || anyhow!("the cipher failed");
        Ok(match &self.cipher {
            RawCipher::Aes128Gcm(key) => key
                .encrypt_inout_detached(&nonce.into(), &AAD, data.into())
                .map_err(|_| failed())?
                .into(),
            RawCipher::Aes256Gcm(key) => key
                .encrypt_inout_detached(&nonce.into(), &AAD, data.into())
                .map_err(|_| failed())?
                .into(),
            RawCipher::Ring(key) => {
                let nonce = ring_aead::Nonce::assume_unique_for_key(nonce);
                let tag = key
                    .seal_in_place_separate_tag(nonce, ring_aead::Aad::from(AAD), data)
                    .map_err(|_| failed())?;
                tag.as_ref().try_into()?
            }
            RawCipher::AwsLc(key) => {
                let nonce = aws::Nonce::assume_unique_for_key(nonce);
                let tag = key
                    .seal_in_place_separate_tag(nonce, aws::Aad::from(AAD), data)
                    .map_err(|_| failed())?;
                tag.as_ref().try_into()?
            }
        })
    }

    /// Opens ciphertext followed by its tag.
    fn open(cipher: &RawCipher, nonce: [u8; 12], sealed: &mut [u8]) -> Result<()> {
        let failed = || anyhow!("a frame was refused");
        match cipher {
            RawCipher::Aes128Gcm(key) => {
                let (data, tag) = sealed.split_last_chunk_mut().ok_or_else(failed)?;
                key.decrypt_inout_detached(&nonce.into(), &AAD, data.into(), &Tag::from(*tag))
                    .map_err(|_| failed())?;
            }
            RawCipher::Aes256Gcm(key) => {
                let (data, tag) = sealed.split_last_chunk_mut().ok_or_else(failed)?;
                key.decrypt_inout_detached(&nonce.into(), &AAD, data.into(), &Tag::from(*tag))
                    .map_err(|_| failed())?;
            }
            RawCipher::Ring(key) => {
                let nonce = ring_aead::Nonce::assume_unique_for_key(nonce);
                key.open_in_place(nonce, ring_aead::Aad::from(AAD), sealed)
                    .map_err(|_| failed())?;
            }
            RawCipher::AwsLc(key) => {
                let nonce = aws::Nonce::assume_unique_for_key(nonce);
                key.open_in_place(nonce, aws::Aad::from(AAD), sealed).map_err(|_| failed())?;
            }
        }
        Ok(())
    }
}

fn nonce(counter: u64) -> [u8; 12] {
    (u128::from(counter) << 32).to_be_bytes().first_chunk().copied().unwrap_or_default()
}

impl Subject for Raw {
    fn name(&self) -> String {
        self.name.to_owned()
    }

    fn protect(&mut self, size: usize, frames: u32) -> Result<f64> {
        let mut buffer = vec![7; HEADROOM + size];
        let data = buffer.get_mut(HEADROOM..).unwrap_or_default();
        protected_warm(frames, || self.seal(data).map(drop))
    }

    fn unprotect(&mut self, size: usize, frames: u32) -> Result<f64> {
        let first = self.counter + 1;
        let mut sealed = Vec::new();
        // Sealing needs the key that opening borrows, so every frame is there before.
        let batch = (super::BATCH / size.max(1)).clamp(1, super::MOST);
        for _ in 0..batch {
            let mut wire = AAD.to_vec();
            wire.resize(AAD.len() + size, 7);
            let tag = self.seal(wire.get_mut(AAD.len()..).unwrap_or_default())?;
            wire.extend_from_slice(&tag);
            sealed.push(wire);
        }
        let mut next = 0;
        opened_in_batches(
            size,
            frames,
            || {
                let index = next % batch;
                next += 1;
                let wire = sealed.get(index).cloned().unwrap_or_default();
                Ok((nonce(first + index as u64), wire))
            },
            |(nonce, wire)| {
                let sealed = wire.get_mut(AAD.len()..).unwrap_or_default();
                Self::open(&self.cipher, *nonce, sealed)
            },
        )
    }
}
