//! The engine's thread and socket.
//!
//! Two threads of their own, so that a busy async runtime (in a call played within one process the clients
//! share it) delays no packet: one empties the socket into a bounded queue, the other runs the engine.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::{Engine, MediaCommand, RoomId};
use crate::metrics::Metrics;

/// Datagrams that may wait for the engine; more are dropped, as a full socket buffer would drop them.
const QUEUE: usize = 8192;

/// Inputs taken before what they caused is sent.
const BATCH: usize = 64;

/// The longest datagram that is read. WebRTC stays below an Ethernet frame.
const MAX_DATAGRAM: usize = 2048;

/// How long the reader waits before it looks whether the worker has ended.
const READ_TIMEOUT: Duration = Duration::from_millis(200);

/// Why the worker cannot start.
#[derive(Debug, thiserror::Error)]
#[error("the media worker cannot start")]
pub struct WorkerError(#[from] io::Error);

enum Inbound {
    Command(MediaCommand),
    /// A command with so many bytes of a client's.
    Request {
        command: MediaCommand,
        bytes: usize,
    },
    Datagram {
        source: SocketAddr,
        bytes: Vec<u8>,
        at: Instant,
    },
    Linked {
        room: RoomId,
        node: u64,
        bytes: Bytes,
    },
}

/// A running engine.
#[derive(Debug)]
pub struct MediaWorker {
    inbound: Sender<Inbound>,
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

/// A handle that sends commands to a [`MediaWorker`].
#[derive(Clone, Debug)]
pub struct MediaHandle {
    inbound: Sender<Inbound>,
    shared: Arc<Shared>,
}

impl MediaHandle {
    /// Sends a command; without effect once the worker has ended.
    pub fn send(&self, command: MediaCommand) {
        let _ = self.inbound.send(Inbound::Command(command));
    }

    /// Sends a command with so many bytes of a client's, unless more than `limit` bytes would wait then. Says whether it
    /// was sent.
    pub fn request(&self, command: MediaCommand, bytes: usize, limit: usize) -> bool {
        let waiting = &self.shared.request_bytes;
        let taken = waiting.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |waiting| {
            waiting.checked_add(bytes).filter(|waiting| *waiting <= limit)
        });
        taken.is_ok() && self.inbound.send(Inbound::Request { command, bytes }).is_ok()
    }

    /// Hands a packet of another server over ([`MediaCommand::LinkPacket`]), unless too much is waiting.
    pub fn send_packet(&self, room: RoomId, node: u64, bytes: Bytes) {
        if self.shared.waiting.load(Ordering::Relaxed) < QUEUE {
            self.shared.waiting.fetch_add(1, Ordering::Relaxed);
            let _ = self.inbound.send(Inbound::Linked { room, node, bytes });
        }
    }
}

impl std::fmt::Debug for Inbound {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Inbound")
    }
}

impl MediaWorker {
    /// Starts the threads around `engine` and `socket`.
    ///
    /// # Errors
    /// If the socket cannot be set up or a thread cannot be started.
    pub fn start(
        engine: Engine,
        socket: UdpSocket,
        metrics: &Metrics,
    ) -> Result<Self, WorkerError> {
        socket.set_nonblocking(false)?;
        socket.set_read_timeout(Some(READ_TIMEOUT))?;
        let (sender, receiver) = channel();
        let socket = Arc::new(socket);
        let shared = Arc::new(Shared::default());
        let reader = Reader {
            socket: Arc::clone(&socket),
            inbound: sender.clone(),
            shared: Arc::clone(&shared),
            metrics: metrics.clone(),
        };
        let counted = Arc::clone(&shared);
        let threads = vec![
            Builder::new().name("sfu-udp".to_owned()).spawn(move || reader.run())?,
            Builder::new()
                .name("sfu-media".to_owned())
                .spawn(move || run(engine, &socket, &receiver, &shared))?,
        ];
        Ok(Self { inbound: sender, shared: counted, threads })
    }

    /// A handle for the signalling side.
    pub fn handle(&self) -> MediaHandle {
        MediaHandle { inbound: self.inbound.clone(), shared: Arc::clone(&self.shared) }
    }

    /// Says goodbye to all peers and waits for the threads to end (a fraction of a second).
    pub fn stop(self) {
        let _ = self.inbound.send(Inbound::Command(MediaCommand::Shutdown));
        for thread in self.threads {
            let _ = thread.join();
        }
    }
}

