//! Writes what was received of one track to a file that plays.

use std::fs::File;
use std::io::BufWriter;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::ivf::IvfWriter;
use super::opus::{OpusWriter, packet_duration};
use super::{MediaError, vp8, vp9};

/// What became of a video frame that was offered to a recorder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recorded {
    /// It is in the file.
    Written,
    /// It was left out: a frame before it is missing, so that it cannot be decoded. The caller asks
    /// the sender for a keyframe.
    NeedsKeyframe,
}

/// Records a VP8 or VP9 track. The file starts at a keyframe, and after a gap it goes on at a keyframe, so
/// that a decoder meets no frame whose reference is missing. The file is made with the first
/// keyframe.
#[derive(Debug)]
pub struct VideoRecorder {
    path: PathBuf,
    is_vp9: bool,
    writer: Option<IvfWriter<BufWriter<File>>>,
    clock: RtpClock,
    in_step: bool,
    last_timestamp: Option<u64>,
}

impl VideoRecorder {
    /// A recorder of VP8 to this file, which is overwritten.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            is_vp9: false,
            writer: None,
            clock: RtpClock::default(),
            in_step: false,
            last_timestamp: None,
        }
    }

    /// The same for VP9.
    pub fn vp9(path: impl Into<PathBuf>) -> Self {
        Self { is_vp9: true, ..Self::new(path) }
    }

    /// Where the recording goes.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// How many frames are in the file.
    pub fn frames(&self) -> u32 {
        self.writer.as_ref().map_or(0, IvfWriter::frames)
    }

    /// Offers a frame. `timestamp` is RTP's, of 90 kHz; `continuous` says that the frame follows
    /// the one offered before without a gap.
    ///
    /// # Errors
    ///
    /// [`MediaError`] if the file cannot be written.
    pub fn write(
        &mut self,
        frame: &[u8],
        timestamp: u32,
        continuous: bool,
    ) -> Result<Recorded, MediaError> {
        let (keyframe, size, code) = if self.is_vp9 {
            (vp9::is_keyframe(frame), vp9::picture_size(frame), *b"VP90")
        } else {
            (vp8::is_keyframe(frame), vp8::picture_size(frame), *b"VP80")
        };
        if keyframe {
            self.in_step = true;
        } else if !continuous {
            self.in_step = false;
        }
        if !self.in_step {
            return Ok(Recorded::NeedsKeyframe);
        }
        let writer = match &mut self.writer {
            Some(writer) => writer,
            None => {
                let Some(size) = size else {
                    self.in_step = false;
                    return Ok(Recorded::NeedsKeyframe);
                };
                let file = BufWriter::new(File::create(&self.path)?);
                self.writer.insert(IvfWriter::of_codec(file, code, size)?)
            }
        };
        // Players take two frames of one instant for a damaged file.
        let mut timestamp = self.clock.extend(timestamp);
        if let Some(last) = self.last_timestamp {
            timestamp = timestamp.max(last + 1);
        }
        self.last_timestamp = Some(timestamp);
        writer.write(frame, timestamp)?;
        Ok(Recorded::Written)
    }

    /// Completes the file. Returns its path, or nothing if no keyframe ever came.
    ///
    /// # Errors
    ///
    /// [`MediaError`] if the file cannot be completed.
    pub fn finish(self) -> Result<Option<PathBuf>, MediaError> {
        let Some(writer) = self.writer else {
            return Ok(None);
        };
        writer.finish()?;
        Ok(Some(self.path))
    }
}

/// Records an Opus track. What was lost is left out and what follows keeps its place in time.
#[derive(Debug)]
pub struct AudioRecorder {
    path: PathBuf,
    writer: Option<OpusWriter<BufWriter<File>>>,
    clock: RtpClock,
    expected: u64,
}

impl AudioRecorder {
    /// A recorder to this file, which is overwritten.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), writer: None, clock: RtpClock::default(), expected: 0 }
    }

    /// Where the recording goes.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// How many packets are in the file.
    pub fn packets(&self) -> u32 {
        self.writer.as_ref().map_or(0, OpusWriter::packets)
    }

    /// Offers a packet with RTP's time stamp, of 48 kHz. One that is older than what was written
    /// is left out.
    ///
    /// # Errors
    ///
    /// [`MediaError`] for what is no Opus packet, or if the file cannot be written.
    pub fn write(&mut self, packet: &[u8], timestamp: u32) -> Result<(), MediaError> {
        let duration = packet_duration(packet)
            .ok_or(MediaError::Damaged { what: "an Opus packet's first byte" })?;
        let samples = u64::try_from(duration.as_micros() * 48 / 1000).unwrap_or(0);
        let writer = match &mut self.writer {
            Some(writer) => writer,
            None => {
                let file = BufWriter::new(File::create(&self.path)?);
                // The stream's number has to be unique within its file only, and it is alone there.
                self.writer.insert(OpusWriter::new(file, 1, 1)?)
            }
        };
        let timestamp = self.clock.extend(timestamp);
        let Some(missing) = timestamp.checked_sub(self.expected) else {
            return Ok(());
        };
        if missing > 0 {
            writer.skip(Duration::from_micros(missing.saturating_mul(1000) / 48))?;
        }
        writer.write(packet)?;
        self.expected = timestamp + samples;
        Ok(())
    }

    /// Completes the file. Returns its path, or nothing if no packet ever came.
    ///
    /// # Errors
    ///
    /// [`MediaError`] if the file cannot be completed.
    pub fn finish(self) -> Result<Option<PathBuf>, MediaError> {
        let Some(writer) = self.writer else {
            return Ok(None);
        };
        writer.finish()?;
        Ok(Some(self.path))
    }
}

