//! VP8 in IVF files: a header of 32 bytes, then each frame behind a header of 12.

use std::io::{Read, Seek, SeekFrom, Write};
use std::time::Duration;

use bytes::Bytes;

use super::vp8::{self, PictureSize};
use super::{Clip, EncodedFrame, MAX_FRAME, MAX_FRAMES, MediaError};

const FILE_HEADER: usize = 32;
const FRAME_HEADER: usize = 12;
const FRAME_COUNT_OFFSET: u64 = 24;

/// What a frame lasts when the file does not say: the last frame, and frames out of order.
const DEFAULT_DURATION: Duration = Duration::from_millis(40);

/// Reads a whole file.
///
/// # Errors
///
/// [`MediaError`] if the file is not VP8 in IVF, is damaged, too large or holds nothing to play.
pub fn read(mut file: impl Read) -> Result<Clip, MediaError> {
    let mut header = [0; FILE_HEADER];
    file.read_exact(&mut header)
        .map_err(|_| MediaError::WrongFormat { expected: "an IVF file" })?;
    let [
        b'D',
        b'K',
        b'I',
        b'F',
        _,
        _,
        h0,
        h1,
        c0,
        c1,
        c2,
        c3,
        _,
        _,
        _,
        _,
        d0,
        d1,
        d2,
        d3,
        n0,
        n1,
        n2,
        n3,
        ..,
    ] = header
    else {
        return Err(MediaError::WrongFormat { expected: "an IVF file" });
    };
    if [c0, c1, c2, c3] != *b"VP80" {
        return Err(MediaError::WrongFormat { expected: "VP8 video" });
    }
    let denominator = u32::from_le_bytes([d0, d1, d2, d3]);
    let numerator = u32::from_le_bytes([n0, n1, n2, n3]);
    if denominator == 0 || numerator == 0 {
        return Err(MediaError::Damaged { what: "the time base is zero" });
    }
    let surplus = usize::from(u16::from_le_bytes([h0, h1]))
        .checked_sub(FILE_HEADER)
        .ok_or(MediaError::Damaged { what: "the file header is too short" })?;
    skip(&mut file, surplus)?;

    let tick = |ticks: u64| {
        Duration::from_secs_f64(
            ticks.min(1 << 40) as f64 * f64::from(numerator) / f64::from(denominator),
        )
    };
    let mut stamped: Vec<Stamped> = Vec::new();
    while let Some(frame) = read_frame(&mut file)? {
        if stamped.len() == MAX_FRAMES {
            return Err(MediaError::TooManyFrames);
        }
        stamped.push(frame);
    }
    let mut usual = DEFAULT_DURATION;
    let frames = stamped
        .iter()
        .enumerate()
        .map(|(index, frame)| {
            let following = stamped.get(index + 1).map(|next| next.timestamp);
            if let Some(ticks) = following.and_then(|next| next.checked_sub(frame.timestamp)) {
                // A pause of a minute in a file is a damaged time stamp rather than a still picture.
                usual = tick(ticks).min(Duration::from_secs(60));
            }
            EncodedFrame {
                keyframe: vp8::is_keyframe(&frame.data),
                data: frame.data.clone(),
                duration: usual,
            }
        })
        .collect();
    Clip::new(frames)
}

struct Stamped {
    timestamp: u64,
    data: Bytes,
}

fn read_frame(file: &mut impl Read) -> Result<Option<Stamped>, MediaError> {
    let mut header = Vec::with_capacity(FRAME_HEADER);
    file.by_ref().take(FRAME_HEADER as u64).read_to_end(&mut header)?;
    if header.is_empty() {
        return Ok(None);
    }
    let (Some(size), Some(timestamp)) = (
        header.first_chunk::<4>().map(|bytes| u32::from_le_bytes(*bytes)),
        header
            .get(4..)
            .and_then(|rest| rest.first_chunk::<8>())
            .map(|bytes| u64::from_le_bytes(*bytes)),
    ) else {
        return Err(MediaError::Damaged { what: "a frame header is cut off" });
    };
    let size = usize::try_from(size).unwrap_or(usize::MAX);
    if size > MAX_FRAME {
        return Err(MediaError::FrameTooLarge { size });
    }
    let mut data = Vec::with_capacity(size);
    file.by_ref().take(size as u64).read_to_end(&mut data)?;
    if data.len() != size {
        return Err(MediaError::Damaged { what: "a frame is cut off" });
    }
    Ok(Some(Stamped { timestamp, data: data.into() }))
}

fn skip(file: &mut impl Read, count: usize) -> Result<(), MediaError> {
    let skipped = std::io::copy(&mut file.by_ref().take(count as u64), &mut std::io::sink())?;
    if skipped != count as u64 {
        return Err(MediaError::Damaged { what: "the file header is cut off" });
    }
    Ok(())
}

/// Writes VP8 or VP9 frames to an IVF file whose clock ticks 90,000 times a second, as RTP's does.
///
/// The file is playable at every moment; [`IvfWriter::finish`] adds the number of frames.
#[derive(Debug)]
pub struct IvfWriter<W: Write + Seek> {
    file: W,
    frames: u32,
}

