//! Is there budget left: the source's, the node's, the LLN's?
#![expect(unsafe_code, reason = "budgets are shared memory")]
use super::admit::Admitted;
use crate::{atomic, kernel, maps, settings, settle::Verdict};
use gateway_common::{
    abi::{Budget, NodeState, SourceState},
    decide::{
        Reason,
        rate::{Due, Exhausted, Limits, Rate},
        reason::Counter,
    },
};

/// Races that a packet may lose before it is refused.
const TRIES: usize = 4;

/// Spends `units` of a budget; whether it had them. A refusal writes nothing.
#[inline(always)]
pub(crate) fn spend(arrival: *mut u64, rate: Rate, now: u64, units: u64) -> bool {
    let span = u64::from(rate.scale) << 32 | u64::from(rate.burst);
    rate.is_unlimited() || charge_spend(arrival, rate.interval_ns, span, now, units) != REFUSED
}

const REFUSED: u32 = 1;

/// A global function in the kernel too, which the verifier walks once.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn charge_spend(
    arrival: *mut u64,
    interval_ns: u64,
    span: u64,
    now: u64,
    units: u64,
) -> u32 {
    if arrival.is_null() {
        return REFUSED;
    }
    let rate = Rate { interval_ns, burst: span as u32, scale: (span >> 32) as u32 };
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

/// What a packet would leave of a budget.
struct Quote {
    old: u64,
    next: u64,
}

/// Whether a budget has a packet of `length` bytes left. Nothing is spent.
#[inline(always)]
fn quote(budget: *mut Budget, limits: &Limits, now: u64, length: u16) -> Result<Quote, Exhausted> {
    // SAFETY: callers pass a live map value; only the fields' addresses are taken.
    let (due, spent) = unsafe { (&raw const (*budget).due, &raw const (*budget).spent_ns) };
    // SAFETY: an aligned word of a map value, read in one piece.
    let old = unsafe { atomic::load(due.cast()) };
    // SAFETY: as above.
    let spent_ns = unsafe { atomic::load(spent) };
    match limits.conform(Due::from_bits(old), spent_ns, now, length) {
        Ok(next) => Ok(Quote { old, next: next.bits() }),
        Err(exhausted) => Err(exhausted),
    }
}

/// Spends what was quoted, unless another CPU has spent of it meanwhile.
#[inline(always)]
fn take(budget: *mut Budget, quote: &Quote, now: u64) -> bool {
    // SAFETY: as above.
    let (due, spent) = unsafe { (&raw mut (*budget).due, &raw mut (*budget).spent_ns) };
    // Before the exchange: who finds the new word must not take it for one of long ago.
    // SAFETY: an aligned word of a map value.
    unsafe { atomic::refresh(spent, now) };
    // SAFETY: as above.
    unsafe { atomic::replace(due.cast(), quote.old, quote.next) }
}

// Whose budget.
const SOURCE: u32 = 0;
const NODE: u32 = 1;
const LLN: u32 = 2;
/// The source's, of which nothing is spent.
const SOURCE_ASKED: u32 = 3;

/// The reasons for refusals: packets, bytes.
#[inline(always)]
const fn reason(whose: u32, exhausted: Exhausted) -> Reason {
    match (whose, exhausted) {
        (SOURCE | SOURCE_ASKED, Exhausted::Packets) => Reason::SourcePackets,
        (SOURCE | SOURCE_ASKED, Exhausted::Bytes) => Reason::SourceBytes,
        (NODE, Exhausted::Packets) => Reason::NodePackets,
        (NODE, Exhausted::Bytes) => Reason::NodeBytes,
        (_, Exhausted::Packets) => Reason::LlnPackets,
        (_, Exhausted::Bytes) => Reason::LlnBytes,
    }
}

/// A packet to charge.
#[derive(Clone, Copy)]
struct Item {
    /// Which of the source's or the nodes' budgets.
    slot: u32,
    /// The source's policy.
    policy: u32,
    now: u64,
    length: u16,
}

/// Charges a budget of those that `whose` says.
#[inline(always)]
fn one(whose: u32, budget: *mut Budget, limits: &Limits, item: Item) -> Result<(), Reason> {
    if limits.are_unlimited() {
        return Ok(());
    }
    match quote(budget, limits, item.now, item.length) {
        Ok(quote) => quoted(whose, budget, &quote, item),
        Err(exhausted) => Err(reason(whose, exhausted)),
    }
}

/// Spends what was quoted: the exchange itself, and a call only when it is lost.
#[inline(always)]
fn quoted(whose: u32, budget: *mut Budget, quote: &Quote, item: Item) -> Result<(), Reason> {
    if take(budget, quote, item.now) {
        return Ok(());
    }
    called(whose, item)
}

/// Charges a budget off the straight path, and where an exchange was lost.
#[inline(always)]
fn called(whose: u32, item: Item) -> Result<(), Reason> {
    match charge_budget(whose, item.slot, item.policy, item.now, item.length.into()) {
        TAKEN => Ok(()),
        NO_BYTES => Err(reason(whose, Exhausted::Bytes)),
        _ => Err(reason(whose, Exhausted::Packets)),
    }
}

const TAKEN: u32 = 0;
const NO_PACKETS: u32 = 1;
const NO_BYTES: u32 = 2;

/// A global function in the kernel too, which the verifier walks once; it finds the budget itself,
/// as it may get numbers only.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn charge_budget(whose: u32, slot: u32, policy: u32, now: u64, length: u32) -> u32 {
    let (budget, limits) = match whose {
        SOURCE | SOURCE_ASKED => {
            let (Some(source), Some(policy)) = (maps::source_state(slot), maps::policy(policy))
            else {
                return NO_PACKETS;
            };
            (budget_of(source), policy.limits)
        }
        NODE => {
            let Some(node) = maps::node(slot) else { return NO_PACKETS };
            (budget_of_node(node), settings::node())
        }
        _ => {
            let Some(lln) = maps::lln() else { return NO_PACKETS };
            (lln, settings::lln())
        }
    };
    let mut i = 0;
    while i < TRIES {
        match quote(budget, &limits, now, length as u16) {
            Ok(quote) if whose == SOURCE_ASKED || take(budget, &quote, now) => return TAKEN,
            Ok(_) => {}
            Err(Exhausted::Packets) => return NO_PACKETS,
            Err(Exhausted::Bytes) => return NO_BYTES,
        }
        i += 1;
    }
    NO_PACKETS
}

