//! DHKEM (RFC 9180 section 4.1) over kept key objects, for every Diffie-Hellman group of every backend.

use core::marker::PhantomData;

use rand_core::CryptoRng;

use super::{
    CryptoError, Encapsulation, HpkePrivateKey, Kdf, Kem, KemPrivateKey, KemPublicKey, Secret,
    error::check_length,
};

/// A Diffie-Hellman group with the parameters that RFC 9180 section 7.1 gives to its DHKEM.
pub(crate) trait DhGroup: Send + Sync + 'static {
    /// A parsed private key.
    type Private: Send + Sync;
    /// A parsed, validated public key.
    type Public: Send + Sync;

    /// Identifier of the KEM.
    const KEM_ID: u16;
    /// Length of a private key in bytes.
    const PRIVATE_LENGTH: usize;
    /// Length of a public key and of a KEM output in bytes.
    const PUBLIC_LENGTH: usize;
    /// `None` when every byte string of the right length is a private key; else the bit mask of RFC 9180 section 7.1.3
    /// for the first byte of a candidate.
    const CANDIDATE_MASK: Option<u8>;

    /// The KDF inside the KEM.
    fn kdf() -> &'static dyn Kdf;
    /// Parses a private key of the right length.
    fn private_key(bytes: &[u8]) -> Result<Self::Private, CryptoError>;
    /// Serializes a private key.
    fn private_bytes(private: &Self::Private) -> Result<HpkePrivateKey, CryptoError>;
    /// Computes the bytes of the public key.
    fn public_of(private: &Self::Private) -> Result<Vec<u8>, CryptoError>;
    /// Parses and validates a public key of the right length.
    fn public_key(bytes: &[u8]) -> Result<Self::Public, CryptoError>;

    /// Accepts and refuses what [`Self::public_key`] does.
    fn check_public(bytes: &[u8]) -> Result<(), CryptoError> {
        Self::public_key(bytes).map(drop)
    }
    /// A uniform private key that nobody has to draw again.
    fn fresh(rng: &mut dyn CryptoRng) -> Result<Self::Private, CryptoError>
    where
        Self: Sized,
    {
        generate::<Self>(rng)
    }
    /// Diffie-Hellman; an all-zero result of X25519 or X448 is an error.
    fn agree(private: &Self::Private, public: &Self::Public) -> Result<Secret, CryptoError>;
}

/// The DHKEM over group `G`.
pub(crate) struct DhKem<G>(PhantomData<fn() -> G>);

impl<G: DhGroup> DhKem<G> {
    pub(crate) const fn new() -> Self {
        Self(PhantomData)
    }
}

/// A fresh random key is a candidate like those of DeriveKeyPair. More than this many refusals in a row happen with a
/// probability below 2^-128: the most refusals are those of P-256, one in 2^32.
const CANDIDATES: u8 = 255;

impl<G: DhGroup> Kem for DhKem<G> {
    fn id(&self) -> u16 {
        G::KEM_ID
    }

    fn public_key_length(&self) -> usize {
        G::PUBLIC_LENGTH
    }

    fn private_key_length(&self) -> usize {
        G::PRIVATE_LENGTH
    }

    fn generate(&self, rng: &mut dyn CryptoRng) -> Result<Box<dyn KemPrivateKey>, CryptoError> {
        Ok(Box::new(Private::<G>::new(generate::<G>(rng)?)?))
    }

    fn fresh(&self, rng: &mut dyn CryptoRng) -> Result<Box<dyn KemPrivateKey>, CryptoError> {
        Ok(Box::new(Private::<G>::new(G::fresh(rng)?)?))
    }

    fn derive_key_pair(&self, ikm: &[u8]) -> Result<Box<dyn KemPrivateKey>, CryptoError> {
        let prk = labeled_extract::<G>(b"dkp_prk", ikm);
        let key = match G::CANDIDATE_MASK {
            None => {
                let mut bytes = Secret::zeroed(G::PRIVATE_LENGTH);
                labeled_expand::<G>(&prk, b"sk", &[], bytes.as_mut_bytes())?;
                G::private_key(bytes.as_bytes())?
            }
            Some(mask) => first_candidate(
                G::PRIVATE_LENGTH,
                mask,
                |counter, out| labeled_expand::<G>(&prk, b"candidate", &[&[counter]], out),
                |bytes| G::private_key(bytes.as_bytes()),
            )?,
        };
        Ok(Box::new(Private::<G>::new(key)?))
    }

    fn private_key(&self, bytes: &[u8]) -> Result<Box<dyn KemPrivateKey>, CryptoError> {
        check_length("a kem private key", G::PRIVATE_LENGTH, bytes)?;
        Ok(Box::new(Private::<G>::new(G::private_key(bytes)?)?))
    }

    fn check_kem_output(&self, bytes: &[u8]) -> Result<(), CryptoError> {
        parse_public::<G>(bytes).map(drop).map_err(|_| CryptoError::InvalidKemOutput)
    }

    fn check_public_key(&self, bytes: &[u8]) -> Result<(), CryptoError> {
        check_length("a kem public key", G::PUBLIC_LENGTH, bytes)?;
        G::check_public(bytes)
    }

