//! Single chains.

use mls::{
    CredentialValidator, SignatureKeyPair, UnixTime,
    crypto::Suite,
    wire::{CipherSuite, Credential, SignaturePublicKey},
    x509::{Expiry, MAX_CERTIFICATE, X509Error, X509Names, X509Validator},
};
use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, ExtendedKeyUsagePurpose, IsCa,
    KeyUsagePurpose, SanType,
};

use crate::{
    authority::{Authority, PublicKey, authority, email, intermediate, member, member_between},
    support::{NOW, rng, suite, suites},
};

/// An authority, somebody's key, and a validator that trusts the authority.
struct Scene {
    authority: Authority,
    keys: SignatureKeyPair,
    validator: X509Validator,
}

impl Scene {
    fn new(seed: u64) -> Self {
        let authority = Authority::new("root");
        let keys = SignatureKeyPair::generate(suite(), &mut rng(seed)).unwrap();
        let validator = X509Validator::new([authority.root_der()]).unwrap();
        Self { authority, keys, validator }
    }

    fn key(&self) -> PublicKey {
        PublicKey::of(suite(), &self.keys)
    }

    fn certify(&self, params: &CertificateParams) -> Credential {
        self.authority.certify(params, &self.key())
    }

    fn check(&self, credential: &Credential) -> Result<X509Names, X509Error> {
        self.validator.check(credential, &self.keys.public())
    }

    fn verdict(&self, params: &CertificateParams) -> Result<X509Names, X509Error> {
        self.check(&self.certify(params))
    }
}

fn year(year: u64) -> UnixTime {
    UnixTime((year - 1970) * 31_557_600)
}

/// Whether the chain fails by RFC 5280, for a reason that says so.
fn fails(verdict: Result<X509Names, X509Error>, reason: &str) {
    match verdict {
        Err(X509Error::Chain(error)) => assert!(format!("{error:?}").contains(reason), "{error:?}"),
        other => panic!("expected {reason}, got {other:?}"),
    }
}

#[test]
fn a_chain_for_a_key_of_every_signature_scheme() {
    let authority = Authority::new("root");
    let validator = X509Validator::new([authority.root_der()]).unwrap();
    let mut tried = Vec::new();
    for (backend, suite) in suites() {
        let curve448 = [
            CipherSuite::X448_AES256GCM_SHA512_ED448,
            CipherSuite::X448_CHACHA20POLY1305_SHA512_ED448,
        ];
        if curve448.contains(&suite.id) {
            // The authority's library knows no Ed448; see the test with a certificate put together by hand.
            continue;
        }
        let identity = authority.identity("alice", suite, &mut rng(1));
        let names = validator.check(identity.credential(), &identity.public()).unwrap();
        assert_eq!(names.emails, ["alice@example.org"], "{backend} {suite:?}");
        validator.check_at(identity.credential(), NOW).unwrap();
        tried.push(identity.public().0.len());
    }
    tried.sort_unstable();
    tried.dedup();
    assert_eq!(tried, [32, 65, 97, 133], "Ed25519, P-256, P-384, P-521");
}

/// Ed448 keys are compared like all others. The certificate is one for Ed25519 with its public key exchanged, so only the
/// signature of the chain can be at fault.
#[test]
fn a_key_of_ed448_is_compared_under_its_own_identifier() {
    let scene = Scene::new(2);
    let Credential::X509(mut chain) = scene.certify(&member(&"alice".repeat(20))) else {
        panic!("expected a chain")
    };
    let info = [
        &[0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00],
        scene.keys.public().as_bytes(),
    ]
    .concat();
    let place = chain[0].windows(info.len()).position(|window| window == info).unwrap();
    let key448 = vec![7; 57];
    let info448 = [
        &[0x30, 0x43, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x71, 0x03, 0x3a, 0x00],
        key448.as_slice(),
    ]
    .concat();
    let grown = info448.len() - info.len();
    chain[0].splice(place..place + info.len(), info448);
    // Certificate and TBSCertificate are sequences with two bytes of length.
    for at in [2, 6] {
        assert_eq!(chain[0][at - 2..at], [0x30, 0x82]);
        let length =
            u16::from_be_bytes([chain[0][at], chain[0][at + 1]]) + u16::try_from(grown).unwrap();
        chain[0][at..at + 2].copy_from_slice(&length.to_be_bytes());
    }
    let credential = Credential::X509(chain);
    fails(
        scene.validator.check(&credential, &SignaturePublicKey(key448)),
        "InvalidSignatureForPublicKey",
    );
    let other = SignaturePublicKey(vec![8; 57]);
    assert_eq!(scene.validator.check(&credential, &other), Err(X509Error::OtherKey));
}

