//! The way between a member and the server, and what is lost on it.

use std::time::Duration;

use anyhow::{Context, Result};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use rand_distr::{Distribution, Exp1, LogNormal};
use sframe_bridge::Now;

use super::scenario::NetworkSpec;

/// Bytes of a segment or datagram that carry something.
pub(super) const SEGMENT: usize = 1_400;

/// Headers of IP (20) and TCP with time stamps (32).
pub(super) const TCP_HEADERS: usize = 52;

/// Headers of IP (20) and UDP (8), and of DTLS with SCTP (41 and 28).
pub(super) const DATAGRAM_HEADERS: usize = 97;

/// WebSocket's header (8) and TLS's record (22).
pub(super) const RECORD: usize = 30;

/// A direction of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// To the server.
    Up,
    /// From the server.
    Down,
}

/// Gilbert's channel in continuous time: good and bad periods of exponential length, or independent
/// losses where no length of bursts is given.
struct Losses {
    rate: f64,
    bad: Duration,
    good: Duration,
    is_bad: bool,
    changes: Now,
}

impl Losses {
    fn new(rate: f64, burst: Duration) -> Self {
        let good = if rate > 0.0 { burst.mul_f64((1.0 - rate) / rate) } else { Duration::ZERO };
        Self { rate, bad: burst, good, is_bad: true, changes: Now::default() }
    }

    fn loses(&mut self, at: Now, rng: &mut StdRng) -> bool {
        if self.rate <= 0.0 {
            return false;
        }
        if self.bad.is_zero() {
            return rng.random::<f64>() < self.rate;
        }
        while self.changes <= at {
            self.is_bad = !self.is_bad;
            let mean = if self.is_bad { self.bad } else { self.good };
            let share: f64 = Exp1.sample(rng);
            self.changes = self.changes + mean.mul_f64(share) + Duration::from_micros(1);
        }
        self.is_bad
    }
}

struct Lane {
    losses: Losses,
    /// Bytes a second.
    bandwidth: f64,
    busy: Now,
    bytes: u64,
}

/// One member's way to the server and back. Every kind of traffic has randomness of its own, so that one
/// does not change another's fate.
pub(super) struct Link {
    base: Duration,
    jitter: LogNormal<f64>,
    mean_jitter: Duration,
    reorder: f64,
    reorder_by: Duration,
    duplicate: f64,
    up: Lane,
    down: Lane,
    /// Nothing passes before this time.
    cut_until: Now,
    signalling: StdRng,
    media: StdRng,
    media_up: Losses,
    media_down: Losses,
}

/// When a packet departs and arrives.
#[derive(Clone, Copy, Debug)]
pub(super) struct Passage {
    pub(super) departs: Now,
    /// `None`: it is lost.
    pub(super) arrives: Option<Now>,
}

impl Link {
    pub(super) fn new(spec: &NetworkSpec, seed: u64) -> Result<Self> {
        let mut signalling = StdRng::seed_from_u64(seed);
        let media = StdRng::seed_from_u64(seed ^ 0x6d65_6469_615f_5f5f);
        let base = LogNormal::new(spec.latency_ms.ln(), spec.latency_spread.ln())
            .context("expected a positive latency and a spread of at least 1")?;
        let jitter = LogNormal::new(spec.jitter_ms.max(1e-6).ln(), spec.jitter_spread.ln())
            .context("expected a jitter with a spread of at least 1")?;
        let mean = spec.jitter_ms * (spec.jitter_spread.ln().powi(2) / 2.0).exp();
        let burst = Duration::from_secs_f64(spec.burst_ms / 1e3);
        let losses = || Losses::new(spec.loss, burst);
        let lane = |kbit: f64| Lane {
            losses: losses(),
            bandwidth: kbit * 125.0,
            busy: Now::default(),
            bytes: 0,
        };
        let base = Duration::from_secs_f64(base.sample(&mut signalling) / 1e3);
        Ok(Self {
            base,
            jitter,
            mean_jitter: Duration::from_secs_f64(mean / 1e3),
            reorder: spec.reorder,
            reorder_by: Duration::from_secs_f64(spec.reorder_ms / 1e3),
            duplicate: spec.duplicate,
            up: lane(spec.up_kbit_s),
            down: lane(spec.down_kbit_s),
            cut_until: Now::default(),
            signalling,
            media,
            media_up: losses(),
            media_down: losses(),
        })
    }

    /// The smoothed round trip.
    pub(super) fn round_trip(&self) -> Duration {
        (self.base + self.mean_jitter) * 2
    }

    /// TCP's first retransmission time-out (RFC 6298 with Linux' least variance of 200 ms).
    pub(super) fn retransmission_timeout(&self) -> Duration {
        self.round_trip() + Duration::from_millis(200).max(self.mean_jitter * 4)
    }

    /// Lets nothing pass until then.
    pub(super) fn cut(&mut self, until: Now) {
        self.cut_until = self.cut_until.max(until);
    }

    /// When something passes again.
    pub(super) fn cut_until(&self) -> Now {
        self.cut_until
    }

    pub(super) fn is_cut(&self, now: Now) -> bool {
        now < self.cut_until
    }

    /// Signalling bytes so far, both ways, headers and repetitions included.
    pub(super) fn bytes(&self) -> u64 {
        self.up.bytes + self.down.bytes
    }

