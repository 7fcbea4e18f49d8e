//! The data channel that a client may open for urgent messages: unordered, without retransmission.

use str0m::channel::{ChannelData, ChannelId, Reliability};

use super::*;
use crate::media::peer::Channel;
use crate::protocol::datagrams::{CHANNEL_LABEL, CHANNEL_PROTOCOL, MAX_DATAGRAM};
use crate::rate::RateLimit;

/// What waits for the network at most, in bytes. A message that waits longer is overtaken by its copy on the stream.
const MAX_WAITING: usize = 64 << 10;

impl Engine {
    pub(super) fn on_channel(&mut self, peer: PeerId, id: ChannelId, label: &str, now: Instant) {
        let Some(rate) = self.options.datagrams_per_second else { return };
        let Some(transport) = self.transport(peer).filter(|it| it.channel.is_none()) else {
            return;
        };
        let fits = transport.rtc.channel(id).is_some_and(|channel| {
            channel.config().is_some_and(|config| {
                config.protocol == CHANNEL_PROTOCOL
                    && !config.ordered
                    && config.reliability == Reliability::MaxRetransmits { retransmits: 0 }
            })
        });
        if label == CHANNEL_LABEL && fits {
            transport.channel = Some(Channel { id, rate: RateLimit::new(rate, now) });
            self.notice(peer, MediaNotice::Channel { peer, open: true });
        }
    }

    pub(super) fn on_channel_data(&mut self, peer: PeerId, data: ChannelData, now: Instant) {
        let Some(transport) = self.transport(peer) else { return };
        // Other channels are a client's own affair.
        let Some(channel) = transport.channel.as_mut().filter(|it| it.id == data.id) else {
            return;
        };
        let fault = if channel.rate.take(now).is_err() {
            Some("rate_limited")
        } else if !data.binary || data.data.len() > MAX_DATAGRAM {
            Some("malformed")
        } else {
            None
        };
        match fault {
            Some(reason) => self.metrics.count_refused_datagram(reason),
            None => self.notice(peer, MediaNotice::Datagram { peer, bytes: data.data }),
        }
    }

    pub(super) fn on_channel_closed(&mut self, peer: PeerId, id: ChannelId) {
        let closed = self
            .transport(peer)
            .and_then(|transport| transport.channel.take_if(|channel| channel.id == id));
        if closed.is_some() {
            self.notice(peer, MediaNotice::Channel { peer, open: false });
        }
    }

    /// Sends a datagram if the channel is open and not choked; else it is lost, as on any network.
    pub(super) fn send_datagram(&mut self, peer: PeerId, bytes: &[u8]) {
        let Some(transport) = self.transport(peer) else { return };
        let Some(id) = transport.channel.as_ref().map(|channel| channel.id) else { return };
        let written = transport.guarded(|rtc| -> Result<(), str0m::RtcError> {
            let Some(mut channel) = rtc.channel(id) else { return Ok(()) };
            if channel.buffered_amount() < MAX_WAITING {
                channel.write(true, bytes)?;
            }
            Ok(())
        });
        match written {
            Some(Ok(())) => {
                self.dirty.insert(peer);
            }
            // The channel has closed, of which there will be word; the media goes on.
            Some(Err(error)) => {
                tracing::debug!(peer = peer.0, %error, "datagram not sent");
                self.dirty.insert(peer);
            }
            None => {
                self.survives(peer, None);
            }
        }
    }
}
