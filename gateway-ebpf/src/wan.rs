//! Internet side: what a packet must get through before it costs a frame on the radio.
#![expect(unsafe_code, reason = "a global function has a symbol")]
use crate::{
    cookie,
    frame::XdpFrame,
    kernel,
    lane::{self, Lane},
    maps::{self, Case},
    own, settings,
    settle::{self, Outcome, Refusal, Verdict},
    stage::{
        admit::{self, Side},
        charge, content, related, replay, upper,
    },
    tcp,
};
use aya_ebpf::bindings::xdp_md;
use gateway_common::{
    abi::AssociationKey,
    decide::{Reason, segment::Way},
    wire::parse::{self, Network},
};

/// What the kernel is to do with a frame from the Internet.
#[inline(always)]
pub fn run(frame: &XdpFrame) -> u32 {
    let verdict = match lane::judge(frame) {
        Lane::Stranger => return settle::stranger(frame),
        Lane::Decided(verdict) => verdict,
        Lane::Open => match wan_general(frame.context()) {
            DATAGRAM => match wan_content(frame.context()) {
                DATAGRAM => settle::from_word(wan_datagram(frame.context())),
                word => settle::from_word(word),
            },
            word => settle::from_word(word),
        },
    };
    settle::settle(frame, verdict)
}

/// What [`wan_general`] and [`wan_content`] return for a datagram that the next one is to judge: no
/// refusal's word, as reasons do not go that far.
const DATAGRAM: u64 = u64::MAX - 1;

/// A global function in the kernel too: the verifier walks it once, whatever the straight path found.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn wan_general(ctx: *mut xdp_md) -> u64 {
    match wan(&XdpFrame::of(ctx)) {
        Ok(Some(outcome)) => settle::to_word(Ok(outcome)),
        Ok(None) => DATAGRAM,
        Err(refusal) => refusal.to_word(),
    }
}

/// The same for what comes after, so that none needs another's stack.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn wan_content(ctx: *mut xdp_md) -> u64 {
    let Some(case) = maps::case() else {
        return Refusal::from(Reason::Malformed).to_word();
    };
    match inspect(&XdpFrame::of(ctx), case) {
        Ok(()) => DATAGRAM,
        Err(refusal) => refusal.to_word(),
    }
}

/// And the last one.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn wan_datagram(ctx: *mut xdp_md) -> u64 {
    let Some(case) = maps::case() else {
        return Refusal::from(Reason::Malformed).to_word();
    };
    settle::to_word(datagram(&XdpFrame::of(ctx), case))
}

/// The verdict on a frame from the Internet; `None` for a datagram to a node.
#[inline(always)]
fn wan(frame: &XdpFrame) -> Verdict<Option<Outcome>> {
    // 1. Parse. What has no network header worth the name, no receiver takes.
    let Ok(Some(ip)) = parse::network(frame, settings::link()) else {
        return Ok(Some(Outcome::Untouched));
    };
    let Some(case) = maps::case() else {
        return Err(Reason::Malformed.into());
    };
    // read back from there: nothing is known any more of how it was found
    case.ip = ip;
    let ip = kernel::apart(&case.ip);
    // 2. Is it ours?
    if !settings::in_lln(&ip.destination) {
        return own::check(frame, ip, case).map(Some);
    }
    let icmp = ip.protocol == parse::ICMPV6 || ip.protocol == parse::ICMPV4;
    if icmp && let Some(outcome) = related::check(frame, ip, case)? {
        return Ok(Some(outcome));
    }
    // 3. Admission: here an attack ends.
    if !admit::may_be_listed(&ip.source) {
        return Err(Reason::NoLease.into());
    }
    if settings::in_lln(&ip.source) {
        return Err(Reason::SpoofedSource.into());
    }
    // 4. Content.
    let (kind, found) = upper::read(frame, case);
    if kind == upper::MALFORMED {
        return Err(Reason::Malformed.into());
    }
    if kind == upper::TCP && settings::is_mapped_port(found.ports.destination) {
        if settings::has_sockets() {
            tcp::check(frame, ip, Way::Mapped)?;
        }
        return segment(ip, found.ports.destination).map(Some);
    }
    if ip.length > settings::max_datagram() {
        return Err(Reason::Oversize.into());
    }
    match kind {
        upper::UDP => {
            case.flow = AssociationKey {
                node: ip.destination,
                peer: ip.source,
                node_port: found.ports.destination,
                peer_port: found.ports.source,
                reserved: 0,
            };
            Ok(None)
        }
        upper::ICMP_ECHO => echo(ip).map(Some),
        kind => Err(content::refuse(kind).into()),
    }
}

/// What a datagram is, before anything is remembered or charged for it.
#[inline(always)]
fn inspect(frame: &XdpFrame, case: &Case) -> Verdict<()> {
    let flow = &case.flow;
    let (payload, end) = (upper::bounded(case.upper.at), upper::bounded(case.upper.end));
    let service = content::service(flow.node_port);
    if service.is_ok() && !content::is_dtls(frame, payload, end) {
        return Err(Reason::NotDtls.into());
    }
    if let Err(reason) = service {
        own::node_initiated(flow, reason)?;
    }
    cookie::node(frame, flow, payload, end)
}

/// A datagram: record by record.
#[inline(always)]
fn datagram(frame: &XdpFrame, case: &Case) -> Verdict<Outcome> {
    let (length, flow) = (case.ip.length, &case.flow);
    let (payload, end) = (upper::bounded(case.upper.at), upper::bounded(case.upper.end));
    let found = admit::associate(frame, flow, Side::Wan)?;
    // 5. Replay, 6. rate: a source over its limit ends before its records are looked at, and what
    // passes is remembered last.
    charge::affords(&found.admitted, length)?;
    replay::check(frame, &found, flow, payload, end)?;
    charge::charge(&found.admitted, length)?;
    replay::remember(frame, &found, payload, end)?;
    charge::passed(&found.admitted, length);
    found.passed(length);
    // 7. Count, and pass.
    Ok(Outcome::Checked)
}

/// A segment that the mapping takes up at the router.
#[inline(always)]
fn segment(ip: &Network, port: u16) -> Verdict<Outcome> {
    let admitted = admit::admit(&ip.source, &ip.destination, port, Side::Wan)?;
    charge::to_router(&admitted, ip.length)?;
    Ok(Outcome::Checked)
}

/// What has neither records nor ports.
#[inline(always)]
fn echo(ip: &Network) -> Verdict<Outcome> {
    let admitted = admit::admit(&ip.source, &ip.destination, 0, Side::Wan)?;
    charge::charge(&admitted, ip.length)?;
    charge::passed(&admitted, ip.length);
    Ok(Outcome::Checked)
}
