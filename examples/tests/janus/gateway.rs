//! Between a client and two servers: MLS goes to the delivery service as it is, media requests become requests of a
//! Janus VideoRoom. This is all that an application does to bring its own SFU.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use sfu_sim::protocol::{
    ClientBody, ClientMessage, ForwardedTrack, Identity, MediaEvent, MediaKind, MediaRequest,
    ServerMessage, SessionEvent,
};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};
use tokio_tungstenite::{accept_hdr_async, connect_async};

use crate::api::{Event, Janus};

/// Which servers stand behind the gateway.
#[derive(Clone)]
pub(crate) struct Servers {
    /// The delivery service's WebSocket.
    pub(crate) delivery: String,
    /// Janus's WebSocket.
    pub(crate) janus: String,
    /// The VideoRoom.
    pub(crate) room: u64,
}

/// Listens for clients on this address; the URL for them comes back.
pub(crate) async fn listen(address: SocketAddr, servers: Servers) -> String {
    let listener = TcpListener::bind(address).await.unwrap();
    let url = format!("ws://{}/v1/ws", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream, servers.clone()));
        }
    });
    url
}

/// The SFU's side of one client.
struct Room {
    janus: Janus,
    room: u64,
    identity: Identity,
    publisher: u64,
    subscriber: Option<u64>,
    /// Those who publish.
    publishers: BTreeSet<u64>,
    /// Those who are received, and whether somebody of them has gone since.
    received: BTreeSet<u64>,
    somebody_left: bool,
    /// An offer of Janus's waits for the client's answer.
    offered: bool,
    offers: u64,
}

async fn serve(stream: TcpStream, servers: Servers) {
    let mut query = String::new();
    #[allow(clippy::result_large_err, reason = "tungstenite's type")]
    let callback = |request: &Request, response: Response| {
        query = request.uri().query().unwrap_or_default().to_owned();
        Ok(response)
    };
    let Ok(client) = accept_hdr_async(stream, callback).await else { return };
    let (mut to_client, mut from_client) = client.split();
    let (delivery, _) = connect_async(format!("{}?{query}", servers.delivery)).await.unwrap();
    let (mut to_delivery, mut from_delivery) = delivery.split();
    let (sender, mut events) = mpsc::unbounded_channel();
    let janus = Janus::connect(&servers.janus, sender).await;
    let token = query.trim_start_matches("token=");
    let identity = Identity::new(examples::view::claims_of(token).unwrap());
    let mut room = Room {
        publisher: janus.attach().await,
        janus,
        room: servers.room,
        identity,
        subscriber: None,
        publishers: BTreeSet::new(),
        received: BTreeSet::new(),
        somebody_left: false,
        offered: false,
        offers: 0,
    };
    loop {
        let answers = tokio::select! {
            message = from_client.next() => {
                let Some(Ok(Message::Text(text))) = message else { break };
                let message = ClientMessage::parse(&text).unwrap();
                if let ClientBody::Media(request) = message.body {
                    room.request(message.id, request).await
                } else {
                    if to_delivery.send(Message::Text(text)).await.is_err() { break }
                    Vec::new()
                }
            }
            message = from_delivery.next() => {
                let Some(Ok(message)) = message else { break };
                if message.is_text() && to_client.send(message).await.is_err() { break }
                Vec::new()
            }
            Some(event) = events.recv() => room.event(event).await,
        };
        for answer in answers {
            let _ = to_client.send(Message::text(answer.to_text())).await;
        }
    }
    room.janus.destroy().await;
    let _ = to_delivery.close().await;
}

