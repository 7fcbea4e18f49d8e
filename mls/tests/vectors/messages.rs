//! `messages.json`: every struct decodes, and encodes to the same bytes (RFC 9420 section 6 and others).

use mls::{
    codec::{Decode, Encode},
    wire::{
        Add, Commit, ExternalInit, GroupContextExtensions, GroupSecrets, MlsMessage, Node,
        PreSharedKey, ReInit, Remove, Update, WireFormat,
    },
};
use serde::Deserialize;

use crate::common::{self, Hex};

#[derive(Deserialize)]
struct Case {
    mls_welcome: Hex,
    mls_group_info: Hex,
    mls_key_package: Hex,
    ratchet_tree: Hex,
    group_secrets: Hex,
    add_proposal: Hex,
    update_proposal: Hex,
    remove_proposal: Hex,
    pre_shared_key_proposal: Hex,
    re_init_proposal: Hex,
    external_init_proposal: Hex,
    group_context_extensions_proposal: Hex,
    commit: Hex,
    public_message_application: Hex,
    public_message_proposal: Hex,
    public_message_commit: Hex,
    private_message: Hex,
}

#[test]
fn messages() {
    common::run("messages", |case: Case| {
        for (format, bytes) in [
            (WireFormat::Welcome, &case.mls_welcome),
            (WireFormat::GroupInfo, &case.mls_group_info),
            (WireFormat::KeyPackage, &case.mls_key_package),
            (WireFormat::PublicMessage, &case.public_message_application),
            (WireFormat::PublicMessage, &case.public_message_proposal),
            (WireFormat::PublicMessage, &case.public_message_commit),
            (WireFormat::PrivateMessage, &case.private_message),
        ] {
            assert_eq!(round_trip::<MlsMessage>(bytes).wire_format(), format);
        }
        round_trip::<Vec<Option<Node>>>(&case.ratchet_tree);
        round_trip::<GroupSecrets>(&case.group_secrets);
        round_trip::<Add>(&case.add_proposal);
        round_trip::<Update>(&case.update_proposal);
        round_trip::<Remove>(&case.remove_proposal);
        round_trip::<PreSharedKey>(&case.pre_shared_key_proposal);
        round_trip::<ReInit>(&case.re_init_proposal);
        round_trip::<ExternalInit>(&case.external_init_proposal);
        round_trip::<GroupContextExtensions>(&case.group_context_extensions_proposal);
        round_trip::<Commit>(&case.commit);
    });
}

fn round_trip<T: Encode + Decode>(bytes: &Hex) -> T {
    let value = T::from_bytes(bytes)
        .unwrap_or_else(|error| panic!("{}: {error}", std::any::type_name::<T>()));
    assert_eq!(value.to_bytes(), **bytes, "{}", std::any::type_name::<T>());
    value
}
