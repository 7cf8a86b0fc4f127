//! The packet socket under capture and injection.

use std::{
    io, mem,
    os::fd::{AsRawFd, FromRawFd, OwnedFd},
    time::Duration,
};

use anyhow::{Context, Result};
use nix::libc::{self, c_int, c_void, socklen_t};

use super::link::Device;

const VLAN_AT: usize = 12;

/// What came with a received frame.
#[derive(Debug, Default)]
pub(super) struct Received {
    pub(super) length: usize,
    pub(super) outgoing: bool,
    /// TPID and TCI of the outer tag, which the kernel keeps beside the frame.
    pub(super) tag: Option<(u16, u16)>,
}

/// An `AF_PACKET` socket bound to one device.
#[derive(Debug)]
pub(super) struct PacketSocket(OwnedFd);

impl PacketSocket {
    /// Opens a socket; without `listening` it only sends.
    pub(super) fn open(device: Device<'_>, listening: bool) -> Result<Self> {
        let index = device.index()?;
        let socket = device.namespace.enter(|| Self::bound(index, listening));
        socket.with_context(|| format!("packet socket on {}", device.name))
    }

    fn bound(index: u32, listening: bool) -> io::Result<Self> {
        let kind = libc::SOCK_RAW | libc::SOCK_CLOEXEC;
        // SAFETY: socket takes three numbers and touches no memory of ours.
        let fd = check(unsafe { libc::socket(libc::AF_PACKET, kind, 0) })?;
        // SAFETY: the call above made this descriptor and nobody else owns it.
        let socket = Self(unsafe { OwnedFd::from_raw_fd(fd) });
        if listening {
            socket.option(libc::SOL_PACKET, libc::PACKET_AUXDATA, &1i32)?;
            socket.option(libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, &(64i32 << 20))?;
        }
        let protocol = if listening { (libc::ETH_P_ALL as u16).to_be() } else { 0 };
        let address = link_address(index, protocol);
        let size = mem::size_of_val(&address) as socklen_t;
        // SAFETY: the pointer is to a sockaddr_ll that lives here, and size is its size.
        check(unsafe { libc::bind(socket.raw(), (&raw const address).cast(), size) })?;
        Ok(socket)
    }

    /// Lets receive return after `timeout` with nothing.
    pub(super) fn set_timeout(&self, timeout: Duration) -> io::Result<()> {
        let value = libc::timeval { tv_sec: 0, tv_usec: i64::from(timeout.subsec_micros()) };
        self.option(libc::SOL_SOCKET, libc::SO_RCVTIMEO, &value)
    }

    /// Sends one frame as it is.
    pub(super) fn send(&self, frame: &[u8]) -> io::Result<()> {
        // SAFETY: pointer and length are those of one slice, which is only read.
        let sent = unsafe { libc::send(self.raw(), frame.as_ptr().cast(), frame.len(), 0) };
        if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    /// Receives one frame into `buffer`.
    pub(super) fn receive(&self, buffer: &mut [u8]) -> io::Result<Received> {
        let mut part = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
        let mut sender = link_address(0, 0);
        let mut control = [0u64; 16];
        // SAFETY: msghdr is plain C data, for which all zeros is a value.
        let mut message: libc::msghdr = unsafe { mem::zeroed() };
        message.msg_name = (&raw mut sender).cast();
        message.msg_namelen = mem::size_of_val(&sender) as socklen_t;
        message.msg_iov = &raw mut part;
        message.msg_iovlen = 1;
        message.msg_control = control.as_mut_ptr().cast();
        message.msg_controllen = mem::size_of_val(&control);
        // SAFETY: every pointer in message is to a local of the stated size that outlives it.
        let length = unsafe { libc::recvmsg(self.raw(), &raw mut message, 0) };
        if length < 0 {
            return Err(io::Error::last_os_error());
        }
        let outgoing = sender.sll_pkttype == libc::PACKET_OUTGOING;
        Ok(Received { length: length.cast_unsigned(), outgoing, tag: tag_of(&message) })
    }

    fn option<T>(&self, level: c_int, name: c_int, value: &T) -> io::Result<()> {
        let size = mem::size_of::<T>() as socklen_t;
        let value: *const c_void = std::ptr::from_ref(value).cast();
        // SAFETY: value points to a T and size is T's; the kernel only reads it.
        check(unsafe { libc::setsockopt(self.raw(), level, name, value, size) }).map(drop)
    }

    fn raw(&self) -> c_int {
        self.0.as_raw_fd()
    }
}

/// Puts a tag that the kernel took off back where it was.
pub(super) fn retag(frame: &mut Vec<u8>, (protocol, tag): (u16, u16)) {
    let bytes = [protocol.to_be_bytes(), tag.to_be_bytes()].concat();
    let at = VLAN_AT.min(frame.len());
    frame.splice(at..at, bytes);
}

fn tag_of(message: &libc::msghdr) -> Option<(u16, u16)> {
    // SAFETY: message was filled by recvmsg, its control buffer is alive and aligned for cmsghdr.
    let header = unsafe { libc::CMSG_FIRSTHDR(message).as_ref() }?;
    if (header.cmsg_level, header.cmsg_type) != (libc::SOL_PACKET, libc::PACKET_AUXDATA) {
        return None;
    }
    // SAFETY: a message of this level and type carries one tpacket_auxdata behind its header.
    let data = unsafe { libc::CMSG_DATA(header).cast::<libc::tpacket_auxdata>().read_unaligned() };
    let valid = data.tp_status & libc::TP_STATUS_VLAN_VALID != 0;
    let known = data.tp_status & libc::TP_STATUS_VLAN_TPID_VALID != 0;
    let protocol = if known { data.tp_vlan_tpid } else { 0x8100 };
    valid.then_some((protocol, data.tp_vlan_tci))
}

fn link_address(index: u32, protocol: u16) -> libc::sockaddr_ll {
    libc::sockaddr_ll {
        sll_family: libc::AF_PACKET as u16,
        sll_protocol: protocol,
        sll_ifindex: index.cast_signed(),
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 0,
        sll_addr: [0; 8],
    }
}

fn check(result: c_int) -> io::Result<c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}
