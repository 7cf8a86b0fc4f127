//! What must hold for any input, one function a fuzz target.
//!
//! No dependency but gateway-common and gateway-node: tests/tests/regression.rs takes this file in as
//! a module and replays the corpora with a stable compiler.

mod association;
mod frame;
mod node;
mod rate;
mod replay;
mod script;

pub use association::association;
pub use frame::frame;
pub use node::node;
pub use rate::rate;
pub use replay::replay;
