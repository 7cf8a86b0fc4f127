//! Is there budget left: the source's, the node's, the LLN's?
#![expect(unsafe_code, reason = "budgets are shared memory")]
use super::admit::Admitted;
use crate::{
    atomic, maps, settings,
    settle::{Refusal, Verdict},
};
use gateway_common::{
    abi::{Budget, NodeState, SourceState},
    decide::{
        Reason,
        rate::{Limits, Rate},
        reason::Counter,
    },
};

/// Races that a packet may lose before it is refused.
const TRIES: usize = 4;

/// Spends `units` of a budget; whether it had them. A refusal writes nothing.
#[inline(always)]
pub(crate) fn spend(arrival: *mut u64, rate: Rate, now: u64, units: u64) -> bool {
    rate.is_unlimited()
        || charge_spend(arrival, rate.interval_ns, rate.burst_ns, now, units) != REFUSED
}

const REFUSED: u32 = 1;

/// A global function in the kernel too, which the verifier walks once.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn charge_spend(
    arrival: *mut u64,
    interval_ns: u64,
    burst_ns: u64,
    now: u64,
    units: u64,
) -> u32 {
    if arrival.is_null() {
        return REFUSED;
    }
    let rate = Rate { interval_ns, burst_ns };
    let mut i = 0;
    while i < TRIES {
        // SAFETY: callers pass an aligned word of a map value.
        let old = unsafe { atomic::load(arrival) };
        let Some(next) = rate.conform(old, now, units) else {
            return REFUSED;
        };
        // SAFETY: as above.
        if unsafe { atomic::replace(arrival, old, next) } {
            return 0;
        }
        i += 1;
    }
    REFUSED
}

/// [`spend`] on the straight path: the exchange itself, and a call only when it is lost.
#[inline(always)]
fn spend_here(arrival: *mut u64, rate: Rate, now: u64, units: u64) -> bool {
    if rate.is_unlimited() {
        return true;
    }
    // SAFETY: callers pass an aligned word of a map value.
    let old = unsafe { atomic::load(arrival) };
    let Some(next) = rate.conform(old, now, units) else {
        return false;
    };
    // SAFETY: as above.
    let spent = unsafe { atomic::replace(arrival, old, next) };
    spent || spend(arrival, rate, now, units)
}

/// Spends one packet and its bytes; else says which of the two is exhausted.
#[inline(always)]
fn pair(
    budget: *mut Budget,
    limits: Limits,
    now: u64,
    length: u16,
    reasons: (Reason, Reason),
) -> Result<(), Reason> {
    // SAFETY: callers pass a live map value; only the fields' addresses are taken.
    let (packets, bytes) = unsafe { (&raw mut (*budget).packets_ns, &raw mut (*budget).bytes_ns) };
    if !spend_here(packets, limits.packets, now, 1) {
        return Err(reasons.0);
    }
    if spend_here(bytes, limits.bytes, now, length.into()) { Ok(()) } else { Err(reasons.1) }
}

const SOURCE: (Reason, Reason) = (Reason::SourcePackets, Reason::SourceBytes);
const NODE: (Reason, Reason) = (Reason::NodePackets, Reason::NodeBytes);
const LLN: (Reason, Reason) = (Reason::LlnPackets, Reason::LlnBytes);

/// Where a packet is counted and what it spends.
pub(crate) struct Accounts {
    /// The source's counters.
    source: *mut SourceState,
    /// Whose budget it draws on.
    bucket: *mut SourceState,
    node: *mut NodeState,
    lln: *mut Budget,
}

impl Accounts {
    #[inline(always)]
    pub(crate) fn of(admitted: &Admitted) -> Option<Self> {
        let bucket = maps::source_state(admitted.bucket)?;
        let own = admitted.slot == admitted.bucket;
        let source = if own { bucket } else { maps::source_state(admitted.slot)? };
        Some(Self { source, bucket, node: maps::node(admitted.node)?, lln: maps::lln()? })
    }

    /// The source's budget, then what the radio can take, the LLN's budget last: what a node is
    /// spared is left for the others.
    #[inline(always)]
    pub(crate) fn charge(&self, admitted: &Admitted, length: u16) -> Verdict<()> {
        let Some(policy) = maps::policy(admitted.policy) else {
            return Err(admitted.refuse(Reason::SourcePackets));
        };
        let now = admitted.now;
        pair(budget_of(self.bucket), policy.limits, now, length, SOURCE)
            .and_then(|()| pair(budget_of_node(self.node), settings::node(), now, length, NODE))
            .and_then(|()| pair(self.lln, settings::lln(), now, length, LLN))
            .map_err(|reason| admitted.refuse(reason))
    }