    fn public_key(&self, bytes: &[u8]) -> Result<Box<dyn KemPublicKey>, CryptoError> {
        Ok(Box::new(Public::<G> { key: parse_public::<G>(bytes)?, bytes: bytes.into() }))
    }
}

struct Private<G: DhGroup> {
    /// In a block of its own: whoever moves this key into another container leaves no copy behind.
    key: Box<G::Private>,
    public: Vec<u8>,
}

impl<G: DhGroup> Private<G> {
    fn new(key: G::Private) -> Result<Self, CryptoError> {
        let public = G::public_of(&key)?;
        Ok(Self { key: Box::new(key), public })
    }
}

impl<G: DhGroup> KemPrivateKey for Private<G> {
    fn public(&self) -> &[u8] {
        &self.public
    }

    fn decap(&self, kem_output: &[u8]) -> Result<Secret, CryptoError> {
        let ephemeral = parse_public::<G>(kem_output).map_err(|_| CryptoError::InvalidKemOutput)?;
        let dh = G::agree(&self.key, &ephemeral)?;
        extract_and_expand::<G>(&dh, kem_output, &self.public)
    }

    fn export(&self) -> Result<HpkePrivateKey, CryptoError> {
        G::private_bytes(&self.key)
    }
}

struct Public<G: DhGroup> {
    key: G::Public,
    bytes: Box<[u8]>,
}

impl<G: DhGroup> KemPublicKey for Public<G> {
    fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    fn encap(&self, rng: &mut dyn CryptoRng) -> Result<Encapsulation, CryptoError> {
        let ephemeral = G::fresh(rng)?;
        let kem_output = G::public_of(&ephemeral)?;
        let dh = G::agree(&ephemeral, &self.key)?;
        let shared_secret = extract_and_expand::<G>(&dh, &kem_output, &self.bytes)?;
        Ok(Encapsulation { kem_output, shared_secret })
    }
}

/// A uniform private key.
fn generate<G: DhGroup>(rng: &mut dyn CryptoRng) -> Result<G::Private, CryptoError> {
    let mask = G::CANDIDATE_MASK.unwrap_or(0xff);
    random_candidate(G::PRIVATE_LENGTH, mask, rng, |bytes| G::private_key(bytes.as_bytes()))
}

/// A uniform key: random candidates, their first byte masked, until one is in range.
pub(crate) fn random_candidate<K>(
    length: usize,
    mask: u8,
    rng: &mut dyn CryptoRng,
    parse: impl Fn(&Secret) -> Result<K, CryptoError>,
) -> Result<K, CryptoError> {
    let draw = |_: u8, out: &mut [u8]| {
        rng.fill_bytes(out);
        Ok(())
    };
    first_candidate(length, mask, draw, parse)
}

fn first_candidate<K>(
    length: usize,
    mask: u8,
    mut draw: impl FnMut(u8, &mut [u8]) -> Result<(), CryptoError>,
    parse: impl Fn(&Secret) -> Result<K, CryptoError>,
) -> Result<K, CryptoError> {
    let mut bytes = Secret::zeroed(length);
    for counter in 0..=CANDIDATES {
        draw(counter, bytes.as_mut_bytes())?;
        if let Some(first) = bytes.as_mut_bytes().first_mut() {
            *first &= mask;
        }
        match parse(&bytes) {
            Err(CryptoError::InvalidPrivateKey) => {}
            decided => return decided,
        }
    }
    Err(CryptoError::Backend("every candidate for a private key"))
}

fn parse_public<G: DhGroup>(bytes: &[u8]) -> Result<G::Public, CryptoError> {
    check_length("a kem public key", G::PUBLIC_LENGTH, bytes)?;
    G::public_key(bytes)
}

/// `ExtractAndExpand` (RFC 9180 section 4.1).
fn extract_and_expand<G: DhGroup>(
    dh: &Secret,
    enc: &[u8],
    public: &[u8],
) -> Result<Secret, CryptoError> {
    let prk = labeled_extract::<G>(b"eae_prk", dh.as_bytes());
    let mut shared_secret = Secret::zeroed(G::kdf().length());
    labeled_expand::<G>(&prk, b"shared_secret", &[enc, public], shared_secret.as_mut_bytes())?;
    Ok(shared_secret)
}

const VERSION: &[u8] = b"HPKE-v1";

/// `LabeledExtract` with an empty salt (RFC 9180 section 4).
fn labeled_extract<G: DhGroup>(label: &[u8], ikm: &[u8]) -> Secret {
    G::kdf().extract(&[], &[VERSION, b"KEM", &G::KEM_ID.to_be_bytes(), label, ikm])
}

/// `LabeledExpand` (RFC 9180 section 4); `info` has at most two parts.
fn labeled_expand<G: DhGroup>(
    prk: &Secret,
    label: &[u8],
    info: &[&[u8]],
    out: &mut [u8],
) -> Result<(), CryptoError> {
    let length = u16::try_from(out.len()).map_err(|_| CryptoError::OutputTooLong)?.to_be_bytes();
    let first = info.first().copied().unwrap_or_default();
    let second = info.get(1).copied().unwrap_or_default();
    let parts = [&length, VERSION, b"KEM", &G::KEM_ID.to_be_bytes(), label, first, second];
    G::kdf().expand(prk.as_bytes(), &parts, out)
}
