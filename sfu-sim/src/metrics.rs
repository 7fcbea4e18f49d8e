//! What the server counts, in Prometheus' text format. No label ever holds a name, a token or a key.

use prometheus::{
    Counter, Encoder, IntCounter, IntCounterVec, IntGauge, Opts, Registry, TextEncoder,
};

use crate::protocol::RefusalCode;

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
    /// Messages received from clients.
    pub messages: IntCounter,
    /// Refusals sent, by code.
    pub refusals: IntCounterVec,
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
    /// Turns of a log that the storage let two appends win. Must stay 0.
    pub epochs_with_two_winners: IntCounter,
    /// Appends that the storage has answered.
    pub appends: IntCounter,
    /// How long they took, added up.
    pub append_seconds: Counter,
    /// Members of all groups.
    pub group_members: IntGauge,
    /// Changes of membership that wait for a commit.
    pub pending_changes: IntGauge,
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
        let append_seconds = Counter::new("append_seconds_total", "Time that appends took")?;
        registry.register(Box::new(append_seconds.clone()))?;
        Ok(Self {
            rooms: gauge("rooms", "Open rooms")?,
            participants: gauge("participants", "Participants that have a place in a room")?,
            connections: gauge("connections", "Open signalling connections")?,
            connections_total: counter("connections_total", "Signalling connections accepted")?,
            closed: family("connections_closed_total", "Connections the server closed", "reason")?,
            messages: counter("messages_total", "Messages received from clients")?,
            refusals: family("refusals_total", "Refusals sent to clients", "code")?,
            media_peers: gauge("media_peers", "Connected media peers")?,
            packets_in: counter("rtp_packets_in_total", "RTP packets received")?,
            packets_out: counter("rtp_packets_out_total", "RTP packets forwarded")?,
            bytes_out: counter("rtp_bytes_out_total", "RTP payload bytes forwarded")?,
            packets_dropped: family("rtp_packets_dropped_total", "RTP packets dropped", "reason")?,
            datagrams_dropped: family("datagrams_dropped_total", "Datagrams dropped", "reason")?,
            keyframe_requests: counter("keyframe_requests_total", "Keyframes asked for")?,
            offers: counter("offers_total", "Offers the server made")?,
            commits: counter("commits_total", "Commits appended")?,
            proposals: counter("proposals_total", "Proposals appended")?,
            resyncs: counter("resyncs_total", "Resyncs by external commit")?,
            storage_errors: counter("storage_errors_total", "Failures of the storage")?,
            failure_reports: counter("failure_reports_total", "Commits that failed for a member")?,
            epochs_with_two_winners: counter(
                "epochs_with_two_winners_total",
                "Turns of a log that two appends won; must stay 0",
            )?,
            appends: counter("appends_total", "Appends that the storage answered")?,
            append_seconds,
            group_members: gauge("group_members", "Members of all groups")?,
            pending_changes: gauge("pending_changes", "Changes that wait for a commit")?,
            registry,
        })
    }

    /// Counts a refusal under its code.
    pub fn count_refusal(&self, code: &RefusalCode) {
        self.refusals.with_label_values(&[code.name()]).inc();
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
