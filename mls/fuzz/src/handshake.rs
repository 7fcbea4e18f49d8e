//! Proposals, commits and private messages of a hostile member, outsider or external sender, at two members and the
//! delivery service.

use std::cell::RefCell;

use mls::{
    ExternalJoinOptions, Group, GroupInfoOptions, ProcessError, Processed, PublicProcessed,
    codec::{Decode, Encode},
    crypto::SigningKey,
    framing::sign,
    wire::{
        AuthenticatedContent, Commit, ConfirmationTag, Content, ContentType, FramedContent,
        GroupId, LeafIndex, MlsMessage, MlsMessageBody, PrivateMessageContent, Proposal,
        ProposalOrRef, ProposalRef, Sender, SenderData, UpdatePath, UpdatePathNode, WireFormat,
    },
};
use rand::{SeedableRng, rngs::StdRng};

use super::{
    forge::{public_message, sign_leaf},
    glass,
    input::Input,
    proposals::{leaf, leaf_of, proposal},
    world::{ATTACKER, NOW, Victim, World, state, suite},
};

thread_local! {
    static WORLD: RefCell<World> = RefCell::new(World::new());
}

/// How many messages one input makes.
const MESSAGES: usize = 6;

/// `Group::process` and `PublicGroup::process`, side by side.
pub fn process(data: &[u8]) {
    run(data, true);
}

/// `PublicGroup::process` alone, which is faster.
pub fn public_group(data: &[u8]) {
    run(data, false);
}

fn run(data: &[u8], members: bool) {
    WORLD.with_borrow_mut(|world| {
        let mut input = Input::new(data);
        world.rng = StdRng::seed_from_u64(u64::from(input.byte()));
        let mut references = Vec::new();
        for _ in 0..MESSAGES {
            if input.is_empty() {
                break;
            }
            attack(&mut input, world, members, &mut references);
        }
        world.service.clear_proposals();
        world.attacker.group.clear_proposals();
        for victim in &mut world.victims {
            victim.group.clear_proposals();
            if state(&victim.group) != victim.saved {
                victim.reset();
            }
        }
    });
}

fn attack(
    input: &mut Input<'_>,
    world: &mut World,
    members: bool,
    references: &mut Vec<ProposalRef>,
) {
    match input.pick(8) {
        0 => {
            let content = Content::Proposal(proposal(input, world));
            let signer = &*world.people[1].signer;
            let sender = Sender::Member(ATTACKER);
            let Some(message) = public_message(world, sender, signer, content, None) else {
                return;
            };
            let _ = world.attacker.group.process(&message, NOW);
            deliver(world, &message, members, references);
        }
        1 => {
            let content = Content::Proposal(proposal(input, world));
            let (sender, signer): (Sender, &dyn SigningKey) = match input.pick(3) {
                0 => (Sender::External(u32::from(input.byte() % 3)), &*world.external),
                1 => (Sender::NewMemberProposal, &*input.choose(&world.outsiders).person.signer),
                _ => (Sender::Member(leaf(input)), &*world.people[1].signer),
            };
            let Some(message) = public_message(world, sender, signer, content, None) else {
                return;
            };
            deliver(world, &message, members, references);
        }
        2 | 3 => honest_commit(input, world, members),
        4 => listed_commit(input, world, members, references),
        5 => external_commit(input, world, members, references),
        6 => private_message(input, world, members),
        _ => {
            // A genuine message with a few bytes altered and nothing signed again.
            let pending = world.attacker.group.commit().build(&mut world.rng, NOW);
            let Ok(pending) = pending else { return };
            let mut bytes = pending.commit().to_vec();
            input.alter(&mut bytes);
            deliver(world, &bytes, members, references);
        }
    }
}

/// What the library itself would commit, taken apart, altered, and put together again.
fn honest_commit(input: &mut Input<'_>, world: &mut World, members: bool) {
    let listed: Vec<Proposal> = (0..input.pick(4)).map(|_| proposal(input, world)).collect();
    let mut builder = world.attacker.group.commit();
    for proposal in &listed {
        builder = builder.proposal(proposal.clone());
    }
    if input.one_in(4) {
        builder = builder.without_received();
    }
    if input.one_in(4) {
        builder = builder.omit_path();
    }
    let commit = match builder.build(&mut world.rng, NOW) {
        Ok(pending) => commit_in(pending.commit()),
        Err(_) => Commit {
            proposals: listed.into_iter().map(ProposalOrRef::Proposal).collect(),
            path: None,
        },
    };
    let commit = alter_commit(input, world, commit, &*world.people[1].signer, ATTACKER);
    send_commit(world, commit, Sender::Member(ATTACKER), 1, members);
}

