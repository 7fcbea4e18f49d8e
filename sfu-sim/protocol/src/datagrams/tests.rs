use std::collections::BTreeMap;

use rand::{Rng, RngExt, SeedableRng, rngs::StdRng};

use super::*;

type Path = DatagramPath<Vec<u8>>;

const ONE_WAY: Duration = Duration::from_millis(50);

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// What an end says, in order.
fn said(path: &mut Path) -> Vec<PathOutput<Vec<u8>>> {
    std::iter::from_fn(|| path.poll_output()).collect()
}

fn datagrams(path: &mut Path) -> Vec<Vec<u8>> {
    let datagram = |output| match output {
        PathOutput::Datagram(bytes) => bytes,
        other => panic!("expected only datagrams, found {other:?}"),
    };
    said(path).into_iter().map(datagram).collect()
}

/// An end whose greeting was confirmed after 100 ms, at 1 s.
fn ready() -> Path {
    let mut path = Path::new(7);
    path.open(millis(900));
    path.handle_timeout(millis(915));
    path.confirmed(&[1], millis(1_000));
    assert!(path.is_ready());
    said(&mut path);
    path
}

fn body(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at % 251) as u8).collect()
}

#[test]
fn any_one_datagram_may_be_lost_in_any_order() {
    for length in [1, 1_099, 1_100, 1_101, 2_200, 2_201, 5_000, MAX_MESSAGE] {
        let mut here = ready();
        here.send_first(&body(length), Vec::new(), millis(1_000)).unwrap();
        let mut sent = datagrams(&mut here);
        assert_eq!(here.next_deadline(), Some(millis(1_015)));
        here.handle_timeout(millis(1_015));
        sent.extend(datagrams(&mut here));
        assert_eq!(sent.len(), length.div_ceil(1_100) + 1);
        assert!(sent.iter().all(|datagram| datagram.len() <= MAX_DATAGRAM));
        for lost in 0..sent.len() {
            let mut there = ready();
            let mut others: Vec<_> = sent.clone();
            others.remove(lost);
            others.reverse();
            let came: Vec<_> = others
                .iter()
                .filter_map(|datagram| there.receive(datagram, millis(0)).unwrap())
                .collect();
            assert_eq!(came, [body(length)], "{length} bytes without datagram {lost}");
            // What comes late, or twice, is of no interest.
            assert_eq!(there.receive(&sent[lost], millis(0)), Ok(None));
        }
    }
}

#[test]
fn what_is_not_confirmed_in_a_round_trip_goes_over_the_stream() {
    let (mut here, mut there) = (ready(), ready());
    here.send_first(&body(9), b"nine".to_vec(), millis(1_000)).unwrap();
    let part = datagrams(&mut here).remove(0);
    let due = millis(1_000) + 2 * ONE_WAY + millis(30);
    here.handle_timeout(millis(1_015));
    said(&mut here);
    assert_eq!(here.next_deadline(), Some(due));
    here.handle_timeout(due);
    let message = b"nine".to_vec();
    // As datagrams once more too: the stream may lose it as well.
    let again = PathOutput::Datagram(part.clone());
    assert_eq!(said(&mut here), [again, PathOutput::OverStream { number: 2, message }]);
    assert_eq!(here.counts(), PathCounts { sent: 1, fell_back: 1, ..PathCounts::default() });
    // It is confirmed a little later, unless something goes over the stream before.
    let mut quick = ready();
    for (path, expected) in [
        (&mut quick, vec![]),
        (&mut there, vec![PathOutput::Confirm { received: vec![2], lossy: false }]),
    ] {
        path.receive(&part, millis(1_050)).unwrap();
        assert_eq!(path.next_deadline(), Some(millis(1_065)));
        if expected.is_empty() {
            assert_eq!(path.take_confirmations(), [2]);
        }
        path.handle_timeout(millis(1_065));
        assert_eq!(said(path), expected);
    }
    let mut there = ready();
    // It comes both ways in the end: once counts, whichever is first.
    assert_eq!(there.receive(&part, millis(0)), Ok(Some(body(9))));
    assert!(!there.is_first(2, millis(0)));
    assert_eq!((there.counts().received, there.counts().repeated), (1, 1));
    let mut there = ready();
    assert!(there.is_first(2, millis(0)));
    assert_eq!(there.receive(&part, millis(0)), Ok(None));
    // A late confirmation changes nothing.
    here.confirmed(&[2], millis(2_000));
    assert_eq!(here.counts().confirmed, 0);
}

