//! A GroupInfo with its tree, signed by a member who controls every key in it.

use std::cell::RefCell;

use mls::{
    ExternalJoinOptions, GroupInfoOptions, PublicGroup,
    codec::{Decode, Encode},
    tree::RatchetTree,
    wire::{
        Extension, ExtensionType, GroupInfo, GroupInfoTbs, LeafIndex, MlsMessage, MlsMessageBody,
        Node,
    },
};
use rand::{SeedableRng, rngs::StdRng};

use super::{
    forge::alter_leaf,
    input::Input,
    proposals::{extensions, leaf},
    world::{NOW, World, service_options, suite},
};

thread_local! {
    static WORLD: RefCell<World> = RefCell::new(World::new());
}

/// Reads a GroupInfo as the delivery service and as an external joiner do.
pub fn group_info(data: &[u8]) {
    WORLD.with_borrow_mut(|world| {
        let mut input = Input::new(data);
        let mut info = group_info_in(&world.group_info);
        let beside = alter_group_info(&mut input, world, &mut info);
        let bytes = MlsMessage(MlsMessageBody::GroupInfo(info)).to_bytes();
        let publicly = PublicGroup::new(suite(), &bytes, beside.as_deref(), service_options(), NOW);
        let outsider = input.pick(4);
        let options =
            ExternalJoinOptions { resync: input.one_in(4), ..ExternalJoinOptions::default() };
        let rng = &mut StdRng::seed_from_u64(1);
        let client = &world.outsiders[outsider].person.client;
        let joined = client.join_external(&bytes, beside.as_deref(), options, rng, NOW);
        match (publicly, joined) {
            (Ok(service), Ok(pending)) => {
                let commit = service.process(pending.commit(), NOW);
                assert!(commit.is_ok(), "a joiner builds what the service refuses: {commit:?}");
                let group = pending.confirm();
                group
                    .group_info(GroupInfoOptions::default())
                    .expect("a member describes the group");
            }
            (Ok(service), Err(_)) => {
                assert_eq!(service.ratchet_tree(), service.tree().encode_tree());
                let _ = service.check_group_info(&bytes);
            }
            (Err(error), Err(_)) => {
                let _ = (error.to_string(), error.action(), error.fault());
            }
            (Err(error), Ok(_)) => panic!("joined in spite of {error:?}"),
        }
    });
}

pub fn group_info_in(message: &[u8]) -> GroupInfo {
    match MlsMessage::from_bytes(message).expect("the library made it").0 {
        MlsMessageBody::GroupInfo(info) => info,
        other => panic!("expected a group info, not {other:?}"),
    }
}

/// Alters the GroupInfo and signs it again. What it gives is the tree, where that goes beside it.
pub fn alter_group_info(
    input: &mut Input<'_>,
    world: &World,
    info: &mut GroupInfo,
) -> Option<Vec<u8>> {
    let tree_type = ExtensionType::RATCHET_TREE;
    let tree = info.extensions.find(tree_type).expect("it carries the tree").to_vec();
    let mut nodes = Vec::<Option<Node>>::from_bytes(&tree).expect("the library made it");
    for _ in 0..input.pick(4) {
        alter_nodes(input, world, &mut nodes);
    }
    let mut tree = nodes.to_bytes();
    if input.one_in(8) {
        input.alter(&mut tree);
    }
    if !input.one_in(8)
        && let Ok(tree) = RatchetTree::from_bytes(suite(), &tree)
    {
        info.group_context.tree_hash = tree.tree_hash();
    }
    for _ in 0..input.pick(3) {
        match input.pick(5) {
            0 => info.group_context = input.altered(info.group_context.clone()),
            1 => info.group_context.extensions = extensions(input, world),
            2 => info.signer = leaf(input),
            3 => info.group_context.epoch = u64::MAX - u64::from(input.byte() % 2),
            _ => *info = input.altered(info.clone()),
        }
    }
    let inside = input.one_in(2);
    if inside {
        info.extensions.set(Extension { extension_type: tree_type, data: tree.clone() });
    } else {
        let others = info.extensions.iter().filter(|e| e.extension_type != tree_type);
        info.extensions = others.cloned().collect();
    }
    if input.one_in(4) {
        let more = extensions(input, world);
        for extension in more.iter() {
            info.extensions.set(extension.clone());
        }
    }
    sign(world, info);
    (!inside).then_some(tree)
}

/// Signs with the key of the member who is said to have signed.
pub fn sign(world: &World, info: &mut GroupInfo) {
    let signer = usize::try_from(info.signer.0).unwrap_or(usize::MAX);
    let person = world.people.get(signer).unwrap_or(&world.people[1]);
    let tbs = GroupInfoTbs(info).to_bytes();
    info.signature =
        suite().sign_with_label(&*person.signer, "GroupInfoTBS", &tbs).expect("the key signs");
}

fn alter_nodes(input: &mut Input<'_>, world: &World, nodes: &mut Vec<Option<Node>>) {
    let place = input.pick(nodes.len() + 1);
    match input.pick(7) {
        0 => {
            nodes.insert(place, None);
        }
        1 if place < nodes.len() => nodes[place] = None,
        2 if place < nodes.len() => {
            let other = input.pick(nodes.len());
            nodes.swap(place, other);
        }
        3 if place < nodes.len() => {
            nodes.truncate(place + 1);
        }
        4 => {
            let copy = nodes.get(place).cloned().flatten();
            nodes.extend([None, copy]);
        }
        _ => match nodes.get_mut(place) {
            Some(Some(Node::Leaf(node))) => {
                let index = LeafIndex(u32::try_from(place / 2).expect("a small tree"));
                let person = world.people.get(place / 2).unwrap_or(&world.people[1]);
                let group_id = &world.service.context().group_id;
                alter_leaf(input, node, &*person.signer, group_id, index);
            }
            Some(Some(Node::Parent(node))) => match input.pick(3) {
                0 => **node = input.altered((**node).clone()),
                1 => node.unmerged_leaves.push(leaf(input)),
                _ => {
                    node.unmerged_leaves.pop();
                }
            },
            _ => {}
        },
    }
}
