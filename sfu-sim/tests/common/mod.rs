//! Clients for the tests: signalling over a real WebSocket, media with str0m over a real UDP socket.
#![allow(dead_code, unreachable_pub, reason = "each test binary uses its part")]

pub mod media;
pub mod member;

use std::time::Duration;

use futures_util::{FutureExt as _, SinkExt as _, StreamExt as _};
use sfu_sim::protocol::{
    ClientBody, ClientMessage, Refusal, ServerBody, ServerMessage, SessionEvent,
};
use sfu_sim::token::Claims;
use sfu_sim::{Config, RunningServer, Server};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

pub const PATIENCE: Duration = Duration::from_secs(10);

pub async fn server() -> RunningServer {
    Server::start(Config::ephemeral()).await.unwrap()
}

pub fn claims(room: &str, identity: &str) -> Claims {
    Claims::new(room, identity, Duration::from_secs(600))
}

/// A signalling connection.
pub struct Signal {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    next_id: u64,
}

impl Signal {
    pub async fn connect(server: &RunningServer, token: &str) -> Self {
        Self::connect_url(&format!("{}?token={token}", server.url())).await
    }

    pub async fn connect_url(url: &str) -> Self {
        let (socket, _) = timeout(PATIENCE, tokio_tungstenite::connect_async(url))
            .await
            .expect("a connection in time")
            .expect("a connection");
        Self { socket, next_id: 1 }
    }

    /// Connects and takes the welcome.
    pub async fn join(server: &RunningServer, claims: &Claims) -> (Self, SessionEvent) {
        let mut signal = Self::connect(server, &server.token(claims).unwrap()).await;
        match signal.next().await.map(|message| message.body) {
            Some(ServerBody::Session(welcome @ SessionEvent::Welcome { .. })) => (signal, welcome),
            other => panic!("expected a welcome, found {other:?}"),
        }
    }

    pub async fn send_text(&mut self, text: impl Into<String>) {
        self.socket.send(Message::text(text.into())).await.unwrap();
    }

    pub async fn send_binary(&mut self, bytes: Vec<u8>) {
        self.socket.send(Message::binary(bytes)).await.unwrap();
    }

    /// Sends a request and returns its number.
    pub async fn request(&mut self, body: impl Into<ClientBody>) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        self.send_text(ClientMessage::request(id, body).to_text()).await;
        id
    }

    /// Sends a request and waits for its reply; events in between are dropped.
    pub async fn ask(&mut self, body: impl Into<ClientBody>) -> ServerBody {
        let id = self.request(body).await;
        self.reply(id).await
    }

    pub async fn reply(&mut self, id: u64) -> ServerBody {
        loop {
            let message = self.next().await.expect("a reply before the end");
            if message.re == Some(id) {
                return message.body;
            }
        }
    }

    /// The next message; none at the end of the connection.
    pub async fn next(&mut self) -> Option<ServerMessage> {
        loop {
            match timeout(PATIENCE, self.socket.next()).await.expect("a message in time") {
                Some(Ok(Message::Text(text))) => return Some(ServerMessage::parse(&text).unwrap()),
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                Some(Ok(Message::Close(_)) | Err(_)) | None => return None,
                Some(Ok(other)) => panic!("unexpected frame {other:?}"),
            }
        }
    }

    /// The next message if there is one at the moment.
    pub fn try_next(&mut self) -> Option<ServerMessage> {
        loop {
            match self.socket.next().now_or_never()? {
                Some(Ok(Message::Text(text))) => return Some(ServerMessage::parse(&text).unwrap()),
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                _ => return None,
            }
        }
    }

    /// Waits for a message that `pick` takes; others are dropped.
    pub async fn wait_for<T>(&mut self, mut pick: impl FnMut(ServerBody) -> Option<T>) -> T {
        loop {
            let message = self.next().await.expect("a message before the end");
            if let Some(picked) = pick(message.body) {
                return picked;
            }
        }
    }
}

pub fn refusal(body: ServerBody) -> Refusal {
    match body {
        ServerBody::Session(SessionEvent::Refused(refusal)) => refusal,
        other => panic!("expected a refusal, found {other:?}"),
    }
}

/// What a plain HTTP request answers: status line, headers and body.
pub async fn http_get(server: &RunningServer, path: &str) -> String {
    let request = format!("GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n");
    http(TcpStream::connect(server.addr()).await.unwrap(), &request).await
}

/// The whole answer to a request that closes its connection.
pub async fn http(mut stream: TcpStream, request: &str) -> String {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    timeout(PATIENCE, stream.read_to_string(&mut answer)).await.unwrap().unwrap();
    answer
}
