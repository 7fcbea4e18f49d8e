//! Opus in Ogg files (RFC 7845), over the `ogg` crate's pages and packets.

use std::io::{Read, Seek, Write};
use std::time::Duration;

use ogg::{PacketReader, PacketWriteEndInfo, PacketWriter};

use super::{Clip, EncodedFrame, MAX_FRAME, MAX_FRAMES, MediaError};

/// Samples that a decoder throws away at the start of a recording: 80 ms, as RFC 7845 section 4.2
/// advises for a stream that is cut out of another.
const PRE_SKIP: u16 = 3840;

/// How long an Opus packet lasts (RFC 6716, section 3.1), or nothing if its first bytes contradict
/// themselves. At most 120 ms.
pub fn packet_duration(packet: &[u8]) -> Option<Duration> {
    let toc = *packet.first()?;
    let frame = match toc >> 3 {
        config @ 0..12 => [10_000, 20_000, 40_000, 60_000].get(usize::from(config % 4)),
        config @ 12..16 => [10_000, 20_000].get(usize::from(config % 2)),
        config => [2_500, 5_000, 10_000, 20_000].get(usize::from(config % 4)),
    }?;
    let frames = match toc & 3 {
        0 => 1,
        1 | 2 => 2,
        _ => u64::from(packet.get(1)? & 0x3f),
    };
    let micros = frame * frames;
    (1..=120_000).contains(&micros).then_some(Duration::from_micros(micros))
}

/// Reads a whole file.
///
/// # Errors
///
/// [`MediaError`] if the file is not Opus in Ogg, is damaged, too large or holds nothing to play.
pub fn read(file: impl Read + Seek) -> Result<Clip, MediaError> {
    let mut reader = PacketReader::new(file);
    let head = next_packet(&mut reader)?.ok_or(MediaError::Empty)?;
    let expected = MediaError::WrongFormat { expected: "Opus audio in Ogg" };
    let [b'O', b'p', b'u', b's', b'H', b'e', b'a', b'd', version, channels, ..] = *head.data else {
        return Err(expected);
    };
    // The upper half of the version is the part that breaks readers (RFC 7845, section 5.1).
    if version >= 16 || channels == 0 || channels > 2 {
        return Err(MediaError::WrongFormat { expected: "Opus audio with one or two channels" });
    }
    let serial = head.stream_serial();
    let tags = next_packet(&mut reader)?.ok_or(MediaError::Empty)?;
    if !tags.data.starts_with(b"OpusTags") {
        return Err(expected);
    }

    let mut frames = Vec::new();
    while let Some(packet) = next_packet(&mut reader)? {
        if packet.stream_serial() != serial {
            continue;
        }
        if frames.len() == MAX_FRAMES {
            return Err(MediaError::TooManyFrames);
        }
        if packet.data.len() > MAX_FRAME {
            return Err(MediaError::FrameTooLarge { size: packet.data.len() });
        }
        let duration = packet_duration(&packet.data)
            .ok_or(MediaError::Damaged { what: "an Opus packet's first byte" })?;
        frames.push(EncodedFrame { data: packet.data.into(), duration, keyframe: true });
    }
    Clip::new(frames)
}

fn next_packet<R: Read + Seek>(
    reader: &mut PacketReader<R>,
) -> Result<Option<ogg::Packet>, MediaError> {
    reader.read_packet().map_err(|error| match error {
        ogg::OggReadError::ReadError(error) => MediaError::Io(error),
        ogg::OggReadError::NoCapturePatternFound => {
            MediaError::WrongFormat { expected: "an Ogg file" }
        }
        _ => MediaError::Damaged { what: "an Ogg page" },
    })
}

/// Writes Opus packets to an Ogg file, one packet a page, so that a recording that breaks off can
/// be played up to its last packet.
pub struct OpusWriter<W: Write> {
    pages: PacketWriter<'static, W>,
    serial: u32,
    granule: u64,
    // The last packet is held back because its page carries the end-of-stream mark.
    held: Option<Vec<u8>>,
    packets: u32,
}

