//! Requests of clients that the media engine carries out, one after the other for all rooms. What waits for it is bounded
//! here: so many of each participant, and so many bytes in all.

use std::time::Duration;

use super::{Room, unavailable};
use crate::media::MediaCommand;
use crate::protocol::{Identity, MediaRequest, PublishedTrack, Refusal, RefusalCode};

/// Tracks that one offer may describe.
const MAX_TRACKS: usize = 64;

/// The longest label or mid of a track, in bytes. All others are told of it.
const MAX_LABEL: usize = 128;

/// When one more request may be welcome if too many of one participant wait.
const LATER: Duration = Duration::from_millis(200);

impl Room {
    pub(super) fn media_request(
        &mut self,
        identity: &Identity,
        re: Option<u64>,
        request: MediaRequest,
    ) {
        if let Err(refusal) = self.hand_over(identity, re, request) {
            self.refuse(identity, re, refusal);
        }
    }

    fn hand_over(
        &mut self,
        identity: &Identity,
        re: Option<u64>,
        request: MediaRequest,
    ) -> Result<(), Refusal> {
        let Some(member) = self.members.get_mut(identity) else { return Ok(()) };
        if member.cut_off {
            let message = "expected a participant that is not being removed";
            return Err(Refusal::new(RefusalCode::RemovalPending, message));
        }
        let limits = &self.shared.config.limits;
        if member.media_waits >= limits.media_requests {
            return Err(Refusal::too_fast(LATER, "expected fewer media requests at a time"));
        }
        let peer = member.peer;
        let (command, bytes) = match request {
            MediaRequest::Offer { sdp, tracks, fresh } => {
                check_tracks(&tracks)?;
                let bytes = sdp.len();
                (MediaCommand::Offer { peer, re, sdp, tracks, fresh }, bytes)
            }
            MediaRequest::Answer { offer, sdp } => {
                let bytes = sdp.len();
                (MediaCommand::Answer { peer, re, offer, sdp }, bytes)
            }
            MediaRequest::Candidate { candidate } => {
                let bytes = candidate.len();
                (MediaCommand::Candidate { peer, re, candidate }, bytes)
            }
        };
        if !self.shared.media.request(command, bytes, limits.media_bytes) {
            return Err(unavailable("expected fewer media requests of all participants at a time"));
        }
        member.media_waits += 1;
        Ok(())
    }

    /// The engine has answered a request.
    pub(super) fn media_answered(&mut self, identity: &Identity) {
        if let Some(member) = self.members.get_mut(identity) {
            member.media_waits = member.media_waits.saturating_sub(1);
        }
    }
}

fn check_tracks(tracks: &[PublishedTrack]) -> Result<(), Refusal> {
    let long = |track: &PublishedTrack| track.label.len().max(track.mid.len()) > MAX_LABEL;
    if tracks.len() > MAX_TRACKS || tracks.iter().any(long) {
        let message =
            format!("expected at most {MAX_TRACKS} tracks with labels of {MAX_LABEL} bytes");
        return Err(Refusal::new(RefusalCode::Malformed, message));
    }
    Ok(())
}
