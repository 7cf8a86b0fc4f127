//! What a capture of a mapped session shows: with the key the same plaintext on both sides of the
//! router, without it none on either.

pub mod leg;
pub mod tshark;

pub use leg::Leg;
pub use tshark::{Plaintext, decrypt, messages};
