//! Media between servers: what one of them forwards to the others of a call, as it came, without any key.

use std::sync::Arc;

use mls::codec::{Decode as _, DecodeError, Reader, encode_opaque};
use serde::{Deserialize, Serialize};
use str0m::rtp::ExtensionValues;

use super::extensions;
use crate::protocol::ForwardedTrack;
use crate::router::Arrival;

const VERSION: u8 = 1;
const MARKER: u8 = 1;
const AUDIO_LEVEL: u8 = 2;
const VOICE_KNOWN: u8 = 4;
const VOICE: u8 = 8;

/// A track that another server may forward.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkedTrack {
    /// Its number on the server that its publisher is connected to.
    pub track: u64,
    /// What it is. Its `mid` is empty.
    pub description: ForwardedTrack,
}

/// An RTP packet on its way between two servers.
#[derive(Clone, Debug)]
pub(super) struct LinkedPacket {
    /// [`LinkedTrack::track`].
    pub(super) track: u64,
    pub(super) arrival: Arrival,
    pub(super) marker: bool,
    /// Audio level, voice activity and dependency descriptor.
    pub(super) extensions: ExtensionValues,
    pub(super) payload: Arc<[u8]>,
}

impl LinkedPacket {
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.payload.len() + 64);
        let values = &self.extensions;
        let flag = |set: bool, bit: u8| if set { bit } else { 0 };
        out.push(VERSION);
        out.push(
            flag(self.marker, MARKER)
                | flag(values.audio_level.is_some(), AUDIO_LEVEL)
                | flag(values.voice_activity.is_some(), VOICE_KNOWN)
                | flag(values.voice_activity == Some(true), VOICE),
        );
        out.push(values.audio_level.unwrap_or(0).cast_unsigned());
        out.extend_from_slice(&self.track.to_be_bytes());
        out.extend_from_slice(&self.arrival.source.to_be_bytes());
        out.extend_from_slice(&self.arrival.seq.to_be_bytes());
        out.extend_from_slice(&self.arrival.timestamp.to_be_bytes());
        encode_opaque(extensions::dependency_descriptor(values), &mut out);
        out.extend_from_slice(&self.payload);
        out
    }

    pub(super) fn parse(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let version = u8::decode(&mut reader)?;
        if version != VERSION {
            let what = "version of a linked packet";
            return Err(DecodeError::UnknownValue { what, value: version.into() });
        }
        let flags = u8::decode(&mut reader)?;
        let level = u8::decode(&mut reader)?.cast_signed();
        let track = u64::from_be_bytes(reader.array()?);
        let source = u32::from_be_bytes(reader.array()?);
        let seq = u64::from_be_bytes(reader.array()?);
        let timestamp = u32::from_be_bytes(reader.array()?);
        let mut values = ExtensionValues {
            audio_level: (flags & AUDIO_LEVEL != 0).then_some(level),
            voice_activity: (flags & VOICE_KNOWN != 0).then_some(flags & VOICE != 0),
            ..ExtensionValues::default()
        };
        extensions::set_dependency_descriptor(&mut values, reader.opaque()?);
        Ok(Self {
            track,
            // A sequence number is extended from 16 bits by counting: far below 2^48.
            arrival: Arrival { source, seq: seq & ((1 << 48) - 1), timestamp },
            marker: flags & MARKER != 0,
            extensions: values,
            payload: reader.rest().into(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_come_back_as_they_were_and_cut_ones_are_refused() {
        let mut extensions = ExtensionValues {
            audio_level: Some(-42),
            voice_activity: Some(true),
            ..ExtensionValues::default()
        };
        extensions::set_dependency_descriptor(&mut extensions, &[1, 2, 3]);
        let packet = LinkedPacket {
            track: 7,
            arrival: Arrival { source: 0xdead_beef, seq: 70_000, timestamp: 9 },
            marker: true,
            extensions,
            payload: Arc::from([5; 1200]),
        };
        let bytes = packet.to_bytes();
        let back = LinkedPacket::parse(&bytes).unwrap();
        assert_eq!((back.track, back.arrival, back.marker), (7, packet.arrival, true));
        assert_eq!(back.payload, packet.payload);
        let values = &back.extensions;
        assert_eq!((values.audio_level, values.voice_activity), (Some(-42), Some(true)));
        assert_eq!(extensions::dependency_descriptor(values), [1, 2, 3]);
        for len in 0..31 {
            assert!(LinkedPacket::parse(&bytes[..len]).is_err(), "{len}");
        }
        assert!(LinkedPacket::parse(&[2; 100]).is_err());
    }
}
