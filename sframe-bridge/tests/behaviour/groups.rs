//! Real groups as the source of epochs, and the rules of a call.

use crate::common::{at, config};
use mls::crypto::{default_provider, os_rng};
use mls::validation::{GroupRules, NoFurtherRules};
use mls::wire::{
    Credential, Extension, ExtensionType, Extensions, ExternalSenders, KeyPackage,
    RequiredCapabilities,
};
use mls::{
    AcceptAnyCredential, Changes, CipherSuite, Client, ClientOptions, ExternalJoinOptions,
    ExternalProposer, Group, GroupId, GroupInfoOptions, GroupOptions, HandshakeFormat, Identity,
    Processed, SnapshotKey, UnixTime,
};
use sframe_bridge::{
    CALL_PARAMETERS, CallKeys, CallParameters, CallRules, ChangeRight, Epoch, KidLayout,
    ReceiveError, SendError, TrackId,
};
use std::sync::Arc;

pub(crate) const NOW: UnixTime = UnixTime(1_800_000_000);

pub(crate) fn client_with(name: &str, rules: impl GroupRules + 'static) -> Client {
    let suite = default_provider().suite(CipherSuite(1)).unwrap();
    let identity = Identity::basic(name.as_bytes(), suite, &mut os_rng()).unwrap();
    let mut options = ClientOptions::new(AcceptAnyCredential);
    options.capabilities.extensions.push(CALL_PARAMETERS);
    options.handshake = HandshakeFormat::Public;
    options.rules = Arc::new(rules);
    Client::new(suite, identity, options)
}

pub(crate) fn client(name: &str) -> Client {
    client_with(name, CallRules)
}

pub(crate) fn extensions(parameters: &CallParameters) -> Extensions {
    let mut extensions = Extensions::new();
    extensions.set(Extension { extension_type: CALL_PARAMETERS, data: parameters.encode() });
    extensions
}

pub(crate) fn create(client: &Client, parameters: &CallParameters) -> Group {
    let required = RequiredCapabilities {
        extension_types: vec![CALL_PARAMETERS],
        ..RequiredCapabilities::default()
    };
    let options =
        GroupOptions { extensions: extensions(parameters), required_capabilities: Some(required) };
    client.create_group(GroupId(b"call".to_vec()), options, &mut os_rng(), NOW).unwrap()
}

/// One member of a call: its group and its media keys.
pub(crate) struct Participant {
    pub(crate) group: Group,
    pub(crate) keys: CallKeys,
}

impl Participant {
    pub(crate) fn new(group: Group) -> Self {
        let mut this = Self { group, keys: CallKeys::new(config()) };
        this.install(None);
        this
    }

    fn install(&mut self, changes: Option<&Changes>) {
        let suite = config().crypto.suite;
        let epoch = Epoch::from_group(&self.group, suite, changes).unwrap();
        self.keys.install_epoch(epoch, at(0)).unwrap();
    }

    fn process(&mut self, commit: &[u8]) -> Result<(), String> {
        let processed = self.group.process(commit, NOW).map_err(|error| format!("{error:?}"))?;
        let Processed::Commit(staged) = processed else { panic!("expected a commit") };
        let change = self.group.merge(*staged).unwrap();
        self.install(Some(&change.changes));
        Ok(())
    }
}

/// The first of `call` commits; the others follow. Those who join are appended.
pub(crate) fn commit(call: &mut Vec<Participant>, add: &[&Client], remove: &[usize]) {
    let bundles: Vec<_> =
        add.iter().map(|client| client.key_package(&mut os_rng(), NOW).unwrap()).collect();
    let leaves: Vec<_> = remove.iter().map(|&index| call[index].group.own_leaf()).collect();
    let mut builder = call[0].group.commit();
    for bundle in &bundles {
        builder = builder.add(KeyPackage::clone(bundle.key_package()));
    }
    for leaf in leaves {
        builder = builder.remove(leaf);
    }
    let pending = builder.build(&mut os_rng(), NOW).unwrap();
    let (message, welcome) = (pending.commit().to_vec(), pending.welcome().map(<[u8]>::to_vec));
    let change = call[0].group.confirm(pending).unwrap();
    call[0].install(Some(&change.changes));
    for (index, member) in call.iter_mut().enumerate().skip(1) {
        if !remove.contains(&index) {
            member.process(&message).unwrap();
        }
    }
    for (client, bundle) in add.iter().zip(&bundles) {
        let welcome = welcome.as_deref().unwrap();
        let joined = client.join(welcome, [bundle], None, NOW).unwrap().accept();
        call.push(Participant::new(joined));
    }
}

