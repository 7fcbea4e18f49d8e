//! The data channel for urgent messages: unordered, without retransmission.

use std::sync::Arc;

use bytes::BytesMut;
use sfu_sim::protocol::datagrams::{CHANNEL_LABEL, CHANNEL_PROTOCOL};
use tokio::sync::mpsc;
use webrtc::data_channel::{DataChannel, DataChannelEvent, RTCDataChannelInit};
use webrtc::peer_connection::PeerConnection;

use super::peer::{PeerError, PeerEvent};

/// What waits for the network at most, in bytes. A message that waits longer is overtaken by its copy on the stream.
const MAX_WAITING: usize = 64 << 10;

/// One's own end of the channel.
#[derive(Clone)]
pub(super) struct Channel(Arc<dyn DataChannel>);

impl Channel {
    /// Offers the channel; what happens on it is told as events.
    pub(super) async fn open(
        connection: &Arc<dyn PeerConnection>,
        events: mpsc::Sender<PeerEvent>,
    ) -> Result<Self, PeerError> {
        let options = RTCDataChannelInit {
            ordered: false,
            max_retransmits: Some(0),
            protocol: CHANNEL_PROTOCOL.to_owned(),
            ..RTCDataChannelInit::default()
        };
        let channel = connection.create_data_channel(CHANNEL_LABEL, Some(options)).await?;
        tokio::spawn(watch(Arc::clone(&channel), events));
        Ok(Self(channel))
    }

    /// Sends a datagram; it is lost if the channel is choked or closed.
    pub(super) async fn send(&self, bytes: &[u8]) {
        if self.0.outstanding_bytes().await.is_ok_and(|waiting| waiting > MAX_WAITING) {
            return;
        }
        if let Err(error) = self.0.send(BytesMut::from(bytes)).await {
            tracing::debug!(%error, "datagram not sent");
        }
    }
}

async fn watch(channel: Arc<dyn DataChannel>, events: mpsc::Sender<PeerEvent>) {
    while let Some(event) = channel.poll().await {
        let event = match event {
            DataChannelEvent::OnOpen => PeerEvent::Channel { open: true },
            DataChannelEvent::OnMessage(message) if !message.is_string => {
                PeerEvent::Datagram(message.data.to_vec())
            }
            DataChannelEvent::OnClose => break,
            _ => continue,
        };
        if events.send(event).await.is_err() {
            return;
        }
    }
    let _ = events.send(PeerEvent::Channel { open: false }).await;
}
