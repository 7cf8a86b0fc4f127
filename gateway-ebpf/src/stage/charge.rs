//! Is there budget left: the source's, the node's, the LLN's?
#![expect(unsafe_code, reason = "budgets are shared memory")]
use super::admit::Admitted;
use crate::{atomic, maps, settings, settle::Verdict};
use gateway_common::{
    abi::Budget,
    decide::{
        Reason,
        rate::{Limits, Rate},
    },
};

/// Races that a packet may lose before it is refused.
const TRIES: usize = 4;

/// Spends `units` of a budget; whether it had them. A refusal writes nothing.
#[inline(always)]
pub(crate) fn spend(arrival: *mut u64, rate: Rate, now: u64, units: u64) -> bool {
    if rate.is_unlimited() {
        return true;
    }
    let mut i = 0;
    while i < TRIES {
        // SAFETY: callers pass an aligned word of a map value.
        let old = unsafe { atomic::load(arrival) };
        let Some(next) = rate.conform(old, now, units) else {
            return false;
        };
        // SAFETY: as above.
        if unsafe { atomic::replace(arrival, old, next) } {
            return true;
        }
        i += 1;
    }
    false
}

/// Spends one packet and `bytes`; else says which of the two is exhausted.
#[inline(always)]
fn pair(
    budget: *mut Budget,
    limits: Limits,
    now: u64,
    bytes: u64,
    reasons: (Reason, Reason),
) -> Result<(), Reason> {
    // SAFETY: callers pass a live map value; only the field's address is taken.
    let (packets, octets) = unsafe { (&raw mut (*budget).packets_ns, &raw mut (*budget).bytes_ns) };
    if !spend(packets, limits.packets, now, 1) {
        return Err(reasons.0);
    }
    if !spend(octets, limits.bytes, now, bytes) {
        return Err(reasons.1);
    }
    Ok(())
}

/// The source's budget, then what the radio can take.
#[inline(always)]
pub(crate) fn charge(admitted: &Admitted, length: u16) -> Verdict<()> {
    source(admitted, length)?;
    radio(admitted.node, length, admitted.now).map_err(|reason| admitted.refuse(reason))
}

/// The source's budget alone: of what ends at the router.
#[inline(always)]
pub(crate) fn source(admitted: &Admitted, length: u16) -> Verdict<()> {
    let Some(policy) = maps::policy(admitted.policy) else {
        return Err(admitted.refuse(Reason::SourcePackets));
    };
    let limits = &policy.limits;
    if let Some(source) = maps::source_state(admitted.bucket) {
        // SAFETY: a live map value; only the field's address is taken.
        let budget = unsafe { &raw mut (*source).budget };
        let reasons = (Reason::SourcePackets, Reason::SourceBytes);
        pair(budget, *limits, admitted.now, length.into(), reasons)
            .map_err(|reason| admitted.refuse(reason))?;
    }
    Ok(())
}

/// The node's budget and the LLN's, the LLN's last: what a node is spared is left for the others.
#[inline(always)]
pub(crate) fn radio(node: u32, length: u16, now: u64) -> Result<(), Reason> {
    let bytes = u64::from(length);
    if let Some(node) = maps::node(node) {
        // SAFETY: a live map value; only the field's address is taken.
        let budget = unsafe { &raw mut (*node).budget };
        pair(budget, settings::node(), now, bytes, (Reason::NodePackets, Reason::NodeBytes))?;
    }
    if let Some(lln) = maps::lln() {
        pair(lln, settings::lln(), now, bytes, (Reason::LlnPackets, Reason::LlnBytes))?;
    }
    Ok(())
}

/// Counts what passes on the source's and the node's account.
#[inline(always)]
pub(crate) fn account(admitted: &Admitted, length: u16) {
    account_source(admitted, length);
    let bytes = u64::from(length);
    if let Some(node) = maps::node(admitted.node) {
        // SAFETY: words of a live map value.
        unsafe { atomic::add(&raw mut (*node).packets, 1) };
        // SAFETY: as above.
        unsafe { atomic::add(&raw mut (*node).bytes, bytes) };
        // SAFETY: as above.
        unsafe { atomic::store(&raw mut (*node).last_seen_ns, admitted.now) };
    }
}

/// Counts what passes on the source's account alone: what ends at the router.
#[inline(always)]
pub(crate) fn account_source(admitted: &Admitted, length: u16) {
    let bytes = u64::from(length);
    if let Some(source) = maps::source_state(admitted.slot) {
        // SAFETY: words of a live map value.
        unsafe { atomic::add(&raw mut (*source).packets, 1) };
        // SAFETY: as above.
        unsafe { atomic::add(&raw mut (*source).bytes, bytes) };
        // SAFETY: as above.
        unsafe { atomic::store(&raw mut (*source).last_seen_ns, admitted.now) };
    }
}
