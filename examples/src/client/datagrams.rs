//! The client's end of the path of datagrams beside the signalling connection.

use std::time::{Duration, Instant};

use sfu_sim::protocol::datagrams::{DatagramPath, PathOutput, Urgency};
use sfu_sim::protocol::{ClientMessage, ServerBody, ServerMessage, SessionEvent, SessionRequest};

use super::media::Media;
use super::signalling::{Signalling, SignallingError};

/// The ways of the messages of one signalling connection.
pub(super) struct Ways {
    origin: Instant,
    /// None without a connection, or if the server has no datagrams.
    path: Option<DatagramPath<ClientMessage>>,
    /// Loses all datagrams, for trying out what happens then.
    pub(super) losing: bool,
}

impl Ways {
    pub(super) fn new(origin: Instant) -> Self {
        Self { origin, path: None, losing: false }
    }

    fn now(&self) -> Duration {
        self.origin.elapsed()
    }

    /// The connection is gone.
    pub(super) fn end(&mut self) {
        self.path = None;
    }

    /// When [`Ways::settle`] is due.
    pub(super) fn deadline(&self) -> Option<tokio::time::Instant> {
        let due = self.path.as_ref()?.next_deadline()?;
        Some(tokio::time::Instant::from_std(self.origin + due))
    }

    /// Sends a message by the ways that there are for it.
    pub(super) async fn send(
        &mut self,
        message: ClientMessage,
        signalling: &mut Signalling,
    ) -> Result<(), SignallingError> {
        let now = self.now();
        let mut message = message;
        if let Some(path) = &mut self.path {
            let body = if path.is_ready() { message.to_binary() } else { None };
            match (message.urgency(), body) {
                (Urgency::First, Some(body)) => match path.send_first(&body, message, now) {
                    Ok(()) => return Ok(()),
                    Err(back) => message = back,
                },
                (Urgency::Both, Some(body)) => message.parcel = path.send_also(&body, now),
                _ => {}
            }
            message.received = path.take_confirmations();
        }
        signalling.send(&message).await
    }

    /// Takes in a datagram. Returns the message that it completes.
    pub(super) fn receive(&mut self, datagram: &[u8]) -> Option<ServerMessage> {
        if self.losing {
            return None;
        }
        let now = self.now();
        let body = match self.path.as_mut()?.receive(datagram, now) {
            Ok(body) => body?,
            Err(error) => {
                tracing::debug!(%error, "left out a datagram of the server");
                return None;
            }
        };
        match ServerMessage::from_binary(&body) {
            Ok(message) => Some(message),
            Err(error) => {
                tracing::debug!(%error, "left out a message of the server");
                None
            }
        }
    }

    /// Looks at a message that came over the stream. Whether it is still of interest.
    pub(super) fn is_news(&mut self, message: &ServerMessage) -> bool {
        let now = self.now();
        if let ServerBody::Session(SessionEvent::Welcome { datagrams, .. }) = &message.body {
            self.path = datagrams.map(DatagramPath::new);
        }
        let Some(path) = &mut self.path else { return true };
        path.confirmed(&message.received, now);
        if let ServerBody::Session(SessionEvent::Datagrams { lossy }) = &message.body {
            if *lossy {
                path.losses_reported(now);
            }
            return false;
        }
        message.parcel.is_none_or(|number| path.is_first(number, now))
    }

    /// Does what is due.
    pub(super) async fn settle(
        &mut self,
        media: &Media,
        signalling: &mut Signalling,
    ) -> Result<(), SignallingError> {
        let now = self.now();
        let losing = self.losing;
        let Some(path) = &mut self.path else { return Ok(()) };
        let channel = media.channel();
        match channel {
            Some(_) => path.open(now),
            None => path.close(),
        }
        path.handle_timeout(now);
        while let Some(output) = path.poll_output() {
            match output {
                PathOutput::Datagram(bytes) => {
                    if let Some(channel) = channel.filter(|_| !losing) {
                        channel.send(&bytes).await;
                    }
                }
                PathOutput::Confirm { received, lossy } => {
                    let request = ClientMessage::event(SessionRequest::Datagrams { lossy });
                    signalling.send(&ClientMessage { received, ..request }).await?;
                }
                PathOutput::OverStream { number, message } => {
                    signalling.send(&ClientMessage { parcel: Some(number), ..message }).await?;
                }
            }
        }
        Ok(())
    }
}