/// Proposals by value and by reference as they come, with the path of another commit.
fn listed_commit(
    input: &mut Input<'_>,
    world: &mut World,
    members: bool,
    references: &[ProposalRef],
) {
    let mut proposals: Vec<ProposalOrRef> = Vec::new();
    for _ in 0..input.pick(5) {
        proposals.push(listed(input, world, references));
    }
    let path = match input.one_in(4) {
        true => None,
        false => {
            let builder = world.attacker.group.commit().without_received();
            builder.build(&mut world.rng, NOW).ok().and_then(|p| commit_in(p.commit()).path)
        }
    };
    let commit = Commit { proposals, path };
    let commit = alter_commit(input, world, commit, &*world.people[1].signer, ATTACKER);
    send_commit(world, commit, Sender::Member(ATTACKER), 1, members);
}

/// An entry of a commit: by value, by reference to something received, or by reference to nothing.
fn listed(input: &mut Input<'_>, world: &World, references: &[ProposalRef]) -> ProposalOrRef {
    match input.pick(4) {
        0 | 1 if !references.is_empty() => {
            ProposalOrRef::Reference(input.choose(references).clone())
        }
        3 => ProposalOrRef::Reference(ProposalRef(input.bytes(32))),
        _ => ProposalOrRef::Proposal(proposal(input, world)),
    }
}

fn external_commit(
    input: &mut Input<'_>,
    world: &mut World,
    members: bool,
    references: &[ProposalRef],
) {
    // Somebody from outside, or a member that comes back.
    let outsider = input.pick(5);
    let resync = outsider == 4;
    let person = match resync {
        true => &world.people[2],
        false => &world.outsiders[outsider].person,
    };
    let options = ExternalJoinOptions { resync, ..ExternalJoinOptions::default() };
    let joined = person.client.join_external(&world.group_info, None, options, &mut world.rng, NOW);
    let mut commit = commit_in(joined.expect("the group is open").commit());
    for _ in 0..input.pick(3) {
        let place = input.pick(commit.proposals.len() + 1);
        commit.proposals.insert(place, listed(input, world, references));
    }
    let place = if resync { LeafIndex(2) } else { LeafIndex(3) };
    let commit = alter_commit(input, world, commit, &*person.signer, place);
    let signer = if resync { 2 } else { 10 + outsider };
    send_commit(world, commit, Sender::NewMemberCommit, signer, members);
}

fn alter_commit(
    input: &mut Input<'_>,
    world: &World,
    mut commit: Commit,
    signer: &dyn SigningKey,
    place: LeafIndex,
) -> Commit {
    for _ in 0..input.pick(3) {
        match input.pick(5) {
            0 => commit = input.altered(commit),
            1 => {
                let index = input.pick(commit.proposals.len() + 1);
                if index < commit.proposals.len() {
                    commit.proposals.remove(index);
                }
            }
            2 => {
                let index = input.pick(commit.proposals.len() + 1);
                if let Some(again) = commit.proposals.get(index).cloned() {
                    commit.proposals.push(again);
                }
            }
            3 => commit.path = None,
            _ => {
                if let Some(path) = &mut commit.path {
                    alter_path(input, world, path, signer, place);
                }
            }
        }
    }
    commit
}

fn alter_path(
    input: &mut Input<'_>,
    world: &World,
    path: &mut UpdatePath,
    signer: &dyn SigningKey,
    place: LeafIndex,
) {
    let group_id: &GroupId = &world.service.context().group_id;
    match input.pick(6) {
        0 => path.leaf_node = input.altered(path.leaf_node.clone()),
        1 => path.leaf_node.encryption_key = leaf_of(world, LeafIndex(0)).encryption_key,
        2 => {
            path.nodes.pop();
        }
        3 => {
            let node = UpdatePathNode {
                encryption_key: path.leaf_node.encryption_key.clone(),
                encrypted_path_secret: Vec::new(),
            };
            let again = path.nodes.first().cloned().unwrap_or(node);
            path.nodes.push(again);
        }
        4 => {
            if let Some(node) = path.nodes.first_mut() {
                let index = input.pick(node.encrypted_path_secret.len() + 1);
                if index < node.encrypted_path_secret.len() {
                    node.encrypted_path_secret.remove(index);
                } else if let Some(last) = node.encrypted_path_secret.last().cloned() {
                    node.encrypted_path_secret.push(last);
                }
            }
        }
        _ => path.nodes.reverse(),
    }
    if !input.one_in(4) {
        sign_leaf(&mut path.leaf_node, signer, group_id, place);
    }
}

