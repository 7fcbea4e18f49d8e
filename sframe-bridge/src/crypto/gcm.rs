//! AES-GCM over the key type that `ring` and `aws-lc-rs` spell alike.

/// Makes a module with the AES-GCM of a library.
macro_rules! gcm {
    ($library:ident) => {
        pub(super) mod $library {
            use crate::crypto::{
                Aead, BackendError, FrameCipher, GCM_TAG_LENGTH, NONCE_LENGTH, Unauthentic,
            };
            use ::$library::aead::{self, Aad, LessSafeKey, Nonce, UnboundKey};

            pub(in crate::crypto) struct Gcm(pub(in crate::crypto) &'static aead::Algorithm);

            pub(in crate::crypto) static AES_128_GCM: Gcm = Gcm(&aead::AES_128_GCM);
            pub(in crate::crypto) static AES_256_GCM: Gcm = Gcm(&aead::AES_256_GCM);

            impl Gcm {
                pub(in crate::crypto) fn expand(
                    &self,
                    key: &[u8],
                ) -> Result<GcmCipher, BackendError> {
                    let key = UnboundKey::new(self.0, key).map_err(|_| BackendError)?;
                    Ok(GcmCipher(LessSafeKey::new(key)))
                }
            }

            impl Aead for Gcm {
                fn cipher(&self, key: &[u8]) -> Result<Box<dyn FrameCipher>, BackendError> {
                    Ok(Box::new(self.expand(key)?))
                }
            }

            pub(in crate::crypto) struct GcmCipher(LessSafeKey);

            impl FrameCipher for GcmCipher {
                #[inline]
                fn seal_in_place(
                    &self,
                    nonce: &[u8; NONCE_LENGTH],
                    aad: &[u8],
                    in_out: &mut [u8],
                ) -> Result<(), BackendError> {
                    let (text, tag) =
                        in_out.split_last_chunk_mut::<GCM_TAG_LENGTH>().ok_or(BackendError)?;
                    let nonce = Nonce::assume_unique_for_key(*nonce);
                    let made = self
                        .0
                        .seal_in_place_separate_tag(nonce, Aad::from(aad), text)
                        .map_err(|_| BackendError)?;
                    tag.copy_from_slice(made.as_ref());
                    Ok(())
                }

                #[inline]
                fn open_in_place(
                    &self,
                    nonce: &[u8; NONCE_LENGTH],
                    aad: &[u8],
                    in_out: &mut [u8],
                ) -> Result<usize, Unauthentic> {
                    let nonce = Nonce::assume_unique_for_key(*nonce);
                    let plain = self
                        .0
                        .open_in_place(nonce, Aad::from(aad), in_out)
                        .map_err(|_| Unauthentic)?;
                    Ok(plain.len())
                }
            }
        }
    };
}

#[cfg(feature = "aws-lc-rs")]
gcm!(aws_lc_rs);
#[cfg(all(feature = "aws-lc-rs", feature = "ring"))]
gcm!(ring);