/// What a packet would leave of its source's budget: asked before its records are looked at, as an
/// attacker over his limit is best told at once.
pub(crate) struct Account {
    budget: *mut Budget,
    quote: Quote,
}

impl Account {
    /// Asks; nothing is spent. Where the packet will be counted is touched: it is seldom in a cache.
    #[inline(always)]
    pub(crate) fn of(admitted: &Admitted, length: u16) -> Verdict<Self> {
        let found = (maps::source_state(admitted.bucket), maps::policy(admitted.policy));
        let (Some(bucket), Some(policy)) = found else {
            return Err(admitted.refuse(Reason::SourcePackets));
        };
        let budget = budget_of(bucket);
        if let Some(counter) = maps::source_passed(admitted.slot) {
            // SAFETY: this CPU's own counter.
            kernel::fixed(unsafe { (*counter).packets });
        }
        match quote(budget, &policy.limits, admitted.now, length) {
            Ok(quote) => Ok(Self { budget, quote }),
            Err(exhausted) => Err(admitted.refuse(reason(SOURCE, exhausted))),
        }
    }

    /// Spends what was asked for.
    #[inline(always)]
    fn spend(&self, admitted: &Admitted, length: u16) -> Result<(), Reason> {
        let Admitted { bucket: slot, policy, now, .. } = *admitted;
        quoted(SOURCE, self.budget, &self.quote, Item { slot, policy, now, length })
    }

