//! The page for people: files, and tokens for guests.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::map_response;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Router, extract::DefaultBodyLimit};
use serde::{Deserialize, Serialize};
use std::time::Duration;
use tower_http::services::ServeDir;

use super::http::Door;
use crate::config::{PageConfig, random_name};
use crate::token::Claims;

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
    if config.guests {
        let guests = post(guest).layer(DefaultBodyLimit::max(MAX_REQUEST));
        router.route("/v1/guest", guests)
    } else {
        router
    }
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

/// Gives a token to whoever asks. The identity is the server's choice, so that nobody can ask for that of somebody else.
async fn guest(State(door): State<Door>, Json(guest): Json<Guest>) -> Response {
    let name = guest.name.trim();
    let stem: String = name.chars().filter(|c| c.is_alphanumeric()).take(24).collect();
    let identity = format!("{stem}-{}", random_name());
    let ttl = Duration::from_secs(door.shared.config.page.guest_hours.saturating_mul(3600));
    let claims = Claims::new(guest.room.trim(), identity, ttl).with_name(name);
    match door.key.issue(&claims) {
        Ok(token) => {
            ([(header::CACHE_CONTROL, "no-store")], Json(Admission { token })).into_response()
        }
        Err(error) => (StatusCode::BAD_REQUEST, format!("{error}\n")).into_response(),
    }
}
