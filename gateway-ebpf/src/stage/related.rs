//! ICMP errors come from routers on the way, which hold no lease: what lets them in is the packet
//! that they quote (RFC 4890 §4.3.1).
#![expect(unsafe_code, reason = "a function that the verifier walks by itself has a symbol")]
use super::{
    admit::{self, node_of},
    charge,
};
use crate::{
    flows,
    frame::XdpFrame,
    kernel::{self, position},
    maps, settings,
    settle::{Outcome, Verdict},
};
use aya_ebpf::bindings::xdp_md;
use gateway_common::{
    abi::AssociationKey,
    decide::Reason,
    frame::Offset,
    wire::{
        icmp,
        parse::{self, Network, Upper},
    },
};

/// The verdict on an ICMP error or a neighbour discovery message; `None` for anything else, which
/// needs a lease.
#[inline(always)]
pub(crate) fn check(frame: &XdpFrame, ip: &Network) -> Verdict<Option<Outcome>> {
    let upper = parse::transport(frame, ip).map_err(|_| Reason::Malformed)?;
    let Upper::Icmp { kind, body } = upper else {
        return Ok(None);
    };
    match kind {
        icmp::Kind::Neighbour => Ok(Some(Outcome::Untouched)),
        icmp::Kind::Error => {
            if ip.length > settings::max_datagram() {
                return Err(Reason::Oversize.into());
            }
            if related_quote(frame.context(), body.get()) == 0 {
                return Err(Reason::IcmpUnrelated.into());
            }
            charge::radio(node_of(&ip.destination), ip.length, kernel::now())?;
            Ok(Some(Outcome::Checked))
        }
        icmp::Kind::Echo | icmp::Kind::Other => Ok(None),
    }
}

/// Whether the packet quoted at `body` is one that the node sent in a live flow. A global function
/// in the kernel too: a second packet needs a stack of its own.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn related_quote(ctx: *mut xdp_md, body: usize) -> u32 {
    let frame = XdpFrame::of(ctx);
    let Ok(Some(ip)) = parse::network(&frame, settings::link()) else { return 0 };
    u32::from(is_related(&frame, &kernel::joined(ip), position(body)))
}

#[inline(always)]
fn is_related(frame: &XdpFrame, ip: &Network, body: Offset) -> bool {
    let Ok(quote) = parse::quoted(frame, body, ip.v4) else {
        return false;
    };
    if quote.source != ip.destination {
        return false;
    }
    match quote.protocol {
        parse::UDP => {
            let flow = AssociationKey {
                node: quote.source,
                peer: quote.destination,
                node_port: quote.source_port,
                peer_port: quote.destination_port,
                reserved: 0,
            };
            flows::look_up(admit::tag(&flow), &flow).is_some()
        }
        parse::TCP => {
            settings::is_mapped_port(quote.source_port)
                && admit::may_be_listed(&quote.destination)
                && maps::source(&quote.destination).is_some()
        }
        _ => false,
    }
}
