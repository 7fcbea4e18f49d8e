//! The media keys of one participation, its tracks, and who sits where.

use std::collections::BTreeMap;

use call_session::CallMember;
use serde_json::{Value, json};
use sframe_bridge::codec::Codec;
use sframe_bridge::verification::{Verification, VerifiedPeers};
use sframe_bridge::{
    CallKeys, CallKeysConfig, CallParameters, Epoch, EpochError, Event, Now, TrackId, crypto,
};
use sfu_protocol::Identity;

use crate::tracks::{Incoming, Outgoing};

/// Rosters are kept for as many epochs as keys can be: KIDs name an epoch by 8 bits.
const KEPT_ROSTERS: usize = 256;

/// A member, for those who look at the call.
pub(crate) struct Member {
    pub(crate) leaf: u32,
    pub(crate) identity: Identity,
    pub(crate) verification: &'static str,
}

pub(crate) struct MediaKeys {
    own: Identity,
    keys: Option<CallKeys>,
    rosters: BTreeMap<u64, Vec<CallMember>>,
    verified: VerifiedPeers,
    outgoing: BTreeMap<u32, Outgoing>,
    incoming: BTreeMap<String, Incoming>,
    waits: bool,
}

impl MediaKeys {
    pub(crate) fn new(own: &str) -> Self {
        Self {
            own: Identity::new(own),
            keys: None,
            rosters: BTreeMap::new(),
            verified: VerifiedPeers::new(),
            outgoing: BTreeMap::new(),
            incoming: BTreeMap::new(),
            waits: false,
        }
    }

    /// A membership begins. Returns false if its suite is not supported here.
    pub(crate) fn begin(&mut self, parameters: &CallParameters) -> bool {
        self.end();
        let config = CallKeysConfig::from_parameters(crypto::default_provider(), parameters);
        self.keys = config.map(CallKeys::new);
        self.keys.is_some()
    }

    /// The membership is over: nothing can be sent or opened.
    pub(crate) fn end(&mut self) {
        for track in self.outgoing.values_mut() {
            track.lose_sender();
        }
        if let Some(mut keys) = self.keys.take() {
            keys.close();
        }
        self.rosters.clear();
    }

    pub(crate) fn install(&mut self, epoch: Epoch, now: Now) -> Result<(), EpochError> {
        self.keys.as_mut().ok_or(EpochError::Closed)?.install_epoch(epoch, now)
    }

    pub(crate) fn peer_ready(&mut self, leaf: u32, epoch: u64, now: Now) {
        if let Some(keys) = &mut self.keys {
            keys.peer_ready(leaf, epoch, now);
        }
    }

    /// Does what is due and returns what there is to know.
    pub(crate) fn drive(&mut self, now: Now) -> Vec<Event> {
        let Some(keys) = &mut self.keys else { return Vec::new() };
        keys.handle_timeout(now);
        std::iter::from_fn(|| keys.poll()).collect()
    }

    pub(crate) fn next_deadline(&self) -> Option<Now> {
        let waiting = self.incoming.values().filter_map(Incoming::next_deadline);
        waiting.chain(self.keys.as_ref().and_then(CallKeys::next_deadline)).min()
    }

    /// Notes who sits where in an epoch.
    pub(crate) fn roster(&mut self, epoch: u64, roster: Vec<CallMember>) {
        self.rosters.insert(epoch, roster);
        while self.rosters.len() > KEPT_ROSTERS {
            self.rosters.pop_first();
        }
    }

    /// Who sits where in an epoch, and whether it has been verified.
    pub(crate) fn members(&self, epoch: u64) -> Vec<Member> {
        let member = |member: &CallMember| Member {
            leaf: member.leaf,
            identity: member.identity.clone(),
            verification: if member.identity == self.own {
                "self"
            } else {
                let identity = member.identity.as_str().as_bytes();
                match self.verified.status(identity, &member.signature_key) {
                    Verification::Verified => "verified",
                    Verification::Unverified => "unverified",
                    Verification::KeyChanged => "key_changed",
                }
            },
        };
        self.rosters.get(&epoch).into_iter().flatten().map(member).collect()
    }

    /// Records that the codes matched with this member.
    pub(crate) fn verify(&mut self, identity: &Identity) -> bool {
        let newest = self.rosters.values().next_back();
        let member = newest.and_then(|roster| roster.iter().find(|m| m.identity == *identity));
        if let Some(member) = member {
            self.verified.insert(identity.as_str().as_bytes(), &member.signature_key);
        }
        member.is_some()
    }

    pub(crate) fn send_track(&mut self, track: u32, codec: Codec) {
        self.outgoing.insert(track, Outgoing::new(codec));
    }

    pub(crate) fn stop_track(&mut self, track: u32) {
        self.outgoing.remove(&track);
    }

    pub(crate) fn protect(&mut self, id: u32, frame: &[u8], keyframe: bool) -> Option<Vec<u8>> {
        let track = self.outgoing.get_mut(&id)?;
        if let Some(keys) = &mut self.keys {
            track.want_sender(|| keys.sender(TrackId(id)).ok());
        }
        track.protect(frame, keyframe)
    }

    pub(crate) fn keyframe_wanted(&mut self, track: u32) -> bool {
        self.outgoing.get_mut(&track).is_some_and(Outgoing::keyframe_wanted)
    }

    pub(crate) fn receive_track(&mut self, mid: &str, participant: Identity, codec: Codec) {
        self.incoming.insert(mid.to_owned(), Incoming::new(participant, codec));
    }

    pub(crate) fn end_track(&mut self, mid: &str) {
        self.incoming.remove(mid);
    }

    pub(crate) fn open(
        &mut self,
        mid: &str,
        frame: u32,
        sealed: &[u8],
        now: Now,
    ) -> Option<Vec<u8>> {
        let track = self.incoming.get_mut(mid)?;
        let plain = track.open(self.keys.as_mut(), &self.rosters, frame, sealed, now);
        self.waits = track.waits();
        plain
    }

    pub(crate) fn waits(&self) -> bool {
        self.waits
    }

    pub(crate) fn late(&mut self, mid: &str, now: Now) -> Option<(u32, Option<Vec<u8>>)> {
        self.incoming.get_mut(mid)?.late(self.keys.as_mut(), &self.rosters, now)
    }

    pub(crate) fn statistics(&self) -> String {
        let outgoing: Vec<Value> =
            self.outgoing.iter().map(|(id, track)| track.statistics(*id)).collect();
        let incoming: Vec<Value> =
            self.incoming.iter().map(|(mid, track)| track.statistics(mid)).collect();
        json!({ "sent": outgoing, "received": incoming }).to_string()
    }
}
