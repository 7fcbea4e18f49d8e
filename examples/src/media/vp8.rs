//! The few bits of a VP8 frame that a file format needs (RFC 6386, section 9.1).

/// What a keyframe's header says of the picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PictureSize {
    /// Width in pixels.
    pub width: u16,
    /// Height in pixels.
    pub height: u16,
}

/// Whether the frame is a keyframe: the lowest bit of its first byte is clear. An empty frame is
/// none.
pub fn is_keyframe(frame: &[u8]) -> bool {
    frame.first().is_some_and(|first| first & 1 == 0)
}

/// The size of the picture if the frame is a keyframe with a sound header: three bytes of frame
/// tag, the start code 9d 01 2a, then width and height in 14 bits each, little-endian.
pub fn picture_size(frame: &[u8]) -> Option<PictureSize> {
    let header = frame.first_chunk::<10>()?;
    let [tag, _, _, 0x9d, 0x01, 0x2a, w0, w1, h0, h1] = *header else {
        return None;
    };
    (tag & 1 == 0).then_some(PictureSize {
        width: u16::from_le_bytes([w0, w1]) & 0x3fff,
        height: u16::from_le_bytes([h0, h1]) & 0x3fff,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_a_keyframe_header() {
        let frame = [0x10, 0, 0, 0x9d, 0x01, 0x2a, 0x40, 0x41, 0xb4, 0x80, 7];
        let size = picture_size(&frame).unwrap();
        assert_eq!((size.width, size.height), (320, 180));
        assert!(is_keyframe(&frame));
        let mut inter = frame;
        inter[0] |= 1;
        assert!(!is_keyframe(&inter));
        assert_eq!(picture_size(&inter), None);
        assert_eq!(picture_size(&frame[..9]), None);
        assert!(!is_keyframe(&[]));
    }
}
