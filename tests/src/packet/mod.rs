//! Packets for fixtures: well-formed unless a test asks otherwise.
//!
//! ```
//! use tests::{lab::topology::{BACKEND, NODE}, packet::{Packet, dtls}};
//! let record = dtls::record(23, dtls::DTLS12, 1, 7, b"sealed");
//! let frame = Packet::udp6(BACKEND, NODE, 40000, 5684).vlan(5).payload(record).build();
//! ```

mod build;
mod checksum;
pub mod dtls;
pub mod hello;
pub mod icmp;
mod malform;
mod network;
pub mod read;
mod transport;

pub use build::Packet;
pub use network::Extension;
pub use read::{Datagram, Segment};
pub use transport::flag;
