//! The rules of RFC 9420 that decide whether what was decoded is valid, each with one home and one name.
//!
//! A rule that is broken is a value: [`LeafNodeViolation`], [`KeyPackageViolation`],
//! [`ProposalListViolation`], [`GroupInfoViolation`], [`SuccessionViolation`]. Whatever validates (a member who builds a commit, a
//! member who processes one, a delivery service that follows the group's public state) runs the same code.
//!
//! Nothing here depends on a clock unless it says so: all members have to reach the same verdict on a
//! commit, whenever they see it.

mod credential;
mod custom;
mod group_info;
mod key_package;
mod leaf_node;
mod proposal_list;
mod rules;
mod succession;

pub use credential::{AcceptAnyCredential, CredentialRejected, CredentialValidator};
pub use custom::{CustomProposal, CustomProposalType};
pub use group_info::GroupInfoViolation;
pub use key_package::KeyPackageViolation;
pub use leaf_node::LeafNodeViolation;
pub use proposal_list::ProposalListViolation;
pub use rules::{CommittedProposal, GroupRules, NoFurtherRules, RuleContext, RuleViolation};
pub use succession::SuccessionViolation;

pub(crate) use custom::CustomTypes;
pub(crate) use group_info::check_group_info_signature;
pub(crate) use key_package::check_key_package;
pub(crate) use leaf_node::{LeafCheck, SignedPlace, check_requirements, required_capabilities};
pub(crate) use proposal_list::{
    CheckedAdd, CheckedProposals, ListedProposal, check_proposal_list, check_sender_may_propose,
};
pub(crate) use succession::{
    check_branch_parameters, check_reinit_parameters, check_same_members, check_subset,
};
