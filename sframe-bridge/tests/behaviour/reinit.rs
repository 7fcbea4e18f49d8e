//! A call moves from a classical group into a post-quantum one while its media goes on.

use crate::common::{at, config};
use mls::crypto::{default_provider, os_rng};
use mls::wire::{Credential, Extension, Extensions, ProtocolVersion, ReInit};
use mls::{
    AcceptAnyCredential, Changes, CipherSuite, Client, ClientOptions, Group, GroupId, GroupOptions,
    HandshakeFormat, Identity, KeyPackageBundle, Processed, UnixTime,
};
use sframe_bridge::{
    BASE_KEY_LABEL, CALL_PARAMETERS, CallKeys, CallParameters, CallRules, Epoch, ReceiveError,
    Sender, TrackId, WaitBuffer, WaitLimits, peek,
};
use std::collections::HashSet;
use std::sync::Arc;

const NOW: UnixTime = UnixTime(1_800_000_000);
const CLASSICAL: CipherSuite = CipherSuite::X25519_AES128GCM_SHA256_ED25519;
const POST_QUANTUM: CipherSuite = CipherSuite::MLKEM768X25519_AES256GCM_SHA384_ED25519;
const NAMES: [&str; 3] = ["alice", "bob", "carol"];

fn client(name: &str, suite: CipherSuite) -> Client {
    let suite = default_provider().suite(suite).unwrap();
    let identity = Identity::basic(name.as_bytes(), suite, &mut os_rng()).unwrap();
    let mut options = ClientOptions::new(AcceptAnyCredential);
    options.capabilities.extensions.push(CALL_PARAMETERS);
    options.handshake = HandshakeFormat::Public;
    options.rules = Arc::new(CallRules);
    Client::new(suite, identity, options)
}

fn extensions(parameters: &CallParameters) -> Extensions {
    let mut extensions = Extensions::new();
    extensions.set(Extension { extension_type: CALL_PARAMETERS, data: parameters.encode() });
    extensions
}

fn reinit(parameters: &CallParameters) -> ReInit {
    ReInit {
        group_id: GroupId(b"the call, post-quantum".to_vec()),
        version: ProtocolVersion::MLS10,
        cipher_suite: POST_QUANTUM,
        extensions: extensions(parameters),
    }
}

/// One member, with one track that sends all the time.
struct Participant {
    name: &'static str,
    group: Group,
    keys: CallKeys,
    sender: Sender,
}

impl Participant {
    fn new(name: &'static str, group: Group) -> Self {
        let mut keys = CallKeys::new(config());
        let sender = keys.sender(TrackId(1)).unwrap();
        let mut this = Self { name, group, keys, sender };
        this.install(None, 0);
        this
    }

    fn install(&mut self, changes: Option<&Changes>, millis: u64) {
        let epoch = Epoch::from_group(&self.group, config().crypto.suite, changes).unwrap();
        self.keys.install_epoch(epoch, at(millis)).unwrap();
    }

    fn send(&mut self) -> Vec<u8> {
        let mut wire = Vec::new();
        self.sender.protect_into(self.name.as_bytes(), b"", &mut wire).unwrap();
        wire
    }

    /// Opens a frame and tells whose it is by the roster, which must be the one who signed the content.
    fn open(&mut self, frame: &[u8], millis: u64) -> Result<u64, ReceiveError> {
        let mut frame = frame.to_vec();
        let opened = self.keys.receiver().unprotect_in_place(&mut frame, b"", at(millis))?;
        let name = frame[opened.plain].to_vec();
        let newest = Epoch::from_group(&self.group, config().crypto.suite, None).unwrap().number();
        if opened.sender.epoch == newest {
            let member = self.group.member(mls::LeafIndex(opened.sender.leaf)).unwrap();
            assert_eq!(member.credential, Credential::basic(name));
        }
        Ok(opened.sender.epoch)
    }
}

/// All KIDs and counters under which anything was sent, in both groups.
#[derive(Default)]
struct Sent(HashSet<(u64, u64)>);

