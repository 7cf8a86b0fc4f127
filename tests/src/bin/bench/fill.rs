//! Puts leases, policies and associations into an instance's maps.
use std::net::Ipv6Addr;

use anyhow::{Result, bail};
use gateway_common::{
    abi::{ASSOCIATION_WAYS, Association, AssociationKey, Control, NODE_WAYS, NODES_MAX, filter},
    decide::{
        admission::{Lease, NEVER, Policy},
        association::Progress,
        rate::Rate,
    },
    hash::Key as _,
    wire::{Address, Prefix},
};
use gateway_user::dataplane::Plain;

use super::{
    instance::{AMPLE, Instance, TIGHT, key, limits},
    plan,
};

const GENERATION: u64 = 1;

/// Policies by number.
pub(crate) mod policy {
    /// Everything, within limits that are never reached.
    pub(crate) const AMPLE: u32 = 0;
    /// Hardly a packet.
    pub(crate) const TIGHT: u32 = 1;
    /// Another node.
    pub(crate) const OTHER_NODE: u32 = 2;
    /// Another port.
    pub(crate) const OTHER_PORT: u32 = 3;
}

/// Lists the sources that are varied over, and writes the policies.
pub(crate) fn leases(instance: &Instance) -> Result<()> {
    let maps = &instance.maps;
    let control =
        Control { generation: GENERATION, next_slot: instance.listed, ..Control::default() };
    maps.table::<Control>("CONTROL")?.set(0, Plain(control), 0)?;
    policies(instance, AMPLE)?;
    let mut table = maps.sources()?;
    let mut bits = vec![0; maps.table::<u64>("BITS")?.len() as usize];
    for slot in 0..instance.listed {
        let address = plan::address(plan::source(slot.into()));
        mark(&mut bits, &address);
        table.insert(Plain(address), Plain(lease(slot, policy::AMPLE)), 0)?;
    }
    write_bits(instance, &bits)
}

const fn lease(slot: u32, policy: u32) -> Lease {
    Lease { expires_ns: NEVER, policy, slot }
}

/// Writes the policies, the first with this rate.
pub(crate) fn policies(instance: &Instance, rate: Rate) -> Result<()> {
    let node = Prefix::new(plan::address(plan::ROUTER), 128);
    let ample = Policy { limits: limits(rate), ..Policy::ANY };
    let tight = Policy { limits: limits(TIGHT), ..Policy::ANY };
    let mut other_node = ample;
    (other_node.node_count, other_node.nodes[0]) = (1, node);
    let mut other_port = ample;
    (other_port.port_count, other_port.ports[0]) = (1, 1);
    let mut table = instance.maps.policies()?;
    for (index, policy) in (0..).zip([ample, tight, other_node, other_port]) {
        table.set(index, Plain(policy), 0)?;
    }
    Ok(())
}

fn mark(bits: &mut [u64], address: &Address) {
    let entry = filter::address(key(), address);
    let words = bits.len();
    bits[entry.word as usize & (words - 1)] |= entry.mask;
}

fn write_bits(instance: &Instance, bits: &[u64]) -> Result<()> {
    let mut table = instance.maps.table::<u64>("BITS")?;
    for (index, word) in (0..).zip(bits).filter(|(_, word)| **word != 0) {
        table.set(index, Plain(*word), 0)?;
    }
    Ok(())
}

/// Sets the filter bits of an address that need not be listed.
pub(crate) fn bit(instance: &Instance, of: Ipv6Addr) -> Result<()> {
    let mut table = instance.maps.table::<u64>("BITS")?;
    let bit = filter::address(key(), &plan::address(of));
    let index = bit.word & (table.len() - 1);
    let word = table.get(&index, 0)?.0 | bit.mask;
    Ok(table.set(index, Plain(word), 0)?)
}

/// Lists one more source: number `nth` behind those that are varied over.
pub(crate) fn special(instance: &Instance, nth: u32, policy: u32) -> Result<Ipv6Addr> {
    let address = plan::source(plan::SPECIAL + u64::from(nth));
    bit(instance, address)?;
    let lease = lease(instance.listed + nth, policy);
    let mut table = instance.maps.sources()?;
    table.insert(Plain(plan::address(address)), Plain(lease), 0)?;
    Ok(address)
}

/// Makes a lease one that has lapsed.
pub(crate) fn lapse(instance: &Instance, of: Ipv6Addr) -> Result<()> {
    let key = Plain(plan::address(of));
    let mut table = instance.maps.sources()?;
    let mut lease = table.get(&key, 0)?.0;
    lease.expires_ns = 1;
    Ok(table.insert(key, Plain(lease), 0)?)
}

/// What an association knows when its node has proved the back-end.
pub(crate) const PROVEN: Progress = Progress {
    incarnation: 1,
    epoch: 1,
    flags: Progress::ANSWERED | Progress::PROVEN | Progress::VALIDATED,
};

/// The first sources' associations, proven, with the slots and policy of their leases.
pub(crate) fn associations(instance: &Instance, number: u32) -> Result<()> {
    for slot in 0..number {
        open(instance, &association(plan::source(slot.into()), slot, policy::AMPLE, PROVEN))?;
    }
    Ok(())
}

/// Puts an association where the filter looks for it.
pub(crate) fn open(instance: &Instance, state: &Association) -> Result<()> {
    let mut table = instance.maps.associations()?;
    let first = (state.tag >> 32) as u32;
    for way in 0..ASSOCIATION_WAYS {
        let place = first.wrapping_add(way) & (table.len() - 1);
        let found = table.get(&place, 0)?.0.tag;
        if found == Association::FREE || found == state.tag {
            return Ok(table.set(place, Plain(*state), 0)?);
        }
    }
    bail!("no place for {}", state.peer)
}

/// One association.
pub(crate) fn association(
    peer: Ipv6Addr,
    slot: u32,
    policy: u32,
    progress: Progress,
) -> Association {
    let flow = AssociationKey {
        node: plan::address(plan::NODE),
        peer: plan::address(peer),
        node_port: plan::DTLS_PORT,
        peer_port: plan::PEER_PORT,
        reserved: 0,
    };
    Association {
        tag: flow.tag(key(), filter::part(key(), &flow.peer)),
        generation: GENERATION,
        expires_ns: NEVER,
        policy: policy as u16,
        slot,
        bucket: slot,
        node_slot: node_slot(flow.node.raw_words()) as u16,
        reserved: 0,
        node: flow.node,
        peer: flow.peer,
        node_port: flow.node_port,
        peer_port: flow.peer_port,
        progress,
        unproven_ns: 0,
        record_mode_until_ns: 0,
        bytes_in: 0,
        bytes_out: 0,
        confirmed_next: 0,
        confirmed_epoch: 0,
        hello: 0,
        last_seen_ns: 0,
    }
}

/// The first place that the filter would look for the node's budget.
fn node_slot((high, low): (u64, u64)) -> u32 {
    (key().hash([high, low, 2]) as u32 % NODES_MAX) & !(NODE_WAYS - 1)
}

/// Tells the filter that an address is the router's own.
pub(crate) fn own(instance: &Instance, of: Ipv6Addr) -> Result<()> {
    let mut table = instance.maps.index::<Address, u32>("OWN")?;
    Ok(table.insert(Plain(plan::address(of)), Plain(1), 0)?)
}
