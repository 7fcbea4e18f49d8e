//! Encoded frames on their way through packetizers and SFUs that look into the payload.
//!
//! With the SFrame RTP payload format nothing of a frame needs to stay readable: give whole frames to
//! [`Sender`] and [`Receiver`]. Browsers, and SFUs built for them, packetize by codec instead, and
//! so some bytes must look like the codec's. [`Codec`] leaves exactly those in the clear, and
//! authenticates them as SFrame metadata:
//!
//! | Codec | In the clear | Why |
//! |---|---|---|
//! | Opus, VP9 | nothing | their payload descriptors are written from the encoder's own report |
//! | VP8 | the first byte | its lowest bit tells keyframes from others (RFC 7741 section 4.3) |
//! | H.264 | copies of SPS and PPS, the first slice's NAL header and its slice header up to the PPS identifier | packetizers cut at start codes, receivers follow the parameter sets (RFC 6184) |
//! | AV1 | a copy of the sequence header, the header and length of one OBU | packetizers cut at OBUs (AV1 RTP payload format, section 4) |
//!
//! Of H.264 and AV1 the *whole* frame is encrypted, as one SFrame ciphertext; the clear bytes are a copy, put before it so that
//! the result is a well-formed access unit or temporal unit with one slice NAL or one frame OBU. The receiver takes
//! the decrypted frame, bit by bit as it was, and the copy only has to be authentic. One ciphertext for a frame, and not one for
//! each NAL or OBU, keeps the tag and the counter to one, hides how the frame is divided, and lets nobody mix the slices of different frames.
//!
//! ```
//! use sframe_bridge::{BaseKey, CallKeys, CallKeysConfig, CipherSuite, Epoch, Now, TrackId, codec::Codec, crypto};
//!
//! # let suite = crypto::default_provider().suite(CipherSuite::Aes128GcmSha256_128).unwrap();
//! # let (now, exported) = (Now::from_millis(0), || BaseKey::new(vec![7; 16]));
//! # let mut alice = CallKeys::new(CallKeysConfig::new(suite));
//! # alice.install_epoch(Epoch::new(1, exported(), 0, vec![0, 1]), now)?;
//! # let mut bob = CallKeys::new(CallKeysConfig::new(suite));
//! # bob.install_epoch(Epoch::new(1, exported(), 1, vec![0, 1]), now)?;
//! // An access unit of one IDR slice, without its parameter sets for brevity.
//! let frame = [0, 0, 0, 1, 0x65, 0x88, 0x84, 0x00, 0x33, 0xff];
//! let (mut wire, mut plain) = (Vec::new(), Vec::new());
//! Codec::H264.protect_into(&mut alice.sender(TrackId(1))?, &frame, &mut wire)?;
//! assert_eq!(wire[..7], frame[..7]);
//!
//! let opened = Codec::H264.unprotect_into(bob.receiver(), &wire, &mut plain, now)?;
//! assert_eq!(plain[opened.plain], frame);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod av1;
mod h264;

use crate::error::{ReceiveError, SendError};
use crate::receiver::{MAX_METADATA_LENGTH, Opened, Receiver};
use crate::sender::Sender;
use crate::time::Now;
use crate::vp8;
use core::ops::Range;
use thiserror::Error;

/// A codec whose frames a packetizer may look into.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum Codec {
    /// Opus (RFC 7587).
    Opus,
    /// VP8 (RFC 7741).
    Vp8,
    /// VP9 (RFC 9628).
    Vp9,
    /// H.264 in Annex B byte-stream format, an access unit at a time (RFC 6184).
    H264,
    /// AV1 in low-overhead bitstream format, a temporal unit or one layer of it at a time.
    Av1,
}

/// Why bytes are not a frame of the codec.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
#[non_exhaustive]
pub enum CodecError {
    /// The frame does not begin with a start code of H.264's byte-stream format.
    #[error("expected a start code at the front of the access unit")]
    NoStartCode,
    /// There is no slice, or no frame OBU, to carry the ciphertext.
    #[error("expected a coded slice or a frame OBU")]
    NoPicture,
    /// The slice header does not hold its first three fields.
    #[error("expected a slice header with its first three fields")]
    SliceHeader,
    /// An OBU's header or length does not fit in the frame.
    #[error("expected OBUs that fill the frame")]
    Obu,
    /// Something follows the unit that carries the ciphertext.
    #[error("expected the ciphertext in the last unit of the frame")]
    NotLast,
    /// The unit that carries the ciphertext does not end as it must.
    #[error("expected a stop byte after the ciphertext")]
    NoStopByte,
    /// The bytes in the clear do not fit in the metadata.
    #[error("expected at most {limit} bytes in the clear, found {found}")]
    TooMuchInTheClear {
        /// The maximum.
        limit: usize,
        /// Their number.
        found: usize,
    },
}

