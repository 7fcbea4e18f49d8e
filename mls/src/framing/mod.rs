//! Message framing (RFC 9420 section 6): signing, protecting, opening and verifying.
//!
//! What comes in passes through types that say how far it can be trusted:
//!
//! ```text
//! PublicMessage  -> ReceivedPublicMessage -> UnverifiedContent -> VerifiedContent
//!                    (well-formed)            (from a member)      (signed by that member)
//! PrivateMessage -> OpenedMessage ------------------------------> VerifiedContent
//!                    (decrypts)                                    (signed; key consumed)
//! ```

mod content;
mod error;
mod padding;
mod private_message;
mod public_message;

pub use content::{SignedContent, UnverifiedContent, VerifiedContent, proposal_ref, sign};
pub use error::FramingError;
pub use padding::Padding;
pub use private_message::{OpenedMessage, open_private, seal_private};
pub use public_message::{ReceivedPublicMessage, protect_public};
