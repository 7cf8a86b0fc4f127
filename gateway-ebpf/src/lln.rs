//! Node side: a node answers admitted back-ends and nobody else, and what it says is listened to.
#![expect(unsafe_code, reason = "counters are shared memory")]
use crate::{
    atomic,
    frame::XdpFrame,
    kernel::{self, position},
    maps, settings,
    settle::{Outcome, Verdict},
    stage::{
        admit::{self, Admitted, Side},
        learn,
    },
};
use gateway_common::{
    abi::AssociationKey,
    decide::Reason,
    frame::Offset,
    wire::parse::{self, Network, Ports, Upper},
};

/// The verdict on a frame from the LLN.
#[inline(always)]
pub fn lln(frame: &XdpFrame) -> Verdict<Outcome> {
    // 1. Parse.
    let Ok(Some(ip)) = parse::network(frame, settings::link()) else {
        return Ok(Outcome::Untouched);
    };
    let ip = kernel::joined(ip);
    // 2. Does it leave the LLN? Neighbour discovery, routing and talk among nodes do not.
    if stays(&ip) {
        return Ok(Outcome::Untouched);
    }
    let verdict = leave(frame, &ip);
    // What is for the router itself is not ours either; asked last, because it is rare.
    match verdict {
        Err(refusal) if maps::is_own(&ip.destination) => {
            let _ = refusal;
            Ok(Outcome::Untouched)
        }
        verdict => verdict,
    }
}

#[inline(always)]
fn stays(ip: &Network) -> bool {
    settings::in_lln(&ip.destination)
        || ip.destination.is_link_scoped()
        || ip.source.is_link_scoped()
        || ip.destination.multicast_scope().is_some()
}

#[inline(always)]
fn leave(frame: &XdpFrame, ip: &Network) -> Verdict<Outcome> {
    // 3. The source must lie in the LLN, the destination must be an admitted back-end.
    if !settings::in_lln(&ip.source) {
        return Err(Reason::SpoofedSource.into());
    }
    if !admit::may_be_listed(&ip.destination) {
        return Err(Reason::NotAdmitted.into());
    }
    let upper = parse::transport(frame, ip).map_err(|_| Reason::Malformed)?;
    let admitted = match upper {
        Upper::Udp { ports, payload, end } => {
            let (payload, end) = (position(payload.get()), position(end.get()));
            datagram(frame, ip, ports, payload, end)?
        }
        Upper::Tcp { .. }
        | Upper::Icmp { .. }
        | Upper::Fragment
        | Upper::RoutingHeader
        | Upper::HopByHop
        | Upper::Other => admit::admit(&ip.destination, &ip.source, 0, Side::Lln)?,
    };
    account(&admitted, ip);
    Ok(Outcome::Checked)
}

#[inline(always)]
fn datagram(
    frame: &XdpFrame,
    ip: &Network,
    ports: Ports,
    payload: Offset,
    end: Offset,
) -> Verdict<Admitted> {
    let key = AssociationKey {
        node: ip.source,
        peer: ip.destination,
        node_port: ports.source,
        peer_port: ports.destination,
        reserved: 0,
    };
    let flow = admit::associate(frame, &key, Side::Lln)?;
    // 4. What does it tell? 5. Is it more than its receiver may get?
    let refuse = |reason| flow.admitted.refuse(reason);
    learn::learn(frame, &flow, payload, end).map_err(refuse)?;
    learn::answer(&flow, ip.length).map_err(refuse)?;
    Ok(flow.admitted)
}

/// Counts what leaves on the back-end's account.
#[inline(always)]
fn account(admitted: &Admitted, ip: &Network) {
    let Some(source) = maps::source_state(admitted.slot) else {
        return;
    };
    // SAFETY: words of a live map value.
    unsafe { atomic::add(&raw mut (*source).answers, 1) };
    // SAFETY: as above.
    unsafe { atomic::add(&raw mut (*source).answer_bytes, ip.length.into()) };
}