impl Room {
    async fn request(&mut self, id: Option<u64>, request: MediaRequest) -> Vec<ServerMessage> {
        match request {
            MediaRequest::Offer { sdp, .. } => {
                let join = json!({
                    "request": "join", "ptype": "publisher", "room": self.room, "display": self.identity.as_str(),
                });
                let joined = self.janus.message(self.publisher, join, None).await;
                let publish =
                    json!({ "request": "publish", "audiocodec": "opus", "videocodec": "vp8" });
                let published =
                    self.janus.message(self.publisher, publish, Some(("offer", &sdp))).await;
                let sdp = published.jsep.expect("expected an answer of Janus");
                let mut answers = vec![ServerMessage::reply(id, MediaEvent::Answer { sdp })];
                answers.extend(self.published(&joined.data).await);
                answers
            }
            MediaRequest::Answer { sdp, .. } => {
                let subscriber = self.subscriber.expect("an offer came before");
                let start = json!({ "request": "start" });
                self.janus.message(subscriber, start, Some(("answer", &sdp))).await;
                self.offered = false;
                let mut answers = vec![ServerMessage::reply(id, SessionEvent::Done)];
                answers.extend(self.subscribe().await);
                answers
            }
            MediaRequest::Candidate { .. } => vec![ServerMessage::reply(id, SessionEvent::Done)],
        }
    }

    /// Something happened in the room.
    async fn event(&mut self, event: Event) -> Vec<ServerMessage> {
        if event.handle != self.publisher {
            return Vec::new();
        }
        if let Some(gone) = ["unpublished", "leaving"].iter().find_map(|n| event.data[*n].as_u64())
        {
            self.publishers.remove(&gone);
            self.somebody_left |= self.received.remove(&gone);
        }
        self.published(&event.data).await
    }

    /// Takes in a list of publishers.
    async fn published(&mut self, data: &Value) -> Vec<ServerMessage> {
        for publisher in data["publishers"].as_array().into_iter().flatten() {
            self.publishers.insert(publisher["id"].as_u64().unwrap());
        }
        self.subscribe().await
    }

    /// Asks Janus for those who are missing. One offer after the other, and Janus makes them all.
    ///
    /// Janus gives the m-lines of those who left to those who come, which webrtc-rs does not take up. So whoever comes
    /// after somebody left comes on a new connection, which replaces the former.
    async fn subscribe(&mut self) -> Vec<ServerMessage> {
        let missing: Vec<_> = self.publishers.difference(&self.received).copied().collect();
        if self.offered || missing.is_empty() {
            return Vec::new();
        }
        let feeds = |ids: Vec<u64>| -> Vec<Value> {
            ids.into_iter().map(|feed| json!({ "feed": feed })).collect()
        };
        let former = self.subscriber.take_if(|_| std::mem::take(&mut self.somebody_left));
        let (handle, request) = match self.subscriber {
            Some(handle) => (handle, json!({ "request": "update", "subscribe": feeds(missing) })),
            None => {
                let all = feeds(self.publishers.iter().copied().collect());
                let request = json!({
                    "request": "join", "ptype": "subscriber", "room": self.room, "streams": all, "autoupdate": false,
                });
                (self.janus.attach().await, request)
            }
        };
        self.subscriber = Some(handle);
        let event = self.janus.message(handle, request, None).await;
        if let Some(former) = former {
            self.janus.detach(former).await;
        }
        self.received.clone_from(&self.publishers);
        let Some(sdp) = event.jsep else { return Vec::new() };
        self.offered = true;
        self.offers += 1;
        let tracks = event.data["streams"].as_array().into_iter().flatten().filter_map(track);
        let offer = MediaEvent::Offer { offer: self.offers, sdp, tracks: tracks.collect() };
        vec![ServerMessage::event(offer)]
    }
}

/// Whose track an m-line of Janus's carries.
fn track(stream: &Value) -> Option<ForwardedTrack> {
    let kind = match stream["type"].as_str()? {
        "audio" => MediaKind::Audio,
        "video" => MediaKind::Video,
        _ => return None,
    };
    let text = |name: &str| stream[name].as_str().map(str::to_owned);
    Some(ForwardedTrack {
        mid: text("mid")?,
        participant: Identity::new(text("feed_display")?),
        track: text("feed_mid")?,
        kind,
        label: stream["type"].as_str()?.to_owned(),
        sframe: true,
        codec: None,
    })
}
