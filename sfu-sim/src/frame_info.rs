//! What an SFU can learn of a frame without its key: whether it is a keyframe, and which layer it is.
//!
//! Two sources: the bytes that stay in the clear when frames are packetized by codec ([`FrameInfo::from_payload`]), and the
//! dependency descriptor, a header extension that describes any codec and works with the SFrame payload format
//! as well ([`DependencyDescriptors`]). Neither is authenticated end to end: decide by it what to forward, nothing else.

use str0m::rtp::Vp8Descriptor;
use thiserror::Error;

/// How RTP payloads are cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PayloadFormat {
    /// The SFrame payload format: nothing of the codec can be seen.
    Sframe,
    /// RFC 7587.
    Opus,
    /// RFC 7741.
    Vp8,
    /// RFC 9628.
    Vp9,
    /// RFC 6184.
    H264,
    /// The AV1 RTP payload format, version 1.0.
    Av1,
}

/// What is known of the frame that a packet belongs to. `None` where the packet does not tell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FrameInfo {
    /// Whether the packet begins a frame that can be decoded without an earlier one.
    pub keyframe: Option<bool>,
    /// The temporal layer, 0 for the base.
    pub temporal_layer: Option<u8>,
    /// The spatial layer, 0 for the base.
    pub spatial_layer: Option<u8>,
}

impl FrameInfo {
    /// Reads what an RTP payload (without header) shows. Malformed payloads show nothing.
    pub fn from_payload(format: PayloadFormat, payload: &[u8]) -> Self {
        match format {
            PayloadFormat::Sframe | PayloadFormat::Opus => Self::default(),
            PayloadFormat::Vp8 => vp8(payload),
            PayloadFormat::Vp9 => vp9(payload).unwrap_or_default(),
            PayloadFormat::H264 => Self { keyframe: h264(payload), ..Self::default() },
            // N in the aggregation header: the first packet of a coded video sequence.
            PayloadFormat::Av1 => {
                Self { keyframe: payload.first().map(|first| first & 0x08 != 0), ..Self::default() }
            }
        }
    }
}

fn vp8(payload: &[u8]) -> FrameInfo {
    let descriptor = Vp8Descriptor::parse(payload).ok();
    // T and TID (RFC 7741 section 4.2) come after the picture identifier and TL0PICIDX.
    let temporal_layer = payload.split_first_chunk().and_then(|([first, extension], mut rest)| {
        if first & 0x80 == 0 || extension & 0x20 == 0 {
            return None;
        }
        if extension & 0x80 != 0 {
            let long = rest.first()? & 0x80 != 0;
            rest = rest.get(if long { 2 } else { 1 }..)?;
        }
        if extension & 0x40 != 0 {
            rest = rest.get(1..)?;
        }
        Some(rest.first()? >> 6)
    });
    let keyframe = descriptor.map(|descriptor| descriptor.starts_keyframe(payload));
    FrameInfo { keyframe, temporal_layer, spatial_layer: None }
}

/// RFC 9628 section 4.2: `I P L F B E V Z`, picture identifier, layer indices.
fn vp9(payload: &[u8]) -> Option<FrameInfo> {
    let (&first, mut rest) = payload.split_first()?;
    let flag = |bit: u8| first & bit != 0;
    if flag(0x80) {
        let long = rest.first()? & 0x80 != 0;
        rest = rest.get(if long { 2 } else { 1 }..)?;
    }
    let layers = if flag(0x20) { Some(*rest.first()?) } else { None };
    let spatial_layer = layers.map(|layers| layers >> 1 & 0b111);
    let inter_layer = layers.is_some_and(|layers| layers & 1 != 0);
    Some(FrameInfo {
        keyframe: Some(!flag(0x40) && flag(0x08) && !inter_layer),
        temporal_layer: layers.map(|layers| layers >> 5),
        spatial_layer,
    })
}

/// Whether the payload begins, or holds, an IDR slice (RFC 6184 sections 5.6 to 5.8).
fn h264(payload: &[u8]) -> Option<bool> {
    const IDR: u8 = 5;
    const STAP_A: u8 = 24;
    const FU_A: u8 = 28;
    let kind = |byte: &u8| byte & 0x1f;
    let (first, mut rest) = payload.split_first()?;
    match kind(first) {
        FU_A => rest.first().map(|header| header & 0x80 != 0 && kind(header) == IDR),
        STAP_A => {
            let mut found = false;
            while let Some((length, nals)) = rest.split_first_chunk() {
                let (nal, after) = nals.split_at_checked(u16::from_be_bytes(*length).into())?;
                found |= nal.first().is_some_and(|header| kind(header) == IDR);
                rest = after;
            }
            Some(found)
        }
        other => Some(other == IDR),
    }
}

