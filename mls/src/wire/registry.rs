//! Code points from the registries of RFC 9420 section 17. Values not known here are kept as they came.

use crate::codec::newtype_codec;

macro_rules! code_points {
    ($($(#[$doc:meta])* $name:ident { $($(#[$value_doc:meta])* $value:ident = $number:literal,)* })*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(pub u16);

        newtype_codec!($name);

        impl $name {
            $($(#[$value_doc])* pub const $value: Self = Self($number);)*

            /// True for the values 0x0A0A, 0x1A1A, ... that exist to be ignored
            /// (RFC 9420 section 13.5).
            #[must_use]
            pub fn is_grease(self) -> bool {
                self.0 & 0x0f0f == 0x0a0a && self.0 >> 8 == self.0 & 0xff && self.0 != 0xfafa
            }
        }

        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                match *self {
                    $(Self::$value => f.write_str(stringify!($value)),)*
                    Self(other) => write!(f, concat!(stringify!($name), "({:#06x})"), other),
                }
            }
        }
    )*};
}

code_points! {
    /// Version of the protocol (RFC 9420 section 6).
    ProtocolVersion {
        /// RFC 9420.
        MLS10 = 1,
    }

    /// Cipher suite (RFC 9420 section 17.1).
    CipherSuite {
        /// Suite 1: X25519, AES-128-GCM, SHA-256, Ed25519.
        X25519_AES128GCM_SHA256_ED25519 = 1,
        /// Suite 2: P-256, AES-128-GCM, SHA-256, ECDSA P-256.
        P256_AES128GCM_SHA256_P256 = 2,
        /// Suite 3: X25519, ChaCha20-Poly1305, SHA-256, Ed25519.
        X25519_CHACHA20POLY1305_SHA256_ED25519 = 3,
        /// Suite 4: X448, AES-256-GCM, SHA-512, Ed448.
        X448_AES256GCM_SHA512_ED448 = 4,
        /// Suite 5: P-521, AES-256-GCM, SHA-512, ECDSA P-521.
        P521_AES256GCM_SHA512_P521 = 5,
        /// Suite 6: X448, ChaCha20-Poly1305, SHA-512, Ed448.
        X448_CHACHA20POLY1305_SHA512_ED448 = 6,
        /// Suite 7: P-384, AES-256-GCM, SHA-384, ECDSA P-384.
        P384_AES256GCM_SHA384_P384 = 7,
        /// X-Wing (ML-KEM-768 with X25519), AES-256-GCM, SHA-384, Ed25519: the suite
        /// MLS_128_MLKEM768X25519_AES256GCM_SHA384_Ed25519 of draft-ietf-mls-pq-ciphersuites-06. The draft has no
        /// number for it yet (it stands second, as TBD2), so it has one for private use here, which members agree on
        /// beforehand.
        MLKEM768X25519_AES256GCM_SHA384_ED25519 = 0xf002,
    }

    /// Type of an extension (RFC 9420 section 17.3).
    ExtensionType {
        /// Application-defined identifier of a leaf (section 5.3.3).
        APPLICATION_ID = 1,
        /// The ratchet tree, in a GroupInfo (section 12.4.3.3).
        RATCHET_TREE = 2,
        /// What every member must support, in a GroupContext (section 11.1).
        REQUIRED_CAPABILITIES = 3,
        /// The key for external joins, in a GroupInfo (section 12.4.3.2).
        EXTERNAL_PUB = 4,
        /// Who outside the group may propose, in a GroupContext (section 12.1.8.1).
        EXTERNAL_SENDERS = 5,
    }

    /// Type of a proposal (RFC 9420 section 17.4).
    ProposalType {
        /// Add a member.
        ADD = 1,
        /// Replace the sender's leaf.
        UPDATE = 2,
        /// Remove a member.
        REMOVE = 3,
        /// Mix a pre-shared key into the next epoch.
        PSK = 4,
        /// Close the group in favour of another one.
        REINIT = 5,
        /// Join by external commit.
        EXTERNAL_INIT = 6,
        /// Replace the extensions of the GroupContext.
        GROUP_CONTEXT_EXTENSIONS = 7,
        /// The sender leaves (draft-ietf-mls-extensions-09, section "SelfRemove Proposal").
        SELF_REMOVE = 0x000a,
    }

    /// Type of a credential (RFC 9420 section 17.5).
    CredentialType {
        /// A bare identity.
        BASIC = 1,
        /// A chain of X.509 certificates.
        X509 = 2,
    }
}

impl CipherSuite {
    /// All suites that RFC 9420 defines.
    pub const ALL: [Self; 7] = [
        Self::X25519_AES128GCM_SHA256_ED25519,
        Self::P256_AES128GCM_SHA256_P256,
        Self::X25519_CHACHA20POLY1305_SHA256_ED25519,
        Self::X448_AES256GCM_SHA512_ED448,
        Self::P521_AES256GCM_SHA512_P521,
        Self::X448_CHACHA20POLY1305_SHA512_ED448,
        Self::P384_AES256GCM_SHA384_P384,
    ];
}

impl ExtensionType {
    /// True for the types that every client supports and therefore need not be listed in
    /// capabilities (RFC 9420 section 7.2).
    #[must_use]
    pub fn is_default(self) -> bool {
        (1..=5).contains(&self.0)
    }
}

impl ProposalType {
    /// True for the types that every client supports and therefore need not be listed in
    /// capabilities (RFC 9420 section 7.2).
    #[must_use]
    pub fn is_default(self) -> bool {
        (1..=7).contains(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grease_is_every_fifteen_values_of_the_pattern() {
        let grease: Vec<u16> = (0..=u16::MAX).filter(|&v| ExtensionType(v).is_grease()).collect();
        assert_eq!(grease.len(), 15);
        assert_eq!(grease.first(), Some(&0x0a0a));
        assert_eq!(grease.last(), Some(&0xeaea));
    }
}
