//! Is there a lease in force, and does it cover this node and port?
#![expect(unsafe_code, reason = "associations are shared memory")]
use super::charge;
use crate::{
    atomic, flows,
    frame::XdpFrame,
    journal, kernel, maps, settings,
    settle::{Refusal, Verdict},
};
use gateway_common::{
    abi::{
        Association, AssociationKey, NODE_WAYS, NODES_MAX, PREFIX_LENGTHS_MAX, PrefixKey,
        SHARED_SLOTS, filter,
    },
    decide::{Reason, admission::Lease, association::Progress},
    hash::Key as _,
    wire::{Address, Prefix},
};

/// Proof that the source holds a lease in force that covers node and port.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct Admitted {
    /// Where the source's counters are.
    pub(crate) slot: u32,
    /// Where its budget is.
    pub(crate) bucket: u32,
    /// Where the node's budget is.
    pub(crate) node: u32,
    /// The lease's policy, by number: a pointer beside numbers in one `Result` is more than the
    /// verifier follows.
    pub(crate) policy: u32,
    /// Now.
    pub(crate) now: u64,
}

impl Admitted {
    /// A refusal on this source's account.
    #[inline(always)]
    pub(crate) fn refuse(&self, reason: Reason) -> Refusal {
        Refusal { reason: reason as u32, slot: self.slot }
    }
}

/// Whether `source` may be in the allow-list. `false` is certain, and what a stranger's packet
/// gets: no look-up in a table, no clock.
#[inline(always)]
pub(crate) fn may_be_listed(source: &Address) -> bool {
    maps::is_set(filter::address(settings::key(), source)) || prefix_may_be_listed(source)
}

/// Whether a prefix of `source` may be in the allow-list.
#[inline(always)]
pub(crate) fn prefix_may_be_listed(source: &Address) -> bool {
    let key = settings::key();
    let Some(control) = maps::control() else {
        return false;
    };
    let mut i = 0;
    while i < PREFIX_LENGTHS_MAX {
        if i as u32 >= control.prefix_count {
            break;
        }
        let Some(length) = control.prefix_lengths.get(i).copied() else { break };
        if speaks_of(source, length)
            && maps::is_set(filter::prefix(key, &Prefix::new(*source, length).address, length))
        {
            return true;
        }
        i += 1;
    }
    false
}

/// Whether a prefix of `length` is of the address's version: `::/0` does not mean IPv4.
#[inline(always)]
fn speaks_of(source: &Address, length: u8) -> bool {
    length >= 96 || !source.is_v4()
}

/// A lease and whether it is a prefix's, whose sources share budgets by keyed hash.
struct Found {
    lease: Lease,
    shared: bool,
    expired: bool,
}

/// The lease of `source`: its own, else that of the longest prefix in force.
#[inline(always)]
fn find(source: &Address, now: u64) -> Option<Found> {
    let mut lapsed = None;
    if let Some(lease) = maps::source(source) {
        if lease.in_force(now) {
            return Some(Found { lease, shared: false, expired: false });
        }
        lapsed = Some(lease);
    }
    if let Some(control) = maps::control() {
        let mut i = 0;
        while i < PREFIX_LENGTHS_MAX {
            if i as u32 >= control.prefix_count {
                break;
            }
            let Some(length) = control.prefix_lengths.get(i).copied() else { break };
            let address = Prefix::new(*source, length).address;
            if speaks_of(source, length)
                && let Some(lease) = maps::prefix(&PrefixKey { address, length: length.into() })
            {
                if lease.in_force(now) {
                    return Some(Found { lease, shared: true, expired: false });
                }
                lapsed = Some(lease);
            }
            i += 1;
        }
    }
    lapsed.map(|lease| Found { lease, shared: false, expired: true })
}

#[inline(always)]
fn bucket(source: &Address, found: &Found) -> u32 {
    if !found.shared {
        return found.lease.slot;
    }
    let (high, low) = source.raw_words();
    settings::sources() + settings::key().hash([high, low, 1]) as u32 % SHARED_SLOTS
}

/// Where the node's budget is: one of the few places that its hash leads to, claimed when free.
/// With all of them taken it shares one, so that no sender can make the table grow.
#[inline(always)]
pub(crate) fn node_of(node: &Address) -> u32 {
    let (high, low) = node.raw_words();
    let hash = settings::key().hash([high, low, 2]);
    let tag = hash | 1;
    let first = (hash as u32 % NODES_MAX) & !(NODE_WAYS - 1);
    let mut i = 0;
    while i < NODE_WAYS {
        if let Some(state) = maps::node(first + i) {
            // SAFETY: a word of a map value.
            let found = unsafe { atomic::load(&raw const (*state).tag) };
            if found == tag {
                return first + i;
            }
            // SAFETY: as above.
            if found == 0 && unsafe { atomic::replace(&raw mut (*state).tag, 0, tag) } {
                // SAFETY: ours alone since the exchange; readers only display it.
                unsafe { (*state).address = *node };
                return first + i;
            }
        }
        i += 1;
    }
    first + (hash >> 32) as u32 % NODE_WAYS
}

