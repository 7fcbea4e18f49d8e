//! One WebSocket.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::ws::{CloseFrame, Message, WebSocket};
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt as _, StreamExt as _};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::outbox::{Farewell, Outbox, OutboxReader, Outgoing, outbox};
use super::registry::{Joined, Shared};
use super::room::RoomInput;
use crate::delivery::ConnectionId;
use crate::protocol::{ClientMessage, CloseReason, Refusal, RefusalCode, ServerMessage};
use crate::rate::RateLimit;
use crate::token::Claims;

/// Messages in a row beyond the rate after which a client is not merely fast.
const MAX_STRIKES: u32 = 200;

/// The longest time for saying goodbye, and for waiting until the other end has heard it.
const FAREWELL: Duration = Duration::from_secs(2);

/// Serves a connection until it ends.
pub(super) async fn serve(shared: Arc<Shared>, socket: WebSocket, claims: Result<Claims, Refusal>) {
    let (mut sink, mut stream) = socket.split();
    let limits = &shared.config.limits;
    let (sender, reader) = outbox(limits.outgoing_messages, limits.outgoing_bytes);
    let joined = match claims {
        Ok(claims) => shared.join(claims, &sender).await,
        Err(refusal) => Err(refusal),
    };
    let Joined { connection, room } = match joined {
        Ok(joined) => joined,
        Err(refusal) => {
            shared.metrics.count_refusal(&refusal.code);
            let text = ServerMessage::refusal(None, refusal).to_text();
            let farewell = async {
                sink.send(Message::Text(text.into())).await?;
                sink.close().await
            };
            let _ = timeout(FAREWELL, farewell).await;
            until_closed(&mut stream).await;
            return;
        }
    };
    shared.metrics.connections.inc();
    let mut reading = Reading {
        shared: &shared,
        stream,
        outbox: sender,
        room: &room,
        connection,
        rate: RateLimit::new(shared.config.limits.messages_per_second, Instant::now()),
        strikes: 0,
    };
    let writing = write(&shared, sink, reader);
    tokio::pin!(writing);
    // The reader ends first when the client goes, the writer when the server wants the connection closed.
    tokio::select! {
        () = reading.run() => {
            // What the reader has said last is still to be written.
            drop(reading);
            let _ = room.send(RoomInput::Disconnected { connection }).await;
            writing.await;
        }
        () = &mut writing => {
            let _ = room.send(RoomInput::Disconnected { connection }).await;
            until_closed(&mut reading.stream).await;
        }
    }
    shared.metrics.connections.dec();
}

struct Reading<'a> {
    shared: &'a Shared,
    stream: SplitStream<WebSocket>,
    outbox: Outbox,
    room: &'a mpsc::Sender<RoomInput>,
    connection: ConnectionId,
    rate: RateLimit,
    strikes: u32,
}

impl Reading<'_> {
    async fn run(&mut self) {
        let idle = Duration::from_millis(self.shared.config.timeouts.idle_ms);
        loop {
            match timeout(idle, self.stream.next()).await {
                Err(_) => {
                    self.outbox.close(CloseReason::Idle);
                    break;
                }
                Ok(Some(Ok(Message::Text(text)))) => {
                    if !self.on_text(text.as_str()).await {
                        break;
                    }
                }
                Ok(Some(Ok(Message::Binary(_)))) => {
                    let message = "expected text frames";
                    self.refuse(None, Refusal::new(RefusalCode::Malformed, message));
                }
                Ok(Some(Ok(Message::Ping(_) | Message::Pong(_)))) => {}
                Ok(Some(Ok(Message::Close(_))) | None) => break,
                Ok(Some(Err(error))) => {
                    tracing::debug!(%error, "connection broke");
                    break;
                }
            }
        }
    }

    /// Whether to go on.
    async fn on_text(&mut self, text: &str) -> bool {
        self.shared.metrics.messages.inc();
        if let Err(wait) = self.rate.take(Instant::now()) {
            self.strikes += 1;
            if self.strikes > MAX_STRIKES {
                self.outbox.close(CloseReason::Misbehaving);
                return false;
            }
            let refusal = Refusal::too_fast(wait, "expected fewer messages");
            self.refuse(request_number(text), refusal);
            return true;
        }
        self.strikes = 0;
        let limit = self.shared.config.limits.message_bytes;
        if text.len() > limit {
            let code = RefusalCode::TooLarge { limit: limit as u64 };
            self.refuse(None, Refusal::new(code, format!("expected at most {limit} bytes")));
            return true;
        }
        match ClientMessage::parse(text) {
            Ok(message) => {
                let input = RoomInput::Message { connection: self.connection, message };
                self.room.send(input).await.is_ok()
            }
            Err(fault) => {
                self.refuse(fault.id, fault.refusal);
                true
            }
        }
    }

    fn refuse(&self, re: Option<u64>, refusal: Refusal) {
        self.shared.metrics.count_refusal(&refusal.code);
        self.outbox.send(&ServerMessage::refusal(re, refusal));
    }
}

/// The number of a request that is not to be carried out.
fn request_number(text: &str) -> Option<u64> {
    match ClientMessage::parse(text) {
        Ok(message) => message.id,
        Err(fault) => fault.id,
    }
}

/// Waits until the client has closed its end too. A socket that is dropped with something unread resets the connection, and
/// the farewell would be lost with whatever else the client had not read yet.
async fn until_closed(stream: &mut SplitStream<WebSocket>) {
    let closed = async { while let Some(Ok(_)) = stream.next().await {} };
    let _ = timeout(FAREWELL, closed).await;
}

async fn write(shared: &Shared, mut sink: SplitSink<WebSocket, Message>, mut reader: OutboxReader) {
    let limit = Duration::from_millis(shared.config.timeouts.write_ms);
    let mut ping = tokio::time::interval(Duration::from_millis(shared.config.timeouts.idle_ms / 3));
    ping.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        let message = tokio::select! {
            outgoing = reader.next() => match outgoing {
                Some(Outgoing::Text(text)) => Message::Text(text),
                Some(Outgoing::Farewell(farewell)) => {
                    shared.metrics.closed.with_label_values(&[farewell.label()]).inc();
                    let _ = timeout(limit.min(FAREWELL), bid(sink, farewell)).await;
                    return;
                }
                None => return,
            },
            _ = ping.tick() => Message::Ping(Vec::new().into()),
        };
        match timeout(limit, sink.send(message)).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => return,
            Err(_) => {
                let farewell = Farewell::new(CloseReason::SlowConsumer);
                shared.metrics.closed.with_label_values(&[farewell.label()]).inc();
                return;
            }
        }
    }
}

async fn bid(
    mut sink: SplitSink<WebSocket, Message>,
    farewell: Farewell,
) -> Result<(), axum::Error> {
    sink.send(Message::Text(farewell.text())).await?;
    let code = match farewell.reason {
        CloseReason::ShuttingDown => 1001,
        CloseReason::Bye => 1000,
        _ => 1008,
    };
    sink.send(Message::Close(Some(CloseFrame { code, reason: farewell.label().into() }))).await?;
    sink.close().await
}
