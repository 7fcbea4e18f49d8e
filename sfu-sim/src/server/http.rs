//! HTTP: the WebSocket's door, `/metrics` and `/healthz`.

use std::sync::Arc;

use axum::Router;
use axum::extract::ws::WebSocketUpgrade;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde::Deserialize;
use tokio::sync::Semaphore;

use super::connection;
use super::guests::GuestBook;
use super::page;
use super::registry::Shared;
use crate::protocol::{Refusal, RefusalCode};
use crate::token::TokenKey;

/// The longest token that is looked at, in bytes.
const MAX_TOKEN: usize = 4096;

#[derive(Clone)]
pub(super) struct Door {
    pub(super) shared: Arc<Shared>,
    pub(super) key: TokenKey,
    pub(super) places: Arc<Semaphore>,
    pub(super) guests: Arc<GuestBook>,
}

#[derive(Deserialize)]
struct WsQuery {
    #[serde(default)]
    token: Option<String>,
}

pub(super) fn router(door: Door) -> Router {
    let routes = Router::new()
        .route("/v1/ws", get(websocket))
        .route("/metrics", get(metrics))
        .route("/healthz", get(health));
    page::extend(routes, &door.shared.config.page).with_state(door)
}

/// The token stands in the query (browsers cannot set headers on a WebSocket) or in an `Authorization: Bearer`
/// header. A bad one is refused inside the WebSocket, as a browser cannot read the status of a failed upgrade.
async fn websocket(
    State(door): State<Door>,
    Query(query): Query<WsQuery>,
    headers: HeaderMap,
    upgrade: WebSocketUpgrade,
) -> Response {
    let Ok(place) = Arc::clone(&door.places).try_acquire_owned() else {
        return (StatusCode::SERVICE_UNAVAILABLE, "no connection is free\n").into_response();
    };
    let bearer = headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.strip_prefix("Bearer "));
    let claims = match bearer.or(query.token.as_deref()) {
        Some(token) if token.len() <= MAX_TOKEN => door.key.verify(token),
        Some(_) => Err(Refusal::new(RefusalCode::BadToken, "expected a shorter token")),
        None => Err(Refusal::new(RefusalCode::BadToken, "expected a token")),
    };
    let shared = Arc::clone(&door.shared);
    let hard_limit = shared.config.limits.hard_message_bytes;
    shared.metrics.connections_total.inc();
    upgrade.max_message_size(hard_limit).max_frame_size(hard_limit).on_upgrade(
        move |socket| async move {
            // A shutdown waits for the farewells.
            let task = shared.tasks.begin();
            connection::serve(shared, socket, claims).await;
            drop((task, place));
        },
    )
}

async fn metrics(State(door): State<Door>) -> Response {
    let kind = [(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")];
    (kind, door.shared.metrics.text()).into_response()
}

async fn health(State(door): State<Door>) -> Response {
    if door.shared.stopping.is_cancelled() {
        (StatusCode::SERVICE_UNAVAILABLE, "stopping\n").into_response()
    } else if door.shared.cluster.as_ref().is_some_and(|cluster| !cluster.is_connected()) {
        (StatusCode::SERVICE_UNAVAILABLE, "NATS cannot be reached\n").into_response()
    } else {
        "ok\n".into_response()
    }
}