impl<W: Write> OpusWriter<W> {
    /// Starts a file; `serial` tells its stream from others in the same file.
    ///
    /// # Errors
    ///
    /// [`MediaError::Io`] if the headers cannot be written.
    pub fn new(file: W, channels: u8, serial: u32) -> Result<Self, MediaError> {
        let mut pages = PacketWriter::new(file);
        let mut head = b"OpusHead\x01".to_vec();
        head.push(channels);
        head.extend_from_slice(&PRE_SKIP.to_le_bytes());
        head.extend_from_slice(&48_000_u32.to_le_bytes());
        head.extend_from_slice(&[0, 0, 0]);
        pages.write_packet(head, serial, PacketWriteEndInfo::EndPage, 0)?;
        let vendor = b"framelock";
        let mut tags = b"OpusTags".to_vec();
        tags.extend_from_slice(&(vendor.len() as u32).to_le_bytes());
        tags.extend_from_slice(vendor);
        tags.extend_from_slice(&[0; 4]);
        pages.write_packet(tags, serial, PacketWriteEndInfo::EndPage, 0)?;
        Ok(Self { pages, serial, granule: 0, held: None, packets: 0 })
    }

    /// Adds a packet.
    ///
    /// # Errors
    ///
    /// [`MediaError::Damaged`] for what is no Opus packet, [`MediaError::Io`] if it cannot be
    /// written.
    pub fn write(&mut self, packet: &[u8]) -> Result<(), MediaError> {
        let duration = packet_duration(packet)
            .ok_or(MediaError::Damaged { what: "an Opus packet's first byte" })?;
        self.flush_held(PacketWriteEndInfo::EndPage)?;
        self.granule += samples(duration);
        self.held = Some(packet.to_vec());
        self.packets = self.packets.saturating_add(1);
        Ok(())
    }

    /// Leaves out `missing`, which was lost: what follows keeps its place in time.
    ///
    /// # Errors
    ///
    /// [`MediaError::Io`] if a held-back packet cannot be written.
    pub fn skip(&mut self, missing: Duration) -> Result<(), MediaError> {
        self.flush_held(PacketWriteEndInfo::EndPage)?;
        self.granule += samples(missing);
        Ok(())
    }

    /// How many packets were written.
    pub fn packets(&self) -> u32 {
        self.packets
    }

    /// Ends the stream and flushes the file.
    ///
    /// # Errors
    ///
    /// [`MediaError::Io`] if that cannot be written.
    pub fn finish(mut self) -> Result<W, MediaError> {
        self.flush_held(PacketWriteEndInfo::EndStream)?;
        let mut file = self.pages.into_inner();
        file.flush()?;
        Ok(file)
    }

    fn flush_held(&mut self, end: PacketWriteEndInfo) -> Result<(), MediaError> {
        if let Some(packet) = self.held.take() {
            self.pages.write_packet(packet, self.serial, end, self.granule)?;
        }
        Ok(())
    }
}

impl<W: Write> std::fmt::Debug for OpusWriter<W> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OpusWriter").field("packets", &self.packets).finish_non_exhaustive()
    }
}

/// Samples at 48 kHz, the clock of every Opus stream.
fn samples(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros() * 48 / 1000).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::CLIP_AUDIO;
    use std::io::Cursor;

    #[test]
    fn knows_how_long_packets_last() {
        let toc = |config: u8, frames: u8| config << 3 | frames;
        let millis = |bytes: &[u8]| packet_duration(bytes).map(|d| d.as_micros());
        assert_eq!(millis(&[toc(0, 0)]), Some(10_000));
        assert_eq!(millis(&[toc(11, 0)]), Some(60_000));
        assert_eq!(millis(&[toc(13, 0)]), Some(20_000));
        assert_eq!(millis(&[toc(16, 0)]), Some(2_500));
        assert_eq!(millis(&[toc(31, 1)]), Some(40_000));
        assert_eq!(millis(&[toc(31, 3), 3]), Some(60_000));
        assert_eq!(millis(&[toc(31, 3)]), None);
        assert_eq!(millis(&[toc(31, 3), 0]), None);
        assert_eq!(millis(&[toc(31, 3), 63]), None);
        assert_eq!(millis(&[]), None);
    }

    #[test]
    fn reads_the_bundled_clip_and_writes_what_it_reads() {
        let clip = read(Cursor::new(CLIP_AUDIO)).unwrap();
        assert!((clip.duration().as_secs_f64() - 10.0).abs() < 0.1);
        let mut writer = OpusWriter::new(Vec::new(), 1, 7).unwrap();
        for frame in clip.frames() {
            writer.write(&frame.data).unwrap();
        }
        let bytes = writer.finish().unwrap();
        assert_eq!(read(Cursor::new(bytes)).unwrap(), clip);
    }

    #[test]
    fn refuses_damaged_files() {
        assert!(read(Cursor::new(&b"not ogg at all"[..])).is_err());
        let mut flipped = CLIP_AUDIO.to_vec();
        flipped[60] ^= 1;
        assert!(matches!(read(Cursor::new(flipped)), Err(MediaError::Damaged { .. })));
    }
}
