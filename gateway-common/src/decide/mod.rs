//! Every way a packet can end, and the decisions that lead there.
pub mod admission;
pub mod association;
pub mod rate;
pub mod reason;
pub mod replay;
pub mod segment;
pub mod size;

pub use reason::{Reason, Stage};
