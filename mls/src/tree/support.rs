//! How many members support what, kept up to date so that a rule on all members needs no walk over the tree.

use std::collections::BTreeMap;

use super::LeafRef;
use crate::wire::{CipherSuite, CredentialType, ExtensionType, ProposalType, ProtocolVersion};

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

    pub(super) fn add(&mut self, leaf: LeafRef<'_>) {
        for feature in features(leaf) {
            *self.0.entry(feature).or_default() += 1;
        }
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

    pub(super) fn add(&mut self, leaf: LeafRef<'_>) {
        self.change(leaf, 1);
    }

    pub(super) fn subtract(&mut self, leaf: LeafRef<'_>) {
        self.change(leaf, -1);
    }

    fn change(&mut self, leaf: LeafRef<'_>, by: i32) {
        for feature in features(leaf) {
            *self.0.entry(feature).or_default() += by;
        }
    }
}

/// The features of one leaf, each once even where a list repeats it.
fn features(leaf: LeafRef<'_>) -> Vec<Feature> {
    let listed = leaf.capabilities();
    let mut features: Vec<Feature> = listed
        .versions
        .into_iter()
        .map(Feature::Version)
        .chain(listed.cipher_suites.into_iter().map(Feature::CipherSuite))
        .chain(listed.extensions.into_iter().map(Feature::Extension))
        .chain(listed.proposals.into_iter().map(Feature::Proposal))
        .chain(listed.credentials.into_iter().map(Feature::Credential))
        .chain([Feature::CredentialInUse(leaf.credential().credential_type())])
        .collect();
    features.sort_unstable();
    features.dedup();
    features
}
