//! VP8 frames with one byte in the clear.
//!
//! The first byte of a VP8 frame tells keyframes from others (RFC 7741 section 4.3), and browsers
//! and SFUs read it. Exactly this byte stays in the clear, before the SFrame ciphertext, and is
//! authenticated as SFrame metadata. Everything else is encrypted.

use crate::error::{ReceiveError, SendError};
use crate::header::HeaderError;
use crate::receiver::{Opened, Receiver};
use crate::sender::{HEADROOM, Sender};
use crate::time::Now;
use core::ops::Range;

/// Bytes of a VP8 frame that stay in the clear.
pub const CLEAR_LENGTH: usize = 1;

/// Whether a VP8 frame, protected or not, is a keyframe. `None` for an empty frame.
///
/// In a protected frame nothing has authenticated the answer before the frame is opened.
pub fn is_keyframe(frame: &[u8]) -> Option<bool> {
    frame.first().map(|first| first & 1 == 0)
}

/// Protects a VP8 frame and appends the result to `out`: the clear byte, then the SFrame
/// ciphertext. Returns where it stands.
///
/// # Errors
///
/// [`SendError`]; `out` is then as it was.
pub fn protect_into(
    sender: &mut Sender,
    frame: &[u8],
    out: &mut Vec<u8>,
) -> Result<Range<usize>, SendError> {
    let (clear, secret) = frame.split_at_checked(CLEAR_LENGTH).ok_or(SendError::EmptyFrame)?;
    let start = out.len();
    out.extend_from_slice(clear);
    match sender.protect_into(secret, clear, out) {
        Ok(sealed) => Ok(start..sealed.end),
        Err(error) => {
            out.truncate(start);
            Err(error)
        }
    }
}

/// Protects a VP8 frame in place: as [`Sender::protect_in_place`], with the clear byte moved to
/// the front of the result.
///
/// # Errors
///
/// [`SendError`]; the caller then sends nothing of this frame.
pub fn protect_in_place(
    sender: &mut Sender,
    buffer: &mut [u8],
    frame: Range<usize>,
) -> Result<Range<usize>, SendError> {
    if frame.is_empty() {
        return Err(SendError::EmptyFrame);
    }
    if frame.start < HEADROOM {
        return Err(SendError::NoHeadroom { expected: HEADROOM, found: frame.start });
    }
    let outside = SendError::RangeOutside { length: buffer.len() };
    let clear = *buffer.get(frame.start).ok_or(outside)?;
    let secret = frame.start + CLEAR_LENGTH..frame.end;
    let sealed = sender.protect_in_place(buffer, secret, &[clear])?;
    let start = sealed.start.checked_sub(CLEAR_LENGTH).ok_or(outside)?;
    *buffer.get_mut(start).ok_or(outside)? = clear;
    Ok(start..sealed.end)
}

/// Opens a protected VP8 frame in place. [`Opened::plain`] covers the whole VP8 frame, its clear
/// byte included.
///
/// # Errors
///
/// [`ReceiveError`], as for [`Receiver::unprotect_in_place`].
pub fn unprotect_in_place(
    receiver: &mut Receiver,
    frame: &mut [u8],
    now: Now,
) -> Result<Opened, ReceiveError> {
    let empty = HeaderError::Truncated { expected: CLEAR_LENGTH + 1, found: frame.len() };
    let Some((&mut clear, sealed)) = frame.split_first_mut() else {
        return Err(empty.into());
    };
    let opened = receiver.unprotect_in_place(sealed, &[clear], now)?;
    // The plaintext stands after the header, which has at least one byte: the clear byte fits
    // right before it.
    let start = opened.plain.start;
    if let Some(place) = frame.get_mut(start) {
        *place = clear;
    }
    Ok(Opened { plain: start..opened.plain.end + CLEAR_LENGTH, sender: opened.sender })
}
