//! Sending a track: a frame is taken when it is due, encrypted and cut into packets.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use sframe_bridge::{Action, SendError, Sender, SenderInfo, TrackId, peek};
use sfu_sim::protocol::MediaKind;
use tokio::time::{Instant, sleep_until};

use super::keys::MediaKeys;
use super::observer::{Observer, Outgoing};
use super::packets::TrackFormat;
use super::tracks::LocalTrack;
use crate::media::source::{FileSource, SourceFrame};

/// The largest RTP payload: with RTP, SRTP, UDP and IPv6 around it a packet fits in 1,280 bytes,
/// which every path carries.
const MAX_PAYLOAD: usize = 1150;

/// What a sending task needs.
pub(super) struct Sending {
    pub(super) keys: Arc<MediaKeys>,
    pub(super) observer: Arc<dyn Observer>,
    pub(super) track: LocalTrack,
    pub(super) format: TrackFormat,
    pub(super) source: FileSource,
    /// Tells the track from the others of this client.
    pub(super) id: TrackId,
    /// Set when somebody who watches asks for a keyframe.
    pub(super) keyframe_wanted: Arc<AtomicBool>,
}

/// Why a frame was not sent.
enum NotSent {
    /// There is no key, so nothing may go out.
    NoKey,
    /// The connection is gone.
    Connection,
}

impl Sending {
    /// Plays the source for as long as the connection takes packets.
    pub(super) async fn run(mut self) {
        let mut stand = self.keys.watch();
        let mut generation = stand.borrow_and_update().generation;
        let mut sender = self.keys.sender(self.id).ok();
        let start = Instant::now();
        let mut sealed = Vec::new();
        loop {
            sleep_until(start + self.source.due()).await;
            let current = stand.borrow_and_update().generation;
            if current != generation || sender.is_none() {
                generation = current;
                sender = self.keys.sender(self.id).ok();
            }
            let video = self.track.kind() == MediaKind::Video;
            self.source.skip_missed(start.elapsed());
            if video {
                // Asking also makes the sender take up a key that waits for it.
                let due = sender.as_mut().is_some_and(Sender::keyframe_due);
                if self.keyframe_wanted.swap(false, Ordering::Relaxed) || due {
                    self.source.request_keyframe();
                }
            }
            let Some(frame) = self.source.take() else {
                return;
            };
            sealed.clear();
            let sent = match &mut sender {
                Some(sender) => self.send(sender, &frame, &mut sealed).await,
                None => Err(NotSent::NoKey),
            };
            match sent {
                Ok(()) => {}
                Err(NotSent::NoKey) => self.observer.withheld(self.track.kind()),
                Err(NotSent::Connection) => return,
            }
        }
    }

    async fn send(
        &mut self,
        sender: &mut Sender,
        frame: &SourceFrame,
        sealed: &mut Vec<u8>,
    ) -> Result<(), NotSent> {
        if let Err(error) = self.format.protect(sender, &frame.data, sealed) {
            return Err(self.withhold(error));
        }
        if frame.keyframe {
            sender.keyframe_sent();
        }
        let info = self.info(sender, sealed).ok_or(NotSent::NoKey)?;
        self.observer.sending(Outgoing {
            kind: self.track.kind(),
            sender: info,
            plaintext: &frame.data,
            ciphertext: self.format.ciphertext(sealed),
        });
        let timestamp = self.track.timestamp(frame.at);
        for payload in self.format.payloads(sealed, MAX_PAYLOAD) {
            let sent = self.track.send(payload.bytes, timestamp, payload.last).await;
            sent.map_err(|error| {
                tracing::debug!(%error, "a track ends, as its connection takes no packets");
                NotSent::Connection
            })?;
        }
        Ok(())
    }

    fn withhold(&self, error: SendError) -> NotSent {
        if error.action() == Action::Stop {
            self.observer.trouble(&format!("a frame could not be encrypted: {error}"));
        }
        NotSent::NoKey
    }

    /// Under which key and counter the frame went.
    fn info(&self, sender: &Sender, sealed: &[u8]) -> Option<SenderInfo> {
        let header = peek(self.format.ciphertext(sealed)).ok()?.header;
        let parts = self.keys.lock_keys().layout()?.split(header.kid);
        Some(SenderInfo {
            leaf: parts.leaf,
            epoch: sender.epoch()?,
            context: u32::try_from(parts.context).ok()?,
            ctr: header.ctr,
        })
    }
}
