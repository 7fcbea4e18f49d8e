//! Connections come, negotiate and go.

use super::*;
use crate::protocol::PublishedTrack;
use crate::router::LineId;

impl Engine {
    /// Gives a peer a connection that waits for the client's offer.
    pub(super) fn open_transport(&mut self, peer: PeerId, now: Instant) {
        let Some(entry) = self.peers.get_mut(&peer) else { return };
        let transport = Transport::new(&self.crypto, &self.options.candidates, now);
        self.by_ufrag.insert(transport.ufrag.clone(), peer);
        entry.transport = Some(transport);
        if let Some(room) = self.rooms.get_mut(&entry.room) {
            room.router.add_peer(peer);
        }
        self.dirty.insert(peer);
    }

    /// Ends a peer's connection: what it published and received is gone for everybody.
    pub(super) fn drop_transport(&mut self, peer: PeerId) {
        let Some(entry) = self.peers.get_mut(&peer) else { return };
        let Some(mut transport) = entry.transport.take() else { return };
        if let Some(room) = self.rooms.get_mut(&entry.room) {
            room.router.remove_peer(peer);
            room.tracks.retain(|_, track| track.publisher != peer);
            self.replan.extend(room.router.peers());
            let room = entry.room;
            self.announce(room);
        }
        self.by_ufrag.retain(|_, owner| *owner != peer);
        for source in &transport.sources {
            self.by_source.remove(source);
        }
        self.dirty.remove(&peer);
        let (connected, has_channel) = (transport.connected, transport.channel.is_some());
        // The farewell (RTCP BYE, DTLS close_notify) is sent as far as it is ready; a peer that does not get it
        // notices by its ICE checks.
        let farewell = transport.guarded(|rtc| {
            let mut datagrams = Vec::new();
            if rtc.close().is_ok() {
                while let Ok(Output::Transmit(transmit)) = rtc.poll_output() {
                    datagrams.push(Datagram {
                        destination: transmit.destination,
                        contents: transmit.contents.into(),
                    });
                }
            }
            datagrams
        });
        self.outgoing.extend(farewell.unwrap_or_default());
        if has_channel {
            self.notice(peer, MediaNotice::Channel { peer, open: false });
        }
        if connected {
            self.metrics.media_peers.dec();
            self.notice(peer, MediaNotice::Disconnected { peer });
        }
    }

    /// Ends a connection that failed, and tells the client.
    pub(super) fn lose_transport(&mut self, peer: PeerId) {
        self.drop_transport(peer);
        self.tell(peer, MediaEvent::Disconnected);
    }

    pub(super) fn remove_peer(&mut self, peer: PeerId) {
        self.drop_transport(peer);
        self.peers.remove(&peer);
        self.replan.remove(&peer);
    }

    pub(super) fn accept_offer(
        &mut self,
        peer: PeerId,
        sdp: &str,
        declared: Vec<PublishedTrack>,
    ) -> Result<MediaEvent, Refusal> {
        let transport = self.transport(peer).ok_or_else(no_media)?;
        let (void, result) = transport.accept_offer(sdp, declared);
        let ufrag = transport.ufrag.clone();
        self.forget_lines(peer, &void);
        let answer = result?;
        self.by_ufrag.insert(ufrag, peer);
        self.dirty.insert(peer);
        self.replan.insert(peer);
        Ok(answer)
    }

    pub(super) fn accept_answer(
        &mut self,
        peer: PeerId,
        number: u64,
        sdp: &str,
        now: Instant,
    ) -> Result<(), Refusal> {
        let transport = self.transport(peer).ok_or_else(no_media)?;
        let result = transport.accept_answer(number, sdp);
        self.dirty.insert(peer);
        match result {
            Ok(negotiated) => {
                self.forget_lines(peer, &negotiated.closed);
                if let Some(room) = self.room_of(peer) {
                    for line in negotiated.opened {
                        room.router.line_live(line, now);
                    }
                }
                self.want_keyframes(peer);
                self.replan.insert(peer);
                Ok(())
            }
            Err((void, refusal)) => {
                self.forget_lines(peer, &void);
                Err(refusal)
            }
        }
    }

    pub(super) fn add_candidate(&mut self, peer: PeerId, text: &str) -> Result<(), Refusal> {
        let transport = self.transport(peer).ok_or_else(no_media)?;
        let text = text.trim();
        let text = text.strip_prefix("a=").unwrap_or(text);
        // The end of candidates is an empty line; an ICE-lite agent does not wait for it.
        if text.is_empty() {
            return Ok(());
        }
        match transport.guarded(|_| Candidate::from_sdp_string(text)) {
            Some(Ok(candidate)) => transport.rtc.add_remote_candidate(candidate),
            // mDNS names and TCP candidates are of no use to a server that learns addresses from checks.
            _ if text.starts_with("candidate:") => {}
            _ => {
                let message = "expected a candidate line of RFC 8839";
                return Err(Refusal::new(RefusalCode::InvalidSdp, message));
            }
        }
        self.dirty.insert(peer);
        Ok(())
    }

    /// Makes an offer if the peer's tracks have changed and no offer is outstanding.
    pub(super) fn negotiate(&mut self, peer: PeerId) {
        let Some(entry) = self.peers.get_mut(&peer) else { return };
        let Some(transport) = &mut entry.transport else { return };
        let Some(room) = self.rooms.get_mut(&entry.room) else { return };
        if transport.negotiation.is_outstanding() {
            return;
        }
        let plan = room.router.plan(peer);
        if plan.is_empty() {
            return;
        }
        let mut open = Vec::new();
        for track in plan.open {
            if let Some(description) = room.tracks.get(&track)
                && let Some(line) = room.router.open_line(peer, track)
            {
                open.push((line, description.description.clone()));
            }
        }
        let close = plan.close.clone();
        let event = transport.offer(open, plan.close);
        self.dirty.insert(peer);
        match event {
            Some(event) => {
                self.metrics.offers.inc();
                self.tell(peer, event);
            }
            None => self.forget_lines(peer, &close),
        }
    }

    fn forget_lines(&mut self, peer: PeerId, lines: &[LineId]) {
        if let Some(room) = self.room_of(peer) {
            for line in lines {
                room.router.forget_line(*line);
            }
        }
    }

    pub(super) fn want_keyframes(&mut self, peer: PeerId) {
        if let Some(peer) = self.peers.get(&peer) {
            self.wanting_keyframes.insert(peer.room);
        }
    }
}

fn no_media() -> Refusal {
    Refusal::new(RefusalCode::NoMedia, "expected a fresh offer first")
}