#[test]
fn a_chain_to_another_root() {
    let scene = Scene::new(3);
    let credential = scene.certify(&member("alice"));
    let other = X509Validator::new([Authority::new("other").root_der()]).unwrap();
    fails(other.check(&credential, &scene.keys.public()), "UnknownIssuer");
    // One of the same name with another key.
    let namesake = X509Validator::new([Authority::new("root").root_der()]).unwrap();
    fails(namesake.check(&credential, &scene.keys.public()), "InvalidSignatureForPublicKey");
    let both = [Authority::new("root").root_der(), scene.authority.root_der()];
    let both = X509Validator::new(both).unwrap();
    assert!(both.check(&credential, &scene.keys.public()).is_ok());
    let none = X509Validator::new([]).unwrap();
    fails(none.check(&credential, &scene.keys.public()), "UnknownIssuer");
    let garbage = [scene.authority.root_der(), b"garbage".to_vec()];
    assert_eq!(X509Validator::new(garbage).unwrap_err(), X509Error::Root(1));
}

#[test]
fn an_expired_chain_was_valid_once() {
    let scene = Scene::new(4);
    let expired = scene.certify(&member_between("alice", 2022, 2023));
    assert!(scene.check(&expired).is_ok(), "the verdict on a commit must not depend on the clock");
    let error = |now| scene.validator.check_at(&expired, now).unwrap_err().to_string();
    assert!(error(NOW).contains("CertExpired"), "{}", error(NOW));
    assert!(error(year(2021)).contains("CertNotValidYet"), "{}", error(year(2021)));
    scene.validator.check_at(&expired, UnixTime(year(2022).0 + 86_400 * 100)).unwrap();

    let key = scene.keys.public();
    assert!(scene.validator.validate(&expired, &key, NOW).is_ok());
    assert!(scene.validator.validate_current(&expired, NOW).is_err());
    let strict = scene.validator.clone().expiry(Expiry::Always);
    assert!(strict.validate(&expired, &key, NOW).is_err());
    let current = scene.certify(&member("alice"));
    assert!(strict.validate(&current, &key, NOW).is_ok());
    assert!(scene.validator.validate_current(&current, NOW).is_ok());
    // An intermediate certificate counts as well as the member's.
    let late = intermediate(&scene.authority.root, authority("late", 2026, 2035));
    let certificate = member_between("alice", 2024, 2030).signed_by(&scene.key(), &late).unwrap();
    let credential = Credential::X509(vec![certificate.der().to_vec(), late.der().to_vec()]);
    assert!(scene.check(&credential).is_ok(), "from 2026 both are valid");
    assert!(scene.validator.check_at(&credential, year(2025)).is_err());
}

#[test]
fn a_chain_that_was_never_valid_as_a_whole() {
    let scene = Scene::new(5);
    fails(scene.verdict(&member_between("alice", 2036, 2037)), "CertExpired");
    fails(scene.verdict(&member_between("alice", 2010, 2011)), "CertExpired");
    fails(scene.verdict(&member_between("alice", 2027, 2026)), "InvalidCertValidity");
}

#[test]
fn a_certificate_for_another_key() {
    let scene = Scene::new(6);
    let credential = scene.certify(&member("alice"));
    let other = SignatureKeyPair::generate(suite(), &mut rng(60)).unwrap().public();
    assert_eq!(scene.validator.check(&credential, &other), Err(X509Error::OtherKey));
    let mut shorter = scene.keys.public();
    shorter.0.pop();
    for key in [shorter, SignaturePublicKey(Vec::new()), SignaturePublicKey(vec![4; 1000])] {
        assert_eq!(scene.validator.check(&credential, &key), Err(X509Error::OtherKey));
    }
}

#[test]
fn a_key_under_an_algorithm_that_is_not_the_suites() {
    let scene = Scene::new(7);
    // The bytes of an Ed25519 key, said to be one of P-256.
    let disguised = PublicKey { algorithm: &rcgen::PKCS_ECDSA_P256_SHA256, ..scene.key() };
    let credential = scene.authority.certify(&member("alice"), &disguised);
    assert_eq!(scene.check(&credential), Err(X509Error::OtherKey));
    // A point of P-256 in its compressed form.
    let p256 =
        mls::crypto::default_provider().suite(CipherSuite::P256_AES128GCM_SHA256_P256).unwrap();
    let keys = SignatureKeyPair::generate(p256, &mut rng(70)).unwrap();
    let full = keys.public().0;
    let mut bytes = full[..33].to_vec();
    bytes[0] = 2 + (full[64] & 1);
    let compressed = PublicKey { bytes: bytes.clone(), algorithm: &rcgen::PKCS_ECDSA_P256_SHA256 };
    let credential = scene.authority.certify(&member("alice"), &compressed);
    for key in [full, bytes] {
        assert_eq!(
            scene.validator.check(&credential, &SignaturePublicKey(key)),
            Err(X509Error::OtherKey)
        );
    }
    let rsa = PublicKey { bytes: vec![0x30; 270], algorithm: &rcgen::PKCS_RSA_SHA256 };
    let credential = scene.authority.certify(&member("alice"), &rsa);
    assert_eq!(scene.check(&credential), Err(X509Error::OtherKey));
}

