//! What the server counts, in Prometheus' text format. No label ever holds a name, a token or a key.

use std::time::Duration;

use prometheus::{
    Encoder, Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, Opts, Registry,
    TextEncoder,
};

use crate::delivery::LATENCY_BOUNDS;
use crate::protocol::datagrams::PathCounts;
use crate::protocol::{ClientReport, RefusalCode, UndecryptableCause};

/// The upper bounds of the buckets for what clients report, in seconds.
const CLIENT_BOUNDS: [f64; 11] = [0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 1.0, 2.0, 3.0, 5.0, 10.0];
/// More than this is counted as this: a client may say anything.
const MAX_REPORTED_MS: u64 = 600_000;
const MAX_REPORTED_COUNT: u64 = 1_000_000;
const MAX_ROTATIONS: usize = 64;

/// The counters of one server. Every server has its own registry, so that several fit into one process.
#[derive(Clone, Debug)]
pub struct Metrics {
    registry: Registry,
    /// Rooms that are open.
    pub rooms: IntGauge,
    /// Participants that have a place in a room.
    pub participants: IntGauge,
    /// Signalling connections that are open.
    pub connections: IntGauge,
    /// Connections accepted since the start.
    pub connections_total: IntCounter,
    /// Connections closed by the server, by reason.
    pub closed: IntCounterVec,
    /// Tokens given to guests.
    pub guests: IntCounter,
    /// Messages received from clients.
    pub messages: IntCounter,
    /// Refusals sent, by code.
    pub refusals: IntCounterVec,
    /// Messages on the path of datagrams, by what became of them (the names of `PathCounts`).
    pub datagram_messages: IntCounterVec,
    /// Datagrams of clients that were refused, by reason.
    pub datagrams_refused: IntCounterVec,
    /// Media peers that are connected.
    pub media_peers: IntGauge,
    /// RTP packets received.
    pub packets_in: IntCounter,
    /// RTP packets forwarded, counted once for each receiver.
    pub packets_out: IntCounter,
    /// RTP payload bytes forwarded, counted once for each receiver.
    pub bytes_out: IntCounter,
    /// RTP packets that went nowhere because they had been here before or came too late.
    pub packets_dropped: IntCounterVec,
    /// RTP packets forwarded to other servers of a call, counted once each.
    pub linked_out: IntCounter,
    /// RTP packets that other servers forwarded here.
    pub linked_in: IntCounter,
    /// Datagrams dropped, by reason.
    pub datagrams_dropped: IntCounterVec,
    /// Keyframe requests sent to publishers.
    pub keyframe_requests: IntCounter,
    /// SDP negotiations that the server began.
    pub offers: IntCounter,
    /// Commits appended to a log.
    pub commits: IntCounter,
    /// Proposals appended to a log.
    pub proposals: IntCounter,
    /// Resyncs among the commits.
    pub resyncs: IntCounter,
    /// Failures of the storage.
    pub storage_errors: IntCounter,
    /// Members' reports that a commit failed for them.
    pub failure_reports: IntCounter,
    /// Acknowledgements with another external public key than that of the GroupInfo.
    pub external_pubs_disputed: IntCounter,
    /// Heartbeats received.
    pub heartbeats: IntCounter,
    /// Turns of a log that the storage let two appends win. Must stay 0.
    pub epochs_with_two_winners: IntCounter,
    /// Commits refused, by reason.
    pub commits_refused: IntCounterVec,
    /// Records of a log that were passed over as they are not valid.
    pub invalid_records: IntCounter,
    /// How long appends took, from the request to the storage until its answer.
    pub append_seconds: Histogram,
    /// As clients report: from their start to the first frame of somebody else.
    pub first_frame_seconds: Histogram,
    /// As clients report: from the arrival of a commit that changes the roster until they send under it.
    pub rotation_seconds: Histogram,
    /// As clients report: frames that could not be opened, by cause.
    pub undecryptable: IntCounterVec,
    /// As clients report: resyncs.
    pub client_resyncs: IntCounter,
    /// Members of all groups.
    pub group_members: IntGauge,
    /// Changes of membership that wait for a commit.
    pub pending_changes: IntGauge,
    /// Bytes of logs that are in memory for members that were away.
    pub log_bytes: IntGauge,
}

