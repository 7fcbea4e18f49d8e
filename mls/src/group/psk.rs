//! Where pre-shared keys come from (RFC 9420 section 8.4).

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use crate::{
    crypto::Suite,
    schedule::{Psk, PskInput, PskSecret, ScheduleError},
    wire::{GroupId, PreSharedKeyId, PskSource},
};

/// Gives the pre-shared keys that a commit or a Welcome names.
///
/// The resumption keys of a group's own past epochs come from the group itself, as far as it keeps them.
pub trait PskStore: Send + Sync {
    /// The external key of this name.
    fn external(&self, psk_id: &[u8]) -> Option<Psk>;

    /// The resumption key of an epoch of another group, or of an epoch that the group itself no longer keeps.
    fn resumption(&self, group_id: &GroupId, epoch: u64) -> Option<Psk> {
        let _ = (group_id, epoch);
        None
    }
}

/// A store without keys.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoPsks;

impl PskStore for NoPsks {
    fn external(&self, _: &[u8]) -> Option<Psk> {
        None
    }
}

/// Keys held in memory.
#[derive(Debug, Default)]
pub struct MemoryPskStore(Mutex<Keys>);

#[derive(Debug, Default)]
struct Keys {
    external: HashMap<Vec<u8>, Psk>,
    resumption: HashMap<(GroupId, u64), Psk>,
}

impl MemoryPskStore {
    /// A store without keys.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Puts an external key in, replacing one of the same name.
    pub fn insert(&self, psk_id: impl Into<Vec<u8>>, psk: Psk) {
        self.keys().external.insert(psk_id.into(), psk);
    }

    /// Takes an external key out.
    pub fn remove(&self, psk_id: &[u8]) {
        self.keys().external.remove(psk_id);
    }

    /// Puts the resumption key of an epoch in, for use in other groups or in late epochs of its own.
    pub fn insert_resumption(&self, group_id: GroupId, epoch: u64, psk: Psk) {
        self.keys().resumption.insert((group_id, epoch), psk);
    }

    /// Takes the resumption key of an epoch out.
    pub fn remove_resumption(&self, group_id: &GroupId, epoch: u64) {
        self.keys().resumption.remove(&(group_id.clone(), epoch));
    }

    fn keys(&self) -> MutexGuard<'_, Keys> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl PskStore for MemoryPskStore {
    fn external(&self, psk_id: &[u8]) -> Option<Psk> {
        self.keys().external.get(psk_id).map(|psk| Psk::from_slice(psk.as_bytes()))
    }

    fn resumption(&self, group_id: &GroupId, epoch: u64) -> Option<Psk> {
        let keys = self.keys();
        let psk = keys.resumption.get(&(group_id.clone(), epoch))?;
        Some(Psk::from_slice(psk.as_bytes()))
    }
}

/// Why there is no PSK secret.
pub(crate) enum PskFailure {
    Unknown(PskSource),
    Schedule(ScheduleError),
}

/// The PSK secret of a commit or Welcome, with each key looked up by `find`.
pub(crate) fn psk_secret(
    suite: &'static Suite,
    ids: &[&PreSharedKeyId],
    find: impl Fn(&PskSource) -> Option<Psk>,
) -> Result<PskSecret, PskFailure> {
    let mut keys = Vec::with_capacity(ids.len());
    for id in ids {
        keys.push(find(&id.source).ok_or_else(|| PskFailure::Unknown(id.source.clone()))?);
    }
    let inputs: Vec<_> = ids.iter().zip(&keys).map(|(id, psk)| PskInput { id, psk }).collect();
    PskSecret::compute(suite, &inputs).map_err(PskFailure::Schedule)
}

/// Looks a key up in the application's store.
pub(crate) fn from_store(store: &dyn PskStore, source: &PskSource) -> Option<Psk> {
    match source {
        PskSource::External { psk_id } => store.external(psk_id),
        PskSource::Resumption { psk_group_id, psk_epoch, .. } => {
            store.resumption(psk_group_id, *psk_epoch)
        }
    }
}