#[test]
fn certificates_that_may_not_do_what_they_do() {
    let scene = Scene::new(8);
    // A member that is an authority.
    let mut params = member("alice");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    fails(scene.verdict(&params), "CaUsedAsEndEntity");
    // A member's certificate that signs another.
    let mallory = intermediate(&scene.authority.root, member("mallory"));
    let certificate = member("alice").signed_by(&scene.key(), &mallory).unwrap();
    let credential = Credential::X509(vec![certificate.der().to_vec(), mallory.der().to_vec()]);
    fails(scene.check(&credential), "EndEntityUsedAsCa");
    // An authority that may sign no other authority.
    let mut narrow = authority("narrow", 2021, 2035);
    narrow.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    let narrow = intermediate(&scene.authority.root, narrow);
    let below = intermediate(&narrow, authority("below", 2021, 2035));
    let certificate = member("alice").signed_by(&scene.key(), &below).unwrap();
    let chain = [certificate.der(), below.der(), narrow.der()].map(|der| der.to_vec());
    fails(scene.check(&Credential::X509(chain.to_vec())), "PathLenConstraintViolated");
    // An authority that may not sign certificates.
    let mut silent = authority("silent", 2021, 2035);
    silent.key_usages = vec![KeyUsagePurpose::CrlSign];
    let silent = intermediate(&scene.authority.root, silent);
    let certificate = member("alice").signed_by(&scene.key(), &silent).unwrap();
    let credential = Credential::X509(vec![certificate.der().to_vec(), silent.der().to_vec()]);
    assert_eq!(scene.check(&credential), Err(X509Error::KeyUsage));
}

#[test]
fn key_usage() {
    let scene = Scene::new(9);
    let mut params = member("alice");
    params.key_usages = Vec::new();
    assert!(scene.verdict(&params).is_ok(), "without the extension every use is permitted");
    params.key_usages = vec![KeyUsagePurpose::KeyAgreement, KeyUsagePurpose::KeyEncipherment];
    assert_eq!(scene.verdict(&params), Err(X509Error::KeyUsage));
    params.key_usages.push(KeyUsagePurpose::DigitalSignature);
    assert!(scene.verdict(&params).is_ok());
}

#[test]
fn an_extended_key_usage_that_the_application_asks_for() {
    const CLIENT_AUTH: &[u8] = &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x02];
    let mut scene = Scene::new(10);
    scene.validator = scene.validator.require_purpose(CLIENT_AUTH);
    let mut params = member("alice");
    assert_eq!(scene.verdict(&params), Err(X509Error::KeyUsage));
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    fails(scene.verdict(&params), "RequiredEkuNotFound");
    params.extended_key_usages.push(ExtendedKeyUsagePurpose::ClientAuth);
    assert!(scene.verdict(&params).is_ok());
}

#[test]
fn names_are_those_of_the_subject_alt_name() {
    let scene = Scene::new(11);
    let mut params = member("alice");
    params.subject_alt_names.extend([
        SanType::DnsName("b.example.org".try_into().unwrap()),
        SanType::DnsName("a.example.org".try_into().unwrap()),
        SanType::URI("im:alice@example.org".try_into().unwrap()),
        SanType::IpAddress([127, 0, 0, 1].into()),
    ]);
    let names = scene.verdict(&params).unwrap();
    assert_eq!(names.emails, ["alice@example.org"]);
    assert_eq!(names.dns, ["a.example.org", "b.example.org"]);
    assert_eq!(names.uris, ["im:alice@example.org"]);
    assert_eq!(X509Names::of(&scene.certify(&params)), Ok(names));
    params.subject_alt_names = vec![SanType::IpAddress([127, 0, 0, 1].into())];
    assert_eq!(scene.verdict(&params), Err(X509Error::NoNames));
    params.subject_alt_names = Vec::new();
    assert_eq!(scene.verdict(&params), Err(X509Error::NoNames));
    assert_eq!(X509Names::of(&Credential::basic("alice")), Err(X509Error::OtherType));

    let picky = scene.validator.clone().accept_names(|names| names.dns.is_empty());
    let check =
        |params: &CertificateParams| picky.check(&scene.certify(params), &scene.keys.public());
    assert!(check(&member("alice")).is_ok());
    let mut params = member("alice");
    params.subject_alt_names.push(SanType::DnsName("x.org".try_into().unwrap()));
    assert_eq!(check(&params), Err(X509Error::NamesRejected));
}

