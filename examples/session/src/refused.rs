//! What follows from a refusal.

use std::time::Duration;

use sframe_bridge::Now;
use sfu_protocol::{DeliveryRequest, Refusal, RefusalCode};

use super::joining::Way;
use super::requests::Purpose;
use super::status::{SessionEvent, Status};
use super::{Moment, Session};

/// What is tried again when the server wants no more for the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Create,
    Join,
    Resync,
    Log,
}

/// Something to try again, and when.
#[derive(Clone, Copy, Debug)]
pub(super) struct Again {
    pub(super) at: Now,
    step: Step,
}

impl Session {
    pub(super) fn refused(
        &mut self,
        re: Option<u64>,
        purpose: Option<Purpose>,
        refusal: Refusal,
        moment: Moment,
    ) {
        tracing::debug!(?purpose, code = ?refusal.code, "refused: {}", refusal.message);
        let later = |millis| moment.now + Duration::from_millis(millis);
        if purpose == Some(Purpose::Submit)
            && refusal.code != RefusalCode::Undecided
            && let Some(membership) = &mut self.membership
        {
            membership.withdraw_commit(re);
        }
        match (purpose, &refusal.code) {
            // The winner's entry has come before this refusal, and the group has moved on with it; unless it was a
            // message that could overtake others and was lost.
            (Some(Purpose::Submit), RefusalCode::StaleEpoch { head }) => {
                let behind = self.epoch().is_some_and(|epoch| epoch < *head);
                self.submit_refused(later(if behind { 1_000 } else { 0 }));
                return;
            }
            (Some(purpose), RefusalCode::RateLimited { retry_after_ms }) => {
                let at = later(*retry_after_ms);
                let step = match purpose {
                    Purpose::Join | Purpose::Tree => Some(Step::Join),
                    Purpose::GroupInfo => Some(Step::Resync),
                    Purpose::Submit if self.status == Status::Resyncing => Some(Step::Resync),
                    Purpose::Log => Some(Step::Log),
                    _ => None,
                };
                match step {
                    Some(step) => self.again = Some(Again { at, step }),
                    None if purpose == Purpose::Submit => self.submit_refused(at),
                    None => {}
                }
            }
            (Some(Purpose::Submit), _) => self.submit_refused(later(200)),
            (Some(Purpose::Create), code) => {
                // The group of somebody else may be known already, and be on the way to be joined.
                if matches!(self.way, Way::Creating(_)) {
                    self.way = Way::Idle;
                    self.set_status(Status::WaitingForGroup);
                    match code {
                        RefusalCode::Unavailable => {
                            self.again = Some(Again { at: later(1_000), step: Step::Create });
                        }
                        // It may be one's own, made on a connection that broke.
                        RefusalCode::GroupExists => self.join(moment),
                        _ => {}
                    }
                }
            }
            (Some(Purpose::Join), RefusalCode::NoGroup) => {
                self.way = Way::Idle;
                self.set_status(Status::WaitingForGroup);
            }
            // Asked to join, or at the door: its farewell was lost with the connection.
            (Some(Purpose::Join) | None, RefusalCode::Removed) => self.end(Status::Removed),
            (Some(Purpose::Join), _) => {
                let reason = format!("the server does not let us join: {}", refusal.message);
                self.end(Status::Failed { reason });
            }
            (Some(Purpose::Tree), _) => self.join(moment),
            (Some(Purpose::Log), RefusalCode::LogTruncated { .. }) => self.resync(),
            (Some(Purpose::GroupInfo), _) => {
                self.forget_membership();
                self.join(moment);
            }
            (
                None,
                RefusalCode::BadToken | RefusalCode::ExpiredToken | RefusalCode::UnknownRoom,
            )
            | (None, RefusalCode::RoomFull | RefusalCode::TooManyRooms) => {
                let reason = format!("the server refuses us: {}", refusal.message);
                self.end(Status::Failed { reason });
            }
            // Without the server's help the call goes on for the others, and this one has gone.
            (Some(Purpose::Leave), _) => self.end(Status::Left),
            _ => {}
        }
        self.event(SessionEvent::Refused(refusal));
    }

    /// Does what the server did not want to do earlier, if it is time and still needed.
    pub(super) fn try_again(&mut self, moment: Moment) {
        let Some(again) = self.again.take_if(|again| again.at <= moment.now) else { return };
        match (again.step, &self.status) {
            (Step::Create, Status::WaitingForGroup) => self.create(moment),
            (Step::Join, Status::Joining) => self.join(moment),
            (Step::Resync, Status::Resyncing) => self.resync(),
            (Step::Log, Status::Member { epoch } | Status::CatchingUp { epoch }) => {
                let since_epoch = *epoch;
                self.ask(Purpose::Log, DeliveryRequest::FetchLog { since_epoch });
            }
            _ => {}
        }
    }
}