#[test]
fn losses_are_reported_and_answered_by_nudges() {
    let (mut here, mut there) = (ready(), ready());
    let late = millis(1_060);
    here.send_first(&body(1_500), Vec::new(), millis(1_000)).unwrap();
    here.handle_timeout(millis(1_015));
    let sent = datagrams(&mut here);
    // All have come.
    for datagram in &sent {
        there.receive(datagram, millis(1_000)).unwrap();
    }
    there.handle_timeout(late);
    let received = vec![2];
    assert_eq!(said(&mut there), [PathOutput::Confirm { received, lossy: false }]);
    // One has not, or only the copy on the stream has come.
    for lost in 0..=sent.len() {
        let mut there = ready();
        if lost == sent.len() {
            assert!(there.is_first(2, millis(1_000)));
        }
        for datagram in sent[..lost % sent.len()].iter().chain(sent.iter().skip(lost + 1)) {
            there.receive(datagram, millis(1_000)).unwrap();
        }
        there.take_confirmations();
        assert_eq!(there.next_deadline(), Some(late));
        there.handle_timeout(late);
        let received = Vec::new();
        assert_eq!(said(&mut there), [PathOutput::Confirm { received, lossy: true }]);
        there.handle_timeout(millis(2_000));
        assert_eq!(said(&mut there), []);
    }
    here.confirmed(&[2], late);
    here.losses_reported(late);
    for _ in 0..NUDGES {
        here.handle_timeout(here.next_deadline().unwrap());
        let nudges = datagrams(&mut here);
        assert_eq!((nudges.len(), nudges[0].len()), (1, 5));
        assert_eq!(there.receive(&nudges[0], late), Ok(None));
    }
    assert_eq!((here.next_deadline(), there.next_deadline()), (None, None));
}

#[test]
fn a_path_that_carries_nothing_is_left_and_tried_again() {
    let mut path = Path::new(1);
    assert_eq!(path.send_first(&body(3), b"a".to_vec(), millis(0)), Err(b"a".to_vec()));
    assert_eq!(path.send_also(&body(3), millis(0)), None);
    let mut path = ready();
    let mut now = millis(1_000);
    for _ in 0..MAX_FAILURES {
        assert!(path.is_ready());
        path.send_first(&body(3), b"b".to_vec(), now).unwrap();
        now += millis(200);
        path.handle_timeout(now);
    }
    assert!(!path.is_ready());
    assert_eq!(path.counts().fell_back, u64::from(MAX_FAILURES));
    // It greets, ever more rarely.
    let mut greetings = 0;
    let end = now + Duration::from_secs(3_600);
    while now < end {
        greetings += datagrams_only(&mut path);
        now = path.next_deadline().unwrap();
        path.handle_timeout(now);
    }
    assert!((100..300).contains(&greetings), "{greetings}");
    let (number, sent) =
        path.unconfirmed.iter().map(|(number, it)| (*number, it.sent)).next().unwrap();
    path.confirmed(&[number], sent + millis(600));
    assert!(path.is_ready() && path.round_trip.patience() == millis(630));
    path.close();
    assert_eq!(path.next_deadline(), None);
}

fn datagrams_only(path: &mut Path) -> usize {
    said(path).iter().filter(|output| matches!(output, PathOutput::Datagram(_))).count()
}

#[test]
fn what_waits_goes_over_the_stream_when_the_channel_closes() {
    let mut path = ready();
    path.send_first(&body(3), b"c".to_vec(), millis(1_000)).unwrap();
    said(&mut path);
    path.close();
    let message = b"c".to_vec();
    assert_eq!(said(&mut path), [PathOutput::OverStream { number: 2, message }]);
    assert!(!path.is_ready() && path.next_deadline().is_none());
}

#[test]
fn long_messages_and_too_many_go_over_the_stream() {
    let mut path = ready();
    assert!(path.send_first(&body(MAX_MESSAGE + 1), Vec::new(), millis(0)).is_err());
    assert_eq!(path.send_also(&body(MAX_MESSAGE + 1), millis(0)), None);
    for _ in 0..MAX_UNCONFIRMED {
        assert!(path.send_first(&[1], Vec::new(), millis(0)).is_ok());
    }
    assert!(path.send_first(&[1], Vec::new(), millis(0)).is_err());
}

