//! The stages of the path and the proofs that they hand on.
pub(crate) mod admit;
pub(crate) mod charge;
pub(crate) mod content;
pub(crate) mod learn;
pub(crate) mod related;
pub(crate) mod replay;
pub(crate) mod ring;
pub(crate) mod upper;