/// Signs and tags the commit, learns the confirmation tag that a member expects, and delivers it with that.
fn send_commit(world: &mut World, commit: Commit, sender: Sender, signer: usize, members: bool) {
    let content = Content::Commit(Box::new(commit));
    let make = |world: &World, tag: Vec<u8>| {
        let signer = match signer {
            10.. => &world.outsiders[signer - 10].person.signer,
            member => &world.people[member].signer,
        };
        public_message(world, sender, &**signer, content.clone(), Some(ConfirmationTag(tag)))
    };
    let Some(mut message) = make(world, vec![0; 32]) else { return };
    for index in 0..if members { world.victims.len() } else { 0 } {
        if let Err(ProcessError::ConfirmationTag) =
            world.victims[index].group.process(&message, NOW)
        {
            message = make(world, glass::last_mac().1).expect("it was made before");
            let accepted = world.victims[index].group.process(&message, NOW);
            assert!(accepted.is_ok(), "nothing comes after the confirmation tag: {accepted:?}");
            break;
        }
    }
    deliver(world, &message, members, &mut Vec::new());
}

/// Hands a public message to everybody and compares what they say.
fn deliver(world: &mut World, message: &[u8], members: bool, references: &mut Vec<ProposalRef>) {
    let publicly = world.service.process(message, NOW);
    if let Err(error) = &publicly {
        let _ = (error.to_string(), error.action(), error.fault());
    }
    if members {
        let mut results = Vec::new();
        for victim in &mut world.victims {
            let before = state(&victim.group);
            let result = victim.group.process(message, NOW);
            let handled = matches!(result, Ok(Processed::Proposal(_)));
            assert!(handled || state(&victim.group) == before, "{result:?} changed the state");
            agree(&publicly, &result);
            results.push(result);
        }
        enter(world, message, &results);
    }
    match publicly {
        Ok(PublicProcessed::Proposal(proposal)) => {
            let reference = proposal.reference.clone();
            if world.service.store_proposal(proposal).is_ok() {
                references.push(reference);
            }
        }
        Ok(PublicProcessed::Commit(staged)) => {
            let context = staged.context();
            assert_eq!(context.epoch, world.service.epoch() + 1);
            assert_eq!(staged.epoch(), context.epoch);
        }
        Err(_) => {}
    }
}

/// What the service refuses every member refuses; where a member alone refuses, it is for a reason that takes secrets.
fn agree(
    publicly: &Result<PublicProcessed, ProcessError>,
    member: &Result<Processed, ProcessError>,
) {
    match (publicly, member) {
        (Ok(PublicProcessed::Proposal(one)), Ok(Processed::Proposal(other))) => {
            assert_eq!(one, other);
        }
        (Ok(PublicProcessed::Commit(one)), Ok(Processed::Commit(other))) => {
            assert_eq!(one.context(), other.context());
            assert_eq!(one.changes().added, other.changes().added);
            assert_eq!(one.changes().removed, other.changes().removed);
        }
        (Ok(_), Err(error)) => assert!(
            matches!(
                error,
                ProcessError::MembershipTag
                    | ProcessError::PskUnknown(_)
                    | ProcessError::PathSecret(_)
                    | ProcessError::ConfirmationTag
                    | ProcessError::TooManyProposals
            ),
            "the service accepts what a member refuses: {error:?}"
        ),
        (Err(_), Err(_)) => {}
        (public, member) => panic!("the service says {public:?}, a member {member:?}"),
    }
}

/// Members that accept a commit arrive in one epoch, and what they are then is what they save.
fn enter(world: &World, message: &[u8], results: &[Result<Processed, ProcessError>]) {
    if !results.iter().any(|result| matches!(result, Ok(Processed::Commit(_)))) {
        return;
    }
    let mut arrived: Option<Group> = None;
    for victim in &world.victims {
        let mut group = again(victim);
        let Ok(Processed::Commit(staged)) = group.process(message, NOW) else { continue };
        group.merge(*staged).expect("it was staged here");
        if !group.is_active() {
            continue;
        }
        let saved = state(&group);
        let restored =
            group.client().restore(&saved, &super::world::snapshot_key()).expect("it was saved");
        assert!(state(&restored) == saved, "restoring changed the state");
        group
            .group_info(GroupInfoOptions::default())
            .expect("an active member describes the group");
        if let Some(other) = &arrived {
            assert_eq!(other.context(), group.context());
            assert_eq!(other.ratchet_tree(), group.ratchet_tree());
            assert!(other.epoch_authenticator() == group.epoch_authenticator(), "a fork");
        }
        arrived = Some(group);
    }
}

