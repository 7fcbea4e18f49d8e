use std::collections::BTreeSet;

/// What the members say of the external public key in the epoch's GroupInfo, which only they can compare with the
/// group's (RFC 9420 section 12.4.3.2). Who comes back by a false one is understood by nobody.
#[derive(Debug, Default)]
pub(super) struct Confirmations {
    /// The hash of the key that is served.
    served: Option<Vec<u8>>,
    agree: BTreeSet<u32>,
    differ: BTreeSet<u32>,
}

impl Confirmations {
    /// Begins with a GroupInfo of which nobody has said anything.
    pub(super) fn of(served: Option<Vec<u8>>) -> Self {
        Self { served, ..Self::default() }
    }

    /// Takes what a member has acknowledged the epoch with. Says whether it is another key, heard for the first time.
    pub(super) fn hear(&mut self, leaf: u32, said: &[u8]) -> bool {
        if self.served.as_deref() == Some(said) {
            self.differ.remove(&leaf);
            self.agree.insert(leaf);
            return false;
        }
        self.agree.remove(&leaf);
        self.differ.insert(leaf)
    }

    /// Whether more members know another key than this one. The committer, who has made the GroupInfo, is no witness
    /// for it.
    pub(super) fn is_disputed(&self, committer: Option<u32>) -> bool {
        let witnesses = self.agree.iter().filter(|leaf| Some(**leaf) != committer);
        self.differ.len() > witnesses.count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_have_to_differ_than_agree_beside_the_committer() {
        let mut said = Confirmations::of(Some(vec![1]));
        assert!(!said.is_disputed(Some(0)));
        assert!(!said.hear(0, &[1]) && said.hear(2, &[9]) && !said.hear(2, &[9]));
        assert!(said.is_disputed(Some(0)) && !said.is_disputed(None));
        assert!(!said.hear(3, &[1]));
        assert!(!said.is_disputed(Some(0)));
        assert!(said.hear(3, &[8]));
        assert!(said.is_disputed(Some(0)));
        assert!(!said.hear(2, &[1]) && !said.hear(3, &[1]));
        assert!(!said.is_disputed(Some(0)));
    }
}
