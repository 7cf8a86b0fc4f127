//! Stateless cookies (RFC 6347 §4.2.1): who asks for a DTLS handshake must show that it gets what
//! is sent to its address, before anything that costs more than a hash is spent on it.
//!
//! The router's programs answer in the kernel, and the agent's own DTLS port decides with the same
//! functions and keys: [`hello::first`] reads a datagram, [`decide`] judges what it found, and
//! [`reply`] has the answer's bytes.
pub mod hello;
pub mod reply;
pub mod siphash;
pub mod spent;

use crate::{
    abi::CookieKey,
    decide::rate::SECOND,
    wire::{Address, parse::Ports},
};
use hello::ClientHello;

/// Bytes in a cookie of ours: key number, minute, and 14 bytes of tag.
pub const LENGTH: u8 = 16;
/// Keys that are valid at once: the one that cookies are made with, and the one before.
pub const KEYS: usize = 2;
/// How long cookies are made with one key, in ns of the kernel's monotonic clock.
pub const PERIOD_NS: u64 = 60 * SECOND;

/// A cookie, as two words of network order.
pub type Cookie = [u64; 2];

/// What is hashed for a cookie, in words.
pub type Message = [u64; 14];

/// Who sends to whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flow {
    /// The client, as the server sees it.
    pub source: Address,
    /// The server.
    pub destination: Address,
    /// Their ports, host order.
    pub ports: Ports,
}

/// What becomes of a ClientHello.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Its cookie is valid: its sender gets what is sent to its address.
    Vouched,
    /// It has none: this one is for it.
    Missing(Cookie),
    /// It has one that is not, or no longer, valid; this one is. RFC 6347 §4.2.1 asks for the same
    /// answer as to none.
    Invalid(Cookie),
    /// There is no key to make cookies with.
    NoKey,
}

/// The period of an instant, as far as a cookie has room for it.
#[inline(always)]
const fn period(now_ns: u64) -> u8 {
    (now_ns / PERIOD_NS) as u8
}

/// The cookie of one key, number and period.
///
/// Extensions are left out: clients of DTLS 1.3 change theirs in the second ClientHello.
#[inline(always)]
fn make(
    key: &CookieKey,
    period: u8,
    flow: &Flow,
    hello: &ClientHello,
    message: &mut Message,
) -> Cookie {
    let (source, destination) = (flow.source.raw_words(), flow.destination.raw_words());
    let number = key.number as u8;
    let head = u64::from(flow.ports.source) << 48
        | u64::from(flow.ports.destination) << 32
        | u64::from(hello.version) << 16
        | u64::from(number) << 8
        | u64::from(period);
    let [r0, r1, r2, r3] = hello.random;
    let [s0, s1, s2, s3] = hello.session;
    let length = u64::from(hello.session_length);
    #[rustfmt::skip]
    let words = [
        source.0, source.1, destination.0, destination.1, head,
        r0, r1, r2, r3, s0, s1, s2, s3, length,
    ];
    *message = words;
    let [first, second] = siphash::siphash(key.secret, message);
    [u64::from(number) << 56 | u64::from(period) << 48 | first >> 16, second]
}

/// The key that cookies are made with: the younger one.
#[inline(always)]
fn current(keys: [&CookieKey; KEYS]) -> Option<&CookieKey> {
    let [a, b] = keys;
    let key = if a.made_ns > b.made_ns { a } else { b };
    (key.made_ns != 0).then_some(key)
}

/// Whether the cookie that the hello brings was made for it, with a live key, in this period or the
/// one before. The kernel's clock ends a cookie's life, so that it does with no agent alive too.
#[inline(always)]
fn is_valid(
    keys: [&CookieKey; KEYS],
    now_ns: u64,
    flow: &Flow,
    hello: &ClientHello,
    room: &mut Message,
) -> bool {
    let [first, second] = hello.cookie;
    let (number, made) = ((first >> 56) as u8, (first >> 48) as u8);
    let [a, b] = keys;
    let key = if number & 1 == 0 { a } else { b };
    if hello.cookie_length != LENGTH || key.made_ns == 0 || key.number as u8 != number {
        return false;
    }
    if period(now_ns).wrapping_sub(made) > 1 {
        return false;
    }
    let expected = make(key, made, flow, hello, room);
    // every bit of both words is compared before anything is decided
    (expected[0] ^ first) | (expected[1] ^ second) == 0
}

/// Judges a ClientHello at `now_ns` of the kernel's monotonic clock. A key lies in the place that
/// its number's lowest bit names; `room` is overwritten, as the kernel's stack has none for it.
#[inline(always)]
pub fn decide(
    keys: [&CookieKey; KEYS],
    now_ns: u64,
    flow: &Flow,
    hello: &ClientHello,
    room: &mut Message,
) -> Decision {
    if hello.cookie_length != 0 && is_valid(keys, now_ns, flow, hello, room) {
        return Decision::Vouched;
    }
    let Some(key) = current(keys) else { return Decision::NoKey };
    let cookie = make(key, period(now_ns), flow, hello, room);
    if hello.cookie_length == 0 { Decision::Missing(cookie) } else { Decision::Invalid(cookie) }
}

#[cfg(test)]
mod tests;
