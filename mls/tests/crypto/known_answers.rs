//! Test vectors of RFC 9180, appendix A.1.1 (X25519) and A.3.1 (P-256), base mode with AES-128-GCM.

use mls::{
    crypto::{Secret, Suite},
    wire::{CipherSuite, HpkeCiphertext},
};

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

const VECTORS: [Vector; 2] = [
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
    assert_eq!(ran, 2 * crate::providers().len());
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

fn bytes(digits: &str) -> Vec<u8> {
    hex::decode(digits).unwrap()
}
