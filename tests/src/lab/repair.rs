//! A connection's sequence numbers, which the kernel tells to who repairs one (`tcp_repair`).

use std::{
    io, mem,
    net::TcpStream,
    os::fd::{AsRawFd as _, RawFd},
};

use nix::libc::{self, c_int, socklen_t};

/// Ends the repair and sends nothing for it.
const OFF: c_int = -1;
const SEND_QUEUE: c_int = 2;

/// The number that the next byte which is written will have. Needs CAP_NET_ADMIN.
///
/// # Errors
/// The system's.
pub fn next_sequence(stream: &TcpStream) -> io::Result<u32> {
    let fd = stream.as_raw_fd();
    set(fd, libc::TCP_REPAIR, 1)?;
    let number =
        set(fd, libc::TCP_REPAIR_QUEUE, SEND_QUEUE).and_then(|()| get(fd, libc::TCP_QUEUE_SEQ));
    set(fd, libc::TCP_REPAIR, OFF)?;
    number
}

const SIZE: socklen_t = mem::size_of::<c_int>() as socklen_t;

fn set(fd: RawFd, option: c_int, value: c_int) -> io::Result<()> {
    // SAFETY: the pointer is to a number that lives here, and SIZE is its size.
    let result =
        unsafe { libc::setsockopt(fd, libc::IPPROTO_TCP, option, (&raw const value).cast(), SIZE) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn get(fd: RawFd, option: c_int) -> io::Result<u32> {
    let (mut value, mut size) = (0u32, SIZE);
    // SAFETY: the pointers are to numbers that live here, and `size` is the first one's size.
    let result = unsafe {
        libc::getsockopt(fd, libc::IPPROTO_TCP, option, (&raw mut value).cast(), &raw mut size)
    };
    if result == 0 { Ok(value) } else { Err(io::Error::last_os_error()) }
}
