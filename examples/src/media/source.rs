//! A source that plays a clip in a loop and answers a keyframe request by jumping ahead.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::Clip;

/// A frame that is due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceFrame {
    /// The encoded frame.
    pub data: Bytes,
    /// When it is to be sent, counted from the start of playing. It never goes backwards, and no
    /// two frames share it unless the clip has frames without duration.
    pub at: Duration,
    /// How long the frame lasts.
    pub duration: Duration,
    /// Whether decoding can start here.
    pub keyframe: bool,
}

/// Plays a clip from a given frame on, over and over. It holds no clock: the caller sleeps until
/// [`FileSource::due`] and then takes the frame.
#[derive(Clone, Debug)]
pub struct FileSource {
    clip: Arc<Clip>,
    position: usize,
    due: Duration,
}

impl FileSource {
    /// Starts with the first keyframe at or after frame `first`, counted round the loop.
    pub fn new(clip: Arc<Clip>, first: usize) -> Self {
        let position = first % clip.frames().len().max(1);
        let mut source = Self { clip, position, due: Duration::ZERO };
        source.request_keyframe();
        source
    }

    /// When the next frame is to be sent, counted from the start of playing.
    pub fn due(&self) -> Duration {
        self.due
    }

    /// Takes the next frame and moves on.
    pub fn take(&mut self) -> Option<SourceFrame> {
        let frame = self.clip.frames().get(self.position)?;
        let taken = SourceFrame {
            data: frame.data.clone(),
            at: self.due,
            duration: frame.duration,
            keyframe: frame.keyframe,
        };
        self.due += frame.duration;
        self.position = (self.position + 1) % self.clip.frames().len().max(1);
        Some(taken)
    }

    /// Makes the next frame a keyframe: jumps to the next one of the clip, round the loop if need
    /// be. The pace stays as it is.
    pub fn request_keyframe(&mut self) {
        let frames = self.clip.frames();
        let ahead = frames
            .iter()
            .cycle()
            .skip(self.position)
            .take(frames.len())
            .position(|frame| frame.keyframe)
            .unwrap_or(0);
        self.position = (self.position + ahead) % frames.len().max(1);
    }

    /// Leaves out what was due before `now`, so that a source that was held up does not catch up
    /// with a burst. Returns whether anything was left out; then the next frame is a keyframe.
    pub fn skip_missed(&mut self, now: Duration) -> bool {
        // Less than a quarter of a second is jitter, which the receiver's own buffering absorbs.
        if now.saturating_sub(self.due) < Duration::from_millis(250) {
            return false;
        }
        self.due = now;
        self.request_keyframe();
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::EncodedFrame;

    fn clip(keyframes: &[usize], length: usize) -> Arc<Clip> {
        let frames = (0..length)
            .map(|index| EncodedFrame {
                data: Bytes::from(vec![index as u8]),
                duration: Duration::from_millis(40),
                keyframe: keyframes.contains(&index),
            })
            .collect();
        Arc::new(Clip::new(frames).unwrap())
    }

    fn indices(source: &mut FileSource, count: usize) -> Vec<u8> {
        (0..count).map(|_| source.take().unwrap().data[0]).collect()
    }

    #[test]
    fn loops_and_keeps_the_pace() {
        let mut source = FileSource::new(clip(&[0, 3], 5), 1);
        assert_eq!(indices(&mut source, 6), [3, 4, 0, 1, 2, 3]);
        assert_eq!(source.due(), Duration::from_millis(240));
    }

    #[test]
    fn jumps_to_the_next_keyframe() {
        let mut source = FileSource::new(clip(&[0, 3], 5), 0);
        assert_eq!(indices(&mut source, 2), [0, 1]);
        source.request_keyframe();
        assert_eq!(source.due(), Duration::from_millis(80));
        let frame = source.take().unwrap();
        assert!(frame.keyframe);
        assert_eq!((frame.data[0], frame.at), (3, Duration::from_millis(80)));
        source.request_keyframe();
        assert_eq!(indices(&mut source, 2), [0, 1]);
        // At a keyframe already: a request changes nothing.
        let mut source = FileSource::new(clip(&[0, 3], 5), 0);
        source.request_keyframe();
        assert_eq!(indices(&mut source, 1), [0]);
    }

    #[test]
    fn does_not_catch_up_with_a_burst() {
        let mut source = FileSource::new(clip(&[0, 3], 5), 0);
        assert_eq!(indices(&mut source, 1), [0]);
        assert!(!source.skip_missed(Duration::from_millis(200)));
        assert!(source.skip_missed(Duration::from_secs(2)));
        let frame = source.take().unwrap();
        assert!(frame.keyframe);
        assert_eq!(frame.at, Duration::from_secs(2));
    }
}
