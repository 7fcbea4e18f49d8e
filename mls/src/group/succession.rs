//! Groups that continue another one: its successor after a ReInit (RFC 9420 section 11.2), and branches of it
//! (section 11.3). A resumption PSK ties the new group to the old one: only whoever was in the old group can make it or join
//! it.

use crate::{
    client::{Client, GroupOptions},
    crypto::CryptoRng,
    error::{CommitError, ExportError, JoinError},
    schedule::Psk,
    validation::{
        SuccessionViolation, check_branch_parameters, check_reinit_parameters, check_same_members,
        check_subset,
    },
    wire::{
        GroupContext, GroupId, KeyPackage, PreSharedKeyId, PskSource, ResumptionPskUsage, UnixTime,
    },
};

use super::{Group, GroupInfoOptions, Member, create_commit::fresh_psk_id};

/// The resumption key that ties a new group to the one it continues.
pub(crate) struct Link {
    pub(crate) id: PreSharedKeyId,
    pub(crate) psk: Psk,
}

/// Collects who is to be in a group that continues another one. Made by [`Group::successor`] and [`Group::branch`].
#[must_use = "a group is made by `build`"]
pub struct NewGroupBuilder<'g> {
    old: &'g Group,
    client: &'g Client,
    plan: Plan,
    key_packages: Vec<KeyPackage>,
    welcome_tree: bool,
}

/// Which group it is going to be.
enum Plan {
    Successor,
    Branch(GroupId),
}

impl NewGroupBuilder<'_> {
    /// Adds a member by a fresh key package, of the new group's suite.
    #[allow(clippy::should_implement_trait, reason = "`a + b` is not what is meant")]
    pub fn add(mut self, key_package: KeyPackage) -> Self {
        self.key_packages.push(key_package);
        self
    }

    /// Whether the Welcome carries the ratchet tree. Without it joiners get the tree elsewhere, for example
    /// from the delivery service.
    pub fn welcome_tree(mut self, inside: bool) -> Self {
        self.welcome_tree = inside;
        self
    }

    /// Makes the group, in epoch 1.
    ///
    /// # Errors
    /// [`CommitError::Succession`] when the group would not be what section 11.2 or 11.3 demands, [`CommitError::Invalid`] when
    /// a key package is not valid in it, [`CommitError::Inactive`] after removal from the old group.
    pub fn build(self, rng: &mut dyn CryptoRng, now: UnixTime) -> Result<NewGroup, CommitError> {
        let Self { old, client, plan, key_packages, welcome_tree } = self;
        let secrets = old.secrets.as_ref().ok_or(CommitError::Inactive)?;
        let (usage, group_id, extensions) = match (plan, &old.closed) {
            (Plan::Successor, None) => return Err(SuccessionViolation::NotReinitialized.into()),
            (Plan::Successor, Some(reinit)) => {
                (ResumptionPskUsage::ReInit, reinit.group_id.clone(), reinit.extensions.clone())
            }
            (Plan::Branch(_), Some(_)) => return Err(CommitError::Inactive),
            (Plan::Branch(id), None) => {
                (ResumptionPskUsage::Branch, id, old.state.context.extensions.clone())
            }
        };
        let source =
            PskSource::Resumption { usage, psk_group_id: old.id().clone(), psk_epoch: old.epoch() };
        let link = Link {
            id: fresh_psk_id(client.suite(), source, rng),
            psk: secrets.epoch.resumption_psk().to_psk(),
        };
        let options = GroupOptions { extensions, ..GroupOptions::default() };
        let mut group = client.create_group(group_id, options, rng, now)?;
        let mut commit = group.commit().linked(link).welcome_tree(welcome_tree);
        for key_package in key_packages {
            commit = commit.add(key_package);
        }
        let pending = commit.build(rng, now)?;
        let welcome = pending.welcome().map(<[u8]>::to_vec);
        // Nobody else can be in epoch 0, so no other commit can win it.
        group.confirm(pending).map_err(|_| CommitError::Inactive)?;
        old.check_continued_by(&group, usage, old.epoch())?;
        Ok(NewGroup { group, welcome })
    }
}