    /// The source's budget, then what the radio can take, the LLN's budget last: what a node is
    /// spared is left for the others.
    #[inline(always)]
    pub(crate) fn charge(&self, admitted: &Admitted, length: u16) -> Verdict<()> {
        self.spend(admitted, length)
            .and_then(|()| Self::radio(admitted, length))
            .map_err(|reason| admitted.refuse(reason))
    }

    #[inline(always)]
    fn radio(admitted: &Admitted, length: u16) -> Result<(), Reason> {
        let (Some(node), Some(lln)) = (maps::node(admitted.node), maps::lln()) else {
            return Err(Reason::NodePackets);
        };
        let item = Item { slot: admitted.node, policy: 0, now: admitted.now, length };
        one(NODE, budget_of_node(node), &settings::node(), item)?;
        one(LLN, lln, &settings::lln(), item)
    }
}

/// Counts what passes on the source's and the node's account.
#[inline(always)]
pub(crate) fn count(slot: u32, node: u32, now: u64, length: u16) {
    count_source(slot, now, length);
    add(maps::node_passed(node), length);
    if let Some(node) = maps::node(node) {
        // SAFETY: a word of a live map value.
        unsafe { atomic::refresh(&raw mut (*node).last_seen_ns, now) };
    }
}

/// [`count`] for the general path.
#[inline(always)]
pub(crate) fn passed(admitted: &Admitted, length: u16) {
    charge_count(admitted.slot, admitted.node, admitted.now, length.into());
}

/// A global function in the kernel too, as [`charge_budget`].
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn charge_count(slot: u32, node: u32, now: u64, length: u32) -> u32 {
    count(slot, node, now, length as u16);
    0
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
fn count_source(slot: u32, now: u64, length: u16) {
    add(maps::source_passed(slot), length);
    if let Some(source) = maps::source_state(slot) {
        // SAFETY: a word of a live map value.
        unsafe { atomic::refresh(&raw mut (*source).last_seen_ns, now) };
    }
}

#[inline(always)]
fn add(counter: Option<*mut Counter>, length: u16) {
    // SAFETY: this CPU's own counter.
    if let Some(counter) = counter.map(|counter| unsafe { &mut *counter }) {
        counter.packets = counter.packets.wrapping_add(1);
        counter.bytes = counter.bytes.wrapping_add(length.into());
    }
}

/// Whether the source's budget suffices, for the general path. Nothing is spent.
#[inline(always)]
pub(crate) fn affords(admitted: &Admitted, length: u16) -> Verdict<()> {
    let Admitted { bucket: slot, policy, now, .. } = *admitted;
    called(SOURCE_ASKED, Item { slot, policy, now, length })
        .map_err(|reason| admitted.refuse(reason))
}

/// Charges source, node and LLN, for the general path.
#[inline(always)]
pub(crate) fn charge(admitted: &Admitted, length: u16) -> Verdict<()> {
    let Admitted { bucket, node, policy, now, .. } = *admitted;
    called(SOURCE, Item { slot: bucket, policy, now, length })
        .and_then(|()| radio(node, length, now))
        .map_err(|reason| admitted.refuse(reason))
}

/// Charges and counts what ends at the router: on the source's account alone.
#[inline(always)]
pub(crate) fn to_router(admitted: &Admitted, length: u16) -> Verdict<()> {
    let Admitted { bucket: slot, policy, now, .. } = *admitted;
    called(SOURCE, Item { slot, policy, now, length }).map_err(|reason| admitted.refuse(reason))?;
    count_source(admitted.slot, now, length);
    Ok(())
}

/// Charges what the radio can take, for the general path.
#[inline(always)]
pub(crate) fn radio(node: u32, length: u16, now: u64) -> Result<(), Reason> {
    let item = Item { slot: node, policy: 0, now, length };
    called(NODE, item)?;
    called(LLN, item)
}