/// What a lease in force gives.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct Grant {
    /// Asked for: the packet's way.
    way: u32,
    expires_ns: u64,
    policy: u32,
    slot: u32,
    bucket: u32,
    node: u32,
}

// The way of a packet: into the LLN or out of it; or to the router, where a lease's nodes do not
// matter.
const LLN: u32 = 0;
const ROUTER: u32 = 1;

// How a look-up ends.
const GRANTED: u32 = 0;
const NONE: u32 = 1;
const EXPIRED: u32 = 2;
const NODE_DENIED: u32 = 3;
const PORT_DENIED: u32 = 4;

/// Looks up the lease of `source` for `port` of `node`. Not part of an established flow's path,
/// and a global function in the kernel too, which the verifier walks once.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn admit_look_up(
    source: *const Address,
    node: *const Address,
    port: u32,
    now: u64,
    grant: *mut Grant,
) -> u32 {
    // SAFETY: the callers' own addresses and grant, or null as far as the verifier knows.
    let all = unsafe { (source.as_ref(), node.as_ref(), grant.as_mut()) };
    let (Some(source), Some(node), Some(grant)) = all else { return NONE };
    look_up(source, node, port as u16, now, grant)
}

#[inline(always)]
fn look_up(source: &Address, node: &Address, port: u16, now: u64, grant: &mut Grant) -> u32 {
    let Some(found) = find(source, now) else {
        return NONE;
    };
    grant.slot = found.lease.slot;
    if found.expired {
        return EXPIRED;
    }
    let Some(policy) = maps::policy(found.lease.policy) else {
        return NONE;
    };
    if grant.way != ROUTER && !policy.covers(node) {
        return NODE_DENIED;
    }
    if !policy.covers_port(port) {
        return PORT_DENIED;
    }
    grant.expires_ns = found.lease.expires_ns;
    grant.policy = found.lease.policy;
    grant.bucket = bucket(source, &found);
    if grant.way != ROUTER {
        grant.node = node_of(node);
    }
    GRANTED
}

/// The grant of a lease that covers `node` and `port`; `none` when there is no lease.
#[inline(always)]
fn resolve(
    source: &Address,
    node: &Address,
    port: u16,
    now: u64,
    side: Side,
) -> Verdict<(Admitted, &'static Grant)> {
    let (none, way) = match side {
        Side::Wan => (Reason::NoLease, LLN),
        Side::Router => (Reason::NoLease, ROUTER),
        Side::Lln => (Reason::NotAdmitted, LLN),
    };
    let Some(case) = maps::case() else { return Err(none.into()) };
    case.grant = Grant { way, expires_ns: 0, policy: 0, slot: 0, bucket: 0, node: 0 };
    let code = admit_look_up(source, node, port.into(), now, &mut case.grant);
    let grant = kernel::whole(&case.grant);
    let reason = match code {
        GRANTED => {
            let Grant { slot, bucket, node, policy, .. } = *grant;
            return Ok((Admitted { slot, bucket, node, policy, now }, grant));
        }
        EXPIRED => Reason::LeaseExpired,
        NODE_DENIED => Reason::NodeDenied,
        PORT_DENIED => Reason::PortDenied,
        _ => return Err(none.into()),
    };
    Err(Refusal { reason: reason as u32, slot: grant.slot })
}

/// Admits a packet that belongs to no association: ICMP, TCP, a node's fragment.
#[inline(always)]
pub(crate) fn admit(source: &Address, node: &Address, port: u16, side: Side) -> Verdict<Admitted> {
    resolve(source, node, port, kernel::now(), side).map(|(admitted, _)| admitted)
}

/// An association under a lease in force.
pub(crate) struct Associated {
    /// The lease.
    pub(crate) admitted: Admitted,
    /// The association.
    pub(crate) state: *mut Association,
}

impl Associated {
    /// Notes a datagram that passes into the LLN: what an unproven address has sent is what it may
    /// draw answers with.
    #[inline(always)]
    pub(crate) fn passed(&self, length: u16) {
        let state = self.state;
        // SAFETY: a live association; its progress is one word.
        let progress = unsafe { atomic::load((&raw const (*state).progress).cast()) };
        if !Progress::from_bits(progress).address_proved() {
            // SAFETY: a word of a map value.
            unsafe { atomic::add_half(&raw mut (*state).bytes_in, length.into()) };
        }
        // SAFETY: as above.
        unsafe { atomic::refresh(&raw mut (*state).last_seen_ns, self.admitted.now) };
    }
}

