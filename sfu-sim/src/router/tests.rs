use super::*;

const A: PeerId = PeerId(1);
const B: PeerId = PeerId(2);
const C: PeerId = PeerId(3);

fn room(peers: &[PeerId]) -> Router {
    let mut router = Router::new(RouterOptions::default());
    for peer in peers {
        router.add_peer(*peer);
    }
    router
}

fn subscribe(router: &mut Router, peer: PeerId, now: Instant) -> Vec<LineId> {
    let plan = router.plan(peer);
    let lines: Vec<_> =
        plan.open.iter().filter_map(|track| router.open_line(peer, *track)).collect();
    for line in &lines {
        router.line_live(*line, now);
    }
    for line in plan.close {
        router.forget_line(line);
    }
    lines
}

fn arrive(router: &mut Router, track: TrackId, source: u32, seq: u64) -> Vec<Departure> {
    let mut out = Vec::new();
    router.arrive(track, Arrival { source, seq, timestamp: seq as u32 * 3000 }, &mut out);
    out
}

#[test]
fn everybody_gets_everybody_elses_tracks() {
    let now = Instant::now();
    let mut router = room(&[A, B, C]);
    let a = router.publish(A, MediaKind::Video).unwrap();
    let b = router.publish(B, MediaKind::Audio).unwrap();
    assert_eq!(router.plan(A).open, [b]);
    assert_eq!(router.plan(B).open, [a]);
    assert_eq!(router.plan(C).open, [a, b]);
    subscribe(&mut router, B, now);
    subscribe(&mut router, C, now);
    assert!(router.plan(C).is_empty());
    let to: Vec<_> = arrive(&mut router, a, 7, 100_000).iter().map(|d| d.subscriber).collect();
    assert_eq!(to, [B, C]);
    assert!(arrive(&mut router, b, 8, 5).iter().all(|d| d.subscriber == C));
}

#[test]
fn nothing_is_forwarded_on_a_line_that_has_not_been_answered() {
    let mut router = room(&[A, B]);
    let track = router.publish(A, MediaKind::Video).unwrap();
    let line = router.open_line(B, track).unwrap();
    assert!(router.plan(B).is_empty());
    assert!(arrive(&mut router, track, 1, 1).is_empty());
    router.forget_line(line);
    assert_eq!(router.plan(B).open, [track]);
}

#[test]
fn a_removed_peer_is_cut_off_in_both_directions_at_once() {
    let now = Instant::now();
    let mut router = room(&[A, B, C]);
    let a = router.publish(A, MediaKind::Video).unwrap();
    let b = router.publish(B, MediaKind::Video).unwrap();
    for peer in [A, B, C] {
        subscribe(&mut router, peer, now);
    }
    router.remove_peer(B);
    let mut out = Vec::new();
    let arrival = Arrival { source: 1, seq: 1, timestamp: 0 };
    assert_eq!(router.arrive(b, arrival, &mut out), Verdict::UnknownTrack);
    assert!(out.is_empty());
    assert_eq!(arrive(&mut router, a, 2, 1).iter().map(|d| d.subscriber).collect::<Vec<_>>(), [C]);
    let plan = router.plan(C);
    assert_eq!((plan.open.len(), plan.close.len()), (0, 1));
    assert!(router.plan(B).is_empty());
    assert!(router.publish(B, MediaKind::Audio).is_err());
}

#[test]
fn lines_start_low_keep_gaps_and_drop_duplicates() {
    let now = Instant::now();
    let mut router = room(&[A, B]);
    let track = router.publish(A, MediaKind::Video).unwrap();
    subscribe(&mut router, B, now);
    let start = 5 * 65536 + 65_530;
    let first = arrive(&mut router, track, 9, start).remove(0);
    assert!(first.seq < 65_536);
    for (offset, expected) in [(1, Some(1)), (3, Some(3)), (2, Some(2)), (3, None), (10, Some(10))]
    {
        let seqs: Vec<_> =
            arrive(&mut router, track, 9, start + offset).iter().map(|d| d.seq).collect();
        let expected: Vec<_> = expected.map(|step| first.seq + step).into_iter().collect();
        assert_eq!(seqs, expected, "packet {offset}");
    }
    // One that left before the first one that came.
    assert_eq!(arrive(&mut router, track, 9, start - 1).remove(0).seq, first.seq - 1);
    // Far too old.
    assert!(arrive(&mut router, track, 9, start - 5000).is_empty());
}

#[test]
fn a_new_source_continues_the_line() {
    let now = Instant::now();
    let mut router = room(&[A, B]);
    let track = router.publish(A, MediaKind::Video).unwrap();
    subscribe(&mut router, B, now);
    let last = [10, 11, 12].map(|seq| arrive(&mut router, track, 1, seq).remove(0))[2];
    let next = arrive(&mut router, track, 2, 40_000).remove(0);
    assert_eq!(next.seq, last.seq + 1);
    assert_eq!(next.timestamp, last.timestamp + 3000);
    // A packet of the second source that is older than its first one would take a number used before.
    assert!(arrive(&mut router, track, 2, 39_999).is_empty());
}

#[test]
fn keyframe_requests_are_throttled_and_never_lost() {
    let interval = RouterOptions::default().keyframe_interval;
    let now = Instant::now();
    let mut router = room(&[A, B, C]);
    let track = router.publish(A, MediaKind::Video).unwrap();
    let lines = [subscribe(&mut router, B, now), subscribe(&mut router, C, now)].concat();
    assert_eq!(router.poll_keyframe(now), Some(track), "a fresh line needs a keyframe");
    assert_eq!(router.poll_keyframe(now), None);
    for line in &lines {
        router.request_keyframe(*line, now + interval / 4);
    }
    assert_eq!(router.poll_keyframe(now + interval / 2), None);
    assert_eq!(router.next_deadline(), Some(now + interval));
    assert_eq!(router.poll_keyframe(now + interval), Some(track));
    assert_eq!(router.poll_keyframe(now + interval * 5), None);
    assert_eq!(router.next_deadline(), None);
}

#[test]
fn a_peer_publishes_only_so_many_tracks() {
    let mut router = room(&[A]);
    let limit = RouterOptions::default().tracks_per_peer;
    let tracks: Vec<_> = (0..limit).map(|_| router.publish(A, MediaKind::Audio).unwrap()).collect();
    assert_eq!(router.publish(A, MediaKind::Audio), Err(PublishError::TooManyTracks { limit }));
    router.unpublish(tracks[0]);
    assert!(router.publish(A, MediaKind::Audio).is_ok());
}