    /// Sends a packet of signalling, behind those that wait for the bandwidth.
    pub(super) fn packet(&mut self, way: Way, bytes: usize, now: Now) -> Passage {
        let lane = self.lane(way);
        lane.busy = lane.busy.max(now) + Duration::from_secs_f64(bytes as f64 / lane.bandwidth);
        let departs = lane.busy;
        self.packet_at(way, bytes, departs)
    }

    /// The same for a packet that will depart at this time, which need not have come yet.
    pub(super) fn packet_at(&mut self, way: Way, bytes: usize, departs: Now) -> Passage {
        let lane = match way {
            Way::Up => &mut self.up,
            Way::Down => &mut self.down,
        };
        lane.bytes += bytes as u64;
        let lost = lane.losses.loses(departs, &mut self.signalling);
        let jitter = Duration::from_secs_f64(self.jitter.sample(&mut self.signalling) / 1e3);
        if lost || departs < self.cut_until {
            return Passage { departs, arrives: None };
        }
        let mut arrives = departs + self.base + jitter;
        if self.reorder > 0.0 && self.signalling.random::<f64>() < self.reorder {
            arrives = arrives + self.reorder_by;
        }
        Passage { departs, arrives: Some(arrives) }
    }

    /// Counts a bare acknowledgement of TCP's in the other direction.
    pub(super) fn count_acknowledgement(&mut self, way: Way) {
        let back = if way == Way::Up { Way::Down } else { Way::Up };
        self.lane(back).bytes += TCP_HEADERS as u64;
    }

    /// Counts SCTP's selective acknowledgements of datagrams that arrived, one for two, in the other direction.
    pub(super) fn count_selective(&mut self, way: Way, datagrams: usize) {
        let back = if way == Way::Up { Way::Down } else { Way::Up };
        self.lane(back).bytes += (datagrams.div_ceil(2) * DATAGRAM_HEADERS) as u64;
    }

    fn lane(&mut self, way: Way) -> &mut Lane {
        match way {
            Way::Up => &mut self.up,
            Way::Down => &mut self.down,
        }
    }

    /// Whether the network delivers a datagram twice.
    pub(super) fn duplicates(&mut self) -> bool {
        self.duplicate > 0.0 && self.signalling.random::<f64>() < self.duplicate
    }

    /// When a frame of so many packets is complete at the other end; each lost packet is asked for again
    /// once. `None`: part of it is lost for good.
    pub(super) fn frame(&mut self, way: Way, packets: u32, now: Now) -> Option<Now> {
        if now < self.cut_until {
            return None;
        }
        let losses = match way {
            Way::Up => &mut self.media_up,
            Way::Down => &mut self.media_down,
        };
        let mut repeated = false;
        let again = now + self.base * 3;
        for _ in 0..packets {
            if losses.loses(now, &mut self.media) {
                if self.media.random::<f64>() < losses.rate {
                    return None;
                }
                repeated = true;
            }
        }
        let jitter = Duration::from_secs_f64(self.jitter.sample(&mut self.media) / 1e3);
        let sent = if repeated { again } else { now };
        Some(sent + self.base + jitter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lost(spec: &NetworkSpec, seed: u64) -> Vec<bool> {
        let mut link = Link::new(spec, seed).unwrap();
        (0..20_000)
            .map(|at| link.packet(Way::Up, 100, Now::from_millis(at * 5)).arrives.is_none())
            .collect()
    }

    #[test]
    fn losses_have_their_rate_and_come_in_bursts_where_asked() {
        let even = NetworkSpec { loss: 0.1, ..NetworkSpec::default() };
        let bursts = NetworkSpec { burst_ms: 50.0, ..even.clone() };
        let runs = |lost: &[bool]| lost.windows(2).filter(|pair| pair[0] != pair[1]).count();
        let (even, bursts) = (lost(&even, 3), lost(&bursts, 3));
        for lost in [&even, &bursts] {
            let share = lost.iter().filter(|lost| **lost).count() as f64 / lost.len() as f64;
            assert!((0.08..0.12).contains(&share), "{share}");
        }
        assert!(runs(&bursts) * 3 < runs(&even));
    }

    #[test]
    fn the_median_latency_is_the_one_asked_for() {
        let spec = NetworkSpec { loss: 0.0, ..NetworkSpec::default() };
        let mut latencies: Vec<f64> = (0..999)
            .map(|seed| {
                let now = Now::from_millis(5);
                let passage = Link::new(&spec, seed).unwrap().packet(Way::Down, 0, now);
                passage.arrives.unwrap().saturating_since(now).as_secs_f64() * 1e3
            })
            .collect();
        latencies.sort_by(f64::total_cmp);
        let expected = spec.latency_ms + spec.jitter_ms;
        assert!((latencies[499] - expected).abs() < 4.0, "{}", latencies[499]);
    }

    #[test]
    fn nothing_passes_a_link_that_is_cut() {
        let spec = NetworkSpec { loss: 0.0, ..NetworkSpec::default() };
        let mut link = Link::new(&spec, 1).unwrap();
        link.cut(Now::from_millis(100));
        assert!(link.packet(Way::Down, 100, Now::from_millis(99)).arrives.is_none());
        assert!(link.frame(Way::Down, 1, Now::from_millis(99)).is_none());
        assert!(link.packet(Way::Down, 100, Now::from_millis(101)).arrives.is_some());
    }
}
