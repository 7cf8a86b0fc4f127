//! What a node's own records tell about an association.
#![expect(unsafe_code, reason = "associations are shared memory")]
use super::admit::Associated;
use crate::{atomic, frame::XdpFrame, kernel::position, settings};
use aya_ebpf::bindings::xdp_md;
use gateway_common::{
    abi::Association,
    decide::{Reason, association::Progress, size},
    frame::Offset,
    hash::Key as _,
    wire::dtls::{self, Hello, Layout, Record, content, handshake},
};

/// Records of a node's datagram that are looked at.
const RECORDS_MAX: usize = 6;

/// Reads a node's datagram. What is no DTLS teaches nothing and passes: it is the node's.
///
/// # Errors
/// [`Reason::HopLocal`] for a report to the router, which ends here.
#[inline(always)]
pub(crate) fn learn(
    frame: &XdpFrame,
    flow: &Associated,
    payload: Offset,
    end: Offset,
) -> Result<(), Reason> {
    if learn_records(frame.context(), payload.get(), end.get(), flow.state) == REPORT {
        return Err(Reason::HopLocal);
    }
    Ok(())
}

/// The datagram was nothing but a report.
const REPORT: u32 = 1;

/// A global function in the kernel too: the verifier walks this loop once.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn learn_records(
    ctx: *mut xdp_md,
    at: usize,
    end: usize,
    state: *mut Association,
) -> u32 {
    let frame = XdpFrame::of(ctx);
    let (payload, end) = (position(at), position(end));
    if state.is_null() {
        return 0;
    }
    let mut at = payload;
    let mut i = 0;
    while i < RECORDS_MAX && at < end {
        let Some(Layout::Clear(record)) = dtls::record(&frame, at, end) else { return 0 };
        if let Ok(Some(report)) = dtls::report(&frame, &record) {
            confirm(state, report);
            // it ends here only alone: a datagram with records for the back-end goes on
            if at == payload && record.end == end {
                return REPORT;
            }
        }
        advance(&frame, state, &record);
        at = position(record.end.get());
        i += 1;
    }
    0
}

#[inline(always)]
fn advance(frame: &XdpFrame, state: *mut Association, record: &Record) {
    let hello = if record.epoch == 0 && record.content == content::HANDSHAKE {
        dtls::hello(frame, record)
    } else {
        None
    };
    // SAFETY: a live association; its progress is one word.
    let word = unsafe { (&raw mut (*state).progress).cast::<u64>() };
    // SAFETY: as above.
    let old = unsafe { atomic::load(word) };
    let new_hello = hello.is_some_and(|hello| is_new(state, &hello));
    let old = Progress::from_bits(old);
    let next = old.node_sent(record, hello.as_ref(), new_hello);
    if next.incarnation != old.incarnation {
        // what the node reported was of the association before
        // SAFETY: a word of a map value.
        unsafe { atomic::store(&raw mut (*state).confirmed_next, 0) };
    }
    if next != old {
        // Lost to another CPU, it will be learned from the next record.
        // SAFETY: as above.
        unsafe { atomic::replace(word, old.bits(), next.bits()) };
    }
}

/// Whether a ServerHello is not a late copy of the last one: another random.
#[inline(always)]
fn is_new(state: *mut Association, hello: &Hello) -> bool {
    if hello.kind != handshake::SERVER_HELLO || hello.fragment_offset != 0 {
        return false;
    }
    let tag = settings::key().hash(hello.random) as u32 | 1;
    // SAFETY: a live association; a word that is read and written on its own.
    let last = unsafe { &mut (*state).hello };
    let is_new = *last != tag;
    *last = tag;
    is_new
}

#[inline(always)]
fn confirm(state: *mut Association, report: dtls::Report) {
    // SAFETY: a live association; each word is written on its own, the number first to nothing,
    // so that no reader pairs it with the other epoch.
    let state = unsafe { &mut *state };
    if state.confirmed_epoch != report.epoch {
        // SAFETY: a word of a map value.
        unsafe { atomic::store(&raw mut state.confirmed_next, 0) };
        state.confirmed_epoch = report.epoch;
    }
    if report.next > state.confirmed_next {
        // SAFETY: as above.
        unsafe { atomic::store(&raw mut state.confirmed_next, report.next) };
    }
}

/// Whether the answer stays within what an unproven address may get; counts it if so.
#[inline(always)]
pub(crate) fn answer(flow: &Associated, length: u16) -> Result<(), Reason> {
    // SAFETY: a live association; words that are read on their own.
    let state = unsafe { &*flow.state };
    let (received, sent) = (state.bytes_in.into(), state.bytes_out.into());
    // SAFETY: a word of a map value.
    let progress = unsafe { atomic::load((&raw const state.progress).cast()) };
    let proved = Progress::from_bits(progress).address_proved();
    if proved {
        return Ok(());
    }
    if !size::may_answer(received, sent, length.into()) {
        return Err(Reason::Amplification);
    }
    // SAFETY: as above.
    unsafe { atomic::add_half(&raw mut (*flow.state).bytes_out, length.into()) };
    Ok(())
}
