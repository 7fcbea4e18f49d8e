//! The way of a record: asked for, won or lost, read again where that is unknown, and put into effect in
//! the order of the log. Only what the log has is told to anybody.

use std::time::Duration;

use crate::protocol::{DeliveryEvent, DeliveryRequest, Refusal, RefusalCode, RemovalReason};

use super::effects::{StorageDone, StorageEffect};
use super::pending::PendingRemoval;
use super::record::{CloseCause, Record};
use super::service::{Answer, Asker, refusal};
use super::storage::{Append, AppendId, Appended, StorageError, StoredRecord};
use super::submit::{Admitted, Checked};
use super::{DeliveryService, Now};

/// An append that the storage has not settled yet. There is one at a time.
#[derive(Debug)]
pub(super) struct InFlight {
    asker: Option<Asker>,
    id: AppendId,
    admitted: Admitted,
    asked: Now,
    wait: Wait,
    /// Whether the log is read because the turn was lost.
    lost: bool,
    /// Whether the log could not be read either.
    failed: bool,
    /// What to answer, once the log has been read to its end.
    seq: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wait {
    /// For the answer to the append.
    Append,
    /// For the log, to see what is in it.
    Read,
    /// Until it is time to read the log, as the storage failed.
    Until(Now),
}

impl InFlight {
    pub(super) fn retry_at(&self) -> Option<Now> {
        match self.wait {
            Wait::Until(at) => Some(at),
            Wait::Append | Wait::Read => None,
        }
    }
}

impl DeliveryService {
    pub(super) fn begin_append(&mut self, asker: Option<Asker>, admitted: Admitted, now: Now) {
        let id = AppendId { boot: self.boot, count: self.appends };
        self.appends += 1;
        self.storage(StorageEffect::Append(Append {
            call: self.call.clone(),
            id,
            turn: self.turn,
            ends_turn: admitted.record.ends_turn(),
            at: now.unix_time(),
            bytes: admitted.record.to_bytes(),
        }));
        self.in_flight = Some(InFlight {
            asker,
            id,
            admitted,
            asked: now,
            wait: Wait::Append,
            lost: false,
            failed: false,
            seq: None,
        });
    }

    /// Whether the storage does not answer, so that there is no use in waiting for a turn.
    pub(super) fn storage_fails(&self) -> bool {
        self.in_flight.as_ref().is_some_and(|flight| flight.failed)
    }

    /// Takes the answer to a [`StorageEffect`].
    pub fn storage_done(&mut self, done: StorageDone, now: Now) {
        match done {
            StorageDone::Appended { id, result } => self.appended(id, result, now),
            StorageDone::Records { result } => self.records(result, now),
            StorageDone::SnapshotKept { result: Ok(()) } => self.purge_log(),
            StorageDone::Purged { result: Ok(()) } => {}
            StorageDone::SnapshotKept { result: Err(_) }
            | StorageDone::Purged { result: Err(_) } => self.metrics.storage_errors += 1,
        }
        self.settle(now);
    }

    /// Says that the log has `length` records, as another process may have appended some.
    pub fn records_available(&mut self, length: u64, now: Now) {
        self.log_length = self.log_length.max(length);
        self.settle(now);
    }

    /// Reads what others have appended, unless a read is under way or an append's answer will lead to one.
    pub(super) fn read_if_behind(&mut self) {
        if self.log_length > self.next_seq
            && self.in_flight.is_none()
            && !self.reading
            && self.read_again.is_none()
        {
            self.reading = true;
            self.read_on();
        }
    }

    fn appended(&mut self, id: AppendId, result: Result<Appended, StorageError>, now: Now) {
        let Some(mut flight) = self.in_flight.take_if(|flight| flight.id == id) else { return };
        self.metrics.append_latency.observe(now.since(flight.asked));
        match result {
            Ok(Appended::Won { seq }) if seq == self.next_seq => {
                let at = now.unix_time();
                let meta = StoredRecordMeta { seq, turn: self.turn, at, own: true };
                self.put_into_effect(flight, meta, now);
                return;
            }
            Ok(Appended::Won { .. }) => flight.wait = Wait::Read,
            Ok(Appended::Stale { .. }) => {
                flight.lost = true;
                flight.wait = Wait::Read;
            }
            Err(_) => {
                self.metrics.storage_errors += 1;
                flight.wait = Wait::Until(now + self.storage_retry());
            }
        }
        if flight.wait == Wait::Read {
            self.read_on();
        }
        self.in_flight = Some(flight);
    }

