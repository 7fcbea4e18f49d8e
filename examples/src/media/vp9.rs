//! The few bits of a VP9 frame of profile 0 that a file format needs (the uncompressed header of the VP9
//! bitstream specification, section 6.2).

use super::vp8::PictureSize;

/// Frame marker 2, profile 0, in the first byte.
const PROFILE_0: u8 = 0b1000_0000;

/// Whether the frame is a keyframe: it is no repetition of an earlier one, and its type is 0. An empty frame is none.
pub fn is_keyframe(frame: &[u8]) -> bool {
    frame.first().is_some_and(|first| first & 0b1111_1100 == PROFILE_0)
}

/// The size of the picture if the frame is a keyframe with a sound header: the frame's first byte, the sync
/// code 49 83 42, three bits of colour space and one of range, then width and height less one in 16 bits each.
pub fn picture_size(frame: &[u8]) -> Option<PictureSize> {
    let [_, 0x49, 0x83, 0x42, rest @ ..] = frame.first_chunk::<9>()? else {
        return None;
    };
    let bits = rest.iter().fold(0_u64, |bits, byte| bits << 8 | u64::from(*byte));
    // RGB, colour space 7, has another layout and is not of profile 0.
    let is_rgb = bits >> 37 == 7;
    let field = |shift: u32| u16::try_from((bits >> shift & 0xffff) + 1).ok();
    let size = PictureSize { width: field(20)?, height: field(4)? };
    (is_keyframe(frame) && !is_rgb).then_some(size)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_a_keyframe_header() {
        // 640 by 360, shown, colour space 1, studio range.
        let frame = [0x82, 0x49, 0x83, 0x42, 0x20, 0x27, 0xf0, 0x16, 0x70, 0x00];
        assert!(is_keyframe(&frame));
        let size = picture_size(&frame).unwrap();
        assert_eq!((size.width, size.height), (640, 360));
        let mut inter = frame;
        inter[0] |= 0b100;
        assert!(!is_keyframe(&inter) && picture_size(&inter).is_none());
        assert_eq!(picture_size(&frame[..8]), None);
        assert!(!is_keyframe(&[0x8a]), "a repetition");
        assert!(!is_keyframe(&[]));
    }
}
