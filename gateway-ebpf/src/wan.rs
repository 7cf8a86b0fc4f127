//! Internet side: what a packet must get through before it costs a frame on the radio.
use crate::{
    frame::XdpFrame,
    kernel::{self, position},
    lane, own, settings,
    settle::{self, Outcome, Verdict},
    stage::{
        admit::{self, Side},
        charge,
        content::{self, Content},
        related, replay,
    },
};
use gateway_common::{
    abi::AssociationKey,
    decide::Reason,
    frame::Offset,
    wire::{
        dtls,
        parse::{self, Network, Ports},
    },
};

/// What the kernel is to do with a frame from the Internet.
#[inline(always)]
pub fn run(frame: &XdpFrame) -> u32 {
    match lane::judge(frame) {
        Some(verdict) => settle::settle(frame, verdict),
        None => {
            // nothing that the straight path has found is carried over, so that the verifier walks
            // what follows once
            let frame = XdpFrame::of(kernel::unknown(frame.context()));
            settle::settle(&frame, wan(&frame))
        }
    }
}

/// The verdict on a frame from the Internet.
#[inline(always)]
fn wan(frame: &XdpFrame) -> Verdict<Outcome> {
    // 1. Parse. What has no network header worth the name, no receiver takes.
    let Ok(Some(ip)) = parse::network(frame, settings::link()) else {
        return Ok(Outcome::Untouched);
    };
    // 2. Is it ours?
    if !settings::in_lln(&ip.destination) {
        return own::check(frame, &kernel::joined(ip));
    }
    let icmp = ip.protocol == parse::ICMPV6 || ip.protocol == parse::ICMPV4;
    if icmp && let Some(outcome) = related::check(frame, &kernel::joined(ip))? {
        return Ok(outcome);
    }
    // 3. Admission: here an attack ends.
    if !admit::may_be_listed(&ip.source) {
        return Err(Reason::NoLease.into());
    }
    let ip = kernel::joined(ip);
    if settings::in_lln(&ip.source) {
        return Err(Reason::SpoofedSource.into());
    }
    // 4. Content.
    let upper = parse::transport(frame, &ip).map_err(|_| Reason::Malformed)?;
    match content::inspect(&ip, &upper)? {
        Content::Datagram { ports, payload, end } => {
            let (payload, end) = (position(payload.get()), position(end.get()));
            datagram(frame, &ip, ports, payload, end)
        }
        Content::Segment { port } => segment(&ip, port),
        Content::Echo => echo(&ip),
    }
}

/// A datagram: record by record.
#[inline(always)]
fn datagram(
    frame: &XdpFrame,
    ip: &Network,
    ports: Ports,
    payload: Offset,
    end: Offset,
) -> Verdict<Outcome> {
    let service = content::service(ports.destination);
    if service.is_ok() && dtls::record(frame, payload, end).is_none() {
        return Err(Reason::NotDtls.into());
    }
    let key = AssociationKey {
        node: ip.destination,
        peer: ip.source,
        node_port: ports.destination,
        peer_port: ports.source,
        reserved: 0,
    };
    if let Err(reason) = service {
        own::node_initiated(&key, reason)?;
    }
    let flow = admit::associate(frame, &key, Side::Wan)?;
    // 5. Replay, 6. rate; what passes is remembered last.
    replay::check(frame, &flow, &key, payload, end)?;
    charge::charge(&flow.admitted, ip.length)?;
    replay::remember(frame, &flow, payload, end)?;
    charge::account(&flow.admitted, ip.length);
    flow.passed(ip.length);
    // 7. Count, and pass.
    Ok(Outcome::Checked)
}

/// A segment that the mapping takes up at the router.
#[inline(always)]
fn segment(ip: &Network, port: u16) -> Verdict<Outcome> {
    let admitted = admit::admit(&ip.source, &ip.destination, port, Side::Wan)?;
    charge::source(&admitted, ip.length)?;
    charge::account_source(&admitted, ip.length);
    Ok(Outcome::Checked)
}

/// What has neither records nor ports.
#[inline(always)]
fn echo(ip: &Network) -> Verdict<Outcome> {
    let admitted = admit::admit(&ip.source, &ip.destination, 0, Side::Wan)?;
    charge::charge(&admitted, ip.length)?;
    charge::account(&admitted, ip.length);
    Ok(Outcome::Checked)
}