/// Why a dependency descriptor tells nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum DescriptorError {
    /// The extension ends inside a field.
    #[error("expected a dependency descriptor, found its beginning")]
    Truncated,
    /// It refers to a template structure that has not been seen.
    #[error("expected a template structure first")]
    NoStructure,
    /// It refers to a template that the structure does not have.
    #[error("expected one of {templates} templates, found {found}")]
    UnknownTemplate {
        /// Templates in the structure.
        templates: usize,
        /// The index that was asked for.
        found: usize,
    },
    /// The structure describes more templates than its numbering can tell apart.
    #[error("expected at most 64 templates")]
    TooManyTemplates,
}

/// Reads the dependency descriptors of one stream (AV1 RTP payload format, appendix A). A descriptor mostly refers to a
/// template, whose layers come with the structure that the first packet of each keyframe carries: the last one is kept.
#[derive(Clone, Debug, Default)]
pub struct DependencyDescriptors {
    structure: Option<Structure>,
}

#[derive(Clone, Debug)]
struct Structure {
    offset: usize,
    templates: Vec<Template>,
}

#[derive(Clone, Copy, Debug)]
struct Template {
    spatial: u8,
    temporal: u8,
}

/// Templates are numbered with six bits.
const TEMPLATES: usize = 64;

impl DependencyDescriptors {
    /// Reads the descriptor of the next packet.
    ///
    /// # Errors
    ///
    /// [`DescriptorError`]; the structure that is kept stays as it was.
    pub fn read(&mut self, extension: &[u8]) -> Result<FrameInfo, DescriptorError> {
        let mut bits = Bits { bytes: extension, next: 0 };
        let _start_and_end_of_frame = bits.take(2)?;
        let template_id = bits.take(6)?;
        let _frame_number = bits.take(16)?;
        let mut attached = None;
        if extension.len() > 3 {
            let flags = bits.take(5)?;
            if flags & 0b1_0000 != 0 {
                attached = Some(Structure::read(&mut bits)?);
            }
        }
        let keyframe = attached.is_some();
        let structure = attached.as_ref().or(self.structure.as_ref());
        let template = structure.ok_or(DescriptorError::NoStructure)?.template(template_id)?;
        if attached.is_some() {
            self.structure = attached;
        }
        Ok(FrameInfo {
            keyframe: Some(keyframe),
            temporal_layer: Some(template.temporal),
            spatial_layer: Some(template.spatial),
        })
    }
}

impl Structure {
    /// template_dependency_structure() up to and with template_layers().
    fn read(bits: &mut Bits) -> Result<Self, DescriptorError> {
        let offset = bits.take(6)?;
        let _decode_targets = bits.take(5)?;
        let mut template = Template { spatial: 0, temporal: 0 };
        let mut templates = Vec::new();
        loop {
            if templates.len() == TEMPLATES {
                return Err(DescriptorError::TooManyTemplates);
            }
            templates.push(template);
            template = match bits.take(2)? {
                0 => template,
                1 => Template { temporal: template.temporal + 1, ..template },
                2 => Template { spatial: template.spatial + 1, temporal: 0 },
                _ => return Ok(Self { offset, templates }),
            };
        }
    }

    fn template(&self, id: usize) -> Result<Template, DescriptorError> {
        let found = (id + TEMPLATES - self.offset) % TEMPLATES;
        let templates = self.templates.len();
        let unknown = DescriptorError::UnknownTemplate { templates, found };
        self.templates.get(found).copied().ok_or(unknown)
    }
}

/// Fields of a few bits, most significant bit first.
struct Bits<'a> {
    bytes: &'a [u8],
    next: usize,
}