#[test]
fn frames_of_every_member_open_at_every_other_and_nowhere_else() {
    let clients: Vec<_> =
        ["alice", "bob", "carol", "dave"].iter().map(|name| client(name)).collect();
    let mut call = vec![Participant::new(create(&clients[0], &CallParameters::default()))];
    commit(&mut call, &[&clients[1], &clients[2]], &[]);
    commit(&mut call, &[&clients[3]], &[]);
    for member in &mut call {
        member.keys.handle_timeout(at(300));
        assert_eq!(member.keys.send_epoch(), Some(2));
    }
    let mut senders: Vec<_> =
        call.iter_mut().map(|member| member.keys.sender(TrackId(1)).unwrap()).collect();
    for from in 0..call.len() {
        let mut wire = Vec::new();
        senders[from].protect_into(b"frame", b"", &mut wire).unwrap();
        for to in 0..call.len() {
            let mut copy = wire.clone();
            let result = call[to].keys.receiver().unprotect_in_place(&mut copy, b"", at(300));
            if to == from {
                assert_eq!(result, Err(ReceiveError::OwnKid));
            } else {
                let opened = result.unwrap();
                assert_eq!(opened.sender.leaf, call[from].group.own_leaf().0);
                assert_eq!(copy[opened.plain], *b"frame");
            }
        }
    }

    // Bob leaves. What comes after is closed to him, although he keeps all that he has.
    commit(&mut call, &[], &[1]);
    call[0].keys.handle_timeout(at(80));
    assert_eq!(call[0].keys.send_epoch(), Some(3));
    let mut wire = Vec::new();
    senders[0].protect_into(b"secret", b"", &mut wire).unwrap();
    assert_eq!(senders[0].epoch(), Some(3));
    let at_bob = call[1].keys.receiver().unprotect_in_place(&mut wire.clone(), b"", at(100));
    assert_eq!(at_bob, Err(ReceiveError::FutureEpoch { epoch: 3 }));
    call[2].keys.receiver().unprotect_in_place(&mut wire, b"", at(100)).unwrap();

    // Erin joins at Bob's leaf. What came before is closed to her.
    let erin = client("erin");
    let mut before = Vec::new();
    senders[0].protect_into(b"before", b"", &mut before).unwrap();
    let bob = call.remove(1);
    commit(&mut call, &[&erin], &[]);
    let erin = call.last_mut().unwrap();
    assert_eq!(erin.group.own_leaf(), bob.group.own_leaf());
    let early = erin.keys.receiver().unprotect_in_place(&mut before, b"", at(100));
    assert_eq!(early, Err(ReceiveError::BeforeJoin { epoch: 3 }));
}

/// A call of a member without rules and one with them; what the first one commits.
pub(crate) fn offence(
    parameters: &CallParameters,
    commit: impl FnOnce(&mut Group) -> Vec<u8>,
) -> Result<(), String> {
    let lawless = client_with("lawless", NoFurtherRules);
    let bob = client("bob");
    let mut call = vec![Participant::new(create(&lawless, parameters))];
    crate::groups::commit(&mut call, &[&bob], &[]);
    let message = commit(&mut call[0].group);
    let before = call[1].group.epoch();
    let result = call[1].process(&message);
    if result.is_err() {
        assert_eq!(call[1].group.epoch(), before);
    }
    result
}

pub(crate) fn assert_refused(result: Result<(), String>, rule: &str) {
    let error = result.unwrap_err();
    assert!(error.contains(rule), "expected {rule}, found {error}");
}

#[test]
fn the_parameters_of_a_call_stay_as_they_are() {
    let parameters = CallParameters::default();
    let mut other = parameters.clone();
    other.media.contexts += 1;
    let required = RequiredCapabilities {
        extension_types: vec![CALL_PARAMETERS],
        ..RequiredCapabilities::default()
    };
    let with_required = |mut extensions: Extensions| {
        let extension_type = ExtensionType::REQUIRED_CAPABILITIES;
        extensions.set(Extension::new(extension_type, &required));
        extensions
    };
    for (replacement, allowed) in [
        (with_required(Extensions::new()), false),
        (with_required(extensions(&other)), false),
        (with_required(extensions(&parameters)), true),
    ] {
        let result = offence(&parameters, |group| {
            let builder = group.commit().extensions(replacement);
            builder.build(&mut os_rng(), NOW).unwrap().commit().to_vec()
        });
        if allowed {
            result.unwrap();
        } else {
            assert_refused(result, "call-parameters-changed");
        }
    }
}

