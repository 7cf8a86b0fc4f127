//! What a node's own records tell about an association.
#![expect(unsafe_code, reason = "associations are shared memory")]
use super::admit::Associated;
use crate::{atomic, frame::XdpFrame, settings};
use gateway_common::{
    decide::{Reason, association::Progress, size},
    frame::Offset,
    wire::dtls::{self, Hello, Layout, Record, content, handshake},
};

/// Records of a node's datagram that are looked at.
const RECORDS_MAX: usize = 6;

/// Reads a node's datagram. What is no DTLS teaches nothing and passes: it is the node's.
#[inline(always)]
pub fn learn(
    frame: &XdpFrame,
    flow: &Associated,
    payload: Offset,
    end: Offset,
) -> Result<(), Reason> {
    let mut at = payload;
    let mut i = 0;
    while i < RECORDS_MAX && at < end {
        let Some(Layout::Clear(record)) = dtls::record(frame, at, end) else {
            return Ok(());
        };
        if let Ok(Some(report)) = dtls::report(frame, &record) {
            confirm(flow, report);
            // it may only end here alone: a datagram with records for the back-end goes on
            if at == payload && record.end == end {
                return Err(Reason::HopLocal);
            }
        }
        advance(frame, flow, &record);
        at = record.end;
        i += 1;
    }
    Ok(())
}

#[inline(always)]
fn advance(frame: &XdpFrame, flow: &Associated, record: &Record) {
    let hello = if record.epoch == 0 && record.content == content::HANDSHAKE {
        dtls::hello(frame, record)
    } else {
        None
    };
    // SAFETY: a live association; its progress is one word.
    let word = unsafe { (&raw mut (*flow.state).progress).cast::<u64>() };
    // SAFETY: as above.
    let old = unsafe { atomic::load(word) };
    let new_hello = hello.is_some_and(|hello| is_new(flow, &hello));
    let next = Progress::from_bits(old).node_sent(record, hello.as_ref(), new_hello).bits();
    if next != old {
        // Lost to another CPU, it will be learned from the next record.
        // SAFETY: as above.
        unsafe { atomic::replace(word, old, next) };
    }
}

/// Whether a ServerHello is not a late copy of the last one: another random.
#[inline(always)]
fn is_new(flow: &Associated, hello: &Hello) -> bool {
    if hello.kind != handshake::SERVER_HELLO || hello.fragment_offset != 0 {
        return false;
    }
    let tag = settings::key().hash(hello.random) as u32 | 1;
    // SAFETY: a live association; a word that is read and written on its own.
    let last = unsafe { &mut (*flow.state).hello };
    let is_new = *last != tag;
    *last = tag;
    is_new
}

#[inline(always)]
fn confirm(flow: &Associated, report: dtls::Report) {
    // SAFETY: a live association; each word is written on its own, the number first to nothing,
    // so that no reader pairs it with the other epoch.
    let state = unsafe { &mut *flow.state };
    if state.confirmed_epoch != u32::from(report.epoch) {
        // SAFETY: a word of a map value.
        unsafe { atomic::store(&raw mut state.confirmed_next, 0) };
        state.confirmed_epoch = report.epoch.into();
    }
    if report.next > state.confirmed_next {
        // SAFETY: as above.
        unsafe { atomic::store(&raw mut state.confirmed_next, report.next) };
    }
}

/// Whether the answer stays within what an unproven address may get; counts it if so.
#[inline(always)]
pub fn answer(flow: &Associated, length: u16) -> Result<(), Reason> {
    // SAFETY: a live association; words that are read on their own.
    let state = unsafe { &*flow.state };
    // SAFETY: a word of a map value.
    let received = unsafe { atomic::load(&raw const state.bytes_in) };
    // SAFETY: as above.
    let sent = unsafe { atomic::load(&raw const state.bytes_out) };
    // SAFETY: as above.
    let progress = unsafe { atomic::load((&raw const state.progress).cast()) };
    let proved = Progress::from_bits(progress).address_proved();
    if !proved && !size::may_answer(received, sent, length.into()) {
        return Err(Reason::Amplification);
    }
    // SAFETY: as above.
    unsafe { atomic::add(&raw mut (*flow.state).bytes_out, length.into()) };
    Ok(())
}
