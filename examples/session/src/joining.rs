//! The ways into a call: creating its group, being welcomed, coming back by external commit.

use std::sync::Arc;

use mls::codec::Decode;
use mls::crypto::CryptoRng;
use mls::wire::{Extensions, MlsMessage, MlsMessageBody, RequiredCapabilities};
use mls::{
    Client, ClientOptions, ExternalJoinOptions, Group, GroupId, GroupInfoOptions, GroupOptions,
    HandshakeFormat, HandshakePolicy, Identity, KeyPackageBundle, PendingExternalJoin,
};
use sframe_bridge::{CallParameters, CallRules};
use sfu_protocol::{Blob, DeliveryRequest, GroupSummary};

use super::membership::Membership;
use super::requests::Purpose;
use super::status::{SessionEvent, Status};
use super::{Moment, Output, Session, SessionConfig, SessionError, trust};

/// On which way into the call the session is.
pub(super) enum Way {
    /// None.
    Idle,
    /// The group is made and waits for the server's word.
    Creating(Box<Group>),
    /// The key package is with the server.
    Asked(Box<KeyPackageBundle>),
    /// The Welcome is here, the tree is on its way.
    Welcomed { bundle: Box<KeyPackageBundle>, welcome: Blob },
    /// The external commit waits for its turn in the log.
    External(Box<PendingExternalJoin>),
}

pub(super) fn make_client(
    config: &SessionConfig,
    rng: &mut dyn CryptoRng,
) -> Result<Client, SessionError> {
    let suite = mls::crypto::default_provider().suite(config.suite).ok_or(SessionError::Suite)?;
    let identity = Identity::basic(config.identity.as_str(), suite, rng)?;
    let mut options = ClientOptions::new(trust::NamedMembers);
    options.rules = Arc::new(CallRules);
    options.capabilities.extensions.push(trust::parameters_type());
    // The server validates what it orders, and a call has one format.
    options.handshake = HandshakeFormat::Public;
    options.accept = HandshakePolicy::PublicOnly;
    // Calls carry no application messages over MLS.
    options.past_epochs = 0;
    if let Some(invite) = &config.invite {
        options.psks = invite.store();
    }
    Ok(Client::new(suite, identity, options))
}

/// Whether a Welcome lets in whoever has this key package.
fn is_for(welcome: &[u8], bundle: &KeyPackageBundle) -> bool {
    match MlsMessage::from_bytes(welcome) {
        Ok(MlsMessage(MlsMessageBody::Welcome(welcome))) => {
            welcome.secrets.iter().any(|entry| entry.new_member == *bundle.reference())
        }
        _ => false,
    }
}

impl Session {
    /// Makes the call's group (RFC 9420, section 11).
    pub(super) fn create(&mut self, moment: Moment) {
        // Asked for on a connection that broke, it may never have been heard of.
        if self.requests.awaits(Purpose::Create) {
            return;
        }
        match self.make_group(moment) {
            Ok(request) => {
                self.set_status(Status::Creating);
                self.ask(Purpose::Create, request);
            }
            Err(error) => self.end(Status::Failed { reason: error.to_string() }),
        }
    }

    fn make_group(&mut self, moment: Moment) -> Result<DeliveryRequest, SessionError> {
        let mut group_id = vec![0; 16];
        self.rng.fill_bytes(&mut group_id);
        let mut extensions = Extensions::new();
        extensions.set(trust::parameters_extension(&self.config.parameters));
        let options = GroupOptions {
            extensions,
            required_capabilities: Some(RequiredCapabilities {
                extension_types: vec![trust::parameters_type()],
                ..RequiredCapabilities::default()
            }),
        };
        let group_id = GroupId(group_id);
        let group = self.client.create_group(group_id, options, &mut *self.rng, moment.unix)?;
        let info = group.group_info(GroupInfoOptions { tree: false, external_pub: true })?;
        let request = DeliveryRequest::Create {
            group_info: info.into(),
            ratchet_tree: group.ratchet_tree().into(),
        };
        self.way = Way::Creating(Box::new(group));
        Ok(request)
    }

    pub(super) fn created(&mut self, summary: &GroupSummary, moment: Moment) {
        match std::mem::replace(&mut self.way, Way::Idle) {
            Way::Creating(group) if summary.group_id[..] == *group.id().as_bytes() => {
                self.begin(*group, moment);
            }
            other => self.way = other,
        }
    }

    /// Asks to be added, with a fresh key package.
    pub(super) fn join(&mut self, moment: Moment) {
        if self.requests.awaits(Purpose::Join) {
            return;
        }
        match self.client.key_package(&mut *self.rng, moment.unix) {
            Ok(bundle) => {
                let key_package = bundle.message().into();
                self.way = Way::Asked(Box::new(bundle));
                self.set_status(Status::Joining);
                self.ask(Purpose::Join, DeliveryRequest::Join { key_package });
            }
            Err(error) => {
                let reason = SessionError::from(error).to_string();
                self.end(Status::Failed { reason });
            }
        }
    }

