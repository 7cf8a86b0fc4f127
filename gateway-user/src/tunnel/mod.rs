//! Tunnels (paper, V-A): a back-end's DTLS datagrams inside an authenticated outer channel.
//!
//! ```text
//! application ─UDP─▶ backend::tunnel ═ outer DTLS or TLS ═▶ auth ──▶ relay ─UDP─▶ node
//! ```
//!
//! Every packet towards the LLN is authenticated then, not only its address: the source's address
//! is admitted to nothing. The router takes the outer record off and adds nothing in its place; the
//! node sees the router as its peer.
pub mod frame;
pub mod relay;
pub mod rules;
pub mod stream;

pub use frame::{Flow, Frame};
pub use relay::Hub;
pub use rules::{Budget, Refusal, Rules};
