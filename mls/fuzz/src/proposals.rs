//! Proposals by the fuzzer's choice, from valid to absurd.

use mls::{
    codec::Decode,
    wire::{
        Add, ApplicationId, CipherSuite, CredentialType, Extension, ExtensionType, Extensions,
        ExternalInit, ExternalSender, ExternalSenders, GroupContextExtensions, GroupId, LeafIndex,
        LeafNode, LeafNodeSource, PreSharedKey, PreSharedKeyId, Proposal, ProposalType,
        ProtocolVersion, PskSource, ReInit, Remove, RequiredCapabilities, ResumptionPskUsage,
        Update,
    },
};

use super::{
    forge::{alter_leaf, sign_key_package},
    input::Input,
    world::{ATTACKER, ATTACKERS_PSK, EXTENSION, PROPOSAL, SHARED_PSK, World, suite},
};

pub fn proposal(input: &mut Input<'_>, world: &World) -> Proposal {
    match input.pick(13) {
        0 | 1 => add(input, world),
        2 | 3 => update(input, world),
        4 | 5 => Proposal::Remove(Remove { removed: leaf(input) }),
        6 => psk(input, world),
        7 => Proposal::GroupContextExtensions(GroupContextExtensions {
            extensions: extensions(input, world),
        }),
        8 => Proposal::ReInit(ReInit {
            group_id: GroupId(input.bytes(40)),
            version: ProtocolVersion(u16::from(!input.one_in(4))),
            cipher_suite: CipherSuite(u16::from(input.byte())),
            extensions: extensions(input, world),
        }),
        9 => Proposal::ExternalInit(ExternalInit { kem_output: input.bytes(40) }),
        10 => {
            let kind = if input.one_in(2) { PROPOSAL } else { ProposalType(input.word()) };
            Proposal::Other(kind, input.bytes(40))
        }
        11 => Proposal::SelfRemove,
        _ => Proposal::from_bytes(&input.bytes(600))
            .unwrap_or(Proposal::Remove(Remove { removed: LeafIndex(5) })),
    }
}

pub fn leaf(input: &mut Input<'_>) -> LeafIndex {
    match input.byte() {
        byte @ 0..=191 => LeafIndex(u32::from(byte % 10)),
        byte @ 192..=223 => LeafIndex(u32::MAX - u32::from(byte % 4)),
        _ => LeafIndex((u32::from(input.word()) << 16) | u32::from(input.word())),
    }
}

fn add(input: &mut Input<'_>, world: &World) -> Proposal {
    let outsider = input.choose(&world.outsiders);
    let mut key_package = outsider.bundle.key_package().clone();
    let signer = &*outsider.person.signer;
    match input.pick(4) {
        0 | 1 => {}
        2 => {
            alter_leaf(
                input,
                &mut key_package.leaf_node,
                signer,
                &GroupId::default(),
                LeafIndex(0),
            );
            sign_key_package(&mut key_package, signer);
        }
        _ => {
            key_package = input.altered(key_package);
            if input.one_in(2) {
                sign_key_package(&mut key_package, signer);
            }
        }
    }
    Proposal::Add(Box::new(Add { key_package }))
}

fn update(input: &mut Input<'_>, world: &World) -> Proposal {
    let (place, signer) = (ATTACKER, &*world.people[1].signer);
    let mut leaf_node = leaf_of(world, place);
    leaf_node.source = LeafNodeSource::Update;
    if !input.one_in(4) {
        let fresh = suite().kem.derive_key_pair(&[input.byte(); 32]).unwrap();
        leaf_node.encryption_key = fresh.public().into();
    }
    let group_id = &world.service.context().group_id;
    alter_leaf(input, &mut leaf_node, signer, group_id, place);
    Proposal::Update(Box::new(Update { leaf_node }))
}

pub fn leaf_of(world: &World, place: LeafIndex) -> LeafNode {
    world.service.tree().leaf(place).expect("the place is taken").to_leaf_node()
}

pub fn psk_id(input: &mut Input<'_>, world: &World) -> PreSharedKeyId {
    let context = world.service.context();
    let source = match input.pick(4) {
        0 => PskSource::External { psk_id: SHARED_PSK.to_vec() },
        1 => PskSource::External { psk_id: ATTACKERS_PSK.to_vec() },
        2 => PskSource::External { psk_id: input.bytes(40) },
        _ => PskSource::Resumption {
            usage: *input.choose(&[
                ResumptionPskUsage::Application,
                ResumptionPskUsage::ReInit,
                ResumptionPskUsage::Branch,
            ]),
            psk_group_id: match input.one_in(4) {
                false => context.group_id.clone(),
                true => GroupId(input.bytes(16)),
            },
            psk_epoch: context.epoch.wrapping_sub(u64::from(input.byte() % 12)),
        },
    };
    let length = if input.one_in(4) { input.pick(70) } else { suite().hash_length() };
    PreSharedKeyId { source, psk_nonce: vec![input.byte(); length] }
}

fn psk(input: &mut Input<'_>, world: &World) -> Proposal {
    Proposal::PreSharedKey(PreSharedKey { psk: psk_id(input, world) })
}

pub fn extensions(input: &mut Input<'_>, world: &World) -> Extensions {
    let mut extensions = match input.one_in(2) {
        true => world.service.context().extensions.clone(),
        false => Extensions::new(),
    };
    for _ in 0..input.pick(3) {
        extensions.set(match input.pick(6) {
            0 => Extension { extension_type: EXTENSION, data: input.bytes(20) },
            1 => Extension::new(
                ExtensionType::REQUIRED_CAPABILITIES,
                &RequiredCapabilities {
                    extension_types: vec![*input.choose(&[EXTENSION, ExtensionType(0xff07)])],
                    proposal_types: vec![*input.choose(&[PROPOSAL, ProposalType(0xff07)])],
                    credential_types: vec![
                        *input.choose(&[CredentialType::BASIC, CredentialType::X509]),
                    ],
                },
            ),
            2 => {
                let sender = ExternalSender {
                    signature_key: world.external.public().into(),
                    credential: leaf_of(world, ATTACKER).credential,
                };
                let senders = ExternalSenders(vec![sender; input.pick(3)]);
                Extension::new(ExtensionType::EXTERNAL_SENDERS, &input.altered(senders))
            }
            3 => Extension::new(ExtensionType::APPLICATION_ID, &ApplicationId(input.bytes(20))),
            4 => Extension {
                extension_type: *input.choose(&[
                    ExtensionType::REQUIRED_CAPABILITIES,
                    ExtensionType::EXTERNAL_SENDERS,
                    ExtensionType::RATCHET_TREE,
                    ExtensionType::EXTERNAL_PUB,
                ]),
                data: input.bytes(60),
            },
            _ => Extension { extension_type: ExtensionType(input.word()), data: input.bytes(20) },
        });
    }
    extensions
}