    /// The Welcome came: the tree is with the server, once for all who join. One for a key package of an earlier
    /// request, from before a connection broke, is of no use: the one asked for last is on its way.
    pub(super) fn welcomed(&mut self, epoch: u64, welcome: Blob) {
        // A Welcome is sent again until the first acknowledgement.
        let Way::Asked(bundle) = &self.way else { return };
        if !is_for(&welcome, bundle) {
            self.stats.joins_refused += 1;
            self.ignored("a welcome for another key package");
            return;
        }
        if let Way::Asked(bundle) = std::mem::replace(&mut self.way, Way::Idle) {
            self.way = Way::Welcomed { bundle, welcome };
            self.ask(Purpose::Tree, DeliveryRequest::FetchTree { epoch });
        }
    }

    pub(super) fn tree_came(&mut self, tree: &Blob, moment: Moment) {
        let Way::Welcomed { bundle, welcome } = std::mem::replace(&mut self.way, Way::Idle) else {
            return;
        };
        let joined = self
            .client
            .join(&welcome, [&*bundle], Some(tree), moment.unix)
            .map(mls::StagedJoin::accept);
        match joined {
            Ok(group) => self.begin(group, moment),
            Err(error) => {
                self.stats.joins_refused += 1;
                let reason = SessionError::from(error).to_string();
                self.end(Status::Failed { reason });
            }
        }
    }

    /// Out of step with the group: comes back by an external commit.
    pub(super) fn resync(&mut self) {
        self.way = Way::Idle;
        self.stats.resyncs += 1;
        self.set_status(Status::Resyncing);
        if !self.requests.awaits(Purpose::GroupInfo) {
            self.ask(Purpose::GroupInfo, DeliveryRequest::FetchGroupInfo);
        }
    }

    pub(super) fn group_info_came(&mut self, info: &Blob, tree: &Blob, moment: Moment) {
        if self.status != Status::Resyncing {
            return;
        }
        match self.build_external(info, tree, moment) {
            Ok(request) => {
                self.ask(Purpose::Submit, request);
            }
            Err(error) => {
                tracing::warn!(%error, "no way back by external commit, joining anew");
                self.stats.joins_refused += 1;
                self.event(SessionEvent::Ignored { reason: error.to_string() });
                self.forget_membership();
                self.join(moment);
            }
        }
    }

    fn build_external(
        &mut self,
        info: &Blob,
        tree: &Blob,
        moment: Moment,
    ) -> Result<DeliveryRequest, SessionError> {
        let options = ExternalJoinOptions { resync: true, ..ExternalJoinOptions::default() };
        let rng = &mut *self.rng;
        let pending = self.client.join_external(info, Some(tree), options, rng, moment.unix)?;
        // In an epoch of the past sit some who have been removed since.
        if let Some(membership) = &self.membership
            && (pending.epoch() <= membership.epoch() || {
                let envelope = mls::Envelope::peek(pending.commit()).ok();
                envelope.and_then(|envelope| envelope.group_id).as_ref()
                    != Some(membership.group.id())
            })
        {
            return Err(SessionError::OldState { expected: membership.epoch() });
        }
        let request = DeliveryRequest::Submit {
            proposals: Vec::new(),
            commit: pending.commit().into(),
            welcome: None,
            group_info: pending
                .group_info(GroupInfoOptions { tree: false, external_pub: true })?
                .into(),
        };
        self.way = Way::External(Box::new(pending));
        Ok(request)
    }

    /// The external commit of one's own, if this message is it.
    pub(super) fn take_external(&mut self, message: &[u8]) -> Option<Group> {
        match std::mem::replace(&mut self.way, Way::Idle) {
            Way::External(pending) if pending.is_echo(message) => Some(pending.confirm()),
            other => {
                self.way = other;
                None
            }
        }
    }

    /// A membership begins: media keys are made, the first epoch goes in, and the others hear that
    /// it is live.
    pub(super) fn begin(&mut self, group: Group, moment: Moment) {
        let found = trust::call_parameters(&group.context().extensions, &self.config.floor);
        let parameters = match found {
            Ok(parameters) => parameters,
            Err(error) => {
                self.stats.joins_refused += 1;
                let reason = SessionError::from(error).to_string();
                self.end(Status::Failed { reason });
                return;
            }
        };
        self.way = Way::Idle;
        self.config.parameters = CallParameters::clone(&parameters);
        self.outputs.push_back(Output::Begin(parameters));
        self.sending = true;
        self.membership = Some(Membership::new(group, moment.now));
        self.announce_epoch(None);
        self.apply_held(moment);
    }
}
