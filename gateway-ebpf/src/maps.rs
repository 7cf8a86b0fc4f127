//! Every map, as `gateway_common::abi` describes it, and safe look-ups.
#![expect(unsafe_code, reason = "map values are shared memory")]
use crate::{kernel, stage::admit::Grant};
use aya_ebpf::{
    btf_maps::{Array, HashMap, PerCpuArray, RingBuf},
    macros::btf_map,
};
use gateway_common::{
    abi::{
        AGENT_SLOTS, ASSOCIATIONS_DEFAULT, Association, AssociationKey, Budget, Control,
        EVENTS_BYTES, Event, INTERFACES_MAX, Interface, NODES_MAX, NodeState, OWN_MAX,
        PAGES_DEFAULT, POLICIES_MAX, PREFIXES_MAX, Passed, PrefixKey, SHARED_SLOTS,
        SOURCES_DEFAULT, Settings, SourceState, filter,
    },
    decide::{
        Reason,
        admission::{Lease, Policy},
        reason::{Counter, Drops},
        replay::{POSITIONS, Page, WAYS},
    },
    wire::{
        Address,
        parse::{Fields, Network},
    },
};

// Written by the user side.
#[btf_map]
static SETTINGS: Array<Settings, 1> = Array::new();
#[btf_map]
static INTERFACES: Array<Interface, { INTERFACES_MAX as usize }> = Array::new();
#[btf_map]
static CONTROL: Array<Control, 1> = Array::new();
#[btf_map]
static BITS: Array<u64, { filter::words(SOURCES_DEFAULT) as usize }> = Array::new();
#[btf_map]
static SOURCES: HashMap<Address, Lease, { SOURCES_DEFAULT as usize }> = HashMap::new();
#[btf_map]
static PREFIXES: HashMap<PrefixKey, Lease, { PREFIXES_MAX as usize }> = HashMap::new();
#[btf_map]
static POLICIES: Array<Policy, { POLICIES_MAX as usize }> = Array::new();
#[btf_map]
static OWN: HashMap<Address, u32, { OWN_MAX as usize }> = HashMap::new();

/// `BPF_F_MMAPABLE`: the values start at a page, so that those of 64 bytes lie in a cache line each.
const ALIGNED: usize = 1 << 10;

// Written by the programs.
#[btf_map]
static SOURCE_STATE: Array<SourceState, { (SOURCES_DEFAULT + SHARED_SLOTS) as usize }, ALIGNED> =
    Array::new();
#[btf_map]
static NODES: Array<NodeState, { NODES_MAX as usize }, ALIGNED> = Array::new();
#[btf_map]
static SOURCE_PASSED: PerCpuArray<Counter, { SOURCES_DEFAULT as usize }> = PerCpuArray::new();
#[btf_map]
static NODE_PASSED: PerCpuArray<Counter, { NODES_MAX as usize }> = PerCpuArray::new();
#[btf_map]
static LLN: Array<Budget, 1> = Array::new();
#[btf_map]
static AGENT: Array<u64, { AGENT_SLOTS as usize }> = Array::new();
#[btf_map]
static ASSOCIATIONS: Array<Association, { ASSOCIATIONS_DEFAULT as usize }, ALIGNED> = Array::new();
#[btf_map]
static SEEN: Array<Page, { PAGES_DEFAULT as usize }, ALIGNED> = Array::new();
#[btf_map]
static DROPS: PerCpuArray<Drops, { INTERFACES_MAX as usize }> = PerCpuArray::new();
#[btf_map]
static PASSED: PerCpuArray<Passed, { INTERFACES_MAX as usize }> = PerCpuArray::new();
#[btf_map]
static CASE: PerCpuArray<Case, 1> = PerCpuArray::new();
#[btf_map]
static CLOCK: PerCpuArray<Instant, 1> = PerCpuArray::new();
/// Sampled drops.
#[btf_map]
pub static EVENTS: RingBuf<Event, { EVENTS_BYTES as usize }> = RingBuf::new();

/// A packet on the general path, which has no room for it on its stack.
pub struct Case {
    /// Its network header.
    pub ip: Network,
    /// What lies above that.
    pub upper: Fields,
    /// Its flow.
    pub flow: AssociationKey,
    /// Its lease.
    pub(crate) grant: Grant,
}

/// Where this CPU puts the packet in hand.
#[inline(always)]
pub fn case() -> Option<&'static mut Case> {
    // SAFETY: this CPU's own slot, and a program is not interrupted by another on the same CPU;
    // whoever calls this writes a field before reading it.
    CASE.get_ptr_mut(0).map(|case| unsafe { &mut *case })
}

/// What this CPU's clock showed at a tick.
#[repr(C)]
pub struct Instant {
    /// Which tick.
    pub tick: u64,
    /// Nanoseconds.
    pub now_ns: u64,
}

/// What this CPU's clock last showed.
#[inline(always)]
pub fn clock() -> Option<&'static mut Instant> {
    // SAFETY: this CPU's own slot, and a program is not interrupted by another on the same CPU.
    CLOCK.get_ptr_mut(0).map(|instant| unsafe { &mut *instant })
}

