//! ICMP errors come from routers on the way, which hold no lease: what lets them in is the packet
//! that they quote (RFC 4890 §4.3.1).
use super::{
    admit::{self, node_of},
    charge,
};
use crate::{
    frame::XdpFrame,
    kernel, maps, settings,
    settle::{Outcome, Verdict},
};
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
pub fn check(frame: &XdpFrame, ip: &Network) -> Verdict<Option<Outcome>> {
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
            if !is_related(frame, ip, body) {
                return Err(Reason::IcmpUnrelated.into());
            }
            charge::radio(node_of(&ip.destination), ip.length, kernel::now())?;
            Ok(Some(Outcome::Checked))
        }
        icmp::Kind::Echo | icmp::Kind::Other => Ok(None),
    }
}

/// Whether the quoted packet is one that the node sent in a live flow. A function of its own in
/// the kernel too: the second packet needs a stack of its own.
#[inline(never)]
fn is_related(frame: &XdpFrame, ip: &Network, body: Offset) -> bool {
    let (frame, ip) = (kernel::whole(frame), kernel::whole(ip));
    let Ok(quote) = parse::quoted(frame, body, ip.v4) else {
        return false;
    };
    if quote.source != ip.destination {
        return false;
    }
    match quote.protocol {
        parse::UDP => maps::association(&AssociationKey {
            node: quote.source,
            peer: quote.destination,
            node_port: quote.source_port,
            peer_port: quote.destination_port,
            reserved: 0,
        })
        .is_some(),
        parse::TCP => {
            settings::is_mapped_port(quote.source_port)
                && admit::may_be_listed(&quote.destination)
                && maps::source(&quote.destination).is_some()
        }
        _ => false,
    }
}