#[test]
fn nobody_is_added_at_a_leaf_that_does_not_fit() {
    let parameters =
        CallParameters { layout: KidLayout::new(8, 1).unwrap(), ..CallParameters::default() };
    let result = offence(&parameters, |group| add(group, "carol"));
    assert_refused(result, "leaf-too-large-for-kid");
    offence(&CallParameters::default(), |group| add(group, "carol")).unwrap();
}

fn add(group: &mut Group, name: &str) -> Vec<u8> {
    let bundle = client(name).key_package(&mut os_rng(), NOW).unwrap();
    let builder = group.commit().add(KeyPackage::clone(bundle.key_package()));
    builder.build(&mut os_rng(), NOW).unwrap().commit().to_vec()
}

#[test]
fn only_moderators_add_where_the_call_says_so() {
    let mut parameters = CallParameters::default();
    parameters.membership.add = ChangeRight::Moderators;
    parameters.membership.moderators = vec![b"lawless".to_vec()];
    offence(&parameters, |group| add(group, "carol")).unwrap();

    let alice = client("alice");
    let bob = client_with("bob", NoFurtherRules);
    parameters.membership.moderators = vec![b"alice".to_vec()];
    let mut call = vec![Participant::new(create(&alice, &parameters))];
    commit(&mut call, &[&bob], &[]);
    let message = add(&mut call[1].group, "carol");
    assert_refused(call[0].process(&message), "proposer-is-no-moderator");
}

#[test]
fn a_moderator_may_leave_the_commit_to_others_and_nobody_becomes_one_by_it() {
    let mut parameters = CallParameters::default();
    parameters.membership.remove = ChangeRight::Moderators;
    parameters.membership.moderators = vec![b"alice".to_vec()];
    let (alice, bob, carol) =
        (client("alice"), client_with("bob", NoFurtherRules), client("carol"));
    let mut call = vec![Participant::new(create(&alice, &parameters))];
    commit(&mut call, &[&bob, &carol], &[]);
    let leaf = call[2].group.own_leaf();

    let identity = Identity::basic("alice", bob.suite(), &mut os_rng()).unwrap();
    let disguised = call[1].group.commit().identity(identity).remove(leaf);
    let message = disguised.build(&mut os_rng(), NOW).unwrap().commit().to_vec();
    assert_refused(call[0].process(&message), "proposer-is-no-moderator");

    let proposal = call[0].group.propose_remove(leaf, &mut os_rng()).unwrap();
    let _ = call[1].group.process(&proposal.message, NOW).unwrap();
    let pending = call[1].group.commit().build(&mut os_rng(), NOW).unwrap();
    assert_eq!(pending.changes().removed.len(), 1);
    call[0].process(pending.commit()).unwrap();
}

#[test]
fn nobody_outside_a_call_proposes_to_it() {
    let parameters = CallParameters::default();
    let (alice, bob, mallory) = (client("alice"), client("bob"), client("mallory"));
    let mut call = vec![Participant::new(create(&alice, &parameters))];
    let senders = ExternalSenders(vec![mallory.identity().external_sender()]);
    let mut listing = extensions(&parameters);
    listing.set(Extension::new(ExtensionType::EXTERNAL_SENDERS, &senders));
    let pending = call[0].group.commit().extensions(listing).build(&mut os_rng(), NOW).unwrap();
    call[0].group.confirm(pending).unwrap();
    commit(&mut call, &[&bob], &[]);

    let bundle = mallory.key_package(&mut os_rng(), NOW).unwrap();
    let (id, epoch) = (call[0].group.id().clone(), call[0].group.epoch());
    let newcomer = mallory.propose_join(id, epoch, &bundle).unwrap();
    let context = call[0].group.context();
    let sender =
        ExternalProposer::in_group(mallory.suite(), mallory.identity().clone(), context).unwrap();
    let removal = sender.propose_remove(call[1].group.own_leaf()).unwrap();
    for proposal in [newcomer, removal] {
        assert_refused(call[0].process(&proposal.message), "proposer-is-no-member");
    }
    assert_eq!(call[0].group.proposals().count(), 0);
}

#[test]
fn an_external_commit_is_a_resync_or_nothing() {
    let alice = client("alice");
    let bob = client_with("bob", NoFurtherRules);
    let mut call = vec![Participant::new(create(&alice, &CallParameters::default()))];
    commit(&mut call, &[&bob], &[]);
    let info = call[0].group.group_info(GroupInfoOptions::default()).unwrap();
    let stranger = client_with("mallory", NoFurtherRules);
    let join = ExternalJoinOptions::default();
    let pending = stranger.join_external(&info, None, join, &mut os_rng(), NOW).unwrap();
    assert_refused(call[0].process(pending.commit()), "external-commit-is-no-resync");
    let resync = ExternalJoinOptions { resync: true, ..ExternalJoinOptions::default() };
    let pending = bob.join_external(&info, None, resync, &mut os_rng(), NOW).unwrap();
    call[0].process(pending.commit()).unwrap();
    let mut again = Participant::new(pending.confirm());
    let mut sender = again.keys.sender(TrackId(1)).unwrap();
    let mut wire = Vec::new();
    sender.protect_into(b"back", b"", &mut wire).unwrap();
    call[0].keys.receiver().unprotect_in_place(&mut wire, b"", at(1)).unwrap();
}