/// What a sender or receiver keeps from frame to frame, so that H.264 and AV1 allocate nothing.
#[derive(Default)]
pub(crate) struct EnvelopeRoom {
    /// The clear bytes in the one spelling that is authenticated, as packetizers may respell
    /// start codes and lengths.
    clear: Vec<u8>,
    /// The ciphertext before it takes the codec's transport form.
    sealed: Vec<u8>,
}

impl Codec {
    /// Protects a frame and appends the result to `out`. Returns where it stands.
    ///
    /// # Errors
    ///
    /// [`SendError`]; `out` is then as it was.
    pub fn protect_into(
        self,
        sender: &mut Sender,
        frame: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<Range<usize>, SendError> {
        let start = out.len();
        let result = match self {
            Self::Opus | Self::Vp9 => sender.protect_into(frame, b"", out).map(|_| ()),
            Self::Vp8 => vp8::protect_into(sender, frame, out).map(|_| ()),
            Self::H264 | Self::Av1 => {
                let mut room = core::mem::take(&mut sender.room);
                let result = self.enclose(sender, frame, &mut room, out);
                sender.room = room;
                result
            }
        };
        match result {
            Ok(()) => Ok(start..out.len()),
            Err(error) => {
                out.truncate(start);
                Err(error)
            }
        }
    }

    /// Appends the clear bytes and, as the codec carries it, the ciphertext.
    fn enclose(
        self,
        sender: &mut Sender,
        frame: &[u8],
        room: &mut EnvelopeRoom,
        out: &mut Vec<u8>,
    ) -> Result<(), SendError> {
        let EnvelopeRoom { clear, sealed } = room;
        clear.clear();
        sealed.clear();
        match self {
            Self::H264 => h264::append_clear(frame, clear)?,
            _ => av1::append_clear(frame, clear)?,
        }
        sender.protect_into(frame, clear, sealed)?;
        out.extend_from_slice(clear);
        match self {
            Self::H264 => h264::append_carried(sealed, out),
            _ => av1::append_carried(sealed, out),
        }
        Ok(())
    }

    /// Opens a protected frame into `plain`, whose content is replaced; [`Opened::plain`] says where in it the
    /// frame stands, bit by bit as it was protected. `frame` stays as it is, so that it can wait for its epoch.
    ///
    /// # Errors
    ///
    /// As [`Receiver::unprotect_in_place`], and [`ReceiveError::Codec`]. The content of `plain` is then unspecified.
    pub fn unprotect_into(
        self,
        receiver: &mut Receiver,
        frame: &[u8],
        plain: &mut Vec<u8>,
        now: Now,
    ) -> Result<Opened, ReceiveError> {
        if matches!(self, Self::Opus | Self::Vp9) {
            let sender = receiver.unprotect_into(frame, b"", plain, now)?;
            return Ok(Opened { plain: 0..plain.len(), sender });
        }
        receiver.check_length(frame)?;
        plain.clear();
        if self == Self::Vp8 {
            plain.extend_from_slice(frame);
            return vp8::unprotect_in_place(receiver, plain, now);
        }
        let mut room = core::mem::take(&mut receiver.room);
        let result = match self.take_apart(frame, &mut room.clear, plain) {
            Ok(()) => receiver.unprotect_in_place(plain, &room.clear, now),
            Err(error) => Err(receiver.refuse(error.into())),
        };
        receiver.room = room;
        result
    }

    /// Takes the clear bytes out of a protected frame, and the ciphertext that they carry.
    fn take_apart(
        self,
        frame: &[u8],
        clear: &mut Vec<u8>,
        ciphertext: &mut Vec<u8>,
    ) -> Result<(), CodecError> {
        clear.clear();
        match self {
            Self::H264 => {
                let carried = h264::read_clear(frame, clear)?;
                h264::unescape(frame, carried, ciphertext)
            }
            _ => {
                let carried = av1::read_clear(frame, clear)?;
                ciphertext.extend_from_slice(frame.get(carried).unwrap_or_default());
                Ok(())
            }
        }
    }

    /// Whether a frame, protected or not, is a keyframe, as far as what stays in the clear
    /// tells. `None` where it does not (Opus, VP9), and for malformed frames. Nothing has authenticated the
    /// answer before the frame is opened.
    pub fn is_keyframe(self, frame: &[u8]) -> Option<bool> {
        match self {
            Self::Opus | Self::Vp9 => None,
            Self::Vp8 => vp8::is_keyframe(frame),
            Self::H264 => h264::is_keyframe(frame),
            Self::Av1 => av1::is_keyframe(frame),
        }
    }
}

/// Refuses as many bytes in the clear as could not be authenticated.
const fn check_clear(found: usize) -> Result<(), CodecError> {
    let limit = MAX_METADATA_LENGTH;
    if found > limit { Err(CodecError::TooMuchInTheClear { limit, found }) } else { Ok(()) }
}
