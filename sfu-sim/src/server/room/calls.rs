//! The room's delivery service with its storage and its clock.

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::mpsc;

use super::super::clock::Clock;
use crate::delivery::{
    CallId, ConnectionId, DeliveryConfig, DeliveryMetrics, DeliveryService, Loaded, Output,
    Storage, StorageDone, StorageEffect,
};
use crate::metrics::Metrics;
use crate::protocol::{DeliveryRequest, Participant};

/// A delivery service and what drives it.
pub(super) struct Calls {
    service: DeliveryService,
    storage: Arc<dyn Storage>,
    clock: Clock,
    done: mpsc::UnboundedSender<StorageDone>,
    answers: mpsc::UnboundedReceiver<StorageDone>,
    counted: DeliveryMetrics,
}

impl Calls {
    /// Opens the service in the state that the storage has.
    pub(super) async fn open(
        storage: Arc<dyn Storage>,
        config: DeliveryConfig,
        call: CallId,
        boot: u64,
        clock: Clock,
    ) -> Result<Self, crate::delivery::storage::StorageError> {
        let loaded = Loaded::read(&*storage, &call).await?;
        let service = DeliveryService::open(config, call, boot, loaded, clock.now());
        let (done, answers) = mpsc::unbounded_channel();
        Ok(Self { service, storage, clock, done, answers, counted: DeliveryMetrics::default() })
    }

    pub(super) fn connect(&mut self, connection: ConnectionId, participant: &Participant) {
        self.service.connect(connection, participant, self.clock.now());
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

    /// Waits for an answer of the storage and gives it to the service.
    pub(super) async fn storage_done(&mut self) {
        // The sender lives in self, so that there is always another answer to wait for.
        if let Some(done) = self.answers.recv().await {
            self.service.storage_done(done, self.clock.now());
        }
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

    /// Has the storage do something; the answer comes by [`Calls::storage_done`].
    pub(super) fn run(&self, effect: StorageEffect) {
        let storage = Arc::clone(&self.storage);
        let done = self.done.clone();
        tokio::spawn(async move {
            // A room that has closed needs no answer.
            let _ = done.send(effect.run(&*storage).await);
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
        metrics.failure_reports.inc_by(now.failure_reports - former.failure_reports);
        metrics
            .epochs_with_two_winners
            .inc_by(now.epochs_with_two_winners - former.epochs_with_two_winners);
        metrics.group_members.add(now.members as i64 - former.members as i64);
        metrics.pending_changes.add(now.pending as i64 - former.pending as i64);
        let appends = now.append_latency.count() - former.append_latency.count();
        if appends > 0 {
            metrics.appends.inc_by(appends);
            metrics.append_seconds.inc_by(now.append_latency.sum - former.append_latency.sum);
        }
        self.counted = now.clone();
    }

    /// Takes the gauges of this room back.
    pub(super) fn forget(&mut self, metrics: &Metrics) {
        metrics.group_members.sub(self.counted.members as i64);
        metrics.pending_changes.sub(self.counted.pending as i64);
    }
}
