//! What the decoders start from: one genuine value of every kind that a group makes.

use mls::{
    GroupInfoOptions, HandshakeFormat,
    codec::{Decode, Encode},
    wire::{Content, ContentType, MlsMessage, MlsMessageBody, ProposalOrRef, PskSource},
};

use super::{
    glass,
    world::{NOW, SHARED_PSK, World},
};

/// Seeds for the target `wire`.
pub fn wire_seeds() -> Vec<Vec<u8>> {
    let mut world = World::new();
    let rng = &mut world.rng;
    let added = world.outsiders[0].bundle.key_package().clone();
    let attacker = &mut world.attacker.group;
    let psk = PskSource::External { psk_id: SHARED_PSK.to_vec() };
    let extensions = attacker.context().extensions.clone();
    let _ = glass::take_hpke_plaintexts();
    let pending = attacker
        .commit()
        .add(added.clone())
        .remove(mls::wire::LeafIndex(5))
        .psk(psk)
        .extensions(extensions.clone())
        .build(rng, NOW)
        .expect("a valid commit");
    let mut seeds = glass::take_hpke_plaintexts();
    seeds.push(pending.commit().to_vec());
    seeds.push(pending.welcome().expect("somebody was added").to_vec());
    seeds.push(attacker.protect(b"data", b"aad", rng).expect("nothing is pending"));
    seeds.push(world.outsiders[1].bundle.message());
    seeds.push(attacker.group_info(GroupInfoOptions::default()).expect("an active member"));
    seeds.push(attacker.propose_update(rng).expect("an update").message);
    attacker.set_handshake_format(HandshakeFormat::Private);
    seeds.push(attacker.propose_add(added, rng, NOW).expect("an add").message);
    seeds.push(attacker.ratchet_tree());
    // The parts, as decoders of their own read them.
    let mut parts = Vec::new();
    for seed in &seeds {
        let Ok(message) = MlsMessage::from_bytes(seed) else { continue };
        parts.push(seed[4..].to_vec());
        match message.0 {
            MlsMessageBody::PublicMessage(message) => {
                parts.push(message.content.to_bytes());
                parts.push(message.content.content.to_bytes());
                match message.content.content {
                    Content::Commit(commit) => {
                        parts.push(commit.to_bytes());
                        for listed in &commit.proposals {
                            parts.push(listed.to_bytes());
                            if let ProposalOrRef::Proposal(proposal) = listed {
                                parts.push(proposal.to_bytes());
                                parts.push(proposal.to_bytes()[2..].to_vec());
                            }
                        }
                        let path = commit.path.expect("there is a path");
                        parts.extend(path.nodes.iter().map(Encode::to_bytes));
                        parts.push(path.to_bytes());
                    }
                    Content::Proposal(proposal) => parts.push(proposal.to_bytes()),
                    Content::Application(_) => {}
                }
            }
            MlsMessageBody::Welcome(welcome) => {
                parts.extend(welcome.secrets.iter().map(Encode::to_bytes));
            }
            MlsMessageBody::GroupInfo(info) => {
                parts.push(info.group_context.to_bytes());
                parts.push(info.extensions.to_bytes());
                parts.extend(info.extensions.iter().map(Encode::to_bytes));
                parts.extend(extensions.iter().map(|extension| extension.data.clone()));
            }
            MlsMessageBody::KeyPackage(package) => {
                parts.push(package.leaf_node.to_bytes());
                parts.push(package.leaf_node.capabilities.to_bytes());
                parts.push(package.leaf_node.source.to_bytes());
                parts.push(package.leaf_node.credential.to_bytes());
            }
            MlsMessageBody::PrivateMessage(message) => {
                assert_ne!(message.content_type, ContentType::Commit);
            }
        }
    }
    seeds.append(&mut parts);
    seeds
}

/// Seeds for the target `tree`.
pub fn tree_seeds() -> Vec<Vec<u8>> {
    let world = World::new();
    vec![world.service.ratchet_tree()]
}