    /// Nobody waits for a storage that fails. What was asked for may be in the log all the same, and is then told
    /// as an entry; what waited for its turn is not.
    fn answer_undecided(&mut self, flight: &mut InFlight) {
        // A group is answered for once it is known, as nothing else would tell its creator.
        if !matches!(flight.admitted.record, Record::Created { .. })
            && let Some(asker) = flight.asker.take()
        {
            let message = "the storage does not say whether it has taken the message";
            let undecided = refusal(RefusalCode::Undecided, message);
            if matches!(flight.admitted.record, Record::Commit { .. }) {
                self.metrics.refuse_commit(&undecided.code);
            }
            self.answer(&asker, Err(undecided));
        }
        self.refuse_queue(&storage_fails());
    }

    fn storage_retry(&self) -> Duration {
        Duration::from_millis(self.config.storage_retry_ms)
    }

    /// Reads the log after the storage failed to say whether an append happened.
    pub(super) fn retry_storage(&mut self, now: Now) {
        self.read_again.take_if(|at| *at <= now);
        if let Some(flight) = &mut self.in_flight
            && flight.retry_at().is_some_and(|at| at <= now)
        {
            flight.wait = Wait::Read;
            self.read_on();
        }
    }

    fn read_on(&mut self) {
        let effect = StorageEffect::Read { call: self.call.clone(), seq: self.next_seq };
        self.storage(effect);
    }

    fn records(&mut self, result: Result<Vec<StoredRecord>, StorageError>, now: Now) {
        let records = match result {
            Ok(records) => records,
            Err(_) => {
                self.metrics.storage_errors += 1;
                self.reading = false;
                let retry = now + self.storage_retry();
                match self.in_flight.take() {
                    Some(mut flight) => {
                        flight.wait = Wait::Until(retry);
                        flight.failed = true;
                        self.answer_undecided(&mut flight);
                        self.in_flight = Some(flight);
                    }
                    None => self.read_again = Some(retry),
                }
                return;
            }
        };
        let ended = records.is_empty();
        for record in records {
            self.apply_stored(record, now);
        }
        if !ended {
            self.read_on();
            return;
        }
        self.reading = false;
        // Whatever has been said of its length, there is no more of it.
        self.log_length = self.next_seq;
        let Some(flight) = self.in_flight.take_if(|flight| flight.wait == Wait::Read) else {
            return;
        };
        let Some(asker) = &flight.asker else { return };
        let head = self.epoch().unwrap_or(0);
        let answer = match (flight.seq, flight.lost) {
            (Some(seq), _) => self.success(&flight.admitted.record, seq),
            (None, true) => {
                let code = RefusalCode::StaleEpoch { head };
                Err(refusal(code, "another one has won the epoch"))
            }
            (None, false) => {
                let message = "the storage did not take it";
                Err(refusal(RefusalCode::Unavailable, message))
            }
        };
        if matches!(flight.admitted.record, Record::Commit { .. })
            && let Err(refusal) = &answer
        {
            self.metrics.refuse_commit(&refusal.code);
        }
        self.answer(asker, answer);
    }

    /// Puts a record of the log into effect that was read, by whomever it was appended.
    pub(super) fn apply_stored(&mut self, stored: StoredRecord, now: Now) {
        if stored.seq < self.next_seq {
            return;
        }
        let own = stored.id.boot == self.boot;
        let meta = StoredRecordMeta { seq: stored.seq, turn: stored.turn, at: stored.at, own };
        if let Some(flight) = &mut self.in_flight
            && flight.id == stored.id
        {
            flight.seq = Some(stored.seq);
        }
        match Record::parse(&stored.bytes) {
            Ok(record) => {
                if let Err(_passed_over) = self.apply(record, Checked::Nothing, meta, now) {
                    self.metrics.invalid_records += 1;
                }
            }
            // Who knows what it changed: to go on without it could lead nobody knows where.
            Err(_) => {
                self.metrics.invalid_records += 1;
                self.advance(meta, false);
                self.closing = Some(CloseCause::Damaged);
            }
        }
    }

