//! Where a peer deviates, shown: when one of these tests fails, the peer has changed and the schedules need no exception for
//! it any more.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::member::{
    Change, CommitOptions, EXTENSION, Extensions, Implementation, Member, Outsider, Profile,
    Received, outsider,
};

const PSKS: [&[u8]; 2] = [b"one", b"two"];

fn client(implementation: Implementation, name: &str) -> Box<dyn Outsider> {
    outsider(Profile {
        implementation,
        name: name.to_owned(),
        suite: 1,
        private: false,
        padded: false,
        psks: PSKS.map(|id| (id.to_vec(), [7; 32])).into(),
        seed: u64::try_from(name.len()).unwrap(),
    })
}

fn created(by: Implementation) -> Box<dyn Member> {
    client(by, "creator").create(b"a group")
}

/// The creator, the group's only member, adds somebody.
fn added(creator: &mut Box<dyn Member>, implementation: Implementation) -> Box<dyn Member> {
    let mut newcomer = client(implementation, "newcomer");
    let changes = vec![Change::Add(newcomer.key_package())];
    let options = CommitOptions { changes, path: true, tree_in_welcome: true };
    let committed = creator.commit(&options);
    creator.confirm();
    newcomer.join(&committed.welcome.unwrap(), None)
}

fn by_value(change: Change) -> CommitOptions {
    CommitOptions { changes: vec![change], path: true, tree_in_welcome: false }
}

fn accepts(member: &mut Box<dyn Member>, message: &[u8]) -> bool {
    catch_unwind(AssertUnwindSafe(|| member.receive(message))).is_ok()
}

/// RFC 9420 section 12.4.1; see [`Implementation::orders_psks_as_listed`].
#[test]
fn a_commit_with_psks_by_value_and_by_reference_is_refused_when_openmls_made_it() {
    for committer in Implementation::ALL {
        for receiver in Implementation::ALL {
            let mut creator = created(committer);
            let mut newcomer = added(&mut creator, receiver);
            let proposal = newcomer.propose(&Change::Psk(PSKS[0].to_vec()));
            assert_eq!(creator.receive(&proposal), Received::Proposal);
            let committed = creator.commit(&by_value(Change::Psk(PSKS[1].to_vec())));
            assert_eq!(
                accepts(&mut newcomer, &committed.commit),
                committer.orders_psks_as_listed(),
                "{committer} to {receiver}"
            );
        }
    }
}

/// RFC 9420 sections 12.1.7 and 13.4; see `World::some_extensions`.
#[test]
fn openmls_alone_refuses_an_extension_that_required_capabilities_does_not_list() {
    for receiver in Implementation::ALL {
        let mut creator = created(Implementation::MlsAwsLc);
        let mut newcomer = added(&mut creator, receiver);
        let extensions = Extensions::from([(EXTENSION, vec![1, 2, 3])]);
        let committed = creator.commit(&by_value(Change::Extensions(extensions)));
        assert_eq!(
            accepts(&mut newcomer, &committed.commit),
            receiver != Implementation::OpenMls,
            "{receiver}"
        );
    }
}

/// See [`Implementation::reads_data_of_departed`].
#[test]
fn mls_rs_alone_refuses_late_data_of_a_member_that_has_left() {
    for receiver in Implementation::ALL {
        let mut creator = created(receiver);
        let mut newcomer = added(&mut creator, Implementation::MlsAwsLc);
        let message = newcomer.protect(b"late", b"");
        creator.commit(&by_value(Change::Remove(newcomer.leaf())));
        creator.confirm();
        assert_eq!(
            accepts(&mut creator, &message),
            receiver.reads_data_of_departed(),
            "{receiver}"
        );
    }
}