impl Bits<'_> {
    fn take(&mut self, count: usize) -> Result<usize, DescriptorError> {
        let mut value = 0;
        for at in self.next..self.next + count {
            let byte = self.bytes.get(at / 8).ok_or(DescriptorError::Truncated)?;
            value = value << 1 | usize::from(byte >> (7 - at % 8) & 1);
        }
        self.next += count;
        Ok(value)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    fn seen(keyframe: bool, temporal: u8, spatial: u8) -> FrameInfo {
        FrameInfo {
            keyframe: Some(keyframe),
            temporal_layer: Some(temporal),
            spatial_layer: Some(spatial),
        }
    }

    /// Captured from a browser that sends three spatial and three temporal layers; the capture is in the tests of
    /// LiveKit's server (pkg/sfu/dependencydescriptor).
    const KEYFRAME: &str = "c1017280081485214eafffaaaa863cf0430c10c302afc0aaa0063c00430010c002a000a80006000040001d954926e082b04a0941b820ac1282503157f974000ca864330e222222eca8655304224230eca877530077004200ef008601df010d";

    #[test]
    fn dependency_descriptors_of_a_real_stream() {
        let mut stream = DependencyDescriptors::default();
        let follower = hex::decode("86017340fc").unwrap();
        assert_eq!(stream.read(&follower), Err(DescriptorError::NoStructure));
        let keyframe = hex::decode(KEYFRAME).unwrap();
        assert_eq!(stream.read(&keyframe), Ok(seen(true, 0, 0)));
        let expected = [
            ("86017340fc", 0, 1),
            ("c3017540fc", 2, 0),
            ("88017640fc", 2, 1),
            ("860173", 0, 1),
            ("8b0174", 0, 2),
        ];
        for (packet, temporal, spatial) in expected {
            let packet = hex::decode(packet).unwrap();
            assert_eq!(stream.read(&packet), Ok(seen(false, temporal, spatial)), "{packet:?}");
        }
    }

    #[test]
    fn hostile_descriptors_change_nothing() {
        let keyframe = hex::decode(KEYFRAME).unwrap();
        let mut stream = DependencyDescriptors::default();
        stream.read(&keyframe).unwrap();
        // Cut inside the structure; a template that does not exist; layers without end.
        for length in [0, 2, 4, 5, 6, 7, 8] {
            let cut = stream.read(&keyframe[..length]);
            assert_eq!(cut, Err(DescriptorError::Truncated), "{length}");
        }
        let unknown = DescriptorError::UnknownTemplate { templates: 15, found: 63 };
        assert_eq!(stream.read(&[0xff, 0, 0]), Err(unknown));
        let endless = [&[0xc1, 0, 0, 0x80][..], &[0; 40]].concat();
        assert_eq!(stream.read(&endless), Err(DescriptorError::TooManyTemplates));
        assert_eq!(stream.read(&[0x86, 1, 0x73]), Ok(seen(false, 0, 1)));
    }

    #[test]
    fn keyframes_and_layers_by_payload() {
        use PayloadFormat::{Av1, H264, Opus, Sframe, Vp8, Vp9};
        let keyframe = |keyframe| FrameInfo { keyframe, ..FrameInfo::default() };
        let cases: [(PayloadFormat, &[u8], FrameInfo); 21] = [
            (Sframe, &[0xc0, 1], keyframe(None)),
            (Opus, &[0x78, 1], keyframe(None)),
            // VP8: start of the first partition, then the frame's first byte.
            (Vp8, &[0x10, 0x00, 9], keyframe(Some(true))),
            (Vp8, &[0x10, 0x01, 9], keyframe(Some(false))),
            (Vp8, &[0x00, 0x00, 9], keyframe(Some(false))),
            (
                Vp8,
                &[0x90, 0xe0, 0x81, 2, 3, 0x80, 0x01, 9],
                FrameInfo { temporal_layer: Some(2), ..keyframe(Some(false)) },
            ),
            (Vp8, &[], keyframe(None)),
            // VP9: without and with layer indices (TID 1, U, SID 2, D).
            (Vp9, &[0x88, 5, 1], keyframe(Some(true))),
            (Vp9, &[0xc8, 5, 1], keyframe(Some(false))),
            (Vp9, &[0x80, 5, 1], keyframe(Some(false))),
            (Vp9, &[0xa8, 0x85, 1, 0b0011_0101, 9], seen(false, 1, 2)),
            (Vp9, &[0xa8, 5, 0b0000_0000, 9], seen(true, 0, 0)),
            (Vp9, &[0xa8], keyframe(None)),
            // H.264: single, fragments, aggregate.
            (H264, &[0x65, 1], keyframe(Some(true))),
            (H264, &[0x41, 1], keyframe(Some(false))),
            (H264, &[0x7c, 0x85, 1], keyframe(Some(true))),
            (H264, &[0x7c, 0x05, 1], keyframe(Some(false))),
            (H264, &[0x78, 0, 1, 0x67, 0, 2, 0x65, 1], keyframe(Some(true))),
            (H264, &[0x78, 0, 1, 0x67, 0, 9, 0x65, 1], keyframe(None)),
            (Av1, &[0x18, 1], keyframe(Some(true))),
            (Av1, &[0x90, 1], keyframe(Some(false))),
        ];
        for (format, payload, expected) in cases {
            assert_eq!(
                FrameInfo::from_payload(format, payload),
                expected,
                "{format:?} {payload:?}"
            );
        }
    }
}
