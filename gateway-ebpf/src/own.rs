//! What is not addressed to a node, and exceptions that a node made itself.
#![expect(unsafe_code, reason = "associations are shared memory")]
use crate::{
    atomic,
    frame::XdpFrame,
    kernel, maps, settings,
    settle::{Outcome, Verdict},
    stage::{charge::spend, content::COAP_PORT},
};
use gateway_common::{
    abi::{AGENT_SLOTS, AssociationKey},
    decide::{Reason, association::Progress},
    wire::parse::{self, Network, Upper},
};

/// Multicast of a larger scope than the link could be routed into the LLN (RFC 4291 §2.7).
const REALM_LOCAL: u8 = 3;

/// Everything that is not the LLN's passes untouched, but for two things: CoAP to groups that
/// nodes listen to, and floods at the agent's own ports.
#[inline(always)]
pub(crate) fn check(frame: &XdpFrame, ip: &Network) -> Verdict<Outcome> {
    if ip.protocol != parse::UDP && ip.protocol != parse::TCP {
        return Ok(Outcome::Untouched);
    }
    let Ok(upper) = parse::transport(frame, ip) else {
        return Ok(Outcome::Untouched);
    };
    let port = match upper {
        Upper::Udp { ports, .. } | Upper::Tcp { ports } => ports.destination,
        Upper::Icmp { .. }
        | Upper::Fragment
        | Upper::RoutingHeader
        | Upper::HopByHop
        | Upper::Other => return Ok(Outcome::Untouched),
    };
    if let Some(scope) = ip.destination.multicast_scope() {
        let coap = port == COAP_PORT || settings::is_dtls_port(port);
        if scope >= REALM_LOCAL && coap {
            return Err(Reason::Multicast.into());
        }
        return Ok(Outcome::Untouched);
    }
    if settings::is_agent_port(port) && maps::is_own(&ip.destination) && !agent(ip) {
        return Err(Reason::AgentRate.into());
    }
    Ok(Outcome::Untouched)
}

/// Spends one packet of the budget that a source's /64 (IPv4: address) shares by keyed hash: no
/// insert, so forged sources cost what one source costs.
#[inline(always)]
fn agent(ip: &Network) -> bool {
    let (high, low) = ip.source.raw_words();
    let host = if ip.v4 { low } else { 0 };
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
    let Some(state) = maps::association(key) else {
        return Err(otherwise);
    };
    // SAFETY: a live association; its progress is one word.
    let progress = unsafe { atomic::load((&raw const (*state).progress).cast()) };
    if Progress::from_bits(progress).has(Progress::NODE_INITIATED) {
        Ok(())
    } else {
        Err(otherwise)
    }
}
