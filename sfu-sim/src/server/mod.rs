//! The server: signalling over WebSockets, media over UDP.

mod clock;
mod cluster;
mod connection;
mod guests;
mod http;
mod outbox;
mod page;
mod registry;
mod room;
mod tasks;

use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum_server::Handle;
use axum_server::tls_rustls::RustlsConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

use self::cluster::Cluster;
use self::guests::GuestBook;
use self::http::Door;
use self::registry::Shared;
use crate::config::{Config, ConfigError};
use crate::delivery::storage::StorageError;
use crate::delivery::{MemoryStorage, NatsStorage, SqliteStorage, Storage, purge_stale};
use crate::media::{Engine, EngineOptions, MediaWorker, WorkerError};
use crate::metrics::Metrics;
use crate::router::RouterOptions;
use crate::token::{Claims, TokenError, TokenKey};

/// Why a server cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration cannot be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// An address cannot be listened on.
    #[error("cannot listen on {address} ({what})")]
    Listen {
        /// For what.
        what: &'static str,
        /// The address.
        address: SocketAddr,
        /// Why not.
        source: io::Error,
    },
    /// The certificate or its key cannot be used.
    #[error("cannot use the TLS files {certificate} and {key}: {fault}")]
    Tls {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// Why not.
        fault: String,
    },
    /// The counters cannot be set up.
    #[error("cannot set up the metrics")]
    Metrics(#[from] prometheus::Error),
    /// The media worker cannot start.
    #[error(transparent)]
    Media(#[from] WorkerError),
    /// The storage directory cannot be made.
    #[error("cannot make the storage directory {path}")]
    Directory {
        /// The directory.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The storage cannot be opened.
    #[error("cannot open the storage")]
    Storage(#[from] StorageError),
}

/// Starts servers.
#[derive(Debug)]
pub struct Server;

/// A server that runs. Dropping it leaves it running; [`RunningServer::shutdown`] ends it.
#[derive(Debug)]
pub struct RunningServer {
    shared: Arc<Shared>,
    key: TokenKey,
    address: SocketAddr,
    media_address: SocketAddr,
    tls: bool,
    handle: Handle<SocketAddr>,
    serving: JoinHandle<io::Result<()>>,
    worker: MediaWorker,
}

impl Server {
    /// Starts a server in this process. To be called within a tokio runtime.
    ///
    /// # Errors
    /// [`StartError`] if the configuration is no good or an address is taken.
    pub async fn start(config: Config) -> Result<RunningServer, StartError> {
        config.check()?;
        let key = config.token_key()?;
        let metrics = Metrics::new()?;
        let tls = match (&config.signalling.tls_certificate, &config.signalling.tls_key) {
            (Some(certificate), Some(key)) => Some(tls_config(certificate, key)?),
            _ => None,
        };
        let random = mls::crypto::Secret::random(8, &mut mls::crypto::os_rng());
        let boot = random.as_bytes().first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes));
        let (storage, cluster) = open_storage(&config, boot).await?;
        let listen = config.signalling.listen;
        let failed = |source| StartError::Listen { what: "signalling", address: listen, source };
        let listener = TcpListener::bind(listen).map_err(failed)?;
        listener.set_nonblocking(true).map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;

        let listen = config.media.listen;
        let failed = |source| StartError::Listen { what: "media", address: listen, source };
        let socket = UdpSocket::bind(listen).map_err(failed)?;
        let media_address = socket.local_addr().map_err(failed)?;
        let options = EngineOptions {
            candidates: candidates(&config, media_address),
            router: RouterOptions {
                keyframe_interval: Duration::from_millis(config.media.keyframe_interval_ms),
                tracks_per_peer: config.limits.tracks_per_participant,
            },
            // The parts of as many messages as may come, most of which are short.
            datagrams_per_second: config
                .media
                .datagrams
                .then(|| config.limits.messages_per_second.saturating_mul(2)),
        };
        let engine = Engine::new(options, metrics.clone());
        let worker = MediaWorker::start(engine, socket, &metrics)?;

        let places = Arc::new(Semaphore::new(config.signalling.max_connections));
        let shared =
            Arc::new(Shared::new(config, metrics, worker.handle(), storage, cluster, boot));
        let guests = Arc::new(GuestBook::new(&shared.config.page, shared.clock.now()));
        let door = Door { shared: Arc::clone(&shared), key: key.clone(), places, guests };
        let service = http::router(door).into_make_service_with_connect_info::<SocketAddr>();
        let handle = Handle::new();
        let failed = |source| StartError::Listen { what: "signalling", address, source };
        let is_tls = tls.is_some();
        let serving = match tls {
            Some(tls) => {
                let server = axum_server::from_tcp_rustls(listener, tls).map_err(failed)?;
                tokio::spawn(server.handle(handle.clone()).serve(service))
            }
            None => {
                let server = axum_server::from_tcp(listener).map_err(failed)?;
                tokio::spawn(server.handle(handle.clone()).serve(service))
            }
        };
        tracing::info!(%address, %media_address, tls = is_tls, "server started");
        Ok(RunningServer {
            shared,
            key,
            address,
            media_address,
            tls: is_tls,
            handle,
            serving,
            worker,
        })
    }
}

impl RunningServer {
    /// Where signalling listens.
    pub fn addr(&self) -> SocketAddr {
        self.address
    }

    /// Where the UDP socket listens.
    pub fn media_addr(&self) -> SocketAddr {
        self.media_address
    }

    /// The URL of the WebSocket, without a token.
    pub fn url(&self) -> String {
        let scheme = if self.tls { "wss" } else { "ws" };
        format!("{scheme}://{}/v1/ws", self.address)
    }

    /// Issues a token of this server.
    ///
    /// # Errors
    /// [`TokenError::BadClaims`].
    pub fn token(&self, claims: &Claims) -> Result<String, TokenError> {
        self.key.issue(claims)
    }

    /// The server's counters.
    pub fn metrics(&self) -> &Metrics {
        &self.shared.metrics
    }

    /// Tells all clients, waits for them to take their farewell (at most `timeouts.shutdown_ms`), and stops.
    pub async fn shutdown(self) {
        tracing::info!("server stopping");
        let limit = Duration::from_millis(self.shared.config.timeouts.shutdown_ms);
        self.shared.stopping.cancel();
        let _ = tokio::time::timeout(limit, self.shared.tasks.wait()).await;
        if let Some(cluster) = &self.shared.cluster {
            cluster.leave().await;
        }
        self.handle.graceful_shutdown(Some(Duration::from_millis(100)));
        let _ = tokio::time::timeout(limit, self.serving).await;
        let worker = self.worker;
        let _ = tokio::task::spawn_blocking(move || worker.stop()).await;
        tracing::info!("server stopped");
    }
}

async fn open_storage(
    config: &Config,
    boot: u64,
) -> Result<(Arc<dyn Storage>, Option<Arc<Cluster>>), StartError> {
    let mut cluster = None;
    let storage: Arc<dyn Storage> = if let Some(options) = config.storage.nats.options() {
        let storage = NatsStorage::open(&options).await?;
        let started = Cluster::start(storage.clone(), boot).await;
        cluster = Some(started.map_err(|error| StorageError::Engine(error.to_string()))?);
        Arc::new(storage)
    } else if let Some(path) = &config.storage.path {
        std::fs::create_dir_all(path)
            .map_err(|source| StartError::Directory { path: path.clone(), source })?;
        Arc::new(SqliteStorage::open(path.join("delivery.sqlite"))?)
    } else {
        return Ok((Arc::new(MemoryStorage::new()), None));
    };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let kept = u64::from(config.storage.keep_days).saturating_mul(24 * 60 * 60);
    let deleted = purge_stale(&*storage, mls::wire::UnixTime(now.saturating_sub(kept))).await?;
    if deleted > 0 {
        tracing::info!(deleted, "logs of calls that nobody came back to");
    }
    Ok((storage, cluster))
}

fn candidates(config: &Config, bound: SocketAddr) -> Vec<SocketAddr> {
    let port = config.media.public_port.unwrap_or(bound.port());
    if config.media.public_addresses.is_empty() {
        return vec![SocketAddr::new(bound.ip(), port)];
    }
    config.media.public_addresses.iter().map(|address| SocketAddr::new(*address, port)).collect()
}

fn tls_config(certificate: &Path, key: &Path) -> Result<RustlsConfig, StartError> {
    let fault = |fault: String| StartError::Tls {
        certificate: certificate.to_owned(),
        key: key.to_owned(),
        fault,
    };
    let chain = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| fault(error.to_string()))?;
    let private = PrivateKeyDer::from_pem_file(key).map_err(|error| fault(error.to_string()))?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, private))
        .map_err(|error| fault(error.to_string()))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(RustlsConfig::from_config(Arc::new(config)))
}
