//! The SFU's router: one packet to all subscribers.

#![allow(missing_docs, clippy::unwrap_used, reason = "a benchmark that cannot set itself up ends")]

use std::{hint::black_box, time::Instant};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use sfu_sim::protocol::MediaKind;
use sfu_sim::router::{Arrival, PeerId, Router, RouterOptions, TrackId, Verdict};

/// A room in which everybody else has a live line to the publisher's track.
fn room(subscribers: u64) -> (Router, TrackId) {
    let mut router = Router::new(RouterOptions::default());
    let publisher = PeerId(0);
    router.add_peer(publisher);
    let track = router.publish(publisher, MediaKind::Video).unwrap();
    for subscriber in (1..=subscribers).map(PeerId) {
        router.add_peer(subscriber);
        let line = router.open_line(subscriber, track).unwrap();
        router.line_live(line, Instant::now());
    }
    (router, track)
}

fn fan_out(c: &mut Criterion) {
    let mut bench = c.benchmark_group("router/fan_out");
    for subscribers in [1, 10, 100, 1000] {
        let (mut router, track) = room(subscribers);
        let mut out = Vec::new();
        let mut seq = 0;
        bench.throughput(Throughput::Elements(subscribers));
        bench.bench_function(BenchmarkId::from_parameter(subscribers), |b| {
            b.iter(|| {
                seq += 1;
                out.clear();
                let timestamp = u32::try_from(seq % 1_000_000).unwrap_or_default() * 3_000;
                let arrival = Arrival { source: 1, seq, timestamp };
                assert_eq!(router.arrive(track, arrival, &mut out), Verdict::Forwarded);
                black_box(out.len())
            });
        });
    }
}

criterion_group!(benches, fan_out);
criterion_main!(benches);
