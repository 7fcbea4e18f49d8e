//! `deserialization.json`: length headers of vectors (RFC 9420 section 2.1.2).

use mls::codec::{Reader, varint_len, write_varint};
use serde::Deserialize;

use crate::common::{self, Hex};

#[derive(Deserialize)]
struct Case {
    vlbytes_header: Hex,
    length: usize,
}

#[test]
fn deserialization() {
    common::run("deserialization", |case: Case| {
        let mut reader = Reader::new(&case.vlbytes_header);
        assert_eq!(reader.varint(), Ok(case.length));
        assert!(reader.is_empty());
        let mut written = Vec::new();
        write_varint(case.length, &mut written);
        assert_eq!(written, *case.vlbytes_header);
        assert_eq!(varint_len(case.length), written.len());
    });
}
