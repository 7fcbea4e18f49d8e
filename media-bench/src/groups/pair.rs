//! Two members of one implementation at the far ends of a full tree.

use anyhow::{Context, Result, ensure};

use super::{FullTree, Implementation, Member};

/// The member at the first leaf and the one at the last leaf.
pub struct Pair {
    /// At the first leaf.
    pub committer: Box<dyn Member>,
    /// At the last leaf: of the committer's path it shares the root alone.
    pub receiver: Box<dyn Member>,
}

impl Pair {
    /// Seats two members in a full tree, and lets both commit, so that it is full again.
    ///
    /// # Errors
    /// When an implementation refuses; when the two do not agree in the end.
    pub fn seat(tree: &FullTree, implementation: Implementation) -> Result<Self> {
        let mut near = implementation.client(tree.suite(), "near")?;
        let mut far = implementation.client(tree.suite(), "far")?;
        let (committer, receiver) = if tree.members() == 2 {
            let key_package = far.key_package()?;
            let mut committer = near.create(b"pair")?;
            let welcome = committer.add(&[key_package])?.welcome.context("somebody was added")?;
            committer.apply()?;
            (committer, far.join(&welcome)?)
        } else {
            let welcome = tree.invite_pair(&near.key_package()?, &far.key_package()?)?;
            (near.join(&welcome)?, far.join(&welcome)?)
        };
        let mut pair = Self { committer, receiver };
        let commit = pair.receiver.commit()?;
        pair.committer.receive(&commit)?;
        pair.receiver.apply()?;
        pair.rotate()?;
        Ok(pair)
    }

    /// The committer commits, the receiver follows. Gives the commit.
    ///
    /// # Errors
    /// When an implementation refuses; when the two do not agree.
    pub fn rotate(&mut self) -> Result<Vec<u8>> {
        let commit = self.committer.commit()?;
        self.receiver.receive(&commit)?;
        self.committer.apply()?;
        self.check()?;
        Ok(commit)
    }

    /// Both are in the same epoch.
    ///
    /// # Errors
    /// When they are not.
    pub fn check(&self) -> Result<()> {
        let (near, far) =
            (self.committer.epoch_authenticator()?, self.receiver.epoch_authenticator()?);
        ensure!(near == far, "committer and receiver disagree");
        Ok(())
    }
}
