//! ICMP errors come from routers on the way, which hold no lease: what lets them in is the packet
//! that they quote (RFC 4890 §4.3.1).
#![expect(unsafe_code, reason = "a function that the verifier walks by itself has a symbol")]
use super::{
    admit::{self, node_of},
    charge, upper,
};
use crate::{
    flows,
    frame::XdpFrame,
    kernel::{self, position},
    maps::{self, Case},
    settings,
    settle::{Outcome, Verdict},
};
use aya_ebpf::bindings::xdp_md;
use gateway_common::{
    abi::AssociationKey,
    decide::Reason,
    frame::Offset,
    wire::parse::{self, Network},
};

/// The verdict on an ICMP error or a neighbour discovery message; `None` for anything else, which
/// needs a lease.
#[inline(always)]
pub(crate) fn check(frame: &XdpFrame, ip: &Network, case: &Case) -> Verdict<Option<Outcome>> {
    let (kind, found) = upper::read(frame, case);
    match kind {
        upper::MALFORMED => Err(Reason::Malformed.into()),
        upper::ICMP_NEIGHBOUR => Ok(Some(Outcome::Untouched)),
        upper::ICMP_ERROR => {
            if ip.length > settings::max_datagram() {
                return Err(Reason::Oversize.into());
            }
            let related = match related_quote(frame.context(), found.at.get()) {
                OF_FLOW => {
                    let flow = kernel::apart(&case.flow);
                    flows::look_up(admit::tag(flow), flow).is_some()
                }
                quote => quote == RELATED,
            };
            if !related {
                return Err(Reason::IcmpUnrelated.into());
            }
            charge::radio(node_of(&ip.destination), ip.length, kernel::now())?;
            Ok(Some(Outcome::Checked))
        }
        _ => Ok(None),
    }
}

// What a quoted packet is: one that no node sent, one that a node did, one of the flow that is put
// with the packet in hand.
const UNRELATED: u32 = 0;
const RELATED: u32 = 1;
const OF_FLOW: u32 = 2;

/// Whether the packet quoted at `body` is one that the node sent in a live flow. A global function
/// in the kernel too: a second packet needs a stack of its own. The first one is the one in hand.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn related_quote(ctx: *mut xdp_md, body: usize) -> u32 {
    let Some(case) = maps::case() else { return UNRELATED };
    quoted(&XdpFrame::of(ctx), kernel::whole(&case.ip), position(body), &mut case.flow)
}

#[inline(always)]
fn quoted(frame: &XdpFrame, ip: &Network, body: Offset, flow: &mut AssociationKey) -> u32 {
    let Ok(quote) = parse::quoted(frame, body, ip.v4) else {
        return UNRELATED;
    };
    if quote.source != ip.destination {
        return UNRELATED;
    }
    match quote.protocol {
        parse::UDP => {
            *flow = AssociationKey {
                node: quote.source,
                peer: quote.destination,
                node_port: quote.source_port,
                peer_port: quote.destination_port,
                reserved: 0,
            };
            OF_FLOW
        }
        parse::TCP
            if settings::is_mapped_port(quote.source_port)
                && admit::may_be_listed(&quote.destination)
                && maps::source(&quote.destination).is_some() =>
        {
            RELATED
        }
        _ => UNRELATED,
    }
}
