//! How many members support what, kept up to date so that a rule on all members needs no walk over the tree.

use std::collections::{BTreeMap, HashMap};

use super::{LeafRef, leaf::parse};
use crate::wire::{
    Capabilities, CipherSuite, CredentialType, ExtensionType, ProposalType, ProtocolVersion,
};

/// Something that the leaf of a member lists in its capabilities, or uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Feature {
    /// A protocol version in the capabilities.
    Version(ProtocolVersion),
    /// A cipher suite in the capabilities.
    CipherSuite(CipherSuite),
    /// An extension type in the capabilities. The default types (RFC 9420 section 7.2) are not listed there.
    Extension(ExtensionType),
    /// A proposal type in the capabilities. The default types (RFC 9420 section 7.2) are not listed there.
    Proposal(ProposalType),
    /// A credential type in the capabilities.
    Credential(CredentialType),
    /// The type of the member's own credential.
    CredentialInUse(CredentialType),
}

/// The number of leaves with each feature.
#[derive(Clone, Debug, Default)]
pub(super) struct Support(BTreeMap<Feature, u32>);

impl Support {
    pub(super) fn count(&self, feature: Feature) -> u32 {
        self.0.get(&feature).copied().unwrap_or_default()
    }

    pub(super) fn features(&self) -> impl Iterator<Item = Feature> {
        self.0.keys().copied()
    }

    /// Counts the features of all leaves of a tree. Most members of a group list the same capabilities, which are read once.
    pub(super) fn of_all<'a>(leaves: impl Iterator<Item = LeafRef<'a>>) -> Self {
        let mut alike: HashMap<Supported<'a>, u32> = HashMap::new();
        for leaf in leaves {
            *alike.entry(leaf.supported()).or_default() += 1;
        }
        let mut support = Self::default();
        for (supported, count) in alike {
            for feature in supported.features() {
                *support.0.entry(feature).or_default() += count;
            }
        }
        support
    }

    pub(super) fn apply(&mut self, difference: SupportDifference) {
        for (feature, difference) in difference.0 {
            let count = self.count(feature).saturating_add_signed(difference);
            if count == 0 {
                self.0.remove(&feature);
            } else {
                self.0.insert(feature, count);
            }
        }
    }
}

/// By how much the number of leaves with each feature changes.
#[derive(Debug, Default)]
pub(super) struct SupportDifference(BTreeMap<Feature, i32>);

impl SupportDifference {
    pub(super) fn of(&self, feature: Feature) -> i32 {
        self.0.get(&feature).copied().unwrap_or_default()
    }

    pub(super) fn features(&self) -> impl Iterator<Item = Feature> {
        self.0.keys().copied()
    }

    /// One leaf takes the place of another; `None` is a blank one.
    pub(super) fn replace(&mut self, old: Option<LeafRef<'_>>, new: Option<LeafRef<'_>>) {
        let (old, new) = (old.map(LeafRef::supported), new.map(LeafRef::supported));
        if old != new {
            self.change(old, -1);
            self.change(new, 1);
        }
    }

    fn change(&mut self, supported: Option<Supported<'_>>, by: i32) {
        for feature in supported.into_iter().flat_map(Supported::features) {
            *self.0.entry(feature).or_default() += by;
        }
    }
}

/// What a leaf supports and uses, not yet read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Supported<'a> {
    /// The encoded capabilities, known to be well formed.
    pub(super) capabilities: &'a [u8],
    pub(super) credential_type: CredentialType,
}

impl Supported<'_> {
    /// The features, each once even where a list repeats it.
    fn features(self) -> Vec<Feature> {
        let listed: Capabilities = parse(self.capabilities);
        let mut features: Vec<Feature> = listed
            .versions
            .into_iter()
            .map(Feature::Version)
            .chain(listed.cipher_suites.into_iter().map(Feature::CipherSuite))
            .chain(listed.extensions.into_iter().map(Feature::Extension))
            .chain(listed.proposals.into_iter().map(Feature::Proposal))
            .chain(listed.credentials.into_iter().map(Feature::Credential))
            .chain([Feature::CredentialInUse(self.credential_type)])
            .collect();
        features.sort_unstable();
        features.dedup();
        features
    }
}
