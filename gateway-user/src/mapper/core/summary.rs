//! What `gateway status` shows of a connection.
use super::Reason;

/// How far a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// The back-end's ClientHello is not complete.
    Hello,
    /// The handshake runs.
    Handshake,
    /// Both sides' Finished passed.
    Established,
    /// One side has closed, or both have and the node has not confirmed it.
    Closing,
    /// Nothing more will come of it.
    Over,
}

/// A snapshot of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Summary {
    /// How far it is.
    pub phase: Phase,
    /// Why it ends, once that is known.
    pub reason: Option<Reason>,
    /// The suite that the node chose.
    pub suite: Option<u16>,
    /// From the back-end to the node.
    pub to_node: Traffic,
    /// From the node to the back-end.
    pub to_backend: Traffic,
    /// Datagrams of a handshake and protected records that were sent to the node again.
    pub retransmissions: u32,
    /// Records and datagrams of the node that were dropped: duplicates, and what does not belong.
    pub dropped: u32,
}

/// What passed in one direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Protected records.
    pub records: u64,
    /// Bytes: of UDP payload sent to the node, of TLS sent to the back-end.
    pub bytes: u64,
}