/// A copy of the victim with the proposals that it has received.
fn again(victim: &Victim) -> Group {
    let saved = state(&victim.group);
    victim.group.client().restore(&saved, &super::world::snapshot_key()).expect("it was saved")
}

/// A private message of the attacker, with content of the fuzzer's choice inside the encryption.
fn private_message(input: &mut Input<'_>, world: &mut World, members: bool) {
    let saved = state(&world.attacker.group);
    world.attacker.group.clear_proposals();
    let genuine = world.attacker.group.protect(b"data", b"", &mut world.rng);
    let Ok(genuine) = genuine else { return };
    world.attacker.group = world.people[1]
        .client
        .restore(&saved, &super::world::snapshot_key())
        .expect("it was saved");
    let MlsMessage(MlsMessageBody::PrivateMessage(mut message)) =
        MlsMessage::from_bytes(&genuine).expect("the library made it")
    else {
        panic!("application data are private")
    };
    message.content_type =
        *input.choose(&[ContentType::Application, ContentType::Proposal, ContentType::Commit]);
    let content = match message.content_type {
        ContentType::Application => Content::Application(input.bytes(200)),
        ContentType::Proposal => Content::Proposal(proposal(input, world)),
        ContentType::Commit => {
            let pending = world.attacker.group.commit().build(&mut world.rng, NOW);
            let Ok(pending) = pending else { return };
            Content::Commit(Box::new(commit_in(pending.commit())))
        }
    };
    let place = if input.one_in(4) { leaf(input) } else { ATTACKER };
    let generation = if input.one_in(4) {
        u32::from(input.word()) << input.pick(17)
    } else {
        u32::from(input.byte())
    };
    let data = SenderData { leaf_index: place, generation, reuse_guard: [0; 4] };
    let mut data = data.to_bytes();
    if input.one_in(8) {
        input.alter(&mut data);
    }
    let framed = FramedContent {
        group_id: message.group_id.clone(),
        epoch: message.epoch,
        sender: Sender::Member(place),
        authenticated_data: message.authenticated_data.clone(),
        content,
    };
    let context = world.service.context().to_bytes();
    let signer = &*world.people[1].signer;
    let signed = sign(suite(), WireFormat::PrivateMessage, framed, &context, signer);
    let Ok(signed) = signed else { return };
    let complete = match message.content_type {
        ContentType::Commit => signed.confirmed(ConfirmationTag(vec![0; 32])),
        _ => signed.finish(),
    };
    let Ok(AuthenticatedContent { content, auth, .. }) = complete else { return };
    let inside = PrivateMessageContent { content: content.content, auth, padding: input.pick(64) };
    let mut inside = inside.to_bytes();
    if input.one_in(4) {
        input.alter(&mut inside);
    }
    if input.one_in(4) {
        message = input.altered(message);
    }
    let bytes = MlsMessage(MlsMessageBody::PrivateMessage(message)).to_bytes();
    assert!(world.service.process(&bytes, NOW).is_err());
    if !members {
        return;
    }
    for victim in &mut world.victims {
        for _ in 0..2 {
            glass::substitute([Some(data.clone()), Some(inside.clone())]);
            let result = victim.group.process(&bytes, NOW);
            glass::substitute([]);
            if let Ok(Processed::Application(received)) = result {
                assert_eq!(received.sender.leaf, place);
            }
        }
        if state(&victim.group) != victim.saved {
            // The key is spent; whatever else was received is given up with it.
            victim.reset();
        }
    }
    world.service.clear_proposals();
    world.attacker.group.clear_proposals();
}

fn commit_in(message: &[u8]) -> Commit {
    match MlsMessage::from_bytes(message).expect("the library made it").0 {
        MlsMessageBody::PublicMessage(message) => match message.content.content {
            Content::Commit(commit) => *commit,
            other => panic!("expected a commit, not {other:?}"),
        },
        other => panic!("expected a public message, not {other:?}"),
    }
}