#[test]
fn parameters_are_read_from_the_group() {
    let parameters = CallParameters::default();
    let group = create(&client("alice"), &parameters);
    assert_eq!(CallParameters::of_group(group.context()), Ok(parameters));
    let credential = group.roster().next().unwrap().credential;
    assert_eq!(credential, Credential::basic(b"alice".to_vec()));
}

#[test]
fn a_commit_that_was_made_before_the_crash_does_not_let_a_restored_member_send() {
    let alice = client("alice");
    let bob = client("bob");
    let mut call = vec![Participant::new(create(&alice, &CallParameters::default()))];
    commit(&mut call, &[&bob], &[]);
    let key = SnapshotKey::generate(&mut os_rng());
    let pending = call[1].group.commit().build(&mut os_rng(), NOW).unwrap();
    let saved = call[1].group.save(&key, &mut os_rng()).unwrap();
    let saved_commit = pending.save(&call[1].group, &key, &mut os_rng()).unwrap();

    // The commit wins, Bob enters its epoch and sends; then he dies.
    call[0].process(pending.commit()).unwrap();
    let change = call[1].group.confirm(pending).unwrap();
    call[1].install(Some(&change.changes));

    let group = bob.restore(&saved, &key).unwrap();
    let pending = group.restore_pending(&saved_commit, &key).unwrap();
    let mut restored = Participant { group, keys: CallKeys::restored(config()) };
    let mut sender = restored.keys.sender(TrackId(1)).unwrap();
    let change = restored.group.confirm(pending).unwrap();
    restored.install(Some(&change.changes));
    restored.keys.handle_timeout(at(60_000));
    assert_eq!(sender.protect_into(b"x", b"", &mut Vec::new()), Err(SendError::NoKey));

    let pending = restored.group.commit().build(&mut os_rng(), NOW).unwrap();
    call[0].process(pending.commit()).unwrap();
    let change = restored.group.confirm(pending).unwrap();
    restored.install(Some(&change.changes));
    restored.keys.handle_timeout(at(120_000));
    let mut wire = Vec::new();
    sender.protect_into(b"x", b"", &mut wire).unwrap();
    call[0].keys.receiver().unprotect_in_place(&mut wire, b"", at(120_000)).unwrap();
}

#[test]
fn a_restored_group_sends_after_its_own_commit_and_not_after_a_replayed_one() {
    let alice = client("alice");
    let bob = client("bob");
    let mut call = vec![Participant::new(create(&alice, &CallParameters::default()))];
    commit(&mut call, &[&bob], &[]);
    let key = SnapshotKey::generate(&mut os_rng());
    let saved = call[1].group.save(&key, &mut os_rng()).unwrap();

    // Bob goes on and sends under epoch 2; then he dies.
    let pending = call[0].group.commit().build(&mut os_rng(), NOW).unwrap();
    let message = pending.commit().to_vec();
    let change = call[0].group.confirm(pending).unwrap();
    call[0].install(Some(&change.changes));
    call[1].process(&message).unwrap();

    let mut restored = Participant {
        group: bob.restore(&saved, &key).unwrap(),
        keys: CallKeys::restored(config()),
    };
    let mut sender = restored.keys.sender(TrackId(1)).unwrap();
    restored.install(None);
    restored.process(&message).unwrap();
    restored.keys.handle_timeout(at(60_000));
    assert_eq!(restored.keys.newest_epoch(), Some(2));
    assert_eq!(sender.protect_into(b"x", b"", &mut Vec::new()), Err(SendError::NoKey));

    let pending = restored.group.commit().build(&mut os_rng(), NOW).unwrap();
    let message = pending.commit().to_vec();
    let change = restored.group.confirm(pending).unwrap();
    restored.install(Some(&change.changes));
    let mut wire = Vec::new();
    sender.protect_into(b"x", b"", &mut wire).unwrap();
    assert_eq!(sender.epoch(), Some(3));
    call[0].process(&message).unwrap();
    call[0].keys.receiver().unprotect_in_place(&mut wire, b"", at(0)).unwrap();
}