/// The generation and the prefix lengths of the allow-list.
#[inline(always)]
pub fn control() -> Option<&'static Control> {
    // SAFETY: an array's slots stay where they are as long as a program refers to the map.
    CONTROL.get_ptr(0).map(|control| unsafe { &*control })
}

/// The word of the filter that these bits are in.
#[inline(always)]
pub fn filter_word(bits: filter::Bits) -> u64 {
    BITS.get(bits.word & crate::settings::bits_mask()).copied().unwrap_or(0)
}

/// Whether all of these filter bits are set.
#[inline(always)]
pub fn is_set(bits: filter::Bits) -> bool {
    !filter_word(bits) & bits.mask == 0
}

/// The lease of an address.
#[inline(always)]
pub fn source(address: &Address) -> Option<Lease> {
    // SAFETY: only the user side writes, and replaces an entry whole.
    SOURCES.get_ptr(address).map(|lease| unsafe { *lease })
}

/// The lease of a prefix.
#[inline(always)]
pub fn prefix(key: &PrefixKey) -> Option<Lease> {
    // SAFETY: only the user side writes, and replaces an entry whole.
    PREFIXES.get_ptr(key).map(|lease| unsafe { *lease })
}

/// A policy by its number.
#[inline(always)]
pub fn policy(index: u32) -> Option<&'static Policy> {
    // SAFETY: array slots stay; a policy in use is never rewritten by the user side.
    POLICIES.get_ptr(index).map(|policy| unsafe { &*policy })
}

/// Whether an address is the router's own.
#[inline(always)]
pub fn is_own(address: &Address) -> bool {
    OWN.get_ptr(address).is_some()
}

/// A source's budget and counters.
#[inline(always)]
pub fn source_state(slot: u32) -> Option<*mut SourceState> {
    SOURCE_STATE.get_ptr_mut(slot)
}

/// A node's budget and counters.
#[inline(always)]
pub fn node(slot: u32) -> Option<*mut NodeState> {
    NODES.get_ptr_mut(slot)
}

/// What of a source passed on this CPU.
#[inline(always)]
pub fn source_passed(slot: u32) -> Option<*mut Counter> {
    SOURCE_PASSED.get_ptr_mut(slot)
}

/// What passed to a node on this CPU.
#[inline(always)]
pub fn node_passed(slot: u32) -> Option<*mut Counter> {
    NODE_PASSED.get_ptr_mut(slot)
}

/// The LLN's budget.
#[inline(always)]
pub fn lln() -> Option<*mut Budget> {
    LLN.get_ptr_mut(0)
}

/// A shared budget of sources at the agent's ports.
#[inline(always)]
pub fn agent(slot: u32) -> Option<*mut u64> {
    AGENT.get_ptr_mut(slot)
}

/// A place where flows are remembered; `place` is reduced to the places there are.
#[inline(always)]
pub fn association(place: u32) -> Option<*mut Association> {
    ASSOCIATIONS.get_ptr_mut(place & crate::settings::associations_mask())
}

/// The marks of one position of a page.
#[inline(always)]
pub fn marks(page: u32, position: u32) -> Option<*mut u64> {
    let page = SEEN.get_ptr_mut(page & crate::settings::seen_mask())?;
    let first = (position as usize % POSITIONS) * WAYS;
    // SAFETY: `first` is a position's first way, inside the page.
    Some(unsafe { page.cast::<u64>().add(first) })
}

/// A reason's counter on this interface and CPU, and when its next event is due in ticks.
#[derive(Clone, Copy)]
pub struct Tally {
    /// The counter.
    pub counter: *mut Counter,
    /// When.
    pub due: *mut u64,
}

/// The tally of a reason.
#[inline(always)]
pub fn drops(reason: u32) -> Option<Tally> {
    let drops = DROPS.get_ptr_mut(crate::settings::interface())?;
    // compared here, where the verifier sees it: it has seen the reason as any number
    let number = kernel::fixed(reason.into()) as usize;
    if number >= Reason::COUNT { None } else { Some(tally(drops, number)) }
}

/// The tally of a reason that is known when the program is compiled.
#[inline(always)]
pub fn drops_of(reason: Reason) -> Option<Tally> {
    DROPS.get_ptr_mut(crate::settings::interface()).map(|drops| tally(drops, reason as usize))
}

#[inline(always)]
fn tally(drops: *mut Drops, number: usize) -> Tally {
    // SAFETY: a live map value; only the field's address is taken.
    let due = unsafe { (&raw mut (*drops).due_ticks).cast::<u64>() };
    // SAFETY: `Drops` is one counter a reason, in order of their numbers, and as many instants.
    unsafe { Tally { counter: drops.cast::<Counter>().add(number), due: due.add(number) } }
}

/// The counters of what passes on this interface and CPU.
#[inline(always)]
pub fn passed() -> Option<*mut Passed> {
    PASSED.get_ptr_mut(crate::settings::interface())
}
