//! The rooms of a server.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::clock::Clock;
use super::cluster::Cluster;
use super::outbox::Outbox;
use super::room::{JoinRequest, Room, RoomInput};
use super::tasks::Tasks;
use crate::config::Config;
use crate::delivery::{ConnectionId, Storage};
use crate::media::{MediaHandle, RoomId};
use crate::metrics::Metrics;
use crate::protocol::{Refusal, RefusalCode, RoomName};
use crate::token::Claims;

/// Messages that may wait for a room; senders wait when it is full, so that the flood stays in the sockets.
const MAILBOX: usize = 256;

/// What all rooms and connections share.
pub(super) struct Shared {
    pub(super) config: Config,
    pub(super) metrics: Metrics,
    pub(super) media: MediaHandle,
    pub(super) storage: Arc<dyn Storage>,
    /// The other servers on the same storage, if it can be shared.
    pub(super) cluster: Option<Arc<Cluster>>,
    pub(super) clock: Clock,
    /// A random number of this run of the server.
    pub(super) boot: u64,
    /// Cancelled when the server stops.
    pub(super) stopping: CancellationToken,
    /// Rooms and connections that run.
    pub(super) tasks: Tasks,
    rooms: Mutex<HashMap<RoomName, mpsc::Sender<RoomInput>>>,
    next_id: AtomicU64,
}

/// A connection's way into its room.
#[derive(Debug)]
pub(super) struct Joined {
    pub(super) connection: ConnectionId,
    pub(super) room: mpsc::Sender<RoomInput>,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("config", &self.config).finish_non_exhaustive()
    }
}

impl Shared {
    pub(super) fn new(
        config: Config,
        metrics: Metrics,
        media: MediaHandle,
        storage: Arc<dyn Storage>,
        cluster: Option<Arc<Cluster>>,
        boot: u64,
    ) -> Self {
        Self {
            storage,
            cluster,
            clock: Clock::start(),
            boot,
            config,
            metrics,
            media,
            stopping: CancellationToken::new(),
            tasks: Tasks::new(),
            rooms: Mutex::new(HashMap::new()),
            next_id: AtomicU64::new(1),
        }
    }

    /// A number that is given once in the life of the server.
    pub(super) fn fresh_id(&self) -> u64 {
        self.next_id.fetch_add(1, Ordering::Relaxed)
    }

    /// Brings a connection into the room that its token names.
    pub(super) async fn join(
        self: &Arc<Self>,
        claims: Claims,
        outbox: &Outbox,
    ) -> Result<Joined, Refusal> {
        let connection = ConnectionId(self.fresh_id());
        // A room may close at the moment in which somebody comes; then it is opened anew.
        for _ in 0..3 {
            let room = self.room(&claims.room)?;
            let (reply, answer) = oneshot::channel();
            let request =
                JoinRequest { connection, claims: claims.clone(), outbox: outbox.clone(), reply };
            if room.send(RoomInput::Join(request)).await.is_err() {
                continue;
            }
            if let Ok(result) = answer.await {
                return result.map(|()| Joined { connection, room });
            }
        }
        Err(Refusal::new(RefusalCode::Unavailable, "the room is closing, try again"))
    }

    fn room(self: &Arc<Self>, name: &RoomName) -> Result<mpsc::Sender<RoomInput>, Refusal> {
        let mut rooms = self.rooms.lock().unwrap_or_else(PoisonError::into_inner);
        if self.stopping.is_cancelled() {
            return Err(Refusal::new(RefusalCode::ShuttingDown, "the server is stopping"));
        }
        if let Some(room) = rooms.get(name).filter(|room| !room.is_closed()) {
            return Ok(room.clone());
        }
        let config = &self.config.rooms;
        if !config.has(name.as_str()) {
            return Err(Refusal::new(RefusalCode::UnknownRoom, "expected a room of this server"));
        }
        if rooms.len() >= config.max_rooms {
            return Err(Refusal::new(RefusalCode::TooManyRooms, "the server has no room left"));
        }
        let (sender, mailbox) = mpsc::channel(MAILBOX);
        let room = Room::open(Arc::clone(self), RoomId(self.fresh_id()), name.clone(), mailbox);
        let task = self.tasks.begin();
        tokio::spawn(async move {
            room.run().await;
            drop(task);
        });
        rooms.insert(name.clone(), sender.clone());
        Ok(sender)
    }

    /// Forgets a room unless somebody is on the way into it. Whether the room may end.
    pub(super) fn close_room(
        &self,
        name: &RoomName,
        mailbox: &mut mpsc::Receiver<RoomInput>,
    ) -> bool {
        let mut rooms = self.rooms.lock().unwrap_or_else(PoisonError::into_inner);
        if !mailbox.is_empty() {
            return false;
        }
        mailbox.close();
        rooms.remove(name);
        true
    }
}