#[derive(Debug, Default)]
struct Shared {
    waiting: AtomicUsize,
    /// Of clients' requests that wait.
    request_bytes: AtomicUsize,
    ended: AtomicBool,
}

struct Reader {
    socket: Arc<UdpSocket>,
    inbound: Sender<Inbound>,
    shared: Arc<Shared>,
    metrics: Metrics,
}

impl Reader {
    fn run(self) {
        let mut buffer = [0; MAX_DATAGRAM];
        while !self.shared.ended.load(Ordering::Relaxed) {
            // Errors are the time-out, or an ICMP message about an earlier datagram.
            let Ok((len, source)) = self.socket.recv_from(&mut buffer) else { continue };
            if self.shared.waiting.load(Ordering::Relaxed) >= QUEUE {
                self.metrics.datagrams_dropped.with_label_values(&["queue_full"]).inc();
                continue;
            }
            let Some(bytes) = buffer.get(..len) else { continue };
            self.shared.waiting.fetch_add(1, Ordering::Relaxed);
            let datagram = Inbound::Datagram { source, bytes: bytes.to_vec(), at: Instant::now() };
            if self.inbound.send(datagram).is_err() {
                return;
            }
        }
    }
}

fn run(mut engine: Engine, socket: &UdpSocket, inbound: &Receiver<Inbound>, shared: &Shared) {
    let mut ended = false;
    while !ended {
        let wait = engine
            .next_deadline()
            .map_or(READ_TIMEOUT, |deadline| deadline.saturating_duration_since(Instant::now()));
        let first = match inbound.recv_timeout(wait.min(READ_TIMEOUT)) {
            Ok(input) => Some(input),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => break,
        };
        for input in first.into_iter().chain(inbound.try_iter().take(BATCH)) {
            match input {
                Inbound::Datagram { source, bytes, at } => {
                    shared.waiting.fetch_sub(1, Ordering::Relaxed);
                    engine.datagram(source, &bytes, at);
                    engine.settle(at);
                }
                Inbound::Linked { room, node, bytes } => {
                    shared.waiting.fetch_sub(1, Ordering::Relaxed);
                    let now = Instant::now();
                    engine.command(MediaCommand::LinkPacket { room, node, bytes }, now);
                    engine.settle(now);
                }
                Inbound::Request { command, bytes } => {
                    shared.request_bytes.fetch_sub(bytes, Ordering::Relaxed);
                    let now = Instant::now();
                    engine.command(command, now);
                    engine.settle(now);
                }
                Inbound::Command(command) => {
                    ended |= matches!(command, MediaCommand::Shutdown);
                    let now = Instant::now();
                    engine.command(command, now);
                    engine.settle(now);
                }
            }
        }
        let now = Instant::now();
        engine.timeout(now);
        engine.settle(now);
        while let Some(datagram) = engine.poll_outgoing() {
            // A full send buffer blocks for as long as the kernel needs; other errors cost one datagram.
            if let Err(error) = socket.send_to(&datagram.contents, datagram.destination) {
                tracing::debug!(%error, "datagram not sent");
            }
        }
    }
    shared.ended.store(true, Ordering::Relaxed);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::router::PeerId;

    #[test]
    fn what_waits_of_clients_is_bounded_while_the_engine_is_busy() {
        let (inbound, waiting) = channel();
        let handle = MediaHandle { inbound, shared: Arc::default() };
        let request = |bytes: usize| {
            let candidate = "x".repeat(bytes);
            let command = MediaCommand::Candidate { peer: PeerId(1), re: None, candidate };
            handle.request(command, bytes, 1_000)
        };
        assert_eq!((0..1_000).filter(|_| request(300)).count(), 3);
        assert!(request(100) && !request(1) && request(0));
        // What is not a client's goes through: to cut somebody off, for one.
        handle.send(MediaCommand::RemovePeer { peer: PeerId(1) });
        let waiting: Vec<_> = waiting.try_iter().collect();
        assert_eq!(waiting.len(), 6);
        // Worked off, it makes room.
        handle.shared.request_bytes.fetch_sub(300, Ordering::Relaxed);
        assert!(request(300) && !request(300));
    }
}
