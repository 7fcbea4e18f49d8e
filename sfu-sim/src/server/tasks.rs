//! Counts what runs, so that a shutdown can wait for it.

use std::sync::Arc;

use tokio::sync::watch;

/// The number of running tasks.
#[derive(Clone, Debug)]
pub(super) struct Tasks(Arc<watch::Sender<usize>>);

/// One of them; it counts until it is dropped.
#[derive(Debug)]
pub(super) struct Task(Arc<watch::Sender<usize>>);

impl Tasks {
    pub(super) fn new() -> Self {
        Self(Arc::new(watch::Sender::new(0)))
    }

    pub(super) fn begin(&self) -> Task {
        self.0.send_modify(|count| *count += 1);
        Task(Arc::clone(&self.0))
    }

    /// Waits until none runs.
    pub(super) async fn wait(&self) {
        // The sender lives in self, so that waiting cannot fail.
        let _ = self.0.subscribe().wait_for(|count| *count == 0).await;
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count -= 1);
    }
}
