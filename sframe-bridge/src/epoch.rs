//! An epoch as the group hands it over.

use crate::error::EpochError;
use crate::installed_epoch::LeafSet;
use crate::key_derivation::BaseKey;
use crate::kid::{KidError, KidLayout};
use crate::suite::CipherSuite;
use core::time::Duration;

/// What the media keys need to know of one epoch of the group: plain data, so that anything that
/// keeps a group can be the source.
///
/// Not `Clone`: the base key goes in once.
#[derive(Debug)]
pub struct Epoch {
    pub(crate) number: u64,
    pub(crate) base_key: BaseKey,
    pub(crate) own_leaf: u32,
    pub(crate) live_leaves: Vec<u32>,
    pub(crate) joined: Vec<u32>,
    pub(crate) removed: Vec<u32>,
    pub(crate) receive_only: bool,
    pub(crate) began_after_restore: bool,
    pub(crate) age: Duration,
}

impl Epoch {
    /// The epoch `number` with its base key, one's own leaf and all live leaves (with one's own),
    /// in any order.
    pub fn new(number: u64, base_key: BaseKey, own_leaf: u32, live_leaves: Vec<u32>) -> Self {
        Self {
            number,
            base_key,
            own_leaf,
            live_leaves,
            joined: Vec::new(),
            removed: Vec::new(),
            receive_only: false,
            began_after_restore: false,
            age: Duration::ZERO,
        }
    }

    /// The leaves of those who joined with the commit that began the epoch.
    pub fn with_joined(mut self, leaves: Vec<u32>) -> Self {
        self.joined = leaves;
        self
    }

    /// The leaves of those whom the commit removed.
    pub fn with_removed(mut self, leaves: Vec<u32>) -> Self {
        self.removed = leaves;
        self
    }

    /// Marks the epoch as one in which nothing may be sent.
    pub fn receive_only(mut self) -> Self {
        self.receive_only = true;
        self
    }

    /// Says that the epoch began after this member was restored from storage. It ends the silence
    /// of [`CallKeys::restored`](crate::CallKeys::restored), and means nothing otherwise.
    ///
    /// That the commit arrived after the restore proves nothing: it may have been in the log for
    /// long, and the process that died may have sent under its epoch. What proves it is fresh key
    /// material of this member, made after the restore: its own commit with a path, or a commit
    /// that covers an Update proposal of its own.
    pub fn began_after_restore(mut self) -> Self {
        self.began_after_restore = true;
        self
    }

    /// Says that the epoch began `age` before it is installed here, for instance when the log is
    /// replayed. Others have counted on in the meantime, and the bound on their counters follows.
    pub fn began_earlier(mut self, age: Duration) -> Self {
        self.age = age;
        self
    }

    /// The live leaves, once base key and leaves are what a call of this suite and layout needs.
    pub(crate) fn check(
        &self,
        suite: CipherSuite,
        layout: KidLayout,
    ) -> Result<LeafSet, EpochError> {
        let expected = suite.key_length();
        let found = self.base_key.length();
        if found != expected {
            return Err(EpochError::BaseKeyLength { expected, found });
        }
        let highest = self.live_leaves.iter().copied().max().unwrap_or(0);
        if highest >= layout.leaf_count() {
            let leaf_bits = layout.leaf_bits();
            return Err(KidError::LeafTooLarge { leaf: highest, leaf_bits }.into());
        }
        let live = LeafSet::new(&self.live_leaves);
        if !live.contains(self.own_leaf) {
            return Err(EpochError::OwnLeafNotLive { leaf: self.own_leaf });
        }
        Ok(live)
    }

    /// The epoch's number.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// One's own leaf.
    pub fn own_leaf(&self) -> u32 {
        self.own_leaf
    }
}
