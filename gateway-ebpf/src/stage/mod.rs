//! The stages of the path and the proofs that they hand on.
pub mod admit;
pub mod charge;
pub mod content;
pub mod learn;
pub mod related;
pub mod replay;
pub mod ring;
