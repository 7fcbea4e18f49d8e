//! The page for people: files, and tokens for guests.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use axum::extract::rejection::JsonRejection;
use axum::extract::{ConnectInfo, DefaultBodyLimit, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::map_response;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use tower_http::services::ServeDir;

use super::http::Door;
use crate::config::{PageConfig, random_name};
use crate::protocol::{Refusal, RefusalCode};
use crate::token::{Claims, TokenError};

/// The longest request of a guest, in bytes.
const MAX_REQUEST: usize = 2048;

/// What the page may load and do: its own files only, WebAssembly, camera and microphone.
const HEADERS: [(&str, &str); 6] = [
    (
        "content-security-policy",
        "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self'; style-src 'self'; \
         img-src 'self' data:; media-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; \
         frame-ancestors 'none'",
    ),
    ("permissions-policy", "camera=(self), microphone=(self)"),
    ("cross-origin-opener-policy", "same-origin"),
    ("referrer-policy", "no-referrer"),
    ("x-content-type-options", "nosniff"),
    ("cache-control", "no-cache"),
];

/// Adds what the configuration asks for to the server's routes.
pub(super) fn extend(router: Router<Door>, config: &PageConfig) -> Router<Door> {
    let router = match &config.directory {
        Some(directory) => {
            let files = Router::new().fallback_service(ServeDir::new(directory));
            router.fallback_service(files.layer(map_response(protect)))
        }
        None => router,
    };
    router.route("/v1/guest", post(guest).layer(DefaultBodyLimit::max(MAX_REQUEST)))
}

async fn protect(mut response: Response) -> Response {
    for (name, value) in HEADERS {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

/// Who wants to come in.
#[derive(Deserialize)]
struct Guest {
    room: String,
    name: String,
}

/// What lets it in.
#[derive(Serialize)]
struct Admission {
    token: String,
}

/// Gives a token to whoever asks, or a [`Refusal`] as JSON.
async fn guest(
    State(door): State<Door>,
    ConnectInfo(source): ConnectInfo<SocketAddr>,
    guest: Result<Json<Guest>, JsonRejection>,
) -> Response {
    let metrics = &door.shared.metrics;
    let answer = match admit(&door, source.ip(), guest) {
        Ok(admission) => {
            metrics.guests.inc();
            Json(admission).into_response()
        }
        Err(refusal) => {
            metrics.count_refusal(&refusal.code);
            refused(refusal)
        }
    };
    ([(header::CACHE_CONTROL, "no-store")], answer).into_response()
}

/// The identity is the server's choice, so that nobody can ask for that of somebody else.
fn admit(
    door: &Door,
    address: IpAddr,
    guest: Result<Json<Guest>, JsonRejection>,
) -> Result<Admission, Refusal> {
    let config = &door.shared.config;
    if !config.page.guests {
        let message = "this server lets nobody in without a token";
        return Err(Refusal::new(RefusalCode::NoGuests, message));
    }
    let admitted = door.guests.admit(address, door.shared.clock.now());
    admitted.map_err(|wait| Refusal::too_fast(wait, "expected fewer guests at a time"))?;
    let Json(guest) = guest.map_err(|fault| match fault.status() {
        StatusCode::PAYLOAD_TOO_LARGE => {
            let code = RefusalCode::TooLarge { limit: MAX_REQUEST as u64 };
            Refusal::new(code, format!("expected at most {MAX_REQUEST} bytes"))
        }
        _ => Refusal::new(RefusalCode::Malformed, "expected JSON with room and name"),
    })?;
    let (room, name) = (guest.room.trim(), guest.name.trim());
    if name.is_empty() {
        return Err(Refusal::new(RefusalCode::Malformed, "expected a name"));
    }
    if !config.rooms.has(room) {
        return Err(Refusal::new(RefusalCode::UnknownRoom, "expected a room of this server"));
    }
    let stem: String = name.chars().filter(|c| c.is_alphanumeric()).take(24).collect();
    let identity = format!("{stem}-{}", random_name());
    let ttl = Duration::from_secs(config.page.guest_hours.saturating_mul(3600));
    let token = door.key.issue(&Claims::new(room, identity, ttl).with_name(name));
    let token = token.map_err(|error| {
        let code = match &error {
            TokenError::BadClaims(_) => RefusalCode::Malformed,
            TokenError::ShortSecret | TokenError::Signing => RefusalCode::Unavailable,
        };
        Refusal::new(code, error.to_string())
    })?;
    Ok(Admission { token })
}

fn refused(refusal: Refusal) -> Response {
    let status = match &refusal.code {
        RefusalCode::NoGuests => StatusCode::NOT_FOUND,
        RefusalCode::UnknownRoom => StatusCode::FORBIDDEN,
        RefusalCode::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
        RefusalCode::RateLimited { .. } => StatusCode::TOO_MANY_REQUESTS,
        RefusalCode::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::BAD_REQUEST,
    };
    let retry = match &refusal.code {
        RefusalCode::RateLimited { retry_after_ms } => {
            Some([(header::RETRY_AFTER, retry_after_ms.div_ceil(1000).to_string())])
        }
        _ => None,
    };
    (status, retry, Json(refusal)).into_response()
}
