//! The program's constants. The loader writes them before the kernel sees the program, which then
//! knows their values and removes the branches that they rule out.
#![expect(unsafe_code, reason = "read so that the compiler does not take the initial values")]
use gateway_common::{
    abi::settings::{LLN_PREFIXES_MAX, PORTS_MAX, Settings},
    decide::rate::{Limits, Rate},
    hash::{Key, LANES},
    wire::{Address, parse::Link},
};

#[unsafe(no_mangle)]
static CONFIG: Settings = Settings::EMPTY;

/// Reads one field, of up to eight bytes.
macro_rules! read {
    ($($field:tt)+) => {{
        // SAFETY: a field of a static, aligned and initialised; volatile because the loader
        // replaces the static's bytes after compilation.
        unsafe { (&raw const CONFIG.$($field)+).read_volatile() }
    }};
}

macro_rules! rate {
    ($($field:tt)+) => {
        Rate {
            interval_ns: read!($($field)+.interval_ns),
            burst: read!($($field)+.burst),
            scale: read!($($field)+.scale),
        }
    };
}

#[inline(always)]
pub(crate) fn link() -> Link {
    if read!(raw_ip) == 0 { Link::Ethernet } else { Link::Ip }
}
#[inline(always)]
pub(crate) fn interface() -> u32 {
    read!(interface)
}
#[inline(always)]
pub(crate) fn log() -> bool {
    read!(log) != 0
}
#[inline(always)]
pub(crate) fn replay() -> u32 {
    read!(replay)
}
#[inline(always)]
pub(crate) fn max_datagram() -> u16 {
    read!(max_datagram) as u16
}
#[inline(always)]
pub(crate) fn bits_mask() -> u32 {
    read!(bits_mask)
}
#[inline(always)]
pub(crate) fn seen_mask() -> u32 {
    read!(seen_mask)
}
#[inline(always)]
pub(crate) fn sources() -> u32 {
    read!(sources)
}
#[inline(always)]
pub(crate) fn associations_mask() -> u32 {
    read!(associations_mask)
}

/// What hashes are keyed with, read word by word where it is needed.
#[derive(Clone, Copy)]
pub(crate) struct Secret;

impl Key for Secret {
    #[inline(always)]
    fn lane(self, n: usize) -> u64 {
        let lanes = (&raw const CONFIG.key.lanes).cast::<u64>();
        // SAFETY: the place stays in the array.
        let lane = unsafe { lanes.add(n % LANES) };
        // SAFETY: in the static, as argued above; volatile as everywhere in this file.
        unsafe { lane.read_volatile() }
    }
}

#[inline(always)]
pub(crate) fn key() -> Secret {
    Secret
}
#[inline(always)]
pub(crate) fn node() -> Limits {
    Limits { packets: rate!(node.packets), bytes: rate!(node.bytes) }
}
#[inline(always)]
pub(crate) fn lln() -> Limits {
    Limits { packets: rate!(lln.packets), bytes: rate!(lln.bytes) }
}
#[inline(always)]
pub(crate) fn agent() -> Rate {
    rate!(agent)
}
#[inline(always)]
pub(crate) fn unproven() -> Rate {
    rate!(unproven)
}

/// A word of a prefix of the LLN's, which has four: address, mask.
#[inline(always)]
fn prefix(number: usize, word: usize) -> u64 {
    let words = (&raw const CONFIG.lln_prefixes).cast::<u64>();
    // SAFETY: callers stay below the array's length and a prefix's.
    let at = unsafe { words.add(number * 4 + word) };
    // SAFETY: in the static, as argued above; volatile as everywhere in this file.
    unsafe { at.read_volatile() }
}

/// Whether `address` lies in the LLN.
#[inline(always)]
pub(crate) fn in_lln(address: &Address) -> bool {
    let (high, low) = address.raw_words();
    let starts = |n| high & prefix(n, 2) == prefix(n, 0);
    let lies_in = |n| starts(n) && low & prefix(n, 3) == prefix(n, 1);
    // the first one has no more than 64 bits as a rule: known when the program is loaded, so the
    // kernel removes the rest
    let in_first = if prefix(0, 3) == 0 { starts(0) } else { lies_in(0) };
    if in_first {
        return true;
    }
    let mut n = 1;
    // an empty mask fills unused places: known when the program is loaded, so the kernel removes
    // what follows
    while n < LLN_PREFIXES_MAX && prefix(n, 2) != 0 {
        if lies_in(n) {
            return true;
        }
        n += 1;
    }
    false
}

#[inline(always)]
fn is_one_of(ports: *const [u16; PORTS_MAX], port: u16) -> bool {
    let mut i = 0;
    while i < PORTS_MAX {
        // SAFETY: `i` is below the array's length.
        let at = unsafe { ports.cast::<u16>().add(i) };
        // SAFETY: callers pass an array of the static; volatile as everywhere in this file.
        let used = unsafe { at.read_volatile() };
        // as above: zeros fill unused places
        if used == 0 {
            return false;
        }
        if port == used {
            return true;
        }
        i += 1;
    }
    false
}

/// Whether nodes speak DTLS on this UDP port.
#[inline(always)]
pub(crate) fn is_dtls_port(port: u16) -> bool {
    is_one_of(&raw const CONFIG.dtls_ports, port)
}
/// Whether nodes are reached through the mapping on this TCP port.
#[inline(always)]
pub(crate) fn is_mapped_port(port: u16) -> bool {
    is_one_of(&raw const CONFIG.mapped_ports, port)
}
/// Whether the mapping listens on this TCP port of the router's own.
#[inline(always)]
pub(crate) fn is_mapper_port(port: u16) -> bool {
    is_one_of(&raw const CONFIG.mapper_ports, port)
}
/// Whether this is one of the agent's ports.
#[inline(always)]
pub(crate) fn is_agent_port(port: u16) -> bool {
    is_one_of(&raw const CONFIG.agent_ports, port)
}
/// Whether the agent speaks DTLS behind cookies on this port.
#[inline(always)]
pub(crate) fn is_cookie_port(port: u16) -> bool {
    is_one_of(&raw const CONFIG.cookie_ports, port)
}
/// Whether there are nodes before which a cookie is asked for.
#[inline(always)]
pub(crate) fn cookie_nodes() -> bool {
    read!(cookie_nodes) != 0
}
/// Whether the agent's own sockets are at this TCP port.
#[inline(always)]
pub(crate) fn is_socket_port(port: u16) -> bool {
    is_one_of(&raw const CONFIG.socket_ports, port)
}
/// Whether the agent has TCP sockets at all.
#[inline(always)]
pub(crate) fn has_sockets() -> bool {
    read!(socket_ports[0]) != 0
}
/// Where the kernel keeps the number that a connection waits for; 0 is unknown.
#[inline(always)]
pub(crate) fn rcv_nxt() -> u32 {
    read!(rcv_nxt)
}
