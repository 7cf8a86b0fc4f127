//! Mutual authentication: back-ends prove what they are, the router proves what it is.
//!
//! ```text
//! TLS 1.3 ── certificate ──▶ Presented ─┐
//! HTTP    ── request ──────▶ rest ──────┴▶ Wish ──▶ lease::Registry ──▶ View or Problem
//! ```
//!
//! [`rest`] and [`problem`] decide what is asked and what is answered, without a socket; [`https`]
//! moves the bytes.
mod answer;
pub mod https;
mod limit;
pub mod material;
pub mod presented;
pub mod problem;
pub mod rest;

pub use https::Https;

/// The interface, described in OpenAPI 3.1.
pub const OPENAPI: &str = include_str!("openapi.json");