/// Unrolls RTP's 32-bit time stamps into ticks since the first one.
#[derive(Debug, Default)]
struct RtpClock {
    last: Option<(u32, u64)>,
}

impl RtpClock {
    /// Ticks since the first stamp; stamps before the first count as it.
    fn extend(&mut self, timestamp: u32) -> u64 {
        let ticks = match self.last {
            None => 0,
            // A step of more than half the circle is a step back.
            Some((stamp, ticks)) => {
                let step = timestamp.wrapping_sub(stamp).cast_signed();
                ticks.saturating_add_signed(i64::from(step))
            }
        };
        self.last = Some((timestamp, ticks));
        ticks
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::{CLIP_AUDIO, CLIP_VIDEO, ivf, opus};
    use std::io::Cursor;

    fn scratch(name: &str) -> PathBuf {
        let directory =
            std::env::temp_dir().join(format!("framelock-recorder-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        directory.join(name)
    }

    #[test]
    fn starts_at_a_keyframe_and_skips_what_cannot_be_decoded() {
        let clip = ivf::read(CLIP_VIDEO).unwrap();
        let path = scratch("video.ivf");
        let mut recorder = VideoRecorder::new(&path);
        let mut written = 0;
        // Starts within a group of pictures, close to the wrap of the time stamp, and loses frame 30.
        for (index, frame) in clip.frames().iter().enumerate().skip(5).take(60) {
            if index == 30 {
                continue;
            }
            let timestamp = u32::MAX.wrapping_add(index as u32 * 3600).wrapping_sub(40 * 3600);
            let outcome =
                recorder.write(&frame.data, timestamp, index != 5 && index != 31).unwrap();
            let decodable = (12..30).contains(&index) || index >= 36;
            assert_eq!(outcome == Recorded::Written, decodable, "frame {index}");
            written += u32::from(decodable);
        }
        assert_eq!(recorder.frames(), written);
        assert_eq!(recorder.finish().unwrap(), Some(path.clone()));
        let recorded = ivf::read(File::open(&path).unwrap()).unwrap();
        assert_eq!(recorded.frames().len(), written as usize);
        assert_eq!(recorded.frames()[0].data, clip.frames()[12].data);
        // The gap of 6 frames stays a gap in time.
        assert_eq!(recorded.frames()[17].duration, Duration::from_millis(7 * 40));
        std::fs::remove_file(path).unwrap();
    }

    #[test]
    fn audio_keeps_its_place_in_time() {
        let clip = opus::read(Cursor::new(CLIP_AUDIO)).unwrap();
        let path = scratch("audio.ogg");
        let mut recorder = AudioRecorder::new(&path);
        for (index, frame) in clip.frames().iter().enumerate().take(50) {
            if index != 20 {
                recorder.write(&frame.data, index as u32 * 960).unwrap();
            }
        }
        // A packet that comes late is not played out of order.
        recorder.write(&clip.frames()[20].data, 20 * 960).unwrap();
        assert_eq!(recorder.packets(), 49);
        recorder.finish().unwrap();
        let recorded = opus::read(File::open(&path).unwrap()).unwrap();
        assert_eq!(recorded.frames().len(), 49);
        std::fs::remove_file(path).unwrap();
    }

    #[test]
    fn without_a_keyframe_there_is_no_file() {
        let path = scratch("nothing.ivf");
        let mut recorder = VideoRecorder::new(&path);
        assert_eq!(recorder.write(&[1, 2, 3], 0, true).unwrap(), Recorded::NeedsKeyframe);
        // Claims to be a keyframe but has no picture header.
        assert_eq!(recorder.write(&[0, 2, 3], 0, true).unwrap(), Recorded::NeedsKeyframe);
        assert_eq!(recorder.finish().unwrap(), None);
        assert!(!path.exists());
    }
}
