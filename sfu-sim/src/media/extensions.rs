//! RTP header extensions that are forwarded.

use str0m::rtp::{Extension, ExtensionMap, ExtensionSerializer, ExtensionValues};

const DEPENDENCY_DESCRIPTOR: &str =
    "https://aomediacodec.github.io/av1-rtp-spec/#dependency-descriptor-rtp-header-extension";

/// The dependency descriptor of a packet, passed on as it came.
#[derive(Debug, PartialEq, Eq)]
struct DependencyDescriptor(Vec<u8>);

#[derive(Debug)]
struct PassDependencyDescriptor;

impl ExtensionSerializer for PassDependencyDescriptor {
    fn write_to(&self, buf: &mut [u8], values: &ExtensionValues) -> usize {
        let Some(DependencyDescriptor(bytes)) = values.user_values.get() else { return 0 };
        let Some(room) = buf.get_mut(..bytes.len()) else { return 0 };
        room.copy_from_slice(bytes);
        bytes.len()
    }

    fn parse_value(&self, buf: &[u8], values: &mut ExtensionValues) -> bool {
        values.user_values.set(DependencyDescriptor(buf.to_vec()));
        true
    }

    fn is_video(&self) -> bool {
        true
    }

    fn is_audio(&self) -> bool {
        false
    }

    fn requires_two_byte_form(&self, values: &ExtensionValues) -> bool {
        values.user_values.get().is_some_and(|DependencyDescriptor(bytes)| bytes.len() > 16)
    }
}

/// A packet's dependency descriptor; empty if it has none.
pub(super) fn dependency_descriptor(values: &ExtensionValues) -> &[u8] {
    values.user_values.get().map_or(&[], |DependencyDescriptor(bytes)| bytes)
}

/// Gives a packet a dependency descriptor unless it is empty.
pub(super) fn set_dependency_descriptor(values: &mut ExtensionValues, bytes: &[u8]) {
    if !bytes.is_empty() {
        values.user_values.set(DependencyDescriptor(bytes.to_vec()));
    }
}

/// str0m's standard extensions and the dependency descriptor.
pub(super) fn map() -> ExtensionMap {
    let mut map = ExtensionMap::standard();
    map.set(12, Extension::with_serializer(DEPENDENCY_DESCRIPTOR, PassDependencyDescriptor));
    map
}

/// The extensions of a packet that a receiver gets: without those that belong to the publisher's own hop.
pub(super) fn forwarded(values: &ExtensionValues) -> ExtensionValues {
    let mut values = values.clone();
    values.mid = None;
    values.rid = None;
    values.rid_repair = None;
    values.transport_cc = None;
    values.abs_send_time = None;
    values.tx_time_offs = None;
    values
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn audio_level_and_dependency_descriptor_pass_and_hop_values_do_not() {
        let mut values = ExtensionValues { audio_level: Some(-30), ..Default::default() };
        values.transport_cc = Some(7);
        values.mid = Some("v".into());
        assert!(PassDependencyDescriptor.parse_value(&[1, 2, 3], &mut values));
        let out = forwarded(&values);
        assert_eq!((out.audio_level, out.transport_cc, out.mid), (Some(-30), None, None));
        let mut buf = [0; 8];
        assert_eq!(PassDependencyDescriptor.write_to(&mut buf, &out), 3);
        assert_eq!(&buf[..3], &[1, 2, 3]);
        // Too long for what is left of the header: left out instead of cut.
        assert_eq!(PassDependencyDescriptor.write_to(&mut buf[..2], &out), 0);
        assert!(!PassDependencyDescriptor.requires_two_byte_form(&out));
    }
}
