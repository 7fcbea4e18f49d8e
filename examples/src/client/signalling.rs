//! The WebSocket to the server.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use sfu_sim::protocol::{ClientMessage, ServerMessage};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async_with_config};

/// How long connecting may take.
const CONNECTING: Duration = Duration::from_secs(5);

/// The longest message that is read, in bytes. A call of a thousand members has a tree of 370 kB,
/// and base64 makes it a third longer.
const MAX_MESSAGE: usize = 4 << 20;

/// Why there is no connection, or none any more.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SignallingError {
    /// Nobody answered in time.
    #[error("the server does not answer")]
    Silent,
    /// The server refused, or the connection broke.
    #[error("the connection to the server failed: {0}")]
    WebSocket(Box<Error>),
    /// The server closed the connection.
    #[error("the server closed the connection")]
    Closed,
}

impl From<Error> for SignallingError {
    fn from(error: Error) -> Self {
        match error {
            Error::ConnectionClosed | Error::AlreadyClosed => Self::Closed,
            error => Self::WebSocket(Box::new(error)),
        }
    }
}

/// An open connection.
#[derive(Debug)]
pub struct Signalling {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
}

impl Signalling {
    /// Connects to the server's WebSocket with a token.
    ///
    /// # Errors
    ///
    /// [`SignallingError`]; the URL is not part of it, as it holds the token.
    pub async fn connect(url: &str, token: &str) -> Result<Self, SignallingError> {
        let address = format!("{url}?token={token}");
        let config = WebSocketConfig::default()
            .max_message_size(Some(MAX_MESSAGE))
            .max_frame_size(Some(MAX_MESSAGE));
        // Small messages must not wait for each other (Nagle's algorithm).
        let connecting = connect_async_with_config(address, Some(config), true);
        let (socket, _) = tokio::time::timeout(CONNECTING, connecting)
            .await
            .map_err(|_| SignallingError::Silent)??;
        Ok(Self { socket })
    }

    /// Sends a message.
    ///
    /// # Errors
    ///
    /// [`SignallingError`] if the connection is gone.
    pub async fn send(&mut self, message: &ClientMessage) -> Result<(), SignallingError> {
        self.socket.send(Message::text(message.to_text())).await?;
        Ok(())
    }

    /// Waits for the next message. One that cannot be read is left out: the server may be newer.
    /// May be cancelled without losing anything.
    ///
    /// # Errors
    ///
    /// [`SignallingError`] if the connection is gone.
    pub async fn receive(&mut self) -> Result<ServerMessage, SignallingError> {
        loop {
            match self.socket.next().await.ok_or(SignallingError::Closed)?? {
                Message::Text(text) => match ServerMessage::parse(text.as_str()) {
                    Ok(message) => return Ok(message),
                    Err(error) => tracing::debug!(%error, "left out a message of the server"),
                },
                Message::Close(_) => return Err(SignallingError::Closed),
                _ => {}
            }
        }
    }

    /// Closes the connection in order.
    pub async fn close(mut self) {
        let farewell = tokio::time::timeout(Duration::from_millis(300), self.socket.close(None));
        if let Ok(Err(error)) = farewell.await {
            tracing::debug!(%error, "the connection did not close in order");
        }
    }
}
