//! `transcript-hashes.json`: the running hashes and the confirmation tag (RFC 9420 sections 8.2, 6.1).

use mls::{
    codec::{Decode, Encode},
    schedule::{ConfirmationKey, InterimTranscriptHash},
    wire::AuthenticatedContent,
};
use serde::Deserialize;

use crate::common::{self, Hex};

#[derive(Deserialize)]
struct Case {
    cipher_suite: u16,
    confirmation_key: Hex,
    authenticated_content: Hex,
    interim_transcript_hash_before: Hex,
    confirmed_transcript_hash_after: Hex,
    interim_transcript_hash_after: Hex,
}

#[test]
fn transcript_hashes() {
    common::run("transcript-hashes", |case: Case| {
        let suites = common::suites(case.cipher_suite);
        let commit = AuthenticatedContent::from_bytes(&case.authenticated_content).unwrap();
        assert_eq!(commit.to_bytes(), *case.authenticated_content);
        let AuthenticatedContent { wire_format, content, auth } = commit;
        let tag = auth.confirmation_tag.unwrap();
        for suite in suites {
            let confirmed = InterimTranscriptHash::from_slice(&case.interim_transcript_hash_before)
                .confirm(suite, wire_format, &content, &auth.signature)
                .unwrap();
            assert_eq!(confirmed, *case.confirmed_transcript_hash_after);
            let key = ConfirmationKey::from_slice(&case.confirmation_key);
            key.check(suite, &confirmed, &tag).unwrap();
            assert_eq!(key.tag(suite, &confirmed), tag);
            let interim = InterimTranscriptHash::compute(suite, &confirmed, &tag);
            assert_eq!(interim.as_bytes(), &*case.interim_transcript_hash_after);
        }
    });
}