/// A group that continues another one, made by this member and not in use yet.
#[must_use = "the group is entered by `accept`"]
pub struct NewGroup {
    group: Group,
    welcome: Option<Vec<u8>>,
}

impl NewGroup {
    /// The Welcome for the others; absent when nobody was added.
    #[must_use]
    pub fn welcome(&self) -> Option<&[u8]> {
        self.welcome.as_deref()
    }

    /// The members, this client included.
    pub fn roster(&self) -> impl Iterator<Item = Member> + '_ {
        self.group.roster()
    }

    /// The state of the group.
    #[must_use]
    pub fn context(&self) -> &GroupContext {
        self.group.context()
    }

    /// The ratchet tree, as the content of a `ratchet_tree` extension.
    #[must_use]
    pub fn ratchet_tree(&self) -> Vec<u8> {
        self.group.ratchet_tree()
    }

    /// A GroupInfo, from which a delivery service starts to follow the group.
    ///
    /// # Errors
    /// Those of [`Group::group_info`].
    pub fn group_info(&self, options: GroupInfoOptions) -> Result<Vec<u8>, ExportError> {
        self.group.group_info(options)
    }

    /// Enters the group, once the delivery service has accepted it. When it has accepted the one that another member made,
    /// this one is dropped, and the other one joined.
    #[must_use]
    pub fn accept(self) -> Group {
        self.group
    }
}

impl std::fmt::Debug for NewGroup {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NewGroup").field("group", &self.group).finish_non_exhaustive()
    }
}

