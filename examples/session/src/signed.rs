//! What members sign for one another beside the group's own messages: each kind under a label of its own, bound to the
//! group, from a leaf that stands in it.

use mls::codec::Encode;
use mls::wire::Signature;
use mls::{Group, LeafIndex};

use super::SessionError;

/// The statement with this member's signature behind it.
pub(super) fn sign(
    group: &Group,
    label: &str,
    mut statement: Vec<u8>,
) -> Result<Vec<u8>, SessionError> {
    let signature = group.sign_for_application(label, &content(group, &statement))?;
    statement.extend(signature.0);
    Ok(statement)
}

/// Whether the member at `leaf` has signed the statement.
pub(super) fn is_signed(
    group: &Group,
    label: &str,
    leaf: u32,
    statement: &[u8],
    signature: &[u8],
) -> bool {
    let Some(member) = group.member(LeafIndex(leaf)) else { return false };
    let suite = group.suite();
    let signature = Signature(signature.to_vec());
    suite.signature.verifying_key(member.signature_key.as_bytes()).is_ok_and(|key| {
        let content = content(group, statement);
        suite.verify_for_application(&*key, label, &content, &signature).is_ok()
    })
}

/// What is signed: the group beside what is sent.
fn content(group: &Group, statement: &[u8]) -> Vec<u8> {
    let mut content = group.id().to_bytes();
    content.extend(statement);
    content
}