    /// Counts what passes on the source's and the node's account.
    #[inline(always)]
    pub(crate) fn count(&self, admitted: &Admitted, length: u16) {
        count_source(self.source, admitted, length);
        count(maps::node_passed(admitted.node), length);
        let node = self.node;
        // SAFETY: a word of a live map value.
        unsafe { atomic::store(&raw mut (*node).last_seen_ns, admitted.now) };
    }
}

#[inline(always)]
fn budget_of(source: *mut SourceState) -> *mut Budget {
    // SAFETY: callers pass a live map value; only the field's address is taken.
    unsafe { &raw mut (*source).budget }
}

#[inline(always)]
fn budget_of_node(node: *mut NodeState) -> *mut Budget {
    // SAFETY: as above.
    unsafe { &raw mut (*node).budget }
}

#[inline(always)]
fn count_source(source: *mut SourceState, admitted: &Admitted, length: u16) {
    count(maps::source_passed(admitted.slot), length);
    // SAFETY: a word of a live map value.
    unsafe { atomic::store(&raw mut (*source).last_seen_ns, admitted.now) };
}

#[inline(always)]
fn count(counter: Option<*mut Counter>, length: u16) {
    // SAFETY: this CPU's own counter.
    if let Some(counter) = counter.map(|counter| unsafe { &mut *counter }) {
        counter.packets = counter.packets.wrapping_add(1);
        counter.bytes = counter.bytes.wrapping_add(length.into());
    }
}

/// [`Accounts::charge`] for the general path.
#[inline(always)]
pub(crate) fn charge(admitted: &Admitted, length: u16) -> Verdict<()> {
    match charge_inward(admitted, length.into()) {
        0 => Ok(()),
        word => Err(Refusal::from_word(word)),
    }
}

/// A global function in the kernel too, which the verifier walks once.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn charge_inward(admitted: *const Admitted, length: u32) -> u64 {
    // SAFETY: the caller's own, or null as far as the verifier knows.
    let admitted = unsafe { admitted.as_ref() };
    let accounts = admitted.and_then(Accounts::of);
    let (Some(admitted), Some(accounts)) = (admitted, accounts) else {
        return Refusal::from(Reason::SourcePackets).to_word();
    };
    match accounts.charge(admitted, length as u16) {
        Ok(()) => 0,
        Err(refusal) => refusal.to_word(),
    }
}

/// [`Accounts::count`] for the general path.
#[inline(always)]
pub(crate) fn passed(admitted: &Admitted, length: u16) {
    if let Some(accounts) = Accounts::of(admitted) {
        accounts.count(admitted, length);
    }
}

/// Charges and counts what ends at the router: on the source's account alone.
#[inline(always)]
pub(crate) fn to_router(admitted: &Admitted, length: u16) -> Verdict<()> {
    match charge_router(admitted, length.into()) {
        0 => Ok(()),
        word => Err(Refusal::from_word(word)),
    }
}

/// A global function in the kernel too, as [`charge_inward`].
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn charge_router(admitted: *const Admitted, length: u32) -> u64 {
    // SAFETY: the caller's own, or null as far as the verifier knows.
    let Some(admitted) = (unsafe { admitted.as_ref() }) else {
        return Refusal::from(Reason::SourcePackets).to_word();
    };
    match on_account(admitted, length as u16) {
        Ok(()) => 0,
        Err(refusal) => refusal.to_word(),
    }
}

#[inline(always)]
fn on_account(admitted: &Admitted, length: u16) -> Verdict<()> {
    let refuse = |reason| admitted.refuse(reason);
    let (Some(policy), Some(bucket)) =
        (maps::policy(admitted.policy), maps::source_state(admitted.bucket))
    else {
        return Err(refuse(Reason::SourcePackets));
    };
    pair(budget_of(bucket), policy.limits, admitted.now, length, SOURCE).map_err(refuse)?;
    if let Some(source) = maps::source_state(admitted.slot) {
        count_source(source, admitted, length);
    }
    Ok(())
}

/// Spends what the radio can take.
#[inline(always)]
pub(crate) fn radio(node: u32, length: u16, now: u64) -> Result<(), Reason> {
    let (Some(node), Some(lln)) = (maps::node(node), maps::lln()) else {
        return Err(Reason::NodePackets);
    };
    pair(budget_of_node(node), settings::node(), now, length, NODE)?;
    pair(lln, settings::lln(), now, length, LLN)
}
