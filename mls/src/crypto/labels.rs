//! The functions of RFC 9420 that bind a label to what they sign, encrypt, hash or derive.

use super::{
    CryptoError, CryptoRng, HashOutput, KemPrivateKey, KemPublicKey, Secret, SigningKey, Suite,
    VerifyingKey,
};
use crate::{
    codec::{MAX_VARINT, encode_opaque},
    wire::{HpkeCiphertext, KeyPackageRef, ProposalRef, Signature},
};

const PREFIX: &str = "MLS 1.0 ";

impl Suite {
    /// `SignWithLabel` (RFC 9420 section 5.1.2).
    ///
    /// # Errors
    ///
    /// [`CryptoError::InputTooLong`], and those of [`SigningKey::sign`].
    pub fn sign_with_label(
        &self,
        key: &dyn SigningKey,
        label: &str,
        content: &[u8],
    ) -> Result<Signature, CryptoError> {
        Ok(Signature(key.sign(&labelled(label, content)?)?))
    }

    /// `VerifyWithLabel` (RFC 9420 section 5.1.2).
    ///
    /// # Errors
    ///
    /// [`CryptoError::InvalidSignature`], [`CryptoError::InputTooLong`].
    pub fn verify_with_label(
        &self,
        key: &dyn VerifyingKey,
        label: &str,
        content: &[u8],
        signature: &Signature,
    ) -> Result<(), CryptoError> {
        key.verify(&labelled(label, content)?, signature.as_bytes())
    }

    /// `SignWithLabel` for the application, whose labels stand apart from those of MLS: none of those begins like
    /// "Application " and `label`.
    ///
    /// # Errors
    ///
    /// As [`Suite::sign_with_label`].
    pub fn sign_for_application(
        &self,
        key: &dyn SigningKey,
        label: &str,
        content: &[u8],
    ) -> Result<Signature, CryptoError> {
        self.sign_with_label(key, &application_label(label), content)
    }

    /// Checks a signature of [`Suite::sign_for_application`].
    ///
    /// # Errors
    ///
    /// As [`Suite::verify_with_label`].
    pub fn verify_for_application(
        &self,
        key: &dyn VerifyingKey,
        label: &str,
        content: &[u8],
        signature: &Signature,
    ) -> Result<(), CryptoError> {
        self.verify_with_label(key, &application_label(label), content, signature)
    }

    /// `EncryptWithLabel` (RFC 9420 section 5.1.3).
    ///
    /// # Errors
    ///
    /// [`CryptoError::InputTooLong`], and those of [`Suite::hpke_seal`].
    pub fn encrypt_with_label(
        &self,
        public: &dyn KemPublicKey,
        label: &str,
        context: &[u8],
        plaintext: &[u8],
        rng: &mut dyn CryptoRng,
    ) -> Result<HpkeCiphertext, CryptoError> {
        self.hpke_seal(public, &labelled(label, context)?, &[], plaintext, rng)
    }

    /// `DecryptWithLabel` (RFC 9420 section 5.1.3).
    ///
    /// # Errors
    ///
    /// [`CryptoError::InputTooLong`], and those of [`Suite::hpke_open`].
    pub fn decrypt_with_label(
        &self,
        private: &dyn KemPrivateKey,
        label: &str,
        context: &[u8],
        sealed: &HpkeCiphertext,
    ) -> Result<Secret, CryptoError> {
        self.hpke_open(private, &labelled(label, context)?, &[], sealed)
    }

    /// `RefHash` (RFC 9420 section 5.2). Unlike the other functions it adds no prefix to the label.
    ///
    /// # Errors
    ///
    /// [`CryptoError::InputTooLong`].
    pub fn ref_hash(&self, label: &str, value: &[u8]) -> Result<HashOutput, CryptoError> {
        let label_length = VectorLength::of(label.len())?;
        let value_length = VectorLength::of(value.len())?;
        Ok(self.hash(&[label_length.as_bytes(), label.as_bytes(), value_length.as_bytes(), value]))
    }

    /// `MakeKeyPackageRef` (RFC 9420 section 5.2) of an encoded KeyPackage.
    ///
    /// # Errors
    ///
    /// [`CryptoError::InputTooLong`].
    pub fn key_package_ref(&self, key_package: &[u8]) -> Result<KeyPackageRef, CryptoError> {
        Ok(KeyPackageRef(self.ref_hash("MLS 1.0 KeyPackage Reference", key_package)?.to_vec()))
    }

    /// `MakeProposalRef` (RFC 9420 section 5.2) of the encoded AuthenticatedContent that carried the proposal.
    ///
    /// # Errors
    ///
    /// [`CryptoError::InputTooLong`].
    pub fn proposal_ref(&self, authenticated_content: &[u8]) -> Result<ProposalRef, CryptoError> {
        Ok(ProposalRef(
            self.ref_hash("MLS 1.0 Proposal Reference", authenticated_content)?.to_vec(),
        ))
    }

