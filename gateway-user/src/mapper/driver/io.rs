//! The thread's buffers and its calls to the kernel: few, and with as much in each as there is.
use super::budget::Budget;
use crate::mapper::core::Datagram;
use bytes::{Bytes, BytesMut};
use mio::net::{TcpStream, UdpSocket};
use nix::{
    errno::Errno,
    sys::socket::{MsgFlags, MultiHeaders, recvmmsg, sendmmsg, sendmsg},
};
use std::{
    collections::VecDeque,
    io::{self, ErrorKind, IoSlice, IoSliceMut, Read as _, Write as _},
    os::fd::AsRawFd as _,
    time::Instant,
};

/// Bytes of a stream that are read at once. What of them the core still needs keeps the whole block
/// alive, so this bounds what a record on its way to a node costs.
const BLOCK: usize = 8 << 10;
/// A block with less room is not worth a call.
const LEAST: usize = 2 << 10;
/// Datagrams at once, either way.
const BATCH: usize = 16;
/// Room for a datagram. No link to a node carries more than this.
const DATAGRAM: usize = 2048;
/// Pieces of a stream written at once.
const PIECES: usize = 32;
/// How much of a stream is looked at before it is read: the largest ClientHello, in small records.
const PEEK: usize = 16 << 10;

/// What was read from a stream.
pub(super) struct Chunk {
    /// The bytes; none at the end of the stream.
    pub(super) bytes: BytesMut,
    /// Whether there was no more for now.
    pub(super) drained: bool,
}

/// Buffers that all connections share.
pub(super) struct Io {
    block: BytesMut,
    rooms: [BytesMut; BATCH],
    received: MultiHeaders<()>,
    sent: MultiHeaders<()>,
    peek: Box<[u8]>,
    /// Datagrams that wait for [`Io::send`].
    pub(super) datagrams: Vec<Datagram>,
    /// Bytes that wait for [`write`].
    pub(super) pieces: VecDeque<Bytes>,
    /// How much of the first may go.
    pub(super) budget: Budget,
    /// When the connection that was served last may go on, if the budget keeps it waiting.
    pub(super) resume: Option<Instant>,
}

impl Io {
    pub(super) fn new() -> Self {
        Self {
            block: BytesMut::new(),
            rooms: core::array::from_fn(|_| room()),
            received: MultiHeaders::preallocate(BATCH, None),
            sent: MultiHeaders::preallocate(BATCH, None),
            peek: vec![0; PEEK].into_boxed_slice(),
            datagrams: Vec::new(),
            pieces: VecDeque::new(),
            budget: Budget::new(Instant::now()),
            resume: None,
        }
    }

    /// The first bytes of a stream, which stay in it, and whether there was room for more.
    pub(super) fn peek(&mut self, stream: &TcpStream) -> io::Result<(&[u8], bool)> {
        let length = stream.peek(&mut self.peek)?;
        let bytes = self.peek.get(..length).unwrap_or_default();
        Ok((bytes, length < PEEK))
    }

    pub(super) fn read(&mut self, stream: &mut TcpStream) -> io::Result<Chunk> {
        if self.block.len() < LEAST {
            self.block = BytesMut::zeroed(BLOCK);
        }
        let length = stream.read(&mut self.block)?;
        let drained = length < self.block.len();
        Ok(Chunk { bytes: self.block.split_to(length), drained })
    }

    /// Reads what the stream has and forgets it; whether it is at its end.
    pub(super) fn discard(&mut self, stream: &mut TcpStream) -> io::Result<bool> {
        loop {
            match stream.read(&mut self.peek) {
                Ok(0) => return Ok(true),
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Takes a batch of datagrams; whether there may be more. A datagram is in a buffer of its own,
    /// so that the core makes records for the stream of it in place.
    pub(super) fn receive(
        &mut self,
        socket: &UdpSocket,
        mut each: impl FnMut(BytesMut),
    ) -> io::Result<bool> {
        let mut lengths = [0; BATCH];
        let mut count = 0;
        {
            let mut rooms = self.rooms.each_mut().map(|room| [IoSliceMut::new(room)]);
            let fd = socket.as_raw_fd();
            let all = rooms.iter_mut();
            let batch = recvmmsg(fd, &mut self.received, all, MsgFlags::MSG_DONTWAIT, None)?;
            for (length, message) in lengths.iter_mut().zip(batch) {
                let whole = !message.flags.contains(MsgFlags::MSG_TRUNC);
                *length = if whole { message.bytes } else { 0 };
                count += 1;
            }
        }
        for (room, length) in self.rooms.iter_mut().zip(lengths).take(count) {
            if length > 0 {
                let mut datagram = core::mem::replace(room, self::room());
                datagram.truncate(length);
                each(datagram);
            }
        }
        Ok(count == BATCH)
    }

    /// Sends the datagrams that wait; how many the kernel did not take. They count as lost, which
    /// the core repairs.
    pub(super) fn send(&mut self, socket: &UdpSocket) -> u64 {
        let mut lost = 0;
        let mut next = 0;
        let mut again = true;
        while next < self.datagrams.len() {
            match self.send_some(socket, next) {
                Ok(sent) => next += sent.max(1),
                // the kernel's way to tell of an earlier datagram: this one was not sent
                Err(Errno::ECONNREFUSED) if again => {
                    again = false;
                    lost += 1;
                }
                Err(Errno::EINTR) => {}
                Err(_) => {
                    next += 1;
                    lost += 1;
                }
            }
        }
        self.datagrams.clear();
        lost
    }

    fn send_some(&mut self, socket: &UdpSocket, from: usize) -> nix::Result<usize> {
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
        let waiting = self.datagrams.get(from..).unwrap_or_default();
        if let [one] = waiting {
            let slices = one.io_slices();
            return sendmsg::<()>(socket.as_raw_fd(), &slices, &[], flags, None).map(|_| 1);
        }
        let batch: Vec<[IoSlice<'_>; 2]> =
            waiting.iter().take(BATCH).map(Datagram::io_slices).collect();
        let to = [None::<()>; BATCH];
        sendmmsg(socket.as_raw_fd(), &mut self.sent, &batch, to, [], flags).map(Iterator::count)
    }
}

fn room() -> BytesMut {
    BytesMut::zeroed(DATAGRAM)
}

/// Writes what waits for a stream, as far as it takes it.
pub(super) fn write(stream: &mut TcpStream, waiting: &mut VecDeque<Bytes>) -> io::Result<()> {
    while !waiting.is_empty() {
        let mut pieces = [IoSlice::new(&[]); PIECES];
        for (piece, bytes) in pieces.iter_mut().zip(waiting.iter()) {
            *piece = IoSlice::new(bytes);
        }
        let count = waiting.len().min(PIECES);
        match stream.write_vectored(pieces.get(..count).unwrap_or_default()) {
            Ok(written) => advance(waiting, written),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn advance(waiting: &mut VecDeque<Bytes>, mut written: usize) {
    while let Some(first) = waiting.front_mut() {
        if written < first.len() {
            let _ = first.split_to(written);
            return;
        }
        written -= first.len();
        waiting.pop_front();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_leaves_the_queue_to_the_byte() {
        let mut waiting: VecDeque<Bytes> =
            ["abc", "de", "fgh"].map(|text| Bytes::from_static(text.as_bytes())).into();
        advance(&mut waiting, 4);
        assert_eq!(waiting, ["e", "fgh"]);
        advance(&mut waiting, 1);
        assert_eq!(waiting, ["fgh"]);
        advance(&mut waiting, 3);
        assert!(waiting.is_empty());
    }
}