impl Sent {
    /// Everybody sends one frame; nobody has used its KID and counter before.
    fn round(&mut self, call: &mut [Participant]) -> Vec<(usize, Vec<u8>)> {
        let frames: Vec<_> =
            call.iter_mut().enumerate().map(|(from, member)| (from, member.send())).collect();
        for (_, frame) in &frames {
            let header = peek(frame).unwrap().header;
            assert!(self.0.insert((header.kid.0, header.ctr)), "KID and counter are used twice");
        }
        frames
    }
}

fn everybody_opens(call: &mut [Participant], frames: &[(usize, Vec<u8>)], epoch: u64, millis: u64) {
    for (from, frame) in frames {
        for to in (0..call.len()).filter(|to| to != from) {
            assert_eq!(call[to].open(frame, millis), Ok(epoch), "{from} to {to}");
        }
    }
}

/// Everybody has acknowledged an epoch to everybody.
fn acknowledge(call: &mut [Participant], epoch: u64, millis: u64) {
    let leaves: Vec<u32> = call.iter().map(|member| member.group.own_leaf().0).collect();
    for member in call {
        for &leaf in &leaves {
            member.keys.peer_ready(leaf, epoch, at(millis));
        }
        assert_eq!(member.keys.send_epoch(), Some(epoch));
    }
}

/// The committer's commit takes effect everywhere.
fn distribute(call: &mut [Participant], from: usize, pending: mls::PendingCommit, millis: u64) {
    let commit = pending.commit().to_vec();
    for (index, member) in call.iter_mut().enumerate() {
        if index != from {
            let Processed::Commit(staged) = member.group.process(&commit, NOW).unwrap() else {
                panic!("expected a commit");
            };
            let change = member.group.merge(*staged).unwrap();
            member.install(Some(&change.changes), millis);
        }
    }
    let change = call[from].group.confirm(pending).unwrap();
    call[from].install(Some(&change.changes), millis);
}

fn classical_call() -> Vec<Participant> {
    let clients = NAMES.map(|name| client(name, CLASSICAL));
    let options = GroupOptions {
        extensions: extensions(&CallParameters::default()),
        ..GroupOptions::default()
    };
    let id = GroupId(b"the call".to_vec());
    let mut group = clients[0].create_group(id, options, &mut os_rng(), NOW).unwrap();
    let bundles =
        [1, 2].map(|index: usize| clients[index].key_package(&mut os_rng(), NOW).unwrap());
    let mut builder = group.commit();
    for bundle in &bundles {
        builder = builder.add(bundle.key_package().clone());
    }
    let pending = builder.build(&mut os_rng(), NOW).unwrap();
    let welcome = pending.welcome().unwrap().to_vec();
    group.confirm(pending).unwrap();
    let mut call = vec![Participant::new(NAMES[0], group)];
    for (index, bundle) in [1, 2].into_iter().zip(&bundles) {
        let joined = clients[index].join(&welcome, [bundle], None, NOW).unwrap().accept();
        call.push(Participant::new(NAMES[index], joined));
    }
    call
}

