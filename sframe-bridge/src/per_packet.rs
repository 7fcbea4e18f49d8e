//! Per-packet SFrame (T = 1 of draft-ietf-avtcore-rtp-sframe-02): each RTP payload of the codec's
//! packetizer is an SFrame ciphertext of its own.
//!
//! A packet is opened as soon as it comes, whatever was lost around it, and goes on to the codec's
//! depacketizer; no reassembler is needed. The price is a header and a tag in every packet. The
//! packetizer has to leave [`OVERHEAD`] bytes.

use crate::error::{ReceiveError, SendError};
use crate::receiver::{Opened, Receiver};
use crate::rtp_payload::{PayloadError, RtpDescriptor, parse_payload};
use crate::sender::{HEADROOM, Sender};
use crate::time::Now;
use thiserror::Error;

/// The most bytes that protection adds to an RTP payload: descriptor, header and tag.
pub const OVERHEAD: usize = RtpDescriptor::LENGTH + HEADROOM + 16;

const DESCRIPTOR: RtpDescriptor = RtpDescriptor { first: true, last: true, per_packet: true };

/// Why a packet was not opened.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
#[non_exhaustive]
pub enum PacketError {
    /// The RTP payload is not one of SFrame.
    #[error(transparent)]
    Payload(#[from] PayloadError),
    /// The payload is a fragment of a whole frame (T = 0), for a
    /// [`Reassembler`](crate::Reassembler).
    #[error("expected a packet that was encrypted by itself, found a fragment of a frame")]
    PerFrame,
    /// The ciphertext was not opened.
    #[error(transparent)]
    Receive(#[from] ReceiveError),
}

/// Protects the RTP payload that a packetizer has made, and appends the one to send to `out`.
///
/// # Errors
///
/// [`SendError`]; `out` is then as it was.
pub fn protect_into(
    sender: &mut Sender,
    payload: &[u8],
    out: &mut Vec<u8>,
) -> Result<(), SendError> {
    let start = out.len();
    out.push(DESCRIPTOR.encode());
    if let Err(error) = sender.protect_into(payload, b"", out) {
        out.truncate(start);
        return Err(error);
    }
    Ok(())
}

/// Opens an RTP payload in place. [`Opened::plain`] is where the packetizer's payload stands in
/// it.
///
/// # Errors
///
/// [`PacketError`]; for [`ReceiveError`] see [`Receiver::unprotect_in_place`].
pub fn unprotect_in_place(
    receiver: &mut Receiver,
    payload: &mut [u8],
    now: Now,
) -> Result<Opened, PacketError> {
    if !parse_payload(payload)?.descriptor.per_packet {
        return Err(PacketError::PerFrame);
    }
    let sealed = payload.get_mut(RtpDescriptor::LENGTH..).unwrap_or_default();
    let Opened { plain, sender } = receiver.unprotect_in_place(sealed, b"", now)?;
    let plain = plain.start + RtpDescriptor::LENGTH..plain.end + RtpDescriptor::LENGTH;
    Ok(Opened { plain, sender })
}