#[test]
fn datagrams_of_other_connections_and_contradictions_are_refused() {
    let (mut here, mut there) = (ready(), ready());
    let refused = |path: &mut Path, datagram: &[u8], expected: DatagramError| {
        let before = format!("{path:?}");
        assert_eq!(path.receive(datagram, millis(0)), Err(expected));
        assert_eq!(format!("{path:?}"), before, "{datagram:?}");
    };
    here.send_first(&body(3_000), Vec::new(), millis(1_000)).unwrap();
    let sent = datagrams(&mut here);
    let changed = |at: usize, byte: u8| {
        let mut datagram = sent[0].clone();
        datagram[at] = byte;
        datagram
    };
    refused(&mut there, &changed(4, 9), DatagramError::OtherConnection);
    for (at, byte) in [(0, 0), (0, 3), (9, 255), (10, 0), (11, 4), (11, 200)] {
        refused(&mut there, &changed(at, byte), DatagramError::Malformed(sent[0].len()));
    }
    refused(&mut there, &[], DatagramError::Malformed(0));
    refused(&mut there, &sent[0][..40], DatagramError::Malformed(40));
    assert_eq!(there.receive(&sent[0], millis(0)), Ok(None));
    refused(&mut there, &changed(20, 255), DatagramError::Inconsistent);
    let other = part::split(7, 2, false, &body(3_000)).parts.remove(1);
    refused(&mut there, &other, DatagramError::Inconsistent);
    let other = part::split(7, 2, true, &body(2_999)).parts.remove(1);
    refused(&mut there, &other, DatagramError::Inconsistent);
    // None of that was in the way of the message.
    assert_eq!(there.receive(&sent[1], millis(0)), Ok(None));
    assert_eq!(there.receive(&sent[2], millis(0)), Ok(Some(body(3_000))));
}

#[test]
fn garbage_is_refused_and_memory_stays_bounded() {
    let mut path = Path::new(0);
    let mut rng = StdRng::seed_from_u64(5);
    for _ in 0..50_000 {
        let mut datagram = vec![0; rng.random_range(0..1_300)];
        rng.fill_bytes(&mut datagram);
        // Half of it with a good beginning.
        if rng.random() && datagram.len() > 12 {
            let length = rng.random_range(0..=MAX_MESSAGE);
            let index = rng.random_range(0..=part::count(length));
            let number = rng.random_range(0..100_000_u32).to_be_bytes();
            let size = part::range(length, index).len();
            datagram[0] = rng.random_range(1..=2);
            datagram[1..5].fill(0);
            datagram[5..9].copy_from_slice(&number);
            datagram[9..11].copy_from_slice(&(length as u16).to_be_bytes());
            datagram[11] = index as u8;
            datagram.resize(12 + size, 0);
        }
        let _ = path.receive(&datagram, millis(0));
        path.take_confirmations();
        path.is_first(rng.random_range(0..200_000), millis(0));
        said(&mut path);
        assert!(path.unfinished.len() <= MAX_UNFINISHED && path.seen.len() <= MAX_REMEMBERED);
        assert!(format!("{:?}", path.arrivals).matches("until").count() <= 64);
    }
    assert!(path.counts().received > 0);
}

/// Two ends over a network that loses, doubles and delays at random, with a stream that loses nothing: every message
/// arrives exactly once, as itself.
#[test]
fn every_message_arrives_once_whatever_the_network_does() {
    for seed in 0..60 {
        let mut network = Network::new(seed);
        network.play();
        assert_eq!(network.arrived, network.sent, "seed {seed}");
        let [up, down] = network.ends.each_ref().map(Path::counts);
        assert_eq!(up.sent, up.confirmed + up.fell_back + network.both[0], "seed {seed}");
        assert_eq!(down.sent, down.confirmed + down.fell_back + network.both[1], "seed {seed}");
        if network.loss < 0.05 {
            assert!(up.confirmed > 50 && up.confirmed > 5 * up.fell_back, "seed {seed}: {up:?}");
        }
    }
}

enum Event {
    Send,
    Datagram(usize, Vec<u8>),
    Stream(usize, Option<u32>, Vec<u8>),
    Confirmation(usize, Vec<u32>, bool),
}

