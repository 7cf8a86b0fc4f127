//! The back-end's side: what runs where the application is, not on the router.
pub mod client;
pub mod hold;

pub use client::Client;
pub use hold::Hold;