/// Which side a packet comes from.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    /// A back-end, to a node.
    Wan,
    /// A back-end, to the router.
    Router,
    /// A node.
    Lln,
}

/// Admits a packet of an association: by what the association remembers of the lease, while
/// nothing in the allow-list has changed; else by the allow-list.
#[inline(always)]
pub(crate) fn associate(frame: &XdpFrame, key: &AssociationKey, side: Side) -> Verdict<Associated> {
    let now = kernel::now();
    let generation = maps::control().map_or(0, |control| control.generation);
    let tag = tag(key);
    let state = match flows::look_up(tag, key) {
        Some(state) if is_current(state.as_ptr(), generation, now) => state.as_ptr(),
        known => {
            // a node's lease check asks for no port: its back-end's is anyone's
            let port = if side == Side::Wan { key.node_port } else { 0 };
            let (admitted, grant) = resolve(&key.peer, &key.node, port, now, side)?;
            if let Some(state) = known {
                renew(state.as_ptr(), grant, generation);
                state.as_ptr()
            } else {
                if side == Side::Wan {
                    // a source over its limit does not make the router remember new flows
                    charge::affords(&admitted, 0)?;
                }
                let Some(state) = flows::claim(tag) else {
                    return Err(admitted.refuse(Reason::Unproven));
                };
                open(state, key, side, grant, now);
                // SAFETY: a place that is ours alone until it is published.
                unsafe { (*state).generation = generation };
                flows::publish(state, tag);
                journal::opened(frame, key);
                state
            }
        }
    };
    Ok(Associated { admitted: remembered(state, now), state })
}

/// Whether an association remembers a lease that is in force.
#[inline(always)]
pub(crate) fn is_current(state: *mut Association, generation: u64, now: u64) -> bool {
    // SAFETY: a live entry of the map; both fields are words that are read on their own.
    let known = unsafe { &*state };
    known.generation == generation && now < known.expires_ns
}

/// The lease that an association remembers.
#[inline(always)]
pub(crate) fn remembered(state: *mut Association, now: u64) -> Admitted {
    // SAFETY: a live entry of the map; every field is read on its own.
    let known = unsafe { &*state };
    let (node, policy) = (known.node_slot.into(), known.policy.into());
    Admitted { slot: known.slot, bucket: known.bucket, node, policy, now }
}

/// The keyed hash of a flow.
#[inline(always)]
pub(crate) fn tag(flow: &AssociationKey) -> u64 {
    flow.tag(settings::key(), filter::part(settings::key(), &flow.peer))
}

#[inline(always)]
fn renew(state: *mut Association, grant: &Grant, generation: u64) {
    // SAFETY: a live entry of the map; whoever reads between these writes finds the old generation
    // and looks the lease up for itself.
    let state = unsafe { &mut *state };
    state.expires_ns = grant.expires_ns;
    state.policy = grant.policy as u16;
    state.slot = grant.slot;
    state.bucket = grant.bucket;
    state.node_slot = grant.node as u16;
    // SAFETY: a word of a map value; volatile, so that it is written last.
    unsafe { atomic::store(&raw mut state.generation, generation) };
}

#[inline(always)]
fn open(state: *mut Association, flow: &AssociationKey, side: Side, grant: &Grant, now: u64) {
    let initiated = side == Side::Lln && !settings::is_dtls_port(flow.node_port);
    let flags = if initiated { Progress::NODE_INITIATED } else { 0 };
    // SAFETY: a place that is ours alone until it is published.
    let association = unsafe { &mut *state };
    association.expires_ns = grant.expires_ns;
    association.policy = grant.policy as u16;
    association.slot = grant.slot;
    association.bucket = grant.bucket;
    association.node_slot = grant.node as u16;
    association.node = flow.node;
    association.peer = flow.peer;
    association.node_port = flow.node_port;
    association.peer_port = flow.peer_port;
    association.reserved = 0;
    // unlike that of any forgotten association on the same ports
    association.progress = Progress::new((now >> 22) as u32, flags);
    association.unproven_ns = 0;
    association.record_mode_until_ns = 0;
    association.bytes_in = 0;
    association.bytes_out = 0;
    association.confirmed_next = 0;
    association.confirmed_epoch = 0;
    association.hello = 0;
    association.last_seen_ns = now;
}