#[test]
fn a_call_moves_into_a_post_quantum_group_while_its_media_goes_on() {
    let mut call = classical_call();
    let mut sent = Sent::default();
    for epoch in 1..=3 {
        let frames = sent.round(&mut call);
        everybody_opens(&mut call, &frames, epoch, epoch);
        let pending = call[1].group.commit().build(&mut os_rng(), NOW).unwrap();
        distribute(&mut call, 1, pending, epoch);
        acknowledge(&mut call, epoch + 1, epoch);
    }
    let in_flight = sent.round(&mut call);

    // Carol closes the group: its last epoch is 5, so the successor's first one counts as 6.
    let parameters = CallParameters::of_successor(&call[2].group).unwrap();
    assert_eq!(parameters.epochs_before, 5);
    let commit = call[2].group.commit().reinit(reinit(&parameters));
    let pending = commit.build(&mut os_rng(), NOW).unwrap();
    distribute(&mut call, 2, pending, 10);
    assert!(call.iter().all(|member| !member.group.is_active()));
    acknowledge(&mut call, 5, 20);
    everybody_opens(&mut call, &in_flight, 4, 30);
    let frames = sent.round(&mut call);
    everybody_opens(&mut call, &frames, 5, 30);
    let in_flight = sent.round(&mut call);

    // Bob makes the successor, in which everybody has another leaf than before.
    let clients = NAMES.map(|name| client(name, POST_QUANTUM));
    let bundle = |index: usize| clients[index].key_package(&mut os_rng(), NOW).unwrap();
    let bundles: Vec<(usize, KeyPackageBundle)> = vec![(2, bundle(2)), (0, bundle(0))];
    let mut builder = call[1].group.successor(&clients[1]);
    for (_, bundle) in &bundles {
        builder = builder.add(bundle.key_package().clone());
    }
    let successor = builder.build(&mut os_rng(), NOW).unwrap();
    let welcome = successor.welcome().unwrap().to_vec();
    let old_key = call[0].group.export(BASE_KEY_LABEL, b"", 16).unwrap();
    let former: Vec<u32> = call.iter().map(|member| member.group.own_leaf().0).collect();
    call[1].group = successor.accept();
    call[1].install(None, 40);

    // Bob cannot wait, and sends under an epoch that the others do not have yet: their buffers hold it.
    call[1].keys.handle_timeout(at(400));
    assert_eq!(call[1].keys.send_epoch(), Some(6));
    let early = call[1].send();
    let mut waiting = WaitBuffer::<()>::new(WaitLimits::default());
    assert_eq!(call[0].open(&early, 400), Err(ReceiveError::FutureEpoch { epoch: 6 }));
    assert!(waiting.push(6, early, (), at(400)).is_empty());

    for (index, bundle) in &bundles {
        let member = &mut call[*index];
        let joined = clients[*index].join_from(&member.group, &welcome, [bundle], None, NOW);
        member.group = joined.unwrap().accept();
        member.install(None, 410);
    }
    let released = waiting.take_ready(6);
    assert_eq!(released.len(), 1);
    assert_eq!(call[0].open(&released[0].frame, 410), Ok(6));
    assert!(call.iter().zip(former).all(|(member, leaf)| member.group.own_leaf().0 != leaf));
    assert_ne!(call[0].group.export(BASE_KEY_LABEL, b"", 16).unwrap(), old_key);

    // Frames of the old group are still on their way, and the senders change over without a gap.
    everybody_opens(&mut call, &in_flight, 5, 420);
    acknowledge(&mut call, 6, 430);
    let frames = sent.round(&mut call);
    everybody_opens(&mut call, &frames, 6, 440);

    // The call goes on in the post-quantum group, and newcomers count its epochs alike.
    let dave = client("dave", POST_QUANTUM);
    let bundle = dave.key_package(&mut os_rng(), NOW).unwrap();
    let commit = call[0].group.commit().add(bundle.key_package().clone());
    let pending = commit.build(&mut os_rng(), NOW).unwrap();
    let welcome = pending.welcome().unwrap().to_vec();
    distribute(&mut call, 0, pending, 500);
    let joined = dave.join(&welcome, [&bundle], None, NOW).unwrap().accept();
    assert_eq!(joined.epoch(), 2);
    call.push(Participant::new("dave", joined));
    acknowledge(&mut call, 7, 510);
    let frames = sent.round(&mut call);
    everybody_opens(&mut call, &frames, 7, 520);

    // Long after, the keys of the old group are gone.
    for member in &mut call {
        member.keys.handle_timeout(at(60_000));
        assert!(member.keys.receiver().epochs().all(|epoch| epoch >= 6));
    }
}

#[test]
fn a_reinit_that_would_number_epochs_twice_is_refused() {
    let mut call = classical_call();
    let right = CallParameters::of_successor(&call[0].group).unwrap();
    let mut layout = right.clone();
    layout.layout = sframe_bridge::KidLayout::new(9, 10).unwrap();
    let behind = CallParameters { epochs_before: right.epochs_before - 1, ..right.clone() };
    let none = ReInit { extensions: Extensions::new(), ..reinit(&right) };
    for wrong in [reinit(&behind), reinit(&layout), reinit(&CallParameters::default()), none] {
        let error = call[0].group.commit().reinit(wrong).build(&mut os_rng(), NOW).unwrap_err();
        assert!(format!("{error:?}").contains("reinit-does-not-continue-the-call"), "{error:?}");
    }
    let commit = call[0].group.commit().reinit(reinit(&right));
    let pending = commit.build(&mut os_rng(), NOW).unwrap();
    distribute(&mut call, 0, pending, 1);
}
