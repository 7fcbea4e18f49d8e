//! As much of DER as it takes to find an extension of a certificate that `rustls-webpki` has parsed, and does not show.

const SEQUENCE: u8 = 0x30;
const BOOLEAN: u8 = 0x01;
const OCTET_STRING: u8 = 0x04;
pub(super) const BIT_STRING: u8 = 0x03;
const OBJECT_IDENTIFIER: u8 = 0x06;
/// `[3]` of a TBSCertificate.
const EXTENSIONS: u8 = 0xa3;

/// One element: its tag and its content.
#[derive(Clone, Copy, Debug)]
pub(super) struct Element<'a> {
    pub(super) tag: u8,
    pub(super) content: &'a [u8],
}

/// The elements that stand one after the other in some content. Ends at what is not well formed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Elements<'a>(pub(super) &'a [u8]);

impl<'a> Iterator for Elements<'a> {
    type Item = Element<'a>;

    fn next(&mut self) -> Option<Element<'a>> {
        let (&tag, rest) = self.0.split_first()?;
        let (&first, rest) = rest.split_first()?;
        let (length, rest) = match first {
            0..=0x7f => (usize::from(first), rest),
            0x81..=0x83 => {
                let (bytes, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
                let length = bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte));
                (length, rest)
            }
            _ => return None,
        };
        let (content, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some(Element { tag, content })
    }
}

impl<'a> Elements<'a> {
    /// The content of the next element, which must be of this kind.
    pub(super) fn next_of(&mut self, tag: u8) -> Option<&'a [u8]> {
        self.next().filter(|element| element.tag == tag).map(|element| element.content)
    }

    pub(super) fn sequence(&mut self) -> Option<Elements<'a>> {
        self.next_of(SEQUENCE).map(Elements)
    }
}

/// The content of a certificate's extension, by the content of its object identifier (RFC 5280 section 4.1).
pub(super) fn extension<'a>(certificate: &'a [u8], identifier: &[u8]) -> Option<&'a [u8]> {
    let mut tbs = Elements(certificate).sequence()?.sequence()?;
    let extensions = tbs.find(|element| element.tag == EXTENSIONS)?;
    let mut list = Elements(extensions.content).sequence()?;
    list.find_map(|entry| {
        let mut fields = Elements(entry.content);
        let found = fields.next_of(OBJECT_IDENTIFIER)?;
        let value = fields.find(|field| field.tag != BOOLEAN)?;
        (found == identifier && value.tag == OCTET_STRING).then_some(value.content)
    })
}

/// An element with this content, of less than 64 KiB.
pub(super) fn wrap(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    let mut out = vec![tag];
    match u16::try_from(length).unwrap_or(u16::MAX).to_be_bytes() {
        [0, short @ 0..=0x7f] => out.push(short),
        [0, long] => out.extend([0x81, long]),
        [high, low] => out.extend([0x82, high, low]),
    }
    for part in parts {
        out.extend_from_slice(part);
    }
    out
}

/// A SubjectPublicKeyInfo (RFC 5280 section 4.1.2.7) of a key whose length is a multiple of eight bits.
pub(super) fn public_key_info(algorithm: &[u8], key: &[u8]) -> Vec<u8> {
    let algorithm = wrap(SEQUENCE, &[algorithm]);
    let key = wrap(BIT_STRING, &[&[0], key]);
    wrap(SEQUENCE, &[&algorithm, &key])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_end_where_the_input_does() {
        let two = [4, 1, 7, 4, 2, 8, 9];
        let contents: Vec<_> = Elements(&two).map(|element| element.content.to_vec()).collect();
        assert_eq!(contents, [vec![7], vec![8, 9]]);
        for bad in
            [&[4][..], &[4, 2, 1], &[4, 0x81], &[4, 0x80, 1], &[4, 0x84, 0, 0, 0, 1, 1], &[4, 0xff]]
        {
            assert!(Elements(bad).next().is_none(), "{bad:?}");
        }
    }

    #[test]
    fn lengths_of_every_form_are_read_as_they_were_written() {
        for length in [0, 1, 127, 128, 255, 256, 65535] {
            let content = vec![5; length];
            let wrapped = wrap(4, &[&content]);
            let mut elements = Elements(&wrapped);
            assert_eq!(elements.next_of(4), Some(content.as_slice()));
            assert!(elements.next().is_none());
        }
    }
}
