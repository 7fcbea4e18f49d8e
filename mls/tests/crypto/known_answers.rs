//! Test vectors of RFC 9180, base mode: appendix A.1.1 (X25519), A.3.1 (P-256), A.6.1 (P-521). And for the KEMs that it has no
//! vectors for, those of draft-ietf-hpke-pq (their DHKEM is that of RFC 9180) and of draft-connolly-cfrg-xwing-kem.

use std::convert::Infallible;

use mls::{
    crypto::{Secret, Suite},
    wire::{CipherSuite, HpkeCiphertext},
};

use rand::{TryCryptoRng, TryRng};
use serde::Deserialize;

use crate::suites;

struct Vector {
    suite: CipherSuite,
    ikm_r: &'static str,
    sk_r: &'static str,
    pk_r: &'static str,
    enc: &'static str,
    shared_secret: &'static str,
    /// The first message, with associated data `Count-0`.
    ciphertext: &'static str,
    /// The export of 32 bytes with an empty context.
    exported: &'static str,
}

const INFO: &[u8] = b"Ode on a Grecian Urn";
const PLAINTEXT: &[u8] = b"Beauty is truth, truth beauty";

const VECTORS: [Vector; 3] = [
    Vector {
        suite: CipherSuite::X25519_AES128GCM_SHA256_ED25519,
        ikm_r: "6db9df30aa07dd42ee5e8181afdb977e538f5e1fec8a06223f33f7013e525037",
        sk_r: "4612c550263fc8ad58375df3f557aac531d26850903e55a9f23f21d8534e8ac8",
        pk_r: "3948cfe0ad1ddb695d780e59077195da6c56506b027329794ab02bca80815c4d",
        enc: "37fda3567bdbd628e88668c3c8d7e97d1d1253b6d4ea6d44c150f741f1bf4431",
        shared_secret: "fe0e18c9f024ce43799ae393c7e8fe8fce9d218875e8227b0187c04e7d2ea1fc",
        ciphertext: "f938558b5d72f1a23810b4be2ab4f84331acc02fc97babc53a52ae8218a355a9\
                     6d8770ac83d07bea87e13c512a",
        exported: "3853fe2b4035195a573ffc53856e77058e15d9ea064de3e59f4961d0095250ee",
    },
    Vector {
        suite: CipherSuite::P256_AES128GCM_SHA256_P256,
        ikm_r: "668b37171f1072f3cf12ea8a236a45df23fc13b82af3609ad1e354f6ef817550",
        sk_r: "f3ce7fdae57e1a310d87f1ebbde6f328be0a99cdbcadf4d6589cf29de4b8ffd2",
        pk_r: "04fe8c19ce0905191ebc298a9245792531f26f0cece2460639e8bc39cb7f706a\
               826a779b4cf969b8a0e539c7f62fb3d30ad6aa8f80e30f1d128aafd68a2ce72e\
               a0",
        enc: "04a92719c6195d5085104f469a8b9814d5838ff72b60501e2c4466e5e67b325a\
              c98536d7b61a1af4b78e5b7f951c0900be863c403ce65c9bfcb9382657222d18\
              c4",
        shared_secret: "c0d26aeab536609a572b07695d933b589dcf363ff9d93c93adea537aeabb8cb8",
        ciphertext: "5ad590bb8baa577f8619db35a36311226a896e7342a6d836d8b7bcd2f20b6c7f\
                     9076ac232e3ab2523f39513434",
        exported: "5e9bc3d236e1911d95e65b576a8a86d478fb827e8bdfe77b741b289890490d4d",
    },
    Vector {
        suite: CipherSuite::P521_AES256GCM_SHA512_P521,
        ikm_r: "2ad954bbe39b7122529f7dde780bff626cd97f850d0784a432784e69d86eccaa\
                de43b6c10a8ffdb94bf943c6da479db137914ec835a7e715e36e45e29b587bab\
                3bf1",
        sk_r: "01462680369ae375e4b3791070a7458ed527842f6a98a79ff5e0d4cbde83c271\
               96a3916956655523a6a2556a7af62c5cadabe2ef9da3760bb21e005202f7b246\
               2847",
        pk_r: "0401b45498c1714e2dce167d3caf162e45e0642afc7ed435df7902ccae0e84ba\
               0f7d373f646b7738bbbdca11ed91bdeae3cdcba3301f2457be452f271fa68375\
               80e661012af49583a62e48d44bed350c7118c0d8dc861c238c72a2bda17f6470\
               4f464b57338e7f40b60959480c0e58e6559b190d81663ed816e523b6b6a418f6\
               6d2451ec64",
        enc: "040138b385ca16bb0d5fa0c0665fbbd7e69e3ee29f63991d3e9b5fa740aab890\
              0aaeed46ed73a49055758425a0ce36507c54b29cc5b85a5cee6bae0cf1c21f27\
              31ece2013dc3fb7c8d21654bb161b463962ca19e8c654ff24c94dd2898de1205\
              1f1ed0692237fb02b2f8d1dc1c73e9b366b529eb436e98a996ee522aef863dd5\
              739d2f29b0",
        shared_secret: "776ab421302f6eff7d7cb5cb1adaea0cd50872c71c2d63c30c4f1d5e43653336\
                        fef33b103c67e7a98add2d3b66e2fda95b5b2a667aa9dac7e59cc1d46d30e818",
        ciphertext: "170f8beddfe949b75ef9c387e201baf4132fa7374593dfafa90768788b7b2b20\
                     0aafcc6d80ea4c795a7c5b841a",
        exported: "05e2e5bd9f0c30832b80a279ff211cc65eceb0d97001524085d609ead60d0412",
    },
];

