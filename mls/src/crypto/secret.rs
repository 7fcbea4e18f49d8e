//! Secrets as types: zeroized on drop, redacted in `Debug`, compared in constant time.

use core::fmt;

use rand_core::CryptoRng;
use subtle::ConstantTimeEq;
use zeroize::Zeroize;

/// A secret byte string of any length.
///
/// The bytes lie in a heap block of their own, which never moves and is overwritten when the value is dropped. Kept inline, every
/// move of the value, a vector that grows and a map that rearranges itself would leave a copy behind that nothing can
/// overwrite. There is no `Clone`: a copy is made with [`Secret::duplicate`], so that every one of them can be found.
pub struct Secret(Box<[u8]>);

impl Secret {
    /// A secret of `length` zero bytes, to be filled in place.
    pub fn zeroed(length: usize) -> Self {
        Self(vec![0; length].into_boxed_slice())
    }

    /// A copy of `bytes`. The caller answers for the original.
    pub fn from_slice(bytes: &[u8]) -> Self {
        let mut secret = Self::zeroed(bytes.len());
        secret.as_mut_bytes().copy_from_slice(bytes);
        secret
    }

    /// `length` random bytes.
    pub fn random(length: usize, rng: &mut dyn CryptoRng) -> Self {
        let mut secret = Self::zeroed(length);
        rng.fill_bytes(secret.as_mut_bytes());
        secret
    }

    /// The bytes of the secret.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The bytes of the secret, to be written.
    pub fn as_mut_bytes(&mut self) -> &mut [u8] {
        &mut self.0
    }

    /// The length in bytes.
    pub fn length(&self) -> usize {
        self.as_bytes().len()
    }

    /// A second copy, for the few places where two owners need the same secret.
    pub fn duplicate(&self) -> Self {
        Self::from_slice(self.as_bytes())
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

/// Takes the bytes over and overwrites the vector.
impl From<Vec<u8>> for Secret {
    fn from(mut bytes: Vec<u8>) -> Self {
        let secret = Self::from_slice(&bytes);
        bytes.zeroize();
        secret
    }
}

impl AsRef<[u8]> for Secret {
    fn as_ref(&self) -> &[u8] {
        self.as_bytes()
    }
}

/// In constant time for equal lengths; the length itself is not hidden.
impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.as_bytes().ct_eq(other.as_bytes()).into()
    }
}

impl Eq for Secret {}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(redacted)")
    }
}

/// Defines one newtype over [`Secret`] for each given name, so that secrets of different meaning cannot be mixed up.
///
/// ```text
/// secret_types! {
///     /// What it is (RFC 9420 section 8).
///     pub struct JoinerSecret;
/// }
/// ```
macro_rules! secret_types {
    ($($(#[$meta:meta])* $vis:vis struct $name:ident;)+) => {$(
        $(#[$meta])*
        #[derive(PartialEq, Eq)]
        $vis struct $name($crate::crypto::Secret);

        #[allow(dead_code, reason = "each secret uses the part of these that its place needs")]
        impl $name {
            /// A copy of `bytes`. The caller answers for the original.
            pub fn from_slice(bytes: &[u8]) -> Self {
                Self($crate::crypto::Secret::from_slice(bytes))
            }

            /// The bytes of the secret.
            pub fn as_bytes(&self) -> &[u8] {
                self.0.as_bytes()
            }

            /// The secret without its name.
            pub fn as_secret(&self) -> &$crate::crypto::Secret {
                &self.0
            }

            /// Gives up the name of the secret.
            pub fn into_secret(self) -> $crate::crypto::Secret {
                self.0
            }
        }

        impl From<$crate::crypto::Secret> for $name {
            fn from(secret: $crate::crypto::Secret) -> Self {
                Self(secret)
            }
        }

        impl ::core::fmt::Debug for $name {
            fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
                f.write_str(concat!(stringify!($name), "(redacted)"))
            }
        }
    )+};
}
pub(crate) use secret_types;

secret_types! {
    /// The bytes of an HPKE private key, as RFC 9180 section 7.1.2 serializes them; for X-Wing the seed of 32 bytes.
    pub struct HpkePrivateKey;

    /// The bytes of a signature private key: the seed for Ed25519 (32 bytes) and Ed448 (57), the big-endian scalar for a
    /// NIST curve (32, 48 or 66 bytes).
    pub struct SignaturePrivateKey;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_length_is_kept() {
        for length in [0, 1, 32, 64, 255, 256, 1000] {
            let bytes: Vec<u8> = (0..length).map(|i| i as u8).collect();
            let secret = Secret::from_slice(&bytes);
            assert_eq!(secret.as_bytes(), bytes);
            assert_eq!(secret.length(), length);
            assert_eq!(secret, Secret::from(bytes));
            assert_eq!(secret, secret.duplicate());
        }
    }

    #[test]
    fn secrets_differ_by_content_and_length() {
        let secret = Secret::from_slice(&[1, 2, 3]);
        assert_ne!(secret, Secret::from_slice(&[1, 2, 4]));
        assert_ne!(secret, Secret::from_slice(&[1, 2]));
        assert_ne!(Secret::zeroed(64), Secret::zeroed(65));
    }

    #[test]
    fn debug_shows_no_byte() {
        let secret = Secret::from_slice(&[0xab; 32]);
        assert_eq!(format!("{secret:?}"), "Secret(redacted)");
        let named = SignaturePrivateKey::from(secret);
        assert_eq!(format!("{named:?}"), "SignaturePrivateKey(redacted)");
        assert_eq!(named.into_secret().as_bytes(), [0xab; 32]);
    }
}
