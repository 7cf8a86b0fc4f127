//! The table of associations: an array in which a flow lies in one of the few places that follow
//! the one its keyed hash gives, so that finding it takes no helper and adding it no allocation.
//!
//! A place is claimed and published by compare-and-swap of its tag; who reads it meanwhile finds no
//! flow there. Two CPUs that add the same flow at once may do so twice: the first place is found
//! from then on, and the other one ages away.
#![expect(unsafe_code, reason = "map memory is shared with other CPUs")]
use crate::{atomic, kernel, maps};
use core::ptr::NonNull;
use gateway_common::{
    abi::{ASSOCIATION_WAYS, Association, AssociationKey},
    decide::association::Progress,
};

/// No place.
pub(crate) const NOWHERE: u32 = u32::MAX;
/// Races that a claim may lose.
const TRIES: u32 = 4;

/// The first place of a flow.
#[inline(always)]
const fn first(tag: u64) -> u32 {
    (tag >> 32) as u32
}

/// Whether the place holds this flow.
#[inline(always)]
fn holds(state: *const Association, tag: u64, flow: &AssociationKey) -> bool {
    // SAFETY: a live map value; a word that is read on its own.
    if unsafe { atomic::load(&raw const (*state).tag) } != tag {
        return false;
    }
    // SAFETY: as above; a place that is being written has another tag.
    is_between(unsafe { &*state }, flow)
}

/// Whether an association is the one of this flow.
#[inline(always)]
pub(crate) fn is_between(state: &Association, flow: &AssociationKey) -> bool {
    let ((a, b), (c, d)) = (state.node.raw_words(), flow.node.raw_words());
    let ((e, f), (g, h)) = (state.peer.raw_words(), flow.peer.raw_words());
    let ports = state.node_port == flow.node_port && state.peer_port == flow.peer_port;
    ports && (a ^ c) | (b ^ d) | (e ^ g) | (f ^ h) == 0
}

/// The first place with this tag. Whether it is of the same flow, the caller [`is_between`]s: here
/// its key would have to be kept.
#[inline(always)]
pub(crate) fn tagged(tag: u64) -> Option<*mut Association> {
    let mut way = 0;
    while way < u64::from(ASSOCIATION_WAYS) {
        if let Some(state) = maps::association(first(tag).wrapping_add(way as u32)) {
            // SAFETY: a live map value; a word that is read on its own.
            if unsafe { atomic::load(&raw const (*state).tag) } == tag {
                return Some(state);
            }
        }
        // a number that the compiler does not know: it would write the loop out
        way = kernel::fixed(way + 1);
    }
    None
}

/// The same, off the straight path. Never null: of what an absent pointer is, the compiler has its
/// own ideas, and the verifier others.
#[inline(always)]
pub(crate) fn look_up(tag: u64, flow: &AssociationKey) -> Option<NonNull<Association>> {
    match flows_find(tag, flow) {
        NOWHERE => None,
        place => maps::association(place).and_then(NonNull::new),
    }
}

/// A global function in the kernel too, which the verifier walks once.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn flows_find(tag: u64, flow: *const AssociationKey) -> u32 {
    // SAFETY: the caller's own key, or null as far as the verifier knows.
    let Some(flow) = (unsafe { flow.as_ref() }) else { return NOWHERE };
    let mut way = 0;
    while way < ASSOCIATION_WAYS {
        let place = first(tag).wrapping_add(way) & crate::settings::associations_mask();
        if let Some(state) = maps::association(place)
            && holds(state, tag, flow)
        {
            return place;
        }
        way += 1;
    }
    NOWHERE
}

/// Claims a place for a flow that is in none: a free one, else the one that was idle for longest,
/// an unproven flow's before a proven one's. It is [`publish`]ed when it is filled.
#[inline(always)]
pub(crate) fn claim(tag: u64) -> Option<*mut Association> {
    match flows_claim(tag) {
        NOWHERE => None,
        place => maps::association(place),
    }
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn flows_claim(tag: u64) -> u32 {
    let mut i = 0;
    while i < TRIES {
        let (place, old) = oldest(tag);
        if let Some(state) = maps::association(place)
            && old != Association::TAKEN
        {
            // SAFETY: a live map value; only the field's address is taken.
            let word = unsafe { &raw mut (*state).tag };
            // SAFETY: an aligned word of a map value.
            if unsafe { atomic::replace(word, old, Association::TAKEN) } {
                return place;
            }
        }
        i += 1;
    }
    NOWHERE
}

/// The place to give away, and its tag.
#[inline(always)]
fn oldest(tag: u64) -> (u32, u64) {
    let (mut place, mut old, mut least) = (0, Association::TAKEN, u64::MAX);
    let mut way = 0;
    while way < ASSOCIATION_WAYS {
        let at = first(tag).wrapping_add(way) & crate::settings::associations_mask();
        if let Some(state) = maps::association(at) {
            // SAFETY: a live map value; a word that is read on its own.
            let found = unsafe { atomic::load(&raw const (*state).tag) };
            let age = if found == Association::FREE { 0 } else { age(state) };
            if found != Association::TAKEN && age < least {
                (place, old, least) = (at, found, age);
            }
        }
        way += 1;
    }
    (place, old)
}

/// When a flow was last used; a proven one counts as used later than any other.
#[inline(always)]
fn age(state: *const Association) -> u64 {
    const PROVEN: u64 = 1 << 63;
    // SAFETY: a live map value; a word that is read on its own.
    let last_seen = unsafe { atomic::load(&raw const (*state).last_seen_ns) };
    // SAFETY: as above.
    let progress = unsafe { atomic::load((&raw const (*state).progress).cast()) };
    let proven = Progress::from_bits(progress).has(Progress::PROVEN);
    if proven { last_seen | PROVEN } else { last_seen | 1 }
}

/// Lets a filled place be found.
#[inline(always)]
pub(crate) fn publish(state: *mut Association, tag: u64) {
    // SAFETY: a place that `claim` gave.
    let word = unsafe { &raw mut (*state).tag };
    // SAFETY: an aligned word of a map value; an exchange, so that all before it is seen first.
    unsafe { atomic::replace(word, Association::TAKEN, tag) };
}