    /// `ExpandWithLabel` (RFC 9420 section 8), into a secret of `length` bytes.
    ///
    /// # Errors
    ///
    /// [`CryptoError::OutputTooLong`], [`CryptoError::InputTooLong`], [`CryptoError::WrongLength`] for a secret shorter
    /// than `Nh`.
    pub fn expand_with_label(
        &self,
        secret: &Secret,
        label: &str,
        context: &[u8],
        length: usize,
    ) -> Result<Secret, CryptoError> {
        if length > self.kdf.length().saturating_mul(255) {
            return Err(CryptoError::OutputTooLong);
        }
        let mut output = Secret::zeroed(length);
        self.expand_with_label_into(secret, label, context, output.as_mut_bytes())?;
        Ok(output)
    }

    /// `ExpandWithLabel` (RFC 9420 section 8), filling `out`.
    ///
    /// # Errors
    ///
    /// Those of [`Suite::expand_with_label`].
    pub fn expand_with_label_into(
        &self,
        secret: &Secret,
        label: &str,
        context: &[u8],
        out: &mut [u8],
    ) -> Result<(), CryptoError> {
        let length =
            u16::try_from(out.len()).map_err(|_| CryptoError::OutputTooLong)?.to_be_bytes();
        let label_length = VectorLength::of(PREFIX.len().saturating_add(label.len()))?;
        let context_length = VectorLength::of(context.len())?;
        let info: [&[u8]; 6] = [
            &length,
            label_length.as_bytes(),
            PREFIX.as_bytes(),
            label.as_bytes(),
            context_length.as_bytes(),
            context,
        ];
        self.kdf.expand(secret.as_bytes(), &info, out)
    }

    /// `DeriveSecret` (RFC 9420 section 8).
    ///
    /// # Errors
    ///
    /// Those of [`Suite::expand_with_label`].
    pub fn derive_secret(&self, secret: &Secret, label: &str) -> Result<Secret, CryptoError> {
        self.expand_with_label(secret, label, &[], self.hash_length())
    }

    /// `DeriveTreeSecret` (RFC 9420 section 9.1).
    ///
    /// # Errors
    ///
    /// Those of [`Suite::expand_with_label`].
    pub fn derive_tree_secret(
        &self,
        secret: &Secret,
        label: &str,
        generation: u32,
        length: usize,
    ) -> Result<Secret, CryptoError> {
        self.expand_with_label(secret, label, &generation.to_be_bytes(), length)
    }
}

fn application_label(label: &str) -> String {
    format!("Application {label}")
}

/// `SignContent` and `EncryptContext`: the prefixed label, then the content, each as a vector.
fn labelled(label: &str, content: &[u8]) -> Result<Vec<u8>, CryptoError> {
    let label_length = PREFIX.len().saturating_add(label.len());
    let header = VectorLength::of(label_length)?;
    if content.len() > MAX_VARINT {
        return Err(CryptoError::InputTooLong);
    }
    let mut out = Vec::with_capacity(label_length.saturating_add(content.len()).saturating_add(8));
    out.extend_from_slice(header.as_bytes());
    out.extend_from_slice(PREFIX.as_bytes());
    out.extend_from_slice(label.as_bytes());
    encode_opaque(content, &mut out);
    Ok(out)
}

/// The length prefix of a vector (RFC 9420 section 2.1.2), without an allocation.
struct VectorLength {
    bytes: [u8; 4],
    start: usize,
}

impl VectorLength {
    fn of(length: usize) -> Result<Self, CryptoError> {
        if length > MAX_VARINT {
            return Err(CryptoError::InputTooLong);
        }
        let length = u32::try_from(length).map_err(|_| CryptoError::InputTooLong)?;
        Ok(match length {
            0..=0x3f => Self { bytes: length.to_be_bytes(), start: 3 },
            0x40..=0x3fff => Self { bytes: (length | 0x4000).to_be_bytes(), start: 2 },
            _ => Self { bytes: (length | 0x8000_0000).to_be_bytes(), start: 0 },
        })
    }

    fn as_bytes(&self) -> &[u8] {
        self.bytes.get(self.start..).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::write_varint;

    #[test]
    fn length_prefixes_are_those_of_the_codec() {
        for length in [0, 1, 63, 64, 255, 256, 16_383, 16_384, 1 << 20, MAX_VARINT] {
            let mut expected = Vec::new();
            write_varint(length, &mut expected);
            assert_eq!(VectorLength::of(length).unwrap().as_bytes(), expected);
        }
        assert_eq!(VectorLength::of(MAX_VARINT + 1).err(), Some(CryptoError::InputTooLong));
    }
}
