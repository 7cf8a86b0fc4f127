//! What the kernel has counted and reported, for people and for machines. Names come from
//! [`Reason`](gateway_common::decide::Reason) and nowhere else.
pub mod capture;
pub mod count;
pub mod event;
pub mod packets;
