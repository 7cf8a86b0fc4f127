//! What must hold for any input, one function a fuzz target.
//!
//! tests/tests/regression.rs takes this file in as a module and replays the corpora with a stable
//! compiler.

mod association;
mod frame;
mod handshake;
mod mapper;
mod node;
mod rate;
mod record;
mod replay;
mod script;

pub use association::association;
pub use frame::frame;
pub use handshake::handshake;
pub use mapper::mapper;
pub use node::node;
pub use rate::rate;
pub use record::record;
pub use replay::replay;
