//! What is not addressed to a node, and exceptions that a node made itself.
#![expect(unsafe_code, reason = "associations are shared memory; a global function has a symbol")]
use crate::{
    atomic, cookie, flows,
    frame::XdpFrame,
    kernel,
    maps::{self, Case},
    settings,
    settle::{self, Outcome, Verdict},
    stage::{
        admit::{self, Side},
        charge::{self, spend},
        content::COAP_PORT,
        upper,
    },
    tcp,
};
use gateway_common::{
    abi::{AGENT_SLOTS, AssociationKey},
    decide::{Reason, association::Progress, segment::Way},
    hash::Key as _,
    wire::{
        Address,
        parse::{self, Fields, Network},
    },
};

/// Multicast of a larger scope than the link could be routed into the LLN (RFC 4291 §2.7).
const REALM_LOCAL: u8 = 3;

/// Everything that is not the LLN's passes untouched, but for three things: CoAP to groups that
/// nodes listen to, what is for the mapping's own ports, and floods at the agent's.
#[inline(always)]
pub(crate) fn check(frame: &XdpFrame, ip: &Network, case: &Case) -> Verdict<Outcome> {
    if ip.protocol == parse::ICMPV6 || ip.protocol == parse::ICMPV4 {
        return Ok(Outcome::Untouched);
    }
    let (kind, found) = upper::read(frame, case);
    let segment = match kind {
        upper::UDP => 0,
        upper::TCP => SEGMENT,
        _ => return Ok(Outcome::Untouched),
    };
    let port = found.ports.destination;
    let what = u64::from(port) | segment | u64::from(ip.length) << 32;
    let word = match own_receive(&ip.source, &ip.destination, what) {
        GUARDED => {
            guard(frame, ip, kind, found)?;
            own_receive(&ip.source, &ip.destination, what | PAST_GUARD)
        }
        word => word,
    };
    settle::from_word(word)
}

/// Whether [`check`] may have anything to say on a packet to this port.
#[inline(always)]
pub(crate) fn knows(port: u16) -> bool {
    port == COAP_PORT
        || settings::is_dtls_port(port)
        || settings::is_agent_port(port)
        || settings::is_mapper_port(port)
        || settings::is_cookie_port(port)
        || settings::is_socket_port(port)
}

/// What must be right before anything is charged for it: a hello's cookie, a segment's socket.
#[inline(always)]
fn guard(frame: &XdpFrame, ip: &Network, kind: u32, found: &Fields) -> Result<(), Reason> {
    if kind == upper::TCP {
        return tcp::check(frame, ip, Way::Own);
    }
    let (payload, end) = (upper::bounded(found.at), upper::bounded(found.end));
    cookie::own(frame, ip, found.ports, payload, end)
}

/// Set in what [`own_receive`] is told of a packet when it is TCP; below it is the port, and its
/// length is the upper half.
const SEGMENT: u64 = 1 << 16;
/// Set in the same when [`guard`] has had its look.
const PAST_GUARD: u64 = 1 << 17;
/// What it returns for a packet that [`guard`] is to have a look at: no verdict's word, as reasons
/// do not go that far.
const GUARDED: u64 = u64::MAX - 1;

/// A global function in the kernel too: walked once, not behind every chain of headers.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn own_receive(source: *const Address, destination: *const Address, what: u64) -> u64 {
    // SAFETY: the caller's own addresses, or null as far as the verifier knows.
    let (source, destination) = unsafe { (source.as_ref(), destination.as_ref()) };
    let (Some(source), Some(destination)) = (source, destination) else {
        return settle::to_word(Ok(Outcome::Untouched));
    };
    if what & PAST_GUARD == 0 && is_guarded(source, destination, what) {
        return GUARDED;
    }
    settle::to_word(receive(source, destination, what))
}

/// Whether a packet is for a port behind cookies, or for one where the agent's sockets are. Whom
/// the mapping does not admit gets no look-up of a socket.
#[inline(always)]
fn is_guarded(source: &Address, destination: &Address, what: u64) -> bool {
    let port = what as u16;
    let asked = if what & SEGMENT == 0 {
        settings::is_cookie_port(port)
    } else {
        settings::is_socket_port(port)
            && (!settings::is_mapper_port(port) || admit::may_be_listed(source))
    };
    asked && maps::is_own(destination)
}

#[inline(always)]
fn receive(source: &Address, destination: &Address, what: u64) -> Verdict<Outcome> {
    let port = what as u16;
    if let Some(scope) = destination.multicast_scope() {
        let coap = port == COAP_PORT || settings::is_dtls_port(port);
        if scope >= REALM_LOCAL && coap {
            return Err(Reason::Multicast.into());
        }
        return Ok(Outcome::Untouched);
    }
    let mapper = what & SEGMENT != 0 && settings::is_mapper_port(port);
    if (!mapper && !settings::is_agent_port(port)) || !maps::is_own(destination) {
        return Ok(Outcome::Untouched);
    }
    if mapper {
        return mapping(source, port, (what >> 32) as u16);
    }
    if agent(source) { Ok(Outcome::Untouched) } else { Err(Reason::AgentRate.into()) }
}

/// A segment for the mapping: lease, port and the source's rate decide. Which node it is for, and
/// whether the lease covers that, its listener learns later.
#[inline(always)]
fn mapping(source: &Address, port: u16, length: u16) -> Verdict<Outcome> {
    if !admit::may_be_listed(source) {
        return Err(Reason::NoLease.into());
    }
    if settings::in_lln(source) {
        return Err(Reason::SpoofedSource.into());
    }
    let admitted = admit::admit(source, source, port, Side::Router)?;
    charge::to_router(&admitted, length)?;
    Ok(Outcome::Checked)
}

/// Spends one packet of the budget that a source's /64 (IPv4: address) shares by keyed hash: no
/// insert, so forged sources cost what one source costs.
#[inline(always)]
fn agent(source: &Address) -> bool {
    let (high, low) = source.raw_words();
    let host = if source.is_v4() { low } else { 0 };
    let slot = settings::key().hash([high, host, 3]) as u32 % AGENT_SLOTS;
    let Some(arrival) = maps::agent(slot) else {
        return false;
    };
    spend(arrival, settings::agent(), kernel::now(), 1)
}

/// A datagram to a port that is no service passes as an answer to a node that spoke first; else it
/// ends with `otherwise`.
#[inline(always)]
pub(crate) fn node_initiated(key: &AssociationKey, otherwise: Reason) -> Result<(), Reason> {
    let Some(state) = flows::look_up(admit::tag(key), key) else {
        return Err(otherwise);
    };
    // SAFETY: a live association; its progress is one word.
    let progress = unsafe { atomic::load((&raw const (*state.as_ptr()).progress).cast()) };
    if Progress::from_bits(progress).has(Progress::NODE_INITIATED) {
        Ok(())
    } else {
        Err(otherwise)
    }
}
