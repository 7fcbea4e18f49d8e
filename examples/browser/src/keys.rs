//! The media keys of one participation, its tracks, and who sits where.

use std::collections::VecDeque;

use call_session::CallMember;
use serde::Serialize;
use sframe_bridge::codec::Codec;
use sframe_bridge::crypto::FrameProvider;
use sframe_bridge::verification::{Verification, VerifiedPeers};
use sframe_bridge::{
    CallKeys, CallKeysConfig, CallParameters, Epoch, EpochError, Event, Now, TrackId,
};
use sfu_protocol::Identity;

use crate::events::to_json;
use crate::handover::Handover;
use crate::tracks::{Incoming, Outgoing, Received, Sent};

/// Rosters are kept for as many epochs as keys can be: KIDs name an epoch by 8 bits.
const KEPT_ROSTERS: usize = 256;

/// Who sat where in an epoch.
pub(crate) struct Roster {
    pub(crate) epoch: u64,
    pub(crate) members: Vec<CallMember>,
}

/// A member, for those who look at the call.
#[derive(Serialize)]
pub(crate) struct Member {
    pub(crate) leaf: u32,
    pub(crate) identity: Identity,
    pub(crate) verification: &'static str,
}

pub(crate) struct MediaKeys {
    own: Identity,
    handover: &'static Handover,
    provider: FrameProvider,
    keys: Option<CallKeys>,
    /// The oldest first.
    rosters: VecDeque<Roster>,
    verified: VerifiedPeers,
    outgoing: Vec<Outgoing>,
    incoming: Vec<Incoming>,
    waits: bool,
}

impl MediaKeys {
    pub(crate) fn new(own: &str, handover: &'static Handover, provider: FrameProvider) -> Self {
        Self {
            own: Identity::new(own),
            handover,
            provider,
            keys: None,
            rosters: VecDeque::new(),
            verified: VerifiedPeers::new(),
            outgoing: Vec::new(),
            incoming: Vec::new(),
            waits: false,
        }
    }

    /// A membership begins. Returns false if its suite is not supported here.
    pub(crate) fn begin(&mut self, parameters: &CallParameters) -> bool {
        self.end();
        let config = CallKeysConfig::from_parameters(&self.provider, parameters);
        self.keys = config.map(CallKeys::new);
        self.keys.is_some()
    }

    /// The membership is over: nothing can be sent or opened.
    pub(crate) fn end(&mut self) {
        for track in &mut self.outgoing {
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

    /// Stops sending, or goes on.
    pub(crate) fn allow_sending(&mut self, allowed: bool) {
        match &mut self.keys {
            Some(keys) if allowed => keys.resume_sending(),
            Some(keys) => keys.stop_sending(),
            None => {}
        }
    }

    /// Does what is due and returns what there is to know.
    pub(crate) fn drive(&mut self, now: Now) -> Vec<Event> {
        let Some(keys) = &mut self.keys else { return Vec::new() };
        keys.handle_timeout(now);
        std::iter::from_fn(|| keys.poll()).collect()
    }

    pub(crate) fn next_deadline(&self) -> Option<Now> {
        let waiting = self.incoming.iter().filter_map(Incoming::next_deadline);
        waiting.chain(self.keys.as_ref().and_then(CallKeys::next_deadline)).min()
    }

    /// Notes who sits where in an epoch.
    pub(crate) fn roster(&mut self, epoch: u64, members: Vec<CallMember>) {
        self.rosters.push_back(Roster { epoch, members });
        if self.rosters.len() > KEPT_ROSTERS {
            self.rosters.pop_front();
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
        let roster = self.rosters.iter().rfind(|roster| roster.epoch == epoch);
        roster.map(|roster| roster.members.iter().map(member).collect()).unwrap_or_default()
    }

    /// Records that the codes matched with this member.
    pub(crate) fn verify(&mut self, identity: &Identity) -> bool {
        let newest = self.rosters.back().map(|roster| &roster.members);
        let member = newest.and_then(|members| members.iter().find(|m| m.identity == *identity));
        if let Some(member) = member {
            self.verified.insert(identity.as_str().as_bytes(), &member.signature_key);
        }
        member.is_some()
    }

    pub(crate) fn send_track(&mut self, track: u32, codec: Codec) {
        self.stop_track(track);
        self.outgoing.push(Outgoing::new(track, codec));
    }

    pub(crate) fn stop_track(&mut self, id: u32) {
        self.outgoing.retain(|track| track.id() != id);
    }

    pub(crate) fn protect(
        &mut self,
        id: u32,
        frame: &[u8],
        keyframe: bool,
        now: Now,
    ) -> Option<Vec<u8>> {
        let track = self.outgoing.iter_mut().find(|track| track.id() == id)?;
        if let Some(keys) = &mut self.keys {
            // Browsers may hold timers back for seconds; a frame must not go under a key that is to be left.
            if keys.next_deadline().is_some_and(|due| due <= now) {
                keys.handle_timeout(now);
            }
            track.want_sender(|| keys.sender(TrackId(id)).ok());
        }
        track.protect(frame, keyframe)
    }

    pub(crate) fn keyframe_wanted(&mut self, id: u32) -> bool {
        let track = self.outgoing.iter_mut().find(|track| track.id() == id);
        track.is_some_and(Outgoing::keyframe_wanted)
    }

    pub(crate) fn receive_track(&mut self, mid: &str, participant: Identity, codec: Codec) {
        self.end_track(mid);
        self.incoming.push(Incoming::new(mid, participant, codec, self.handover));
    }

    pub(crate) fn end_track(&mut self, mid: &str) {
        self.incoming.retain(|track| track.mid() != mid);
    }

    pub(crate) fn open(
        &mut self,
        mid: &str,
        frame: u32,
        sealed: &[u8],
        now: Now,
    ) -> Option<Vec<u8>> {
        self.waits = false;
        let track = self.incoming.iter_mut().find(|track| track.mid() == mid)?;
        let plain = track.open(self.keys.as_mut(), &self.rosters, frame, sealed, now);
        self.waits = track.waits();
        plain
    }

    pub(crate) fn waits(&self) -> bool {
        self.waits
    }

    pub(crate) fn late(&mut self, mid: &str, now: Now) -> Option<(u32, Option<Vec<u8>>)> {
        let track = self.incoming.iter_mut().find(|track| track.mid() == mid)?;
        track.late(self.keys.as_mut(), &self.rosters, now)
    }

    pub(crate) fn statistics(&self) -> String {
        #[derive(Serialize)]
        struct Statistics<'a> {
            sent: Vec<Sent>,
            received: Vec<Received<'a>>,
        }
        to_json(&Statistics {
            sent: self.outgoing.iter().map(Outgoing::statistics).collect(),
            received: self.incoming.iter().map(Incoming::statistics).collect(),
        })
    }
}
