//! The straight path: what floods and sessions are made of, judged without a call.
//!
//! A stranger's packet is dropped here, and a datagram of one protected record in an association
//! whose node has proved the back-end passes here. Whatever is not that plain is left to the general
//! path, which decides the same of all that this one decides.
#![expect(unsafe_code, reason = "associations are shared memory")]
use crate::{
    flows,
    frame::XdpFrame,
    kernel, maps, settings,
    settle::{Outcome, Verdict},
    stage::{
        admit::{self, Admitted, Associated},
        charge, replay,
        ring::{self, Seen},
    },
};
use gateway_common::{
    abi::{AssociationKey, filter, settings::replay_mode},
    decide::{
        Reason,
        association::{Gate, stale},
        replay::{Mark, fingerprint},
    },
    hash::mix,
    wire::{
        dtls::Record,
        parse::{self, Plain},
    },
};

/// The verdict on a plain frame from the Internet; `None` for any other.
#[inline(always)]
pub(crate) fn judge(frame: &XdpFrame) -> Option<Verdict<Outcome>> {
    let ip = parse::plain(frame, settings::link())?;
    if ip.protocol == parse::ICMPV6 || !settings::in_lln(&ip.destination) {
        return None;
    }
    let peer = filter::part(settings::key(), &ip.source);
    if !maps::is_set(filter::bits(mix(peer))) && !admit::prefix_may_be_listed(&ip.source) {
        return Some(Err(Reason::NoLease.into()));
    }
    if settings::in_lln(&ip.source) || ip.length > settings::max_datagram() {
        return None;
    }
    let (ports, record) = parse::sole_record(frame, &ip)?;
    if !settings::is_dtls_port(ports.destination) {
        return None;
    }
    let flow = AssociationKey {
        node: ip.destination,
        peer: ip.source,
        node_port: ports.destination,
        peer_port: ports.source,
        reserved: 0,
    };
    let tag = flow.tag(settings::key(), peer);
    let flow = associated(tag, &flow)?;
    datagram(frame, &ip, tag, &flow, &record)
}

/// The association, if it remembers its lease and that is in force.
#[inline(always)]
fn associated(tag: u64, flow: &AssociationKey) -> Option<Associated> {
    let state = flows::find(tag, flow)?;
    let now = kernel::now();
    let generation = maps::control()?.generation;
    // SAFETY: a live entry of the map; every field is a word that is read on its own.
    let known = unsafe { &*state };
    if known.generation != generation || now >= known.expires_ns {
        return None;
    }
    let (slot, bucket) = (known.slot, known.bucket);
    let (node, policy) = (known.node, known.policy);
    Some(Associated { admitted: Admitted { slot, bucket, node, policy, now }, state })
}

/// One protected record: replay, rate, and the mark that it leaves.
#[inline(always)]
fn datagram(
    frame: &XdpFrame,
    ip: &Plain,
    tag: u64,
    flow: &Associated,
    record: &Record,
) -> Option<Verdict<Outcome>> {
    let progress = replay::progress(flow.state);
    if record.epoch == 0 || !matches!(progress.gate(record), Gate::Open) {
        return None;
    }
    if is_stale(flow, record) {
        return None;
    }
    if settings::replay() == replay_mode::OFF {
        return Some(pass(flow, ip.length));
    }
    let print = fingerprint(frame, settings::key(), record)?;
    let mark = Mark::new(tag, record.epoch, record.sequence, progress.incarnation, print);
    let gap = match ring::gap(&mark) {
        Ok(gap) => gap,
        Err(Seen::Replayed) => return Some(Err(flow.admitted.refuse(Reason::Replayed))),
        Err(Seen::Conflict | Seen::No) => return None,
    };
    if let Err(refusal) = charge::charge(&flow.admitted, ip.length) {
        return Some(Err(refusal));
    }
    if !ring::fill(&mark, &gap) {
        return Some(Err(flow.admitted.refuse(Reason::Replayed)));
    }
    charge::account(&flow.admitted, ip.length);
    flow.passed(ip.length);
    Some(Ok(Outcome::Checked))
}

#[inline(always)]
fn is_stale(flow: &Associated, record: &Record) -> bool {
    // SAFETY: a live association; words that are read on their own.
    let state = unsafe { &*flow.state };
    stale(state.confirmed_epoch as u16, state.confirmed_next, record.epoch, record.sequence)
}

#[inline(always)]
fn pass(flow: &Associated, length: u16) -> Verdict<Outcome> {
    charge::charge(&flow.admitted, length)?;
    charge::account(&flow.admitted, length);
    flow.passed(length);
    Ok(Outcome::Checked)
}
