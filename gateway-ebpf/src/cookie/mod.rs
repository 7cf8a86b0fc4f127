//! ClientHellos that must bring a cookie: those to the agent's DTLS ports, and those to nodes that
//! are configured so. Who has none is answered from here; no forged source gets further.
#![expect(unsafe_code, reason = "counts of uses are shared memory; a global function has a symbol")]
mod maps;
pub(crate) mod send;

use crate::{
    atomic,
    frame::XdpFrame,
    kernel::{self, position},
    settings,
    settle::Verdict,
    stage::admit::{self, Side},
};
use aya_ebpf::bindings::xdp_md;
use gateway_common::{
    abi::AssociationKey,
    cookie::{
        self, Decision, Flow,
        hello::{self, Cursor, First, STEPS_MAX, Step},
        reply::Answer,
        spent::Place,
    },
    decide::Reason,
    frame::Offset,
    wire::parse::{Network, Ports},
};

/// A datagram to a port of the router's own behind cookies. Before its source's rate, which a forger could
/// exhaust for the source that he names.
#[inline(always)]
pub(crate) fn own(
    frame: &XdpFrame,
    ip: &Network,
    ports: Ports,
    payload: Offset,
    end: Offset,
) -> Result<(), Reason> {
    let key = AssociationKey {
        node: ip.destination,
        peer: ip.source,
        node_port: ports.destination,
        peer_port: ports.source,
        reserved: 0,
    };
    gate(frame, &key, payload, end).map_or(Ok(()), Err)
}

/// A datagram to a node's DTLS port, before anything is remembered or charged for it: budgets are
/// for back-ends that get what is sent to their addresses. Who is not admitted is not answered.
#[inline(always)]
pub(crate) fn node(
    frame: &XdpFrame,
    key: &AssociationKey,
    payload: Offset,
    end: Offset,
) -> Verdict<()> {
    if !settings::cookie_nodes() || !maps::is_guarded(&key.node) {
        return Ok(());
    }
    match gate(frame, key, payload, end) {
        None => Ok(()),
        Some(reason) => {
            let admitted = admit::admit(&key.peer, &key.node, key.node_port, Side::Wan)?;
            Err(admitted.refuse(reason))
        }
    }
}

/// Finds a hello and judges it, one after the other: each needs the stack that there is.
#[inline(always)]
fn gate(frame: &XdpFrame, key: &AssociationKey, payload: Offset, end: Offset) -> Option<Reason> {
    let (payload, end) = (payload.get(), end.get());
    match cookie_find(frame.context(), payload, end) {
        HELLO => refused(cookie_judge(key, payload)),
        code => refused(code),
    }
}

/// What the functions below return without objection; else a reason's number and 1.
const PASSED: u32 = 0;
/// What [`cookie_find`] returns for a hello to be judged.
const HELLO: u32 = u32::MAX;

#[inline(always)]
fn refused(code: u32) -> Option<Reason> {
    /// Compared one by one: a table would lie on the stack.
    macro_rules! of {
        ($($reason:ident)*) => { $(if code == Reason::$reason as u32 + 1 { return Some(Reason::$reason); })* };
    }
    if code == PASSED {
        return None;
    }
    of!(CookieAsked CookieInvalid CookieSpent);
    Some(Reason::HelloForm)
}

/// Looks for a hello between `at` and `end`, and keeps it. A global function in the kernel too:
/// walked once, with a stack of its own.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn cookie_find(ctx: *mut xdp_md, at: usize, end: usize) -> u32 {
    let frame = XdpFrame::of(ctx);
    let (at, end) = (position(at), position(end));
    match hello::first(&frame, at, end) {
        First::Hello(hello) => {
            let Some(reply) = maps::reply() else { return Reason::HelloForm as u32 + 1 };
            reply.hello = hello;
            HELLO
        }
        First::Other if !hides_hello(&frame, at, end) => PASSED,
        First::Other | First::Improper => Reason::HelloForm as u32 + 1,
    }
}

/// Judges the hello that was found last, whose datagram starts at `payload`.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn cookie_judge(key: *const AssociationKey, payload: usize) -> u32 {
    // SAFETY: the caller's own key, or null as far as the verifier knows.
    let (key, reply) = (unsafe { key.as_ref() }, maps::reply());
    let (Some(key), Some(reply)) = (key, reply) else { return Reason::HelloForm as u32 + 1 };
    match judge(key, reply, payload) {
        None => PASSED,
        Some(reason) => reason as u32 + 1,
    }
}

#[inline(always)]
fn judge(key: &AssociationKey, reply: &mut maps::Reply, payload: usize) -> Option<Reason> {
    let flow = Flow {
        source: key.peer,
        destination: key.node,
        ports: Ports { source: key.peer_port, destination: key.node_port },
    };
    let hello = &reply.hello;
    let Some(keys) = maps::keys() else { return Some(Reason::CookieInvalid) };
    let (cookie, reason) =
        match cookie::decide(keys, kernel::now(), &flow, hello, &mut reply.message) {
            Decision::Vouched if spend(&hello.cookie) => return None,
            // no agent has ever made a key: then nothing vouches for anyone
            Decision::Vouched | Decision::NoKey => return Some(Reason::CookieSpent),
            Decision::Missing(cookie) => (cookie, Reason::CookieAsked),
            Decision::Invalid(cookie) => (cookie, Reason::CookieInvalid),
        };
    reply.answer = Answer::new(&flow, hello, cookie);
    reply.payload = payload;
    Some(reason)
}

/// Races for a slot that a hello may lose before it is refused.
const TRIES: usize = 4;

/// Uses a cookie once more; whether that was still possible.
#[inline(always)]
fn spend(cookie: &cookie::Cookie) -> bool {
    let place = Place::new(settings::key(), cookie);
    let Some(word) = maps::uses(place.slot) else { return false };
    let mut i = 0;
    while i < TRIES {
        // SAFETY: a word of a map value.
        let old = unsafe { atomic::load(word) };
        let Some(new) = place.spend(old) else { return false };
        // SAFETY: as above.
        if unsafe { atomic::replace(word, old, new) } {
            return true;
        }
        i += 1;
    }
    false
}

#[inline(always)]
fn hides_hello(frame: &XdpFrame, at: Offset, end: Offset) -> bool {
    let mut cursor = Cursor { at, record_end: at };
    let mut i = 0;
    while i < STEPS_MAX {
        match hello::step(frame, cursor, end) {
            Step::None => return false,
            Step::Hidden => return true,
            Step::On(next) => {
                let (at, record_end) = (position(next.at.get()), position(next.record_end.get()));
                cursor = Cursor { at, record_end };
            }
        }
        i += 1;
    }
    true
}
