//! Janus's WebSocket API, as much of it as a VideoRoom needs: transactions, handles, events.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot};
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

/// A session with Janus. Events of its handles come out of the channel that it was made with.
#[derive(Clone)]
pub(crate) struct Janus {
    requests: mpsc::UnboundedSender<Value>,
    waiting: Arc<Mutex<HashMap<String, oneshot::Sender<Value>>>>,
    transactions: Arc<AtomicU64>,
    session: u64,
}

/// Something that happened on a handle.
pub(crate) struct Event {
    pub(crate) handle: u64,
    pub(crate) data: Value,
    pub(crate) jsep: Option<String>,
}

impl Janus {
    /// Connects and begins a session.
    pub(crate) async fn connect(url: &str, events: mpsc::UnboundedSender<Event>) -> Self {
        let mut request = url.into_client_request().unwrap();
        request.headers_mut().insert("Sec-WebSocket-Protocol", "janus-protocol".parse().unwrap());
        let (socket, _) = connect_async(request).await.unwrap();
        let (mut sink, mut stream) = socket.split();
        let (requests, mut outgoing) = mpsc::unbounded_channel::<Value>();
        let waiting: Arc<Mutex<HashMap<String, oneshot::Sender<Value>>>> = Arc::default();
        tokio::spawn(async move {
            while let Some(request) = outgoing.recv().await {
                if sink.send(Message::text(request.to_string())).await.is_err() {
                    return;
                }
            }
        });
        let answered = Arc::clone(&waiting);
        tokio::spawn(async move {
            while let Some(Ok(Message::Text(text))) = stream.next().await {
                let message: Value = serde_json::from_str(&text).unwrap();
                match message["janus"].as_str().unwrap() {
                    // The event with the same transaction is the answer.
                    "ack" | "webrtcup" | "media" | "slowlink" | "hangup" | "timeout" => {}
                    kind => {
                        let transaction = message["transaction"].as_str().unwrap_or_default();
                        let waiting = answered.lock().unwrap().remove(transaction);
                        if let Some(waiting) = waiting {
                            let _ = waiting.send(message);
                        } else if kind == "event" {
                            let _ = events.send(Event::of(&message));
                        }
                    }
                }
            }
        });
        let transactions = Arc::new(AtomicU64::new(0));
        let mut this = Self { requests, waiting, transactions, session: 0 };
        this.session = this.ask(json!({ "janus": "create" })).await["data"]["id"].as_u64().unwrap();
        this
    }

    /// A handle of the VideoRoom plugin.
    pub(crate) async fn attach(&self) -> u64 {
        let request = json!({ "janus": "attach", "plugin": "janus.plugin.videoroom" });
        self.ask(request).await["data"]["id"].as_u64().unwrap()
    }

    /// Ends a handle and its peer connection.
    pub(crate) async fn detach(&self, handle: u64) {
        self.ask(json!({ "janus": "detach", "handle_id": handle })).await;
    }

    /// Sends a request to the plugin, perhaps with an offer or answer, and waits for the event that answers it.
    pub(crate) async fn message(
        &self,
        handle: u64,
        body: Value,
        jsep: Option<(&str, &str)>,
    ) -> Event {
        let mut request = json!({ "janus": "message", "handle_id": handle, "body": body });
        if let Some((kind, sdp)) = jsep {
            // A room that requires end-to-end encryption takes nobody who does not say so.
            request["jsep"] = json!({ "type": kind, "sdp": sdp, "e2ee": true });
        }
        let event = Event::of(&self.ask(request).await);
        assert!(event.data.get("error").is_none(), "Janus: {} to {body}", event.data);
        event
    }

    /// Ends the session and all its handles.
    pub(crate) async fn destroy(&self) {
        self.ask(json!({ "janus": "destroy" })).await;
    }

    async fn ask(&self, mut request: Value) -> Value {
        let transaction = self.transactions.fetch_add(1, Ordering::Relaxed).to_string();
        request["transaction"] = transaction.as_str().into();
        if self.session != 0 {
            request["session_id"] = self.session.into();
        }
        let (sender, answer) = oneshot::channel();
        self.waiting.lock().unwrap().insert(transaction, sender);
        self.requests.send(request).unwrap();
        let answer = answer.await.expect("Janus has closed the connection");
        assert!(answer["janus"] != "error", "Janus: {answer}");
        answer
    }
}

impl Event {
    fn of(message: &Value) -> Self {
        Self {
            handle: message["sender"].as_u64().unwrap_or_default(),
            data: message["plugindata"]["data"].clone(),
            jsep: message["jsep"]["sdp"].as_str().map(str::to_owned),
        }
    }
}
