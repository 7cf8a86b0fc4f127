//! What a connection may hold at most, and at rest.
use super::{Connection, Policy, handshake::Handshake, receiver};

impl Policy {
    /// Bytes that an established connection without traffic holds at most, with what it points to.
    pub const IDLE_MEMORY: usize = 1024;

    /// Bytes that a connection holds at most, in the worst of handshakes and with full queues.
    ///
    /// A handshake: two messages of the back-end being read, in a buffer that may have grown to
    /// twice that; three of the node; a flight of two, once more in datagrams; the ClientHello.
    /// Afterwards: the queue towards the node with one record more, and records of the node that
    /// came early.
    pub fn memory_max(&self) -> usize {
        let fixed = size_of::<Connection>() + size_of::<Handshake>() + 2048;
        let messages = 16 * self.handshake();
        let queue = 2 * (self.queue_limit + self.record());
        fixed + messages + queue + 2 * receiver::AHEAD_BYTES
    }
}