impl<W: Write + Seek> IvfWriter<W> {
    /// Starts a file of VP8 for pictures of this size.
    ///
    /// # Errors
    ///
    /// [`MediaError::Io`] if the header cannot be written.
    pub fn new(file: W, size: PictureSize) -> Result<Self, MediaError> {
        Self::of_codec(file, *b"VP80", size)
    }

    /// Starts a file of the codec with this four-character code.
    ///
    /// # Errors
    ///
    /// [`MediaError::Io`] if the header cannot be written.
    pub fn of_codec(mut file: W, code: [u8; 4], size: PictureSize) -> Result<Self, MediaError> {
        let mut header = Vec::with_capacity(FILE_HEADER);
        header.extend_from_slice(b"DKIF\0\0");
        header.extend_from_slice(&(FILE_HEADER as u16).to_le_bytes());
        header.extend_from_slice(&code);
        header.extend_from_slice(&size.width.to_le_bytes());
        header.extend_from_slice(&size.height.to_le_bytes());
        header.extend_from_slice(&90_000_u32.to_le_bytes());
        header.extend_from_slice(&1_u32.to_le_bytes());
        header.extend_from_slice(&[0; 8]);
        file.write_all(&header)?;
        Ok(Self { file, frames: 0 })
    }

    /// Adds a frame to be shown at `timestamp`, in ticks of 1/90,000 s from the file's start.
    ///
    /// # Errors
    ///
    /// [`MediaError::FrameTooLarge`] above [`MAX_FRAME`], [`MediaError::Io`] if it cannot be written.
    pub fn write(&mut self, frame: &[u8], timestamp: u64) -> Result<(), MediaError> {
        let size = u32::try_from(frame.len())
            .ok()
            .filter(|_| frame.len() <= MAX_FRAME)
            .ok_or(MediaError::FrameTooLarge { size: frame.len() })?;
        let mut header = Vec::with_capacity(FRAME_HEADER);
        header.extend_from_slice(&size.to_le_bytes());
        header.extend_from_slice(&timestamp.to_le_bytes());
        self.file.write_all(&header)?;
        self.file.write_all(frame)?;
        self.frames = self.frames.saturating_add(1);
        Ok(())
    }

    /// How many frames were written.
    pub fn frames(&self) -> u32 {
        self.frames
    }

    /// Writes the number of frames into the header and flushes the file.
    ///
    /// # Errors
    ///
    /// [`MediaError::Io`] if that cannot be written.
    pub fn finish(mut self) -> Result<W, MediaError> {
        self.file.seek(SeekFrom::Start(FRAME_COUNT_OFFSET))?;
        self.file.write_all(&self.frames.to_le_bytes())?;
        self.file.seek(SeekFrom::End(0))?;
        self.file.flush()?;
        Ok(self.file)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::CLIP_VIDEO;
    use std::io::Cursor;

    #[test]
    fn reads_the_bundled_clip() {
        let clip = read(CLIP_VIDEO).unwrap();
        assert_eq!(clip.frames().len(), 250);
        assert!((clip.duration().as_secs_f64() - 10.0).abs() < 1e-6);
        let mut since_keyframe = Duration::ZERO;
        for frame in clip.frames() {
            if frame.keyframe {
                since_keyframe = Duration::ZERO;
            }
            since_keyframe += frame.duration;
            assert!(since_keyframe <= Duration::from_millis(500));
        }
    }

    #[test]
    fn writes_what_it_reads() {
        let clip = read(CLIP_VIDEO).unwrap();
        let size = vp8::picture_size(&clip.frames()[0].data).unwrap();
        let mut writer = IvfWriter::new(Cursor::new(Vec::new()), size).unwrap();
        for (index, frame) in clip.frames().iter().enumerate() {
            writer.write(&frame.data, index as u64 * 3600).unwrap();
        }
        assert_eq!(writer.frames(), 250);
        let bytes = writer.finish().unwrap().into_inner();
        assert_eq!(read(bytes.as_slice()).unwrap(), clip);
    }

    #[test]
    fn refuses_damaged_files() {
        assert!(matches!(read(&b"RIFF"[..]), Err(MediaError::WrongFormat { .. })));
        assert!(matches!(read(&CLIP_VIDEO[..32]), Err(MediaError::Empty)));
        assert!(matches!(read(&CLIP_VIDEO[..40]), Err(MediaError::Damaged { .. })));
        assert!(matches!(read(&CLIP_VIDEO[..400]), Err(MediaError::Damaged { .. })));
        let mut huge = CLIP_VIDEO[..100].to_vec();
        huge[32..36].copy_from_slice(&u32::MAX.to_le_bytes());
        assert!(matches!(read(huge.as_slice()), Err(MediaError::FrameTooLarge { .. })));
        let mut other = CLIP_VIDEO.to_vec();
        other[8..12].copy_from_slice(b"AV01");
        assert!(matches!(read(other.as_slice()), Err(MediaError::WrongFormat { .. })));
    }
}
