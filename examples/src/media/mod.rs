//! Encoded media in files: VP8 and VP9 in IVF and Opus in Ogg, sources that play them and recorders that
//! write what was received.
//!
//! Nothing here decodes. A frame is opaque but for the few bits a container needs: whether a video
//! frame is a keyframe and how large its picture is, and how long an Opus packet lasts.

pub mod ivf;
pub mod opus;
pub mod recorder;
pub mod source;
pub mod vp8;
pub mod vp9;

use std::time::Duration;

use bytes::Bytes;

/// The bundled clip's picture: VP8, 320 by 180, 25 frames a second, ten seconds.
pub const CLIP_VIDEO: &[u8] = include_bytes!("../../media/clip.ivf");

/// The bundled clip's sound: Opus, one channel, packets of 20 ms, ten seconds.
pub const CLIP_AUDIO: &[u8] = include_bytes!("../../media/clip.ogg");

/// The largest frame that is read from a file, in bytes. A file that announces more is refused
/// before anything is allocated.
pub const MAX_FRAME: usize = 4 << 20;

/// The most frames that are read from a file: an hour of video at 30 frames a second fits twice.
pub const MAX_FRAMES: usize = 216_000;

/// One encoded frame of a clip.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EncodedFrame {
    /// The frame as the encoder made it.
    pub data: Bytes,
    /// How long the frame is shown or heard.
    pub duration: Duration,
    /// Whether decoding can start here. Every Opus packet says yes.
    pub keyframe: bool,
}

/// A file's frames in order. Never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Clip {
    frames: Vec<EncodedFrame>,
}

impl Clip {
    /// A clip of these frames.
    ///
    /// # Errors
    ///
    /// [`MediaError::Empty`] without any frame, [`MediaError::NoKeyframe`] if decoding can start
    /// at none of them, and [`MediaError::NoDuration`] if they all last no time.
    pub fn new(frames: Vec<EncodedFrame>) -> Result<Self, MediaError> {
        if frames.is_empty() {
            return Err(MediaError::Empty);
        }
        if !frames.iter().any(|frame| frame.keyframe) {
            return Err(MediaError::NoKeyframe);
        }
        if frames.iter().all(|frame| frame.duration.is_zero()) {
            return Err(MediaError::NoDuration);
        }
        Ok(Self { frames })
    }

    /// The frames in order.
    pub fn frames(&self) -> &[EncodedFrame] {
        &self.frames
    }

    /// How long the clip plays.
    pub fn duration(&self) -> Duration {
        self.frames.iter().map(|frame| frame.duration).sum()
    }
}

/// Why a media file could not be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MediaError {
    /// The file could not be read or written.
    #[error("the media file could not be read or written: {0}")]
    Io(#[from] std::io::Error),
    /// The file is not what its place asks for.
    #[error("expected {expected}, found something else")]
    WrongFormat {
        /// What was expected.
        expected: &'static str,
    },
    /// The file ends within a frame, or a header contradicts itself.
    #[error("the media file is damaged: {what}")]
    Damaged {
        /// Which part.
        what: &'static str,
    },
    /// A frame announces more bytes than [`MAX_FRAME`].
    #[error("a frame of {size} bytes is longer than the {MAX_FRAME} that are allowed")]
    FrameTooLarge {
        /// The announced size in bytes.
        size: usize,
    },
    /// The file holds more frames than [`MAX_FRAMES`].
    #[error("the media file holds more than {MAX_FRAMES} frames")]
    TooManyFrames,
    /// The file holds no frame.
    #[error("the media file holds no frame")]
    Empty,
    /// The video holds no keyframe, so that nobody could start to watch it.
    #[error("the video holds no keyframe")]
    NoKeyframe,
    /// The frames last no time, so that they cannot be paced.
    #[error("the media file's frames last no time")]
    NoDuration,
}