    /// Puts a record into effect that has just been won.
    fn put_into_effect(&mut self, flight: InFlight, meta: StoredRecordMeta, now: Now) {
        let InFlight { asker, admitted: Admitted { record, checked }, .. } = flight;
        let applied = self.apply(record.clone(), checked, meta, now);
        if applied.is_err() {
            self.metrics.invalid_records += 1;
        }
        if let Some(asker) = asker {
            let answer = applied.and_then(|()| self.success(&record, meta.seq));
            self.answer(&asker, answer);
        }
    }

    fn success(&self, record: &Record, seq: u64) -> Result<Answer, Refusal> {
        match record {
            Record::Created { .. } => match self.summary() {
                Some(group) => Ok(Answer::Event(DeliveryEvent::Created { group })),
                None => Err(refusal(RefusalCode::Unavailable, "the group has ended again")),
            },
            Record::Commit { .. } | Record::Proposal { .. } => {
                let head = self.epoch().unwrap_or(0);
                Ok(Answer::Event(DeliveryEvent::Appended { seq, head }))
            }
            Record::Closed { .. } => Ok(Answer::Done),
        }
    }

    /// Goes on in the log. Says whether the record counts: of two that end one turn only the first does.
    pub(super) fn advance(&mut self, meta: StoredRecordMeta, ends_turn: bool) -> bool {
        self.next_seq = meta.seq + 1;
        if meta.turn < self.turn {
            if ends_turn {
                self.metrics.epochs_with_two_winners += 1;
            }
            return false;
        }
        self.turn = meta.turn + u64::from(ends_turn);
        true
    }

    /// Ends the group if that is due and nothing is under way.
    pub(super) fn close_if_due(&mut self, now: Now) {
        if self.group.is_none() {
            self.closing = None;
            return;
        }
        if self.in_flight.is_some() {
            return;
        }
        let abandoned = self.is_abandoned().then_some(CloseCause::Abandoned);
        if let Some(cause) = self.closing.or(abandoned) {
            let admitted = Admitted { record: Record::Closed { cause }, checked: Checked::Nothing };
            self.begin_append(None, admitted, now);
        }
    }

    /// Whether nobody is left who could commit: every member is to be removed. While all that is known of
    /// some is that they are gone, and nobody else wants to go on, the group waits for them.
    fn is_abandoned(&self) -> bool {
        let Some(group) = &self.group else { return false };
        let removals: Vec<PendingRemoval> = self.pending.removals().collect();
        let leaving = |leaf: u32| removals.iter().any(|removal| removal.leaf == leaf);
        if removals.len() < group.state.len()
            || !group.state.members().all(|seat| leaving(seat.leaf))
        {
            return false;
        }
        let somebody_waits = !self.people.staying().is_empty();
        somebody_waits || removals.iter().all(|removal| removal.reason != RemovalReason::Gone)
    }
}

pub(super) fn storage_fails() -> Refusal {
    refusal(RefusalCode::Unavailable, "the storage does not answer")
}

/// Where a record stands in the log, and when it was accepted.
#[derive(Clone, Copy, Debug)]
pub(super) struct StoredRecordMeta {
    pub(super) seq: u64,
    pub(super) turn: u64,
    pub(super) at: mls::wire::UnixTime,
    /// Whether this process has appended it.
    pub(super) own: bool,
}

impl DeliveryService {
    /// Refuses what waits for its turn, but for groups to be created.
    pub(super) fn refuse_queue(&mut self, because: &Refusal) {
        let (creates, others): (Vec<_>, Vec<_>) = std::mem::take(&mut self.queue)
            .into_iter()
            .partition(|(_, request)| matches!(request, DeliveryRequest::Create { .. }));
        self.queue.extend(creates);
        for (asker, request) in others {
            if matches!(request, DeliveryRequest::Submit { .. }) {
                self.metrics.refuse_commit(&because.code);
            }
            self.answer(&asker, Err(because.clone()));
        }
    }
}
