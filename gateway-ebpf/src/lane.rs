//! The straight path: what floods and sessions are made of, judged without a call.
//!
//! A stranger's packet is dropped here, and a datagram of one protected record in an association
//! whose node has proved the back-end passes here. Whatever is not that plain is left to the general
//! path, which decides the same of all that this one decides.
#![expect(unsafe_code, reason = "associations are shared memory")]
use crate::{
    flows,
    frame::XdpFrame,
    kernel, maps, own, settings,
    settle::{Outcome, Verdict},
    stage::{
        admit::{self, Admitted, Associated},
        charge::{self, Account},
        replay,
        ring::{self, Seen},
    },
};
use gateway_common::{
    abi::{Association, AssociationKey, filter, settings::replay_mode},
    decide::{
        Reason,
        association::{Gate, stale},
        replay::{Mark, fingerprint},
    },
    frame::Window,
    wire::{
        dtls::Record,
        parse::{self, Plain, Ports},
    },
};

/// What the straight path makes of a frame.
pub(crate) enum Lane {
    /// Its source is in no list.
    Stranger,
    /// This.
    Decided(Verdict<Outcome>),
    /// Nothing: it is left to the general path.
    Open,
}

/// The verdict on a plain frame from the Internet.
#[inline(always)]
pub(crate) fn judge(frame: &XdpFrame) -> Lane {
    let Some(ip) = parse::plain(frame, settings::link()) else { return Lane::Open };
    if ip.protocol() == parse::ICMPV6 {
        return Lane::Open;
    }
    if !settings::in_lln(&ip.destination()) {
        return elsewhere(frame, &ip.afresh());
    }
    let peer = filter::part(settings::key(), &ip.source());
    let bits = filter::bits(peer);
    let word = maps::filter_word(bits);
    // the addresses are read again: kept, they would cost a stranger's packet room on the stack
    let ip = ip.afresh();
    if !word & bits.mask != 0
        && (word & filter::PREFIXES == 0 || !admit::prefix_may_be_listed(&ip.source()))
    {
        return Lane::Stranger;
    }
    match listed(frame, &ip, peer) {
        Some(verdict) => Lane::Decided(verdict),
        None => Lane::Open,
    }
}

/// A frame that is not the LLN's, unless its port is of interest.
#[inline(always)]
fn elsewhere<W: Window>(frame: &XdpFrame, ip: &Plain<W>) -> Lane {
    let untouched = match ip.protocol() {
        parse::UDP | parse::TCP => {
            parse::plain_ports(frame, ip).is_some_and(|ports| !own::knows(ports.destination))
        }
        parse::DESTINATION_OPTIONS => false,
        _ => true,
    };
    if untouched { Lane::Decided(Ok(Outcome::Untouched)) } else { Lane::Open }
}

/// The verdict on a frame of a source that may be listed.
///
/// That the source is no node's address and the port one of DTLS was seen when the association was
/// opened, and when its lease was last looked up, which is after the programs were last loaded.
#[inline(always)]
fn listed<W: Window>(frame: &XdpFrame, ip: &Plain<W>, peer: u64) -> Option<Verdict<Outcome>> {
    let length = u32::from(ip.payload_length()) + 40;
    if length > u32::from(settings::max_datagram()) {
        return None;
    }
    let (ports, record) = parse::sole_record(frame, ip)?;
    let tag = key_of(ip, &ports).tag(settings::key(), peer);
    let place = Mark::place(tag, record.epoch, record.sequence);
    let state = flows::tagged(tag)?;
    // the addresses are read again, as above
    let key = key_of(&ip.afresh(), &parse::plain_ports(frame, ip)?);
    // SAFETY: a live association; a place that is being written has another tag.
    if !flows::is_between(unsafe { &*state }, &key) {
        return None;
    }
    let flow = associated(state)?;
    datagram(frame, length as u16, &flow, &record, place)
}

#[inline(always)]
fn key_of<W: Window>(ip: &Plain<W>, ports: &Ports) -> AssociationKey {
    AssociationKey {
        node: ip.destination(),
        peer: ip.source(),
        node_port: ports.destination,
        peer_port: ports.source,
        reserved: 0,
    }
}

/// The association, if it remembers its lease and that is in force.
#[inline(always)]
fn associated(state: *mut Association) -> Option<Associated> {
    let now = kernel::now();
    let generation = maps::control()?.generation;
    if !admit::is_current(state, generation, now) {
        return None;
    }
    Some(Associated { admitted: admit::remembered(state, now), state })
}

/// One protected record: replay, rate, and the mark that it leaves.
#[inline(always)]
fn datagram(
    frame: &XdpFrame,
    length: u16,
    flow: &Associated,
    record: &Record,
    place: u64,
) -> Option<Verdict<Outcome>> {
    let progress = replay::progress(flow.state);
    if record.epoch == 0 || !matches!(progress.gate(record), Gate::Open) {
        return None;
    }
    if is_stale(flow, record) {
        return None;
    }
    if settings::replay() == replay_mode::OFF {
        return Some(pass(flow, length));
    }
    let account = match Account::of(&flow.admitted, length) {
        Ok(account) => account,
        Err(refusal) => return Some(Err(refusal)),
    };
    let marks = ring::touch(Mark::page(place, record.sequence))?;
    let print = fingerprint(frame, settings::key(), record)?;
    let mark = Mark::at(place, record.sequence, progress.incarnation, print);
    let gap = match ring::gap(&mark, marks) {
        Ok(gap) => gap,
        Err(Seen::Replayed) => return Some(Err(flow.admitted.refuse(Reason::Replayed))),
        Err(Seen::Conflict | Seen::No) => return None,
    };
    if let Err(refusal) = account.charge(&flow.admitted, length) {
        return Some(Err(refusal));
    }
    if !ring::fill(&mark, &gap) {
        return Some(Err(flow.admitted.refuse(Reason::Replayed)));
    }
    let Admitted { slot, node, now, .. } = flow.admitted;
    charge::count(slot, node, now, length);
    flow.passed(length);
    Some(Ok(Outcome::Checked))
}

#[inline(always)]
fn is_stale(flow: &Associated, record: &Record) -> bool {
    // SAFETY: a live association; words that are read on their own.
    let state = unsafe { &*flow.state };
    stale(state.confirmed_epoch, state.confirmed_next, record.epoch, record.sequence)
}

#[inline(always)]
fn pass(flow: &Associated, length: u16) -> Verdict<Outcome> {
    charge::charge(&flow.admitted, length)?;
    charge::passed(&flow.admitted, length);
    flow.passed(length);
    Ok(Outcome::Checked)
}