impl Group {
    /// Starts the group that takes the place of this one, after a commit has covered a ReInit (RFC 9420 section 11.2).
    ///
    /// Any member may make it, whoever committed the ReInit. `client` is this member as it is to be in the successor: of the
    /// suite that the ReInit names, with the same credential or one that the application's validator
    /// [accepts in its place](crate::CredentialValidator::validate_successor). All others are to be added by key packages of
    /// that suite; the successor has exactly the members of this group.
    ///
    /// ```
    /// # use mls::{AcceptAnyCredential, Client, ClientOptions, GroupId, GroupOptions, Identity, Processed, UnixTime};
    /// # use mls::{crypto, wire::{CipherSuite, Extensions, ProtocolVersion, ReInit}};
    /// # let (rng, now) = (&mut crypto::os_rng(), UnixTime(1_800_000_000));
    /// # let mut client = |name: &str, suite| -> Result<Client, Box<dyn std::error::Error>> {
    /// #     let suite = crypto::default_provider().suite(suite).ok_or("the backend lacks the suite")?;
    /// #     let identity = Identity::basic(name, suite, &mut crypto::os_rng())?;
    /// #     Ok(Client::new(suite, identity, ClientOptions::new(AcceptAnyCredential)))
    /// # };
    /// # let (old, new) = (CipherSuite::X25519_AES128GCM_SHA256_ED25519, CipherSuite::P256_AES128GCM_SHA256_P256);
    /// # let (alice, bob) = (client("alice", old)?, client("bob", old)?);
    /// # let bundle = bob.key_package(rng, now)?;
    /// # let mut alices = alice.create_group(GroupId(b"a call".to_vec()), GroupOptions::default(), rng, now)?;
    /// # let pending = alices.commit().add(bundle.key_package().clone()).build(rng, now)?;
    /// # let mut bobs = bob.join(pending.welcome().ok_or("added")?, [&bundle], None, now)?.accept();
    /// # alices.confirm(pending)?;
    /// // Alice closes the group in favour of one of another suite, and everybody merges that commit.
    /// let reinit = ReInit {
    ///     group_id: GroupId(b"the call goes on".to_vec()),
    ///     version: ProtocolVersion::MLS10,
    ///     cipher_suite: new,
    ///     extensions: Extensions::new(),
    /// };
    /// let pending = alices.commit().reinit(reinit).build(rng, now)?;
    /// # match bobs.process(pending.commit(), now)? {
    /// #     Processed::Commit(staged) => bobs.merge(*staged)?,
    /// #     _ => return Err("not a commit".into()),
    /// # };
    /// alices.confirm(pending)?;
    /// assert!(!alices.is_active() && !bobs.is_active());
    ///
    /// // Each has a client of the other suite. Bob publishes a key package, and Alice makes the successor.
    /// let (alice, bob) = (client("alice", new)?, client("bob", new)?);
    /// let bundle = bob.key_package(rng, now)?;
    /// let successor = alices.successor(&alice).add(bundle.key_package().clone()).build(rng, now)?;
    ///
    /// // Bob joins it, and compares it with the group that it continues.
    /// let welcome = successor.welcome().ok_or("somebody was added")?.to_vec();
    /// let alices = successor.accept();
    /// let bobs = bob.join_from(&bobs, &welcome, [&bundle], None, now)?.accept();
    /// assert_eq!(alices.export("example", b"", 32)?, bobs.export("example", b"", 32)?);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn successor<'g>(&'g self, client: &'g Client) -> NewGroupBuilder<'g> {
        self.new_group(client, Plan::Successor)
    }

    /// Starts a group of some of this one's members, with the same parameters, beside this one (RFC 9420 section 11.3).
    ///
    /// The others join by [`Client::join_from`]. The new group's fate is its own from then on.
    pub fn branch(&self, group_id: GroupId) -> NewGroupBuilder<'_> {
        self.new_group(&self.client, Plan::Branch(group_id))
    }

    fn new_group<'g>(&'g self, client: &'g Client, plan: Plan) -> NewGroupBuilder<'g> {
        NewGroupBuilder { old: self, client, plan, key_packages: Vec::new(), welcome_tree: true }
    }

    /// Which epoch of this group a new one names by its resumption PSK. Its key and its roster are at hand.
    pub(crate) fn check_link(&self, source: &PskSource) -> Result<Linked, JoinError> {
        let PskSource::Resumption { usage, psk_group_id, psk_epoch } = source else {
            return Err(SuccessionViolation::LinkCount.into());
        };
        let (usage, epoch, current) = (*usage, *psk_epoch, self.epoch());
        if psk_group_id != self.id() {
            return Err(SuccessionViolation::OtherPredecessor.into());
        }
        if epoch > current {
            return Err(SuccessionViolation::Early { epoch, current }.into());
        }
        if usage == ResumptionPskUsage::ReInit {
            if self.closed.is_none() {
                return Err(SuccessionViolation::NotReinitialized.into());
            }
            if epoch != current {
                return Err(SuccessionViolation::OtherPredecessor.into());
            }
        }
        let kept = match epoch == current {
            true => self.secrets.is_some(),
            false => self.past.resumption(epoch).is_some(),
        };
        if kept { Ok(Linked { usage, epoch }) } else { Err(JoinError::PskUnknown(source.clone())) }
    }

    /// A group that names an epoch of this one continues it by the rules.
    pub(crate) fn check_continued_by(
        &self,
        new: &Group,
        usage: ResumptionPskUsage,
        epoch: u64,
    ) -> Result<(), SuccessionViolation> {
        let (validator, context) = (&*new.client.options().validator, new.context());
        match (usage, &self.closed) {
            (ResumptionPskUsage::Branch, _) => {
                check_branch_parameters(&self.state.context, context)?;
                let parent = self.past.roster(epoch, &self.state.tree);
                check_subset(parent, new.roster(), validator)
            }
            (ResumptionPskUsage::ReInit, Some(reinit)) => {
                check_reinit_parameters(reinit, context)?;
                check_same_members(self.roster(), new.roster(), validator)
            }
            _ => Err(SuccessionViolation::NotReinitialized),
        }
    }
}

/// Which epoch of the old group a new one names, and for what.
pub(crate) struct Linked {
    pub(crate) usage: ResumptionPskUsage,
    pub(crate) epoch: u64,
}

/// The one resumption PSK that ties a new group to another one (section 12.4.3.1).
pub(crate) fn find_link<'p>(
    psks: &[&'p PreSharedKeyId],
) -> Result<Option<&'p PskSource>, JoinError> {
    let mut ties = psks.iter().map(|psk| &psk.source).filter(|source| {
        matches!(source, PskSource::Resumption { usage, .. }
            if *usage != ResumptionPskUsage::Application)
    });
    let found = ties.next();
    match ties.next() {
        None => Ok(found),
        Some(_) => Err(SuccessionViolation::LinkCount.into()),
    }
}
