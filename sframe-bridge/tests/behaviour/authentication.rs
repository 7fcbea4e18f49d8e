//! Who sent a frame, inside the group: with signatures and without.

use crate::common::{SUITE, at, config};
use crate::groups::{Participant, client, commit, create};
use mls::wire::Signature;
use sframe_bridge::authentication::{
    AuthenticationEvent, BATCH_LABEL, BatchError, BatchLimits, EpochBinding, FrameDigest,
    FrameSigner, FrameVerifier, UnsignedBatch, VerifierLimits,
};
use sframe_bridge::{
    BASE_KEY_LABEL, BaseKey, CallParameters, Header, KidLayout, Opened, Sender, SframeSecret,
    TrackId,
};

/// Alice at leaf 0, Bob at 1, Mallory at 2.
pub(crate) fn call() -> Vec<Participant> {
    let group = create(&client("alice"), &CallParameters::default());
    let mut call = vec![Participant::new(group)];
    commit(&mut call, &[&client("bob"), &client("mallory")], &[]);
    // Everybody has the epoch, so that Alice sends under it.
    for leaf in [1, 2] {
        call[0].keys.peer_ready(leaf, 1, at(0));
    }
    call
}

pub(crate) fn signer(of: &Participant) -> FrameSigner {
    let mut signer = FrameSigner::new(of.group.suite(), KidLayout::DEFAULT, BatchLimits::default());
    signer.install_epoch(EpochBinding::of_group(&of.group));
    signer
}

pub(crate) fn verifier(of: &Participant) -> FrameVerifier {
    let mut verifier =
        FrameVerifier::new(of.group.suite(), KidLayout::DEFAULT, VerifierLimits::default());
    verifier.install_group(&of.group);
    verifier
}

pub(crate) fn sign(of: &Participant, batch: UnsignedBatch) -> Vec<u8> {
    let signature = of.group.sign_for_application(BATCH_LABEL, batch.content()).unwrap();
    batch.signed(&signature)
}

pub(crate) fn send(
    sender: &mut Sender,
    signer: &mut FrameSigner,
    text: &[u8],
    millis: u64,
) -> Vec<u8> {
    let mut wire = Vec::new();
    sender.protect_into(text, b"m", &mut wire).unwrap();
    signer.add(&wire, b"m", false, at(millis)).unwrap();
    wire
}

pub(crate) fn receive(
    of: &mut Participant,
    verifier: &mut FrameVerifier,
    wire: &[u8],
    millis: u64,
) -> Opened {
    let digest = FrameDigest::compute(of.group.suite(), wire, b"m");
    let opened =
        of.keys.receiver().unprotect_in_place(&mut wire.to_vec(), b"m", at(millis)).unwrap();
    verifier.frame(opened.sender, digest, at(millis));
    opened
}

pub(crate) fn events(verifier: &mut FrameVerifier, millis: u64) -> Vec<AuthenticationEvent> {
    core::iter::from_fn(|| verifier.poll(at(millis))).collect()
}

/// A frame as Alice would send it, made by somebody who has only the group's keys.
pub(crate) fn forge(by: &Participant, ctr: u64, text: &[u8]) -> Vec<u8> {
    let base_key = by.group.export(BASE_KEY_LABEL, b"", SUITE.key_length()).unwrap();
    let secret =
        SframeSecret::extract(config().crypto, &BaseKey::new(base_key.as_bytes().to_vec()));
    let kid = KidLayout::DEFAULT.compose(0, 0, by.group.epoch()).unwrap();
    let header = Header { kid, ctr }.encode();
    let aad = [header.as_bytes(), b"m"].concat();
    let mut sealed = [text, &[0; 16]].concat();
    let key = secret.frame_key(kid).unwrap();
    key.seal_with_counter_of_callers_choice(ctr, &aad, &mut sealed).unwrap();
    [header.as_bytes(), &sealed].concat()
}

