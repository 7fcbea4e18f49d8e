//! Packets and keyframe requests on their way.

use super::*;
use crate::media::link::LinkedPacket;

/// Rounds of drain and time-out in one go. A connection that wants more gets them at its next deadline.
const MAX_ROUNDS: usize = 16;

impl Engine {
    /// Polls a peer's str0m until it has nothing more to do at `now`.
    ///
    /// str0m wants to be drained after every single change, so time passes only between two drains.
    pub(super) fn drive(&mut self, peer: PeerId, now: Instant) {
        for _ in 0..MAX_ROUNDS {
            let Some(deadline) = self.drain(peer, now) else { return };
            let Some(transport) = self.transport(peer) else { return };
            transport.deadline = deadline;
            if deadline > now {
                return;
            }
            let result = transport.guarded(|rtc| rtc.handle_input(Input::Timeout(now)));
            if !self.survives(peer, result) {
                return;
            }
        }
    }

    /// Polls a peer's str0m until it names its next deadline; none if the connection has ended.
    fn drain(&mut self, peer: PeerId, now: Instant) -> Option<Instant> {
        loop {
            let transport = self.transport(peer)?;
            if !transport.rtc.is_alive() {
                self.lose_transport(peer);
                return None;
            }
            let mut output = None;
            let result = transport.guarded(|rtc| rtc.poll_output().map(|it| output = Some(it)));
            if !self.survives(peer, result) {
                return None;
            }
            match output? {
                Output::Timeout(deadline) => return Some(deadline),
                Output::Transmit(transmit) => self.outgoing.push_back(Datagram {
                    destination: transmit.destination,
                    contents: transmit.contents.into(),
                }),
                Output::Event(event) => self.on_event(peer, event, now),
            }
        }
    }

    /// Ends the connection if str0m failed (none: it panicked). Whether it goes on.
    pub(super) fn survives(
        &mut self,
        peer: PeerId,
        result: Option<Result<(), str0m::RtcError>>,
    ) -> bool {
        match result {
            Some(Ok(())) => return true,
            Some(Err(error)) => tracing::info!(peer = peer.0, %error, "media connection failed"),
            None => tracing::error!(peer = peer.0, "media connection failed by a panic in str0m"),
        }
        self.lose_transport(peer);
        false
    }

    fn on_event(&mut self, peer: PeerId, event: Event, now: Instant) {
        match event {
            Event::RtpPacket(packet) => self.forward(peer, &packet),
            Event::Connected => self.on_connected(peer, now),
            Event::MediaAdded(media) => {
                let receives = media.direction.is_receiving();
                self.on_media(peer, media.mid, media.kind, receives);
            }
            Event::MediaChanged(media) => {
                let kind = self
                    .transport(peer)
                    .filter(|transport| transport.line_of(media.mid).is_none())
                    .and_then(|transport| transport.rtc.media(media.mid))
                    .map(str0m::media::Media::kind);
                if let Some(kind) = kind {
                    self.on_media(peer, media.mid, kind, media.direction.is_receiving());
                }
            }
            Event::KeyframeRequest(request) => {
                let line = self.transport(peer).and_then(|peer| peer.line_of(request.mid));
                if let Some(line) = line
                    && let Some(room) = self.room_of(peer)
                {
                    room.router.request_keyframe(line, now);
                    self.want_keyframes(peer);
                }
            }
            Event::ChannelOpen(id, label) => self.on_channel(peer, id, &label, now),
            Event::ChannelData(data) => self.on_channel_data(peer, data, now),
            Event::ChannelClose(id) => self.on_channel_closed(peer, id),
            Event::IceConnectionStateChange(state) => {
                tracing::debug!(peer = peer.0, ?state, "ice");
            }
            _ => {}
        }
    }

    fn on_connected(&mut self, peer: PeerId, now: Instant) {
        let Some(entry) = self.peers.get_mut(&peer) else { return };
        let Some(transport) = &mut entry.transport else { return };
        if !std::mem::replace(&mut transport.connected, true) {
            self.metrics.media_peers.inc();
        }
        // Keyframes that came while nothing could be sent yet did not reach this peer.
        if let Some(room) = self.rooms.get_mut(&entry.room) {
            for (id, line) in &transport.lines {
                if line.track.kind == MediaKind::Video {
                    room.router.request_keyframe(*id, now);
                }
            }
        }
        self.want_keyframes(peer);
        self.notice(peer, MediaNotice::Connected { peer });
    }

    /// The client has begun or ceased to send on an m-line.
    fn on_media(&mut self, peer: PeerId, mid: Mid, kind: RtcKind, sends: bool) {
        let kind = match kind {
            RtcKind::Audio => MediaKind::Audio,
            RtcKind::Video => MediaKind::Video,
        };
        let Some(entry) = self.peers.get_mut(&peer) else { return };
        let Some(transport) = &mut entry.transport else { return };
        let Some(room) = self.rooms.get_mut(&entry.room) else { return };
        if sends == transport.published.contains_key(&mid) {
            return;
        }
        if sends {
            match room.router.publish(peer, kind) {
                Ok(track) => {
                    transport.published.insert(mid, track);
                    let declaration = transport.declaration(mid, kind);
                    let description = ForwardedTrack {
                        mid: String::new(),
                        participant: entry.identity.clone(),
                        track: declaration.mid,
                        kind,
                        label: declaration.label,
                        sframe: declaration.sframe,
                        codec: declaration.codec,
                    };
                    let track_entry =
                        RoomTrack { publisher: peer, source: None, description, origin: None };
                    room.tracks.insert(track, track_entry);
                }
                Err(error) => tracing::warn!(peer = peer.0, %error, "track not published"),
            }
        } else if let Some(track) = transport.published.remove(&mid) {
            transport.ssrcs.retain(|_, owner| *owner != track);
            room.router.unpublish(track);
            room.tracks.remove(&track);
        }
        self.replan.extend(room.router.peers());
        let room = entry.room;
        self.announce(room);
    }