impl Metrics {
    /// Counters at zero.
    ///
    /// # Errors
    /// Only if two counters had the same name.
    pub fn new() -> Result<Self, prometheus::Error> {
        let registry = Registry::new_custom(Some("framelock".to_owned()), None)?;
        let counter = |name: &str, help: &str| {
            let metric = IntCounter::new(name, help)?;
            registry.register(Box::new(metric.clone()))?;
            Ok::<_, prometheus::Error>(metric)
        };
        let gauge = |name: &str, help: &str| {
            let metric = IntGauge::new(name, help)?;
            registry.register(Box::new(metric.clone()))?;
            Ok::<_, prometheus::Error>(metric)
        };
        let family = |name: &str, help: &str, label: &str| {
            let metric = IntCounterVec::new(Opts::new(name, help), &[label])?;
            registry.register(Box::new(metric.clone()))?;
            Ok::<_, prometheus::Error>(metric)
        };
        let histogram = |name: &str, help: &str, buckets: &[f64]| {
            let options = HistogramOpts::new(name, help).buckets(buckets.to_vec());
            let metric = Histogram::with_opts(options)?;
            registry.register(Box::new(metric.clone()))?;
            Ok::<_, prometheus::Error>(metric)
        };
        let undecryptable =
            family("client_undecryptable_total", "Frames clients could not open", "cause")?;
        // A cause that never comes shows as 0, so that an alert can tell it from a server that is gone.
        for cause in UndecryptableCause::ALL {
            undecryptable.with_label_values(&[cause.name()]).inc_by(0);
        }
        Ok(Self {
            rooms: gauge("rooms", "Open rooms")?,
            participants: gauge("participants", "Participants that have a place in a room")?,
            connections: gauge("connections", "Open signalling connections")?,
            connections_total: counter("connections_total", "Signalling connections accepted")?,
            closed: family("connections_closed_total", "Connections the server closed", "reason")?,
            guests: counter("guest_tokens_total", "Tokens given to guests")?,
            messages: counter("messages_total", "Messages received from clients")?,
            refusals: family("refusals_total", "Refusals sent to clients", "code")?,
            datagram_messages: family(
                "signalling_datagram_messages_total",
                "Messages as datagrams: sent, confirmed, fell_back, received, repeated",
                "fate",
            )?,
            datagrams_refused: family(
                "signalling_datagrams_refused_total",
                "Datagrams of clients that were refused",
                "reason",
            )?,
            media_peers: gauge("media_peers", "Connected media peers")?,
            packets_in: counter("rtp_packets_in_total", "RTP packets received")?,
            packets_out: counter("rtp_packets_out_total", "RTP packets forwarded")?,
            bytes_out: counter("rtp_bytes_out_total", "RTP payload bytes forwarded")?,
            packets_dropped: family("rtp_packets_dropped_total", "RTP packets dropped", "reason")?,
            linked_out: counter("link_packets_out_total", "RTP packets sent to other servers")?,
            linked_in: counter("link_packets_in_total", "RTP packets of other servers")?,
            datagrams_dropped: family("datagrams_dropped_total", "Datagrams dropped", "reason")?,
            keyframe_requests: counter("keyframe_requests_total", "Keyframes asked for")?,
            offers: counter("offers_total", "Offers the server made")?,
            commits: counter("commits_total", "Commits appended")?,
            proposals: counter("proposals_total", "Proposals appended")?,
            resyncs: counter("resyncs_total", "Resyncs by external commit")?,
            storage_errors: counter("storage_errors_total", "Failures of the storage")?,
            external_pubs_disputed: counter(
                "external_pubs_disputed_total",
                "Members that know another external_pub than the GroupInfo has",
            )?,
            heartbeats: counter("heartbeats_total", "Signed heartbeats of members")?,
            failure_reports: counter("failure_reports_total", "Commits that failed for a member")?,
            epochs_with_two_winners: counter(
                "epochs_with_two_winners_total",
                "Turns of a log that two appends won; must stay 0",
            )?,
            commits_refused: family("commits_refused_total", "Commits refused", "reason")?,
            invalid_records: counter("invalid_records_total", "Invalid records of logs")?,
            append_seconds: histogram(
                "append_seconds",
                "Time until the storage answered an append",
                &LATENCY_BOUNDS,
            )?,
            first_frame_seconds: histogram(
                "client_join_to_first_frame_seconds",
                "From a client's start to the first frame it opened, as clients report",
                &CLIENT_BOUNDS,
            )?,
            rotation_seconds: histogram(
                "client_rotation_seconds",
                "From a roster change's commit until a client sent under it, as clients report",
                &CLIENT_BOUNDS,
            )?,
            undecryptable,
            client_resyncs: counter("client_resyncs_total", "Resyncs, as clients report")?,
            group_members: gauge("group_members", "Members of all groups")?,
            log_bytes: gauge("log_bytes", "Bytes of logs in memory for members that were away")?,
            pending_changes: gauge("pending_changes", "Changes that wait for a commit")?,
            registry,
        })
    }

