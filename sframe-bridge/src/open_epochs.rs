//! A receiver's own view of the kept epochs: keys and replay windows, found by array.

use crate::epoch_window::FUTURE_EPOCHS;
use crate::error::ReceiveError;
use crate::installed_epoch::{EpochBoard, InstalledEpoch};
use crate::kid::KidLayout;
use crate::stream::Stream;
use std::sync::Arc;

/// A leaf's streams in one epoch by context; they appear as frames are verified.
pub(crate) type Streams = Vec<Option<Box<Stream>>>;

/// An epoch as one receiver holds it.
pub(crate) struct OpenEpoch {
    pub(crate) epoch: Arc<InstalledEpoch>,
    /// A counter that the epoch's age is known to allow, so that not every frame computes it.
    pub(crate) allowed_ctr: u64,
    pub(crate) streams: StreamTable,
}

/// An epoch's streams by leaf, as far as anybody has been heard.
#[derive(Default)]
pub(crate) struct StreamTable {
    leaves: Vec<Streams>,
}

impl OpenEpoch {
    fn new(epoch: Arc<InstalledEpoch>) -> Self {
        Self { epoch, allowed_ctr: 0, streams: StreamTable::default() }
    }

    /// Takes out the streams of the leaves that `which` names.
    fn take(&mut self, which: impl Fn(u32) -> bool) -> Self {
        let leaves = (0..)
            .zip(&mut self.streams.leaves)
            .map(|(leaf, streams)| if which(leaf) { core::mem::take(streams) } else { Vec::new() });
        let streams = StreamTable { leaves: leaves.collect() };
        Self { epoch: Arc::clone(&self.epoch), allowed_ctr: self.allowed_ctr, streams }
    }
}

impl StreamTable {
    #[inline]
    pub(crate) fn get_mut(&mut self, leaf: u32, context: u64) -> Option<&mut Stream> {
        self.leaves.get_mut(leaf as usize)?.get_mut(context as usize)?.as_deref_mut()
    }

    /// Keeps a stream of which a frame has been verified, so that `leaf` and `context` are inside
    /// the call's limits.
    pub(crate) fn keep(&mut self, leaf: u32, context: u64, stream: Stream) {
        let (leaf, context) = (leaf as usize, context as usize);
        if self.leaves.len() <= leaf {
            self.leaves.resize_with(leaf + 1, Vec::new);
        }
        if let Some(streams) = self.leaves.get_mut(leaf) {
            if streams.len() <= context {
                streams.resize_with(context + 1, || None);
            }
            if let Some(slot) = streams.get_mut(context) {
                *slot = Some(Box::new(stream));
            }
        }
    }

    /// All streams by leaf and context.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, u32, &Stream)> {
        (0..).zip(&self.leaves).flat_map(|(leaf, streams)| {
            (0..)
                .zip(streams)
                .filter_map(move |(context, stream)| Some((leaf, context, stream.as_deref()?)))
        })
    }
}

/// The epochs that a receiver holds, oldest first. It follows what `CallKeys` keeps.
pub(crate) struct OpenEpochs {
    layout: KidLayout,
    board: Arc<EpochBoard>,
    seen: u64,
    first: Option<u64>,
    newest: Option<u64>,
    epochs: Vec<OpenEpoch>,
}

impl OpenEpochs {
    pub(crate) fn new(layout: KidLayout, board: Arc<EpochBoard>) -> Self {
        Self { layout, board, seen: 0, first: None, newest: None, epochs: Vec::new() }
    }

    pub(crate) const fn layout(&self) -> KidLayout {
        self.layout
    }

    pub(crate) fn board(&self) -> &EpochBoard {
        &self.board
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &OpenEpoch> {
        self.epochs.iter()
    }

    /// Takes in which epochs are kept. Keys of those that are not are gone on return.
    #[inline]
    pub(crate) fn follow(&mut self) {
        if self.board.generation() != self.seen {
            self.take_in();
        }
    }

    #[cold]
    fn take_in(&mut self) {
        let installed = self.board.installed(&mut self.seen);
        let kept = |number: u64| installed.epochs.iter().any(|epoch| epoch.number == number);
        self.epochs.retain(|open| kept(open.epoch.number));
        for epoch in installed.epochs {
            if self.epochs.last().is_none_or(|last| last.epoch.number < epoch.number) {
                self.epochs.push(OpenEpoch::new(epoch));
            }
        }
        self.first = installed.first;
        self.newest = self.epochs.last().map(|open| open.epoch.number);
    }

    /// The kept epoch that the low bits mean here and now.
    #[inline]
    pub(crate) fn select(&mut self, epoch_low: u64) -> Result<&mut OpenEpoch, ReceiveError> {
        let newest = self.newest.ok_or(ReceiveError::NoEpoch)?;
        let behind = self.layout.epoch_low(newest.wrapping_sub(epoch_low));
        if behind == 0 {
            return self.epochs.last_mut().ok_or(ReceiveError::NoEpoch);
        }
        self.select_older(newest, behind)
    }

    fn select_older(&mut self, newest: u64, behind: u64) -> Result<&mut OpenEpoch, ReceiveError> {
        let count = self.layout.epoch_count();
        let ahead = count - behind;
        if ahead <= FUTURE_EPOCHS {
            return Err(ReceiveError::FutureEpoch { epoch: newest.saturating_add(ahead) });
        }
        let Some(epoch) = newest.checked_sub(behind) else {
            return Err(ReceiveError::ExpiredEpoch { epoch: 0 });
        };
        let before_join = self.first.is_some_and(|first| epoch < first);
        match self.epochs.iter_mut().rev().find(|open| open.epoch.number == epoch) {
            Some(open) => Ok(open),
            None if before_join => Err(ReceiveError::BeforeJoin { epoch }),
            None => Err(ReceiveError::ExpiredEpoch { epoch }),
        }
    }

    /// Moves the streams of the leaves that `which` names to a view of their own.
    pub(crate) fn split_off(&mut self, which: impl Fn(u32) -> bool) -> Self {
        Self {
            layout: self.layout,
            board: Arc::clone(&self.board),
            seen: self.seen,
            first: self.first,
            newest: self.newest,
            epochs: self.epochs.iter_mut().map(|open| open.take(&which)).collect(),
        }
    }
}