struct Network {
    rng: StdRng,
    loss: f64,
    ends: [Path; 2],
    events: BTreeMap<(Duration, u64), Event>,
    planned: u64,
    sent: BTreeMap<Vec<u8>, u32>,
    arrived: BTreeMap<Vec<u8>, u32>,
    both: [u64; 2],
}

impl Network {
    fn new(seed: u64) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let loss = if seed.is_multiple_of(3) { 0.02 } else { rng.random_range(0.0..0.6) };
        let ends = [Path::new(3), Path::new(3)];
        let (events, planned) = (BTreeMap::new(), 0);
        let (sent, arrived) = (BTreeMap::new(), BTreeMap::new());
        Self { rng, loss, ends, events, planned, sent, arrived, both: [0; 2] }
    }

    fn plan(&mut self, at: Duration, event: Event) {
        self.planned += 1;
        self.events.insert((at, self.planned), event);
    }

    fn play(&mut self) {
        for end in &mut self.ends {
            end.open(Duration::ZERO);
        }
        for number in 0..300 {
            self.plan(millis(500 + number * 40), Event::Send);
        }
        loop {
            let due = self.ends.iter().filter_map(Path::next_deadline).min();
            let next = self.events.keys().next().copied();
            let Some(next) = next else {
                // Only greetings go on for ever.
                let waits = |path: &Path| path.unconfirmed.values().any(|it| it.message.is_some());
                if !self.ends.iter().any(waits) {
                    return;
                }
                self.settle(due.unwrap());
                continue;
            };
            match due.filter(|due| *due < next.0) {
                Some(due) => self.settle(due),
                None => {
                    let event = self.events.remove(&next).unwrap();
                    self.happen(event, next.0);
                    self.settle(next.0);
                }
            }
        }
    }

    fn happen(&mut self, event: Event, now: Duration) {
        match event {
            Event::Send => {
                let end = usize::from(self.rng.random::<bool>());
                let mut message = vec![0; self.rng.random_range(16..6_000)];
                self.rng.fill_bytes(&mut message);
                self.sent.insert(message.clone(), 1);
                if self.rng.random::<f64>() < 0.3 {
                    let number = self.ends[end].send_also(&message, now);
                    self.both[end] += u64::from(number.is_some());
                    self.stream(end, number, message, now);
                } else if let Err(back) = self.ends[end].send_first(&message, message.clone(), now)
                {
                    self.stream(end, None, back, now);
                }
            }
            Event::Datagram(to, bytes) => {
                if let Some(message) = self.ends[to].receive(&bytes, now).unwrap() {
                    *self.arrived.entry(message).or_default() += 1;
                }
            }
            Event::Stream(to, number, message) => {
                if number.is_none_or(|number| self.ends[to].is_first(number, now)) {
                    *self.arrived.entry(message).or_default() += 1;
                }
            }
            Event::Confirmation(to, numbers, lossy) => {
                self.ends[to].confirmed(&numbers, now);
                if lossy {
                    self.ends[to].losses_reported(now);
                }
            }
        }
    }

    fn stream(&mut self, from: usize, number: Option<u32>, message: Vec<u8>, now: Duration) {
        let late = if self.rng.random::<f64>() < self.loss { 300 } else { 0 };
        let at = now + ONE_WAY + millis(late);
        self.plan(at, Event::Stream(1 - from, number, message));
    }

    fn settle(&mut self, now: Duration) {
        for from in 0..2 {
            self.ends[from].handle_timeout(now);
            for output in said(&mut self.ends[from]) {
                match output {
                    PathOutput::Datagram(bytes) => {
                        let copies = usize::from(self.rng.random::<f64>() >= self.loss)
                            + usize::from(self.rng.random::<f64>() < 0.05);
                        for _ in 0..copies {
                            let at = now + ONE_WAY + millis(self.rng.random_range(0..40));
                            self.plan(at, Event::Datagram(1 - from, bytes.clone()));
                        }
                    }
                    PathOutput::Confirm { received, lossy } => {
                        self.plan(now + ONE_WAY, Event::Confirmation(1 - from, received, lossy));
                    }
                    PathOutput::OverStream { number, message } => {
                        self.stream(from, Some(number), message, now);
                    }
                }
            }
        }
    }
}
