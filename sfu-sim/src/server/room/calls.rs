//! The room's delivery service with its storage and its clock.

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::{mpsc, watch};

use super::super::clock::Clock;
use crate::delivery::{
    CallId, ConnectionId, DeliveryConfig, DeliveryMetrics, DeliveryService, Loaded, Login, NodeId,
    Note, Output, Storage, StorageDone, StorageEffect,
};
use crate::metrics::Metrics;
use crate::protocol::{DeliveryRequest, Identity, Participant};

/// A delivery service and what drives it.
pub(super) struct Calls {
    service: DeliveryService,
    storage: Arc<dyn Storage>,
    clock: Clock,
    done: mpsc::UnboundedSender<StorageDone>,
    answers: mpsc::UnboundedReceiver<StorageDone>,
    counted: DeliveryMetrics,
    /// The log's length, if other servers append to it too.
    watched: Option<watch::Receiver<u64>>,
}

impl Calls {
    /// Opens the service in the state that the storage has.
    pub(super) async fn open(
        storage: Arc<dyn Storage>,
        config: DeliveryConfig,
        call: CallId,
        boot: u64,
        clock: Clock,
        shared_storage: bool,
    ) -> Result<Self, crate::delivery::storage::StorageError> {
        let watched = shared_storage.then(|| storage.watch(&call));
        let loaded = Loaded::read(&*storage, &call).await?;
        let mut service = DeliveryService::open(config, call, boot, loaded, clock.now());
        if watched.is_some() {
            service.say_hello();
        }
        let (done, answers) = mpsc::unbounded_channel();
        let counted = DeliveryMetrics::default();
        Ok(Self { service, storage, clock, done, answers, counted, watched })
    }

    pub(super) fn connect(&mut self, connection: ConnectionId, participant: &Participant) {
        self.service.connect(connection, participant, self.clock.now());
    }

    pub(super) fn login_of(&self, identity: &Identity) -> Option<Login> {
        self.service.login_of(identity)
    }

    pub(super) fn disconnect(&mut self, connection: ConnectionId) {
        self.service.disconnect(connection, self.clock.now());
    }

    pub(super) fn request(
        &mut self,
        connection: ConnectionId,
        id: Option<u64>,
        request: DeliveryRequest,
    ) {
        self.service.request(connection, id, request, self.clock.now());
    }

    /// Waits for an answer of the storage, or for other servers to append, and tells the service.
    pub(super) async fn storage_speaks(&mut self) {
        tokio::select! {
            // The sender lives in self, so that there is always another answer to wait for.
            Some(done) = self.answers.recv() => {
                self.service.storage_done(done, self.clock.now());
            }
            length = grown(&mut self.watched) => {
                self.service.records_available(length, self.clock.now());
            }
        }
    }

    pub(super) fn say_hello(&mut self) {
        self.service.say_hello();
    }

    pub(super) fn noted(&mut self, node: NodeId, note: Note) {
        self.service.noted(node, note, self.clock.now());
    }

    pub(super) fn node_gone(&mut self, node: NodeId) {
        self.service.node_gone(node, self.clock.now());
    }

    pub(super) fn poll_note(&mut self) -> Option<Note> {
        self.service.poll_note()
    }

    pub(super) fn on_deadline(&mut self) {
        let now = self.clock.now();
        if self.service.next_deadline().is_some_and(|deadline| deadline <= now) {
            self.service.handle_timeout(now);
        }
    }

    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.service.next_deadline().map(|deadline| self.clock.instant(deadline))
    }

    pub(super) fn poll_output(&mut self) -> Option<Output> {
        self.service.poll_output()
    }

    /// Has the storage do something; the answer comes by [`Calls::storage_speaks`].
    pub(super) fn run(&self, effect: StorageEffect, metrics: &Metrics) {
        let latency = matches!(effect, StorageEffect::Append(_))
            .then(|| metrics.append_seconds.start_timer());
        let storage = Arc::clone(&self.storage);
        let done = self.done.clone();
        tokio::spawn(async move {
            let answer = effect.run(&*storage).await;
            if let Some(latency) = latency {
                latency.observe_duration();
            }
            // A room that has closed needs no answer.
            let _ = done.send(answer);
        });
    }

    pub(super) fn has_group(&self) -> bool {
        self.service.epoch().is_some()
    }

    pub(super) fn is_idle(&self) -> bool {
        self.service.is_idle()
    }

    /// Adds what has happened since the last time to the server's counters.
    pub(super) fn count(&mut self, metrics: &Metrics) {
        let now = self.service.metrics();
        if *now == self.counted {
            return;
        }
        let former = &self.counted;
        metrics.commits.inc_by(now.commits_accepted - former.commits_accepted);
        metrics.proposals.inc_by(now.proposals_accepted - former.proposals_accepted);
        metrics.resyncs.inc_by(now.resyncs - former.resyncs);
        metrics.storage_errors.inc_by(now.storage_errors - former.storage_errors);
        metrics
            .external_pubs_disputed
            .inc_by(now.external_pubs_disputed - former.external_pubs_disputed);
        metrics.heartbeats.inc_by(now.heartbeats - former.heartbeats);
        metrics.failure_reports.inc_by(now.failure_reports - former.failure_reports);
        metrics
            .epochs_with_two_winners
            .inc_by(now.epochs_with_two_winners - former.epochs_with_two_winners);
        metrics.group_members.add(now.members as i64 - former.members as i64);
        metrics.pending_changes.add(now.pending as i64 - former.pending as i64);
        metrics.log_bytes.add(now.log_bytes as i64 - former.log_bytes as i64);
        for (reason, refused) in &now.commits_refused {
            let before = former.commits_refused.get(reason).copied().unwrap_or(0);
            metrics.commits_refused.with_label_values(&[reason]).inc_by(refused - before);
        }
        metrics.invalid_records.inc_by(now.invalid_records - former.invalid_records);
        self.counted = now.clone();
    }

    /// Takes the gauges of this room back.
    pub(super) fn forget(&mut self, metrics: &Metrics) {
        metrics.group_members.sub(self.counted.members as i64);
        metrics.pending_changes.sub(self.counted.pending as i64);
        metrics.log_bytes.sub(self.counted.log_bytes as i64);
    }
}

/// Waits for the log to grow; for ever if nobody else appends.
async fn grown(watched: &mut Option<watch::Receiver<u64>>) -> u64 {
    if let Some(length) = watched
        && length.changed().await.is_ok()
    {
        return *length.borrow_and_update();
    }
    std::future::pending().await
}
