use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Rate;

/// How a delivery service behaves: times in milliseconds, lengths in bytes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DeliveryConfig {
    /// How long a member may be without a connection before its removal becomes pending.
    pub grace_ms: u64,
    /// How long the participant that was asked to create the group has for it, before another one is asked.
    pub creator_ms: u64,
    /// How long a removal may have been pending before a commit that leaves it out is refused.
    pub removal_slack_ms: u64,
    /// How long acknowledgements are collected before they are told; the last member's are told at once.
    pub acknowledgement_batch_ms: u64,
    /// How long heartbeats are collected before they are told.
    pub heartbeat_batch_ms: u64,
    /// How long a request for the GroupInfo waits until another member has confirmed it.
    pub group_info_wait_ms: u64,
    /// How long the storage has to answer, before an append counts as lost and the log is read again.
    pub storage_retry_ms: u64,

    /// The cipher suites that a group may have.
    pub suites: Vec<u16>,
    /// The greatest number of members of a group, those who wait to be added included.
    pub max_members: u32,
    /// The longest key package.
    pub max_key_package: usize,
    /// The longest proposal.
    pub max_proposal: usize,
    /// The longest commit, with the proposals that come with it.
    pub max_commit: usize,
    /// The longest Welcome.
    pub max_welcome: usize,
    /// The longest GroupInfo.
    pub max_group_info: usize,
    /// The longest ratchet tree in a request to create a group, which has one leaf.
    pub max_first_tree: usize,
    /// The longest heartbeat or failure report.
    pub max_report: usize,
    /// The greatest number of proposals that wait for one commit.
    pub max_epoch_proposals: usize,
    /// The greatest number of submissions that wait for an append before them.
    pub max_queued: usize,

    /// The commits of one member.
    pub commits: Rate,
    /// The resyncs of one member.
    pub resyncs: Rate,
    /// The proposals of one member.
    pub proposals: Rate,
    /// The key packages of one participant.
    pub joins: Rate,
    /// The heartbeats and failure reports of one member.
    pub reports: Rate,
    /// The requests for log, tree and GroupInfo of one participant.
    pub fetches: Rate,

    /// How much of the log is kept for members that were away, in bytes of MLS messages. The last epoch is
    /// always kept.
    pub log_bytes: usize,
    /// The size of a page of the log, in bytes of MLS messages.
    pub page_bytes: usize,
    /// How many trees of past epochs in which somebody joined are kept for those who joined.
    pub kept_trees: usize,
    /// After how many commits a snapshot is taken, so that a restart need not replay more.
    pub snapshot_every: u32,
    /// How many references of used key packages are remembered.
    pub used_key_packages: usize,

    /// The part of the members whose commit has to fail within [`failure_window_ms`](Self::failure_window_ms)
    /// for the group to be given up.
    pub failure_share: f64,
    /// At least that many members, whatever the share says.
    pub failure_minimum: u32,
    /// The time within which failure reports are counted together.
    pub failure_window_ms: u64,
}

impl Default for DeliveryConfig {
    fn default() -> Self {
        Self {
            grace_ms: 3_000,
            creator_ms: 3_000,
            removal_slack_ms: 300,
            acknowledgement_batch_ms: 150,
            heartbeat_batch_ms: 1_000,
            group_info_wait_ms: 2_000,
            storage_retry_ms: 100,
            suites: vec![1, 2, 3],
            max_members: 1_024,
            max_key_package: 16 << 10,
            max_proposal: 16 << 10,
            max_commit: 1 << 20,
            max_welcome: 1 << 20,
            max_group_info: 64 << 10,
            max_first_tree: 16 << 10,
            max_report: 2 << 10,
            max_epoch_proposals: 64,
            max_queued: 256,
            commits: Rate { burst: 20, per_second: 5.0 },
            resyncs: Rate { burst: 3, per_second: 0.2 },
            proposals: Rate { burst: 20, per_second: 5.0 },
            joins: Rate { burst: 5, per_second: 0.5 },
            reports: Rate { burst: 20, per_second: 2.0 },
            fetches: Rate { burst: 50, per_second: 10.0 },
            log_bytes: 16 << 20,
            page_bytes: 128 << 10,
            kept_trees: 16,
            snapshot_every: 64,
            used_key_packages: 4_096,
            failure_share: 0.5,
            failure_minimum: 2,
            failure_window_ms: 10_000,
        }
    }
}

impl DeliveryConfig {
    pub(super) fn grace(&self) -> Duration {
        Duration::from_millis(self.grace_ms)
    }

    pub(super) fn removal_slack(&self) -> Duration {
        Duration::from_millis(self.removal_slack_ms)
    }

    pub(super) fn failure_window(&self) -> Duration {
        Duration::from_millis(self.failure_window_ms)
    }

    /// How many failing members are too many in a group of `members`.
    pub(super) fn failure_threshold(&self, members: usize) -> usize {
        let members = u32::try_from(members).unwrap_or(u32::MAX);
        let share = (f64::from(members) * self.failure_share.clamp(0.0, 1.0)).ceil();
        // Rounded up and between 0 and 2^32, so the cast keeps the value.
        (share as usize).max(self.failure_minimum.max(1) as usize)
    }
}
