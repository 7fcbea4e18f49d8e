//! Proposal types that the application defines (RFC 9420 sections 12.1.8, 12.2, 12.4, 13.2, 17.4).

use crate::wire::{ProposalType, Sender};

/// A proposal type that the application defines, and what RFC 9420 wants to know of every type.
///
/// All clients of a group register the same types with the same properties, in
/// [`ClientOptions::proposal_types`](crate::ClientOptions::proposal_types) and
/// [`PublicGroupOptions::proposal_types`](crate::PublicGroupOptions::proposal_types): those who differ come to other verdicts on
/// a commit, and are left behind. A client lists what it has registered in the capabilities of its leaf. A commit covers
/// a proposal of the type only while every member lists it who processes the commit and stays (section 12.2); to have it
/// always so, the group names the type in `required_capabilities`.
///
/// The content is one `opaque<V>`, as with the other implementations. [`GroupRules`](crate::GroupRules) judges it: by itself when
/// it arrives, and with the whole commit. What a commit covers stands in [`Changes::custom`](crate::Changes::custom), alike for all.
///
/// ```
/// use mls::{
///     AcceptAnyCredential, CipherSuite, Client, ClientOptions, GroupId, GroupOptions, GroupRules, Identity, Processed,
///     RuleContext, RuleViolation, UnixTime, crypto,
///     validation::{CommittedProposal, CustomProposalType},
///     wire::{GroupContext, Proposal, ProposalType},
/// };
///
/// // A proposal that names the call's presenter: a text that is not empty.
/// const PRESENTER: ProposalType = ProposalType(0xf0a1);
///
/// struct Rules;
///
/// impl GroupRules for Rules {
///     fn check_proposal(&self, proposed: &CommittedProposal<'_>, _: &GroupContext) -> Result<(), RuleViolation> {
///         match proposed.proposal {
///             Proposal::Other(PRESENTER, name) if name.is_empty() => Err(RuleViolation { rule: "presenter-without-name" }),
///             _ => Ok(()),
///         }
///     }
///
///     fn check(&self, commit: &RuleContext<'_>) -> Result<(), RuleViolation> {
///         let named = commit.changes.custom.iter().filter(|custom| custom.proposal_type == PRESENTER);
///         if named.count() <= 1 { Ok(()) } else { Err(RuleViolation { rule: "several-presenters" }) }
///     }
/// }
///
/// let suite = crypto::default_provider().suite(CipherSuite::X25519_AES128GCM_SHA256_ED25519).ok_or("no suite")?;
/// let (rng, now) = (&mut crypto::os_rng(), UnixTime(1_800_000_000));
/// let client = |name: &str| -> Result<Client, mls::ClientError> {
///     let mut options = ClientOptions::new(AcceptAnyCredential);
///     options.proposal_types.push(CustomProposalType { proposal_type: PRESENTER, path_required: false, external_senders: false });
///     options.rules = std::sync::Arc::new(Rules);
///     Ok(Client::new(suite, Identity::basic(name, suite, &mut crypto::os_rng())?, options))
/// };
/// let (alice, bob) = (client("alice")?, client("bob")?);
/// let mut hers = alice.create_group(GroupId(b"call".to_vec()), GroupOptions::default(), rng, now)?;
/// let bundle = bob.key_package(rng, now)?;
/// let pending = hers.commit().add(bundle.key_package().clone()).build(rng, now)?;
/// let mut his = bob.join(pending.welcome().ok_or("nobody added")?, [&bundle], None, now)?.accept();
/// hers.confirm(pending)?;
///
/// // Bob proposes by reference; Alice's library has asked the rules when the proposal arrives, and her commit covers it.
/// let proposed = his.propose(Proposal::Other(PRESENTER, b"bob".to_vec()), rng, now)?;
/// let _ = hers.process(&proposed.message, now)?;
/// let pending = hers.commit().omit_path().build(rng, now)?;
/// let Processed::Commit(staged) = his.process(pending.commit(), now)? else { return Err("not a commit".into()) };
/// assert_eq!(staged.changes().custom[0].data, b"bob");
/// his.merge(*staged)?;
/// hers.confirm(pending)?;
///
/// // What the rules refuse is not even sent.
/// assert!(his.propose(Proposal::Other(PRESENTER, Vec::new()), rng, now).is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CustomProposalType {
    /// The number, not that of a type which the library itself carries out. 0xF000 to 0xFFFF are for private use.
    pub proposal_type: ProposalType,
    /// Whether a commit that covers one needs a path (section 12.4). It does where the proposal changes who is in the group,
    /// or what may be known of its secrets.
    pub path_required: bool,
    /// Whether an entry of `external_senders` may propose it (section 12.1.8).
    pub external_senders: bool,
}

/// A proposal of a type that the application defines, covered by a commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CustomProposal {
    /// Its type.
    pub proposal_type: ProposalType,
    /// Its content.
    pub data: Vec<u8>,
    /// Who proposed it; for a proposal by value the committer.
    pub sender: Sender,
}

/// The types that are registered here.
#[derive(Clone, Debug, Default)]
pub(crate) struct CustomTypes(pub(crate) Vec<CustomProposalType>);

impl CustomTypes {
    /// What is registered of a type. The library's own types cannot be registered.
    pub(crate) fn find(&self, proposal_type: ProposalType) -> Option<&CustomProposalType> {
        let own = proposal_type.is_default() || proposal_type == ProposalType::SELF_REMOVE;
        self.0.iter().find(|custom| !own && custom.proposal_type == proposal_type)
    }
}
