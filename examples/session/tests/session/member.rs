//! A participant of a call in memory.

use std::collections::{BTreeMap, VecDeque};

use call_session::{HistoryAlarm, Session};
use sframe_bridge::committer::CommitAlarm;
use sfu_protocol::ServerMessage;

/// A member and what it was told to do.
pub(crate) struct Member {
    pub(crate) session: Session,
    pub(crate) inbox: VecDeque<ServerMessage>,
    pub(crate) online: bool,
    pub(crate) epochs: Vec<u64>,
    pub(crate) code: BTreeMap<u64, String>,
    pub(crate) keys: BTreeMap<u64, Vec<u8>>,
    pub(crate) ended: bool,
    pub(crate) begun: usize,
    pub(crate) alarms: Vec<CommitAlarm>,
    /// Why messages were of no use.
    pub(crate) ignored: Vec<String>,
    pub(crate) history: Vec<HistoryAlarm>,
    /// Leaves for which a commit failed, and the epochs that those ended.
    pub(crate) failed: Vec<(u32, u64)>,
    /// Whether media may go out.
    pub(crate) sending: bool,
}

impl Member {
    pub(crate) fn new(session: Session) -> Self {
        Self {
            session,
            inbox: VecDeque::new(),
            online: false,
            epochs: Vec::new(),
            code: BTreeMap::new(),
            keys: BTreeMap::new(),
            ended: false,
            begun: 0,
            alarms: Vec::new(),
            ignored: Vec::new(),
            history: Vec::new(),
            failed: Vec::new(),
            sending: true,
        }
    }
}