    /// Counts what a client reports; numbers beyond reason are cut.
    pub fn count_report(&self, report: &ClientReport) {
        let seconds =
            |millis: u64| Duration::from_millis(millis.min(MAX_REPORTED_MS)).as_secs_f64();
        if let Some(millis) = report.join_to_first_frame_ms {
            self.first_frame_seconds.observe(seconds(millis));
        }
        for millis in report.rotations_ms.iter().take(MAX_ROTATIONS) {
            self.rotation_seconds.observe(seconds(*millis));
        }
        for (cause, count) in &report.undecryptable {
            let count = (*count).min(MAX_REPORTED_COUNT);
            self.undecryptable.with_label_values(&[cause.name()]).inc_by(count);
        }
        self.client_resyncs.inc_by(report.resyncs.min(MAX_REPORTED_COUNT));
    }

    /// Counts a refusal under its code.
    pub fn count_refusal(&self, code: &RefusalCode) {
        self.refusals.with_label_values(&[code.name()]).inc();
    }

    /// Counts a datagram that was refused.
    pub fn count_refused_datagram(&self, reason: &str) {
        self.datagrams_refused.with_label_values(&[reason]).inc();
    }

    /// Adds what a path of datagrams has counted since `former`.
    pub(crate) fn count_path(&self, now: &PathCounts, former: &PathCounts) {
        for (fate, now, former) in [
            ("sent", now.sent, former.sent),
            ("confirmed", now.confirmed, former.confirmed),
            ("fell_back", now.fell_back, former.fell_back),
            ("received", now.received, former.received),
            ("repeated", now.repeated, former.repeated),
        ] {
            if now != former {
                self.datagram_messages.with_label_values(&[fate]).inc_by(now - former);
            }
        }
    }

    /// The text that `/metrics` answers.
    pub fn text(&self) -> String {
        let mut out = Vec::new();
        if TextEncoder::new().encode(&self.registry.gather(), &mut out).is_err() {
            return String::new();
        }
        String::from_utf8(out).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::*;

    /// What alerts and dashboard ask for exists: a misspelt name would never alert.
    #[test]
    fn alerts_and_dashboard_use_metrics_that_there_are() {
        let metrics = Metrics::new().unwrap();
        // Families show once they have a member.
        for family in [
            &metrics.closed,
            &metrics.refusals,
            &metrics.commits_refused,
            &metrics.packets_dropped,
            &metrics.datagrams_dropped,
            &metrics.datagram_messages,
            &metrics.datagrams_refused,
        ] {
            family.with_label_values(&["any"]).inc_by(0);
        }
        let text = metrics.text();
        let known: BTreeSet<&str> =
            text.lines().filter_map(|line| line.split([' ', '{']).next()).collect();
        for file in ["alerts.yml", "grafana-dashboard.json"] {
            let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../configs").join(file);
            let config = std::fs::read_to_string(path).unwrap();
            let word = |c: char| !c.is_ascii_alphanumeric() && c != '_';
            let used: BTreeSet<&str> =
                config.split(word).filter(|word| word.starts_with("framelock_")).collect();
            assert!(used.len() > 5, "{file} uses {used:?}");
            let unknown: Vec<_> = used.difference(&known).collect();
            assert!(unknown.is_empty(), "{file} uses {unknown:?}");
        }
    }
}
