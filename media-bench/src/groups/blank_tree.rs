//! A group right after everybody was added at once: its tree is blank.

use anyhow::Result;
use mls::CipherSuite;

use super::{Implementation, Member};

/// A member who has just added all others in one commit.
pub struct Newborn(pub Box<dyn Member>);

impl Newborn {
    /// Key packages for groups of up to `members`, made by this project: who made them does not matter.
    ///
    /// # Errors
    /// When the backend lacks the suite.
    pub fn key_packages(suite: CipherSuite, members: u32) -> Result<Vec<Vec<u8>>> {
        let client = |leaf| Implementation::OursAwsLc.client(suite, &format!("added {leaf}"));
        (1..members).map(|leaf| client(leaf)?.key_package()).collect()
    }

    /// Creates a group and adds the clients of all these key packages.
    ///
    /// # Errors
    /// When the implementation refuses.
    pub fn create(
        implementation: Implementation,
        suite: CipherSuite,
        key_packages: &[Vec<u8>],
    ) -> Result<Self> {
        let mut creator = implementation.client(suite, "creator")?.create(b"newborn")?;
        creator.add(key_packages)?;
        creator.apply()?;
        creator.settle()?;
        Ok(Self(creator))
    }
}
