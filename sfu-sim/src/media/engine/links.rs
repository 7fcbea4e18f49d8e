//! Links to other servers that serve the same room.

use tokio::sync::mpsc::Sender;

use super::*;
use crate::media::link::{LinkedPacket, LinkedTrack};
use crate::protocol::Identity;

/// Peers that stand for publishers at other servers; the signalling side names its own below.
const LINKED_PEERS: u64 = 1 << 63;

/// What another server publishes into a room.
#[derive(Debug, Default)]
pub(super) struct Linked {
    peers: HashMap<Identity, PeerId>,
    tracks: HashMap<u64, TrackId>,
}

/// The other server that a track comes from, and its number there.
#[derive(Clone, Copy, Debug)]
pub(super) struct Origin {
    pub(super) node: u64,
    pub(super) track: u64,
}

impl Engine {
    /// Begins to copy the room's own packets to the other servers, or ceases.
    pub(super) fn set_link(&mut self, room: RoomId, packets: Option<Sender<Vec<u8>>>) {
        let Some(entry) = self.rooms.get_mut(&room) else { return };
        entry.link = packets;
        self.announce(room);
    }

    /// Tells the other servers what is published here.
    pub(super) fn announce(&self, room: RoomId) {
        let Some(room) = self.rooms.get(&room).filter(|room| room.link.is_some()) else { return };
        let mut tracks: Vec<LinkedTrack> = room
            .tracks
            .iter()
            .filter(|(_, track)| track.origin.is_none())
            .map(|(id, track)| LinkedTrack { track: id.0, description: track.description.clone() })
            .collect();
        tracks.sort_by_key(|track| track.track);
        // A room that is gone needs no notice.
        let _ = room.notices.send(MediaNotice::Published { tracks });
    }

    /// Takes the list of everything that another server publishes into a room.
    pub(super) fn link_tracks(&mut self, id: RoomId, node: u64, tracks: Vec<LinkedTrack>) {
        let Some(room) = self.rooms.get_mut(&id) else { return };
        let mut linked = room.linked.remove(&node).unwrap_or_default();
        linked.tracks.retain(|number, track| {
            let stays = tracks.iter().any(|it| it.track == *number);
            if !stays {
                room.router.unpublish(*track);
                room.tracks.remove(track);
            }
            stays
        });
        linked.peers.retain(|identity, peer| {
            let stays = tracks.iter().any(|it| it.description.participant == *identity);
            if !stays {
                room.router.remove_peer(*peer);
            }
            stays
        });
        for LinkedTrack { track, description } in tracks {
            // Whoever is connected here too has moved, and what the other server has of it is over.
            let here = self.peers.values().any(|peer| {
                peer.room == id
                    && peer.identity == description.participant
                    && peer.transport.is_some()
            });
            if here || linked.tracks.contains_key(&track) {
                continue;
            }
            let peer = *linked.peers.entry(description.participant.clone()).or_insert_with(|| {
                self.last_linked += 1;
                let peer = PeerId(LINKED_PEERS + self.last_linked);
                room.router.add_peer(peer);
                peer
            });
            match room.router.publish(peer, description.kind) {
                Ok(number) => {
                    linked.tracks.insert(track, number);
                    let origin = Some(Origin { node, track });
                    let entry = RoomTrack { publisher: peer, source: None, description, origin };
                    room.tracks.insert(number, entry);
                }
                Err(error) => tracing::warn!(node, %error, "linked track not published"),
            }
        }
        if !linked.peers.is_empty() {
            room.linked.insert(node, linked);
        }
        self.replan.extend(room.router.peers());
    }

    /// Drops what other servers publish in somebody's name, who is connected here from now on.
    pub(super) fn drop_linked(&mut self, id: RoomId, identity: &Identity) {
        let Some(room) = self.rooms.get_mut(&id) else { return };
        let mut changed = false;
        for linked in room.linked.values_mut() {
            let Some(peer) = linked.peers.remove(identity) else { continue };
            changed = true;
            room.router.remove_peer(peer);
            room.tracks.retain(|_, track| track.publisher != peer);
            linked.tracks.retain(|_, track| room.tracks.contains_key(track));
        }
        if changed {
            self.replan.extend(room.router.peers());
        }
    }

    /// Takes a packet that another server has forwarded.
    pub(super) fn link_packet(&mut self, room: RoomId, node: u64, bytes: &[u8], now: Instant) {
        let dropped = |reason| self.metrics.packets_dropped.with_label_values(&[reason]).inc();
        let Ok(packet) = LinkedPacket::parse(bytes) else { return dropped("malformed_link") };
        self.metrics.linked_in.inc();
        let track = self
            .rooms
            .get(&room)
            .and_then(|room| room.linked.get(&node))
            .and_then(|linked| linked.tracks.get(&packet.track))
            .copied();
        let Some(track) = track else { return dropped("unknown_track") };
        self.distribute(room, track, &packet, now);
    }

    /// Another server wants a keyframe of a track that is published here.
    pub(super) fn link_keyframe(&mut self, id: RoomId, track: u64, now: Instant) {
        let Some(room) = self.rooms.get_mut(&id) else { return };
        let track = TrackId(track);
        if room.tracks.get(&track).is_some_and(|track| track.origin.is_none()) {
            room.router.request_keyframe_of(track, now);
            self.wanting_keyframes.insert(id);
        }
    }
}
