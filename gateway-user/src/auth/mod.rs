//! Mutual authentication: back-ends prove what they are, the router proves what it is.
//!
//! ```text
//! TLS 1.3  ── certificate ──▶ Presented ─┐
//! DTLS 1.2 ── either ────────▶ psk ──────┼▶ Holder ──▶ lease::Registry ──▶ Outcome or Problem
//! HTTP, CoAP ── request ─────▶ rest ─────┘
//! ```
//!
//! [`rest`] and [`problem`] decide what is asked and what is answered, without a socket; [`https`]
//! and [`psk`] move the bytes.
mod answer;
mod holder;
pub mod https;
mod limit;
pub mod material;
pub mod presented;
pub mod problem;
pub mod psk;
pub mod rest;

pub(crate) use holder::Holder;
pub use https::Https;
pub(crate) use problem::Problem;
pub use psk::Psk;

/// The interface, described in OpenAPI 3.1.
pub const OPENAPI: &str = include_str!("openapi.json");