#[test]
fn whatever_subset_arrives_is_authenticated_and_nothing_before_its_batch() {
    let mut call = call();
    let mut signer = signer(&call[0]);
    let mut verifier = verifier(&call[1]);
    let mut camera = call[0].keys.sender(TrackId(1)).unwrap();
    let wires: Vec<_> =
        (0..10).map(|n| send(&mut camera, &mut signer, &[n; 50], u64::from(n) * 20)).collect();
    assert!(signer.poll(at(199)).is_none());
    assert_eq!(signer.next_deadline(), Some(at(200)));
    let batch = sign(&call[0], signer.poll(at(200)).unwrap());
    assert!(signer.poll(at(200)).is_none());
    assert_eq!(batch.len(), 1 + 8 + 8 + 8 + 2 + 10 * 18 + 2 + 64);

    // Some before the batch, some after it, some never.
    let mut expected = Vec::new();
    for n in [1, 0, 4] {
        let sender = receive(&mut call[1], &mut verifier, &wires[n], 200).sender;
        expected.push(AuthenticationEvent::Authenticated(sender));
    }
    assert_eq!(events(&mut verifier, 200), [], "not before the batch");
    assert_eq!(verifier.batch(&batch, at(250)), Ok(10));
    expected.sort_by_key(|event| format!("{event:?}"));
    assert_eq!(events(&mut verifier, 250), expected);
    for n in [9, 7] {
        let sender = receive(&mut call[1], &mut verifier, &wires[n], 300).sender;
        assert_eq!(events(&mut verifier, 300), [AuthenticationEvent::Authenticated(sender)]);
    }
    // A batch that comes twice authenticates nothing anew; frames that never came are no news.
    assert_eq!(verifier.batch(&batch, at(300)), Ok(10));
    assert_eq!(events(&mut verifier, 60_000), []);
}

#[test]
fn a_batch_holds_for_one_epoch_of_one_group() {
    let mut call = call();
    let mut verifier = verifier(&call[1]);
    let mut camera = call[0].keys.sender(TrackId(1)).unwrap();
    let mut first = signer(&call[0]);
    let wire = send(&mut camera, &mut first, b"x", 0);
    receive(&mut call[1], &mut verifier, &wire, 0);
    let unsigned = first.poll(at(200)).unwrap();
    let good = sign(&call[0], unsigned.clone());

    // Under the same number, another transcript: as after a fork.
    let mut other = EpochBinding::of_group(&call[0].group);
    other.confirmed_transcript_hash[0] ^= 1;
    let mut forked =
        FrameSigner::new(call[0].group.suite(), KidLayout::DEFAULT, BatchLimits::default());
    forked.install_epoch(other);
    forked.add(&wire, b"m", true, at(0)).unwrap();
    let bad = sign(&call[0], forked.poll(at(0)).unwrap());
    assert_eq!(verifier.batch(&bad, at(0)), Err(BatchError::BadSignature { leaf: 0 }));
    // Signed for something else.
    let label = call[0].group.sign_for_application("another purpose", unsigned.content()).unwrap();
    let bad = unsigned.clone().signed(&label);
    assert_eq!(verifier.batch(&bad, at(0)), Err(BatchError::BadSignature { leaf: 0 }));
    let bad = unsigned.signed(&Signature(vec![0; 64]));
    assert_eq!(verifier.batch(&bad, at(0)), Err(BatchError::BadSignature { leaf: 0 }));

    for cut in 0..good.len() {
        assert_eq!(verifier.batch(&good[..cut], at(0)), Err(BatchError::Malformed));
    }
    assert_eq!(
        verifier.batch(&[good.as_slice(), &[0]].concat(), at(0)),
        Err(BatchError::Malformed)
    );
    for bit in 0..good.len() * 8 {
        let mut flipped = good.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert!(verifier.batch(&flipped, at(0)).is_err(), "bit {bit}");
    }
    assert_eq!(events(&mut verifier, 0), []);

    // After a commit the old epoch still counts, for frames that were sent before the switch.
    commit(&mut call, &[&client("dave")], &[]);
    verifier.install_group(&call[1].group);
    assert_eq!(verifier.batch(&good, at(300)), Ok(1));
    assert!(matches!(events(&mut verifier, 300)[..], [AuthenticationEvent::Authenticated(_)]));
}

#[test]
fn what_waits_is_bounded() {
    let mut call = call();
    let limits = VerifierLimits { waiting: 100, ..VerifierLimits::default() };
    let mut verifier = FrameVerifier::new(call[1].group.suite(), KidLayout::DEFAULT, limits);
    verifier.install_group(&call[1].group);
    for ctr in 0..150 {
        let wire = forge(&call[2], ctr, b"x");
        receive(&mut call[1], &mut verifier, &wire, 0);
    }
    let gone = events(&mut verifier, 0);
    assert_eq!(gone.len(), 50);
    assert!(gone.iter().all(|event| matches!(event, AuthenticationEvent::Unsigned(_))));
    assert_eq!(events(&mut verifier, 10_000).len(), 100);

    // A keyframe does not wait, and more frames than a batch holds make several.
    let mut signer = signer(&call[0]);
    let wire = forge(&call[0], 0, b"keyframe");
    signer.add(&wire, b"", true, at(0)).unwrap();
    assert!(signer.poll(at(0)).is_some());
    for ctr in 0..600 {
        signer.add(&forge(&call[0], ctr, b"x"), b"", false, at(0)).unwrap();
    }
    let batches: Vec<_> = core::iter::from_fn(|| signer.poll(at(0))).collect();
    assert_eq!(batches.len(), 3);
}