#[test]
fn a_successor_has_the_same_names() {
    let scene = Scene::new(12);
    let old = scene.certify(&member_between("alice", 2025, 2026));
    let successor = |new: &Credential| scene.validator.validate_successor(&old, new);
    assert!(successor(&scene.certify(&member("alice"))).is_ok());
    let rejected = successor(&scene.certify(&member("bob"))).unwrap_err();
    assert_eq!(rejected, X509Error::OtherNames.into());
    let mut more = member("alice");
    more.subject_alt_names.push(email("root"));
    assert!(successor(&scene.certify(&more)).is_err(), "nor may a name be added");
    assert!(successor(&Credential::basic("alice")).is_err());
    let lenient = scene.validator.clone().other_types(mls::AcceptAnyCredential);
    let basic = Credential::basic("alice");
    assert!(lenient.validate_successor(&basic, &Credential::basic("x")).is_ok());
    assert!(lenient.validate_successor(&basic, &old).is_err());
    assert!(lenient.validate_successor(&old, &basic).is_err());
    assert!(scene.validator.validate_successor(&basic, &basic).is_err());
}

#[test]
fn intermediates_that_everybody_knows_may_be_left_out() {
    let scene = Scene::new(13);
    let Credential::X509(mut chain) = scene.certify(&member("alice")) else {
        panic!("expected a chain")
    };
    chain.truncate(1);
    let short = Credential::X509(chain);
    fails(scene.check(&short), "UnknownIssuer");
    let knowing =
        scene.validator.clone().known_intermediates([scene.authority.intermediate.der().to_vec()]);
    assert!(knowing.check(&short, &scene.keys.public()).is_ok());
}

#[test]
fn chains_that_are_too_long() {
    let scene = Scene::new(14);
    let mut issuers = vec![intermediate(&scene.authority.root, authority("level 0", 2021, 2035))];
    for level in 1..6 {
        let name = format!("level {level}");
        let next = intermediate(issuers.last().unwrap(), authority(&name, 2021, 2035));
        issuers.push(next);
    }
    let chain = |levels: usize| {
        let certificate = member("alice").signed_by(&scene.key(), &issuers[levels - 1]).unwrap();
        let mut chain = vec![certificate.der().to_vec()];
        chain.extend(issuers[..levels].iter().rev().map(|issuer| issuer.der().to_vec()));
        Credential::X509(chain)
    };
    assert!(scene.check(&chain(5)).is_ok(), "six certificates");
    assert_eq!(scene.check(&chain(6)), Err(X509Error::TooLong));
    let mut params = member("alice");
    let content = vec![0; MAX_CERTIFICATE];
    params.custom_extensions = vec![CustomExtension::from_oid_content(&[1, 2, 3, 4], content)];
    assert_eq!(scene.verdict(&params), Err(X509Error::TooLong));
}

#[test]
fn what_is_no_chain() {
    let scene = Scene::new(15);
    assert_eq!(scene.check(&Credential::X509(Vec::new())), Err(X509Error::Empty));
    assert_eq!(scene.check(&Credential::basic("alice")), Err(X509Error::OtherType));
    let unknown = Credential::Other(mls::wire::CredentialType(0xf000), vec![1]);
    assert_eq!(scene.check(&unknown), Err(X509Error::OtherType));
    assert!(
        scene.validator.validate(&Credential::basic("alice"), &scene.keys.public(), NOW).is_err()
    );
    let Credential::X509(chain) = scene.certify(&member("alice")) else {
        panic!("expected a chain")
    };
    for length in 0..chain[0].len() {
        let cut = Credential::X509(vec![chain[0][..length].to_vec(), chain[1].clone()]);
        assert!(scene.check(&cut).is_err(), "{length} bytes");
    }
    for (which, certificate) in chain.iter().enumerate() {
        for place in 0..certificate.len() {
            let mut altered = chain.clone();
            altered[which][place] ^= 1;
            let verdict = scene.check(&Credential::X509(altered));
            assert!(verdict.is_err(), "byte {place} of certificate {which}");
        }
    }
}

#[test]
fn a_critical_extension_that_nobody_knows() {
    let scene = Scene::new(16);
    let mut params = member("alice");
    let mut extension = CustomExtension::from_oid_content(&[1, 2, 3, 4], vec![5, 0]);
    params.custom_extensions = vec![extension.clone()];
    assert!(scene.verdict(&params).is_ok());
    extension.set_criticality(true);
    params.custom_extensions = vec![extension];
    let verdict = scene.verdict(&params);
    assert!(matches!(verdict, Err(X509Error::Malformed | X509Error::Chain(_))), "{verdict:?}");
}

#[test]
fn a_validator_is_printed_without_what_it_holds() {
    let scene = Scene::new(17);
    let printed = format!("{:?}", scene.validator);
    assert_eq!(printed, "X509Validator { roots: 1, expiry: WhenSent, .. }");
    let _: &Suite = suite();
}