    fn forward(&mut self, publisher: PeerId, packet: &RtpPacket) {
        self.metrics.packets_in.inc();
        // An empty payload is a probe or a filler of the publisher's own hop.
        if packet.payload.is_empty() {
            return;
        }
        let Some(entry) = self.peers.get_mut(&publisher) else { return };
        let Some(transport) = &mut entry.transport else { return };
        let ssrc = packet.header.ssrc;
        let Some(track) = transport.track_of(ssrc) else { return };
        let room = entry.room;
        let packet_at = packet.timestamp;
        let packet = LinkedPacket {
            track: track.0,
            arrival: Arrival {
                source: *ssrc,
                seq: *packet.seq_no,
                timestamp: packet.header.timestamp,
            },
            marker: packet.header.marker,
            extensions: extensions::forwarded(&packet.header.ext_vals),
            payload: Arc::clone(&packet.payload),
        };
        let link = self.rooms.get(&room).and_then(|room| room.link.clone());
        if self.distribute(room, track, &packet, packet_at)
            && let Some(link) = link
        {
            match link.try_send(packet.to_bytes()) {
                Ok(()) => self.metrics.linked_out.inc(),
                Err(_) => self.metrics.packets_dropped.with_label_values(&["link_full"]).inc(),
            }
        }
    }

    /// Sends a packet to everybody in the room who receives its track. Whether it was new.
    pub(super) fn distribute(
        &mut self,
        room: RoomId,
        track: TrackId,
        packet: &LinkedPacket,
        at: Instant,
    ) -> bool {
        let Some(room) = self.rooms.get_mut(&room) else { return false };
        let Some(room_track) = room.tracks.get_mut(&track) else { return false };
        room_track.source = Some(packet.arrival.source.into());
        let nackable = room_track.description.kind == MediaKind::Video;
        self.departures.clear();
        let dropped = |reason| {
            self.metrics.packets_dropped.with_label_values(&[reason]).inc();
            false
        };
        match room.router.arrive(track, packet.arrival, &mut self.departures) {
            Verdict::Forwarded => {}
            Verdict::Duplicate => return dropped("duplicate"),
            Verdict::TooLate => return dropped("too_late"),
            Verdict::UnknownTrack => return dropped("unknown_track"),
        }
        for departure in &self.departures {
            let subscriber = self.peers.get_mut(&departure.subscriber);
            let Some(transport) = subscriber.and_then(|peer| peer.transport.as_mut()) else {
                continue;
            };
            let Some(line) = transport.lines.get(&departure.line) else { continue };
            let Some(payload_type) = line.payload_type.filter(|_| transport.connected) else {
                continue;
            };
            let mut direct = transport.rtc.direct_api();
            let Some(stream) = direct.stream_tx_by_mid(line.mid, None) else { continue };
            let write = RtpWrite::new(
                payload_type,
                departure.seq.into(),
                departure.timestamp,
                at,
                Arc::clone(&packet.payload),
            );
            let extensions = packet.extensions.clone();
            stream.write_rtp(write.marker(packet.marker).ext_vals(extensions).nackable(nackable));
            self.metrics.packets_out.inc();
            self.metrics.bytes_out.inc_by(packet.payload.len() as u64);
            self.dirty.insert(departure.subscriber);
        }
        true
    }

    /// Asks publishers for the keyframes that are due. Whether any peer has to be polled after it.
    pub(super) fn ask_for_keyframes(&mut self, now: Instant) -> bool {
        let mut asked = false;
        let (rooms, peers) = (&mut self.rooms, &mut self.peers);
        self.wanting_keyframes.retain(|id| {
            let Some(room) = rooms.get_mut(id) else { return false };
            while let Some(track) = room.router.poll_keyframe(now) {
                let Some(track) = room.tracks.get(&track) else { continue };
                if let Some(Origin { node, track }) = track.origin {
                    // A room that is gone needs no notice.
                    let _ = room.notices.send(MediaNotice::KeyframeWanted { node, track });
                    continue;
                }
                let transport =
                    peers.get_mut(&track.publisher).and_then(|peer| peer.transport.as_mut());
                // Without a source there has been no packet, and the first frame is a keyframe anyhow.
                if let Some(transport) = transport
                    && let Some(ssrc) = track.source
                    && let Some(stream) = transport.rtc.direct_api().stream_rx(&ssrc)
                {
                    stream.request_keyframe(KeyframeRequestKind::Pli);
                    self.metrics.keyframe_requests.inc();
                    self.dirty.insert(track.publisher);
                    asked = true;
                }
            }
            room.router.next_deadline().is_some()
        });
        asked
    }
}