#[test]
fn rfc_9180_base_mode() {
    let mut ran = 0;
    for vector in &VECTORS {
        for suite in suites().filter(|suite| suite.id == vector.suite) {
            check(suite, vector);
            ran += 1;
        }
    }
    assert_eq!(ran, VECTORS.len() * crate::providers().len());
}

fn check(suite: &Suite, vector: &Vector) {
    let key = suite.kem.derive_key_pair(&bytes(vector.ikm_r)).unwrap();
    assert_eq!(key.public(), bytes(vector.pk_r));
    assert_eq!(key.export().unwrap().as_bytes(), bytes(vector.sk_r));

    let key = suite.kem_key_pair(&bytes(vector.sk_r), &bytes(vector.pk_r)).unwrap();
    let shared_secret = key.decap(&bytes(vector.enc)).unwrap();
    assert_eq!(shared_secret, Secret::from(bytes(vector.shared_secret)));

    let sealed = suite.hpke.seal(&shared_secret, INFO, b"Count-0", PLAINTEXT).unwrap();
    assert_eq!(sealed, bytes(vector.ciphertext));
    let sealed = HpkeCiphertext { kem_output: bytes(vector.enc), ciphertext: sealed };
    let opened = suite.hpke_open(&*key, INFO, b"Count-0", &sealed).unwrap();
    assert_eq!(opened.as_bytes(), PLAINTEXT);

    let exported = suite.hpke.export(&shared_secret, INFO, b"", 32).unwrap();
    assert_eq!(exported.as_bytes(), bytes(vector.exported));
}

#[derive(Deserialize)]
struct KemVector {
    source: String,
    suites: Vec<u16>,
    ikm_r: Option<String>,
    sk_r: String,
    pk_r: String,
    encap_randomness: Option<String>,
    enc: String,
    shared_secret: String,
}

#[test]
fn kems_alone() {
    let vectors: Vec<KemVector> = serde_json::from_str(include_str!("kem_vectors.json")).unwrap();
    for suite in suites() {
        let of_suite = vectors.iter().filter(|vector| vector.suites.contains(&suite.id.0));
        let mut ran = 0;
        for vector in of_suite {
            check_kem(suite, vector);
            ran += 1;
        }
        let expected = match suite.id.0 {
            4 | 6 | 7 => 1,
            0xf002 => 5,
            _ => 0,
        };
        assert_eq!(ran, expected, "{suite:?}");
    }
}

fn check_kem(suite: &Suite, vector: &KemVector) {
    let what = format!("{suite:?}, {}", vector.source);
    if let Some(ikm) = &vector.ikm_r {
        let key = suite.kem.derive_key_pair(&bytes(ikm)).unwrap();
        assert_eq!(key.public(), bytes(&vector.pk_r), "{what}");
    }
    let key = suite.kem_key_pair(&bytes(&vector.sk_r), &bytes(&vector.pk_r)).unwrap();
    let shared_secret = Secret::from(bytes(&vector.shared_secret));
    assert_eq!(key.decap(&bytes(&vector.enc)).unwrap(), shared_secret, "{what}");
    if let Some(randomness) = &vector.encap_randomness {
        let public = suite.kem.public_key(key.public()).unwrap();
        let encapsulation = public.encap(&mut Fixed(bytes(randomness))).unwrap();
        assert_eq!(encapsulation.kem_output, bytes(&vector.enc), "{what}");
        assert_eq!(encapsulation.shared_secret, shared_secret, "{what}");
    }
}

/// Gives these bytes out, once.
struct Fixed(Vec<u8>);

impl TryRng for Fixed {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        let mut word = [0; 4];
        self.try_fill_bytes(&mut word)?;
        Ok(u32::from_le_bytes(word))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let mut word = [0; 8];
        self.try_fill_bytes(&mut word)?;
        Ok(u64::from_le_bytes(word))
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Infallible> {
        let rest = self.0.split_off(out.len());
        out.copy_from_slice(&self.0);
        self.0 = rest;
        Ok(())
    }
}

impl TryCryptoRng for Fixed {}

fn bytes(digits: &str) -> Vec<u8> {
    hex::decode(digits).unwrap()
}
