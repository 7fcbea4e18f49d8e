//! A certification authority for tests.

use mls::{
    Identity, SignatureKeyPair,
    crypto::Suite,
    wire::{CipherSuite, Credential},
};
use rand::rngs::StdRng;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, IsCa, KeyPair,
    KeyUsagePurpose, PublicKeyData, SanType, SignatureAlgorithm, date_time_ymd,
};

/// The root of most tests, valid from 2020 to 2040, and what it has signed.
pub(crate) struct Authority {
    pub(crate) root: CertifiedIssuer<'static, KeyPair>,
    pub(crate) intermediate: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        let root = authority(name, 2020, 2040);
        let root = CertifiedIssuer::self_signed(root, KeyPair::generate().unwrap()).unwrap();
        let intermediate = intermediate(&root, authority("intermediate", 2021, 2035));
        Self { root, intermediate }
    }

    /// The certificate of the root.
    pub(crate) fn root_der(&self) -> Vec<u8> {
        self.root.der().to_vec()
    }

    /// The credential that `params` make for a key, by way of the intermediate authority.
    pub(crate) fn certify(&self, params: &CertificateParams, key: &PublicKey) -> Credential {
        let certificate = params.signed_by(key, &self.intermediate).unwrap();
        Credential::X509(vec![certificate.der().to_vec(), self.intermediate.der().to_vec()])
    }

    /// Somebody with this name and a certificate for it.
    pub(crate) fn identity(&self, name: &str, suite: &'static Suite, rng: &mut StdRng) -> Identity {
        let keys = SignatureKeyPair::generate(suite, rng).unwrap();
        let credential = self.certify(&member(name), &PublicKey::of(suite, &keys));
        Identity::new(credential, keys)
    }
}

pub(crate) fn intermediate(
    issuer: &CertifiedIssuer<'static, KeyPair>,
    params: CertificateParams,
) -> CertifiedIssuer<'static, KeyPair> {
    CertifiedIssuer::signed_by(params, KeyPair::generate().unwrap(), issuer).unwrap()
}

fn named(name: &str, from: i32, to: i32) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.not_before = date_time_ymd(from, 1, 1);
    params.not_after = date_time_ymd(to, 1, 1);
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

/// A certificate that may sign others.
pub(crate) fn authority(name: &str, from: i32, to: i32) -> CertificateParams {
    let mut params = named(name, from, to);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    params
}

/// A member's certificate, valid in 2026 and 2027: the time of the tests is January 2027.
pub(crate) fn member(name: &str) -> CertificateParams {
    member_between(name, 2026, 2028)
}

pub(crate) fn member_between(name: &str, from: i32, to: i32) -> CertificateParams {
    let mut params = named(name, from, to);
    params.subject_alt_names = vec![email(name)];
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params
}

pub(crate) fn email(name: &str) -> SanType {
    SanType::Rfc822Name(format!("{name}@example.org").try_into().unwrap())
}

/// A signature key of a suite as rcgen takes it.
pub(crate) struct PublicKey {
    pub(crate) bytes: Vec<u8>,
    pub(crate) algorithm: &'static SignatureAlgorithm,
}

impl PublicKey {
    pub(crate) fn of(suite: &Suite, keys: &SignatureKeyPair) -> Self {
        let algorithm = match suite.id {
            CipherSuite::P256_AES128GCM_SHA256_P256 => &rcgen::PKCS_ECDSA_P256_SHA256,
            CipherSuite::P384_AES256GCM_SHA384_P384 => &rcgen::PKCS_ECDSA_P384_SHA384,
            CipherSuite::P521_AES256GCM_SHA512_P521 => &rcgen::PKCS_ECDSA_P521_SHA512,
            _ => &rcgen::PKCS_ED25519,
        };
        Self { bytes: keys.public().0, algorithm }
    }
}

impl PublicKeyData for PublicKey {
    fn der_bytes(&self) -> &[u8] {
        &self.bytes
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        self.algorithm
    }
}
