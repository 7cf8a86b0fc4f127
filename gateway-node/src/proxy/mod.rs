//! An HTTP-CoAP proxy that stands inside the LLN (E2E §VI, RFC 8075).
mod block;
mod cache;
mod core;
mod deliver;
mod discovery;
mod http;
mod job;
mod link;
mod media;
mod message;
mod method;
mod native;
mod plan;
mod refusal;
mod reply;
mod settings;
mod status;
mod transfer;
mod uri;
#[cfg(test)]
mod world;

pub use self::core::{ConnectionId, Counters, Proxy};
pub use block::BlockSize;
pub use media::Mapping;
pub use settings::{Endpoint, Limits, Node, Prefix, Settings, SettingsError, Timing};
