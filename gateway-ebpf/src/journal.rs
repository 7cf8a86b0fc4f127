//! Rare events for the log, behind a switch that the kernel removes with its code when it is off.
//!
//! The writers are functions of their own in the kernel too: formatting needs a stack of its own.
use crate::{frame::XdpFrame, kernel, settings};
use aya_ebpf::bindings::xdp_md;
use aya_log_ebpf::{debug, warn};
use gateway_common::abi::AssociationKey;

/// A back-end and a node talk for the first time, or again after a long time.
#[inline(always)]
pub(crate) fn opened(frame: &XdpFrame, key: &AssociationKey) {
    if settings::log() {
        write_opened(frame.context(), key);
    }
}

/// Two records carry the same number: one of them was forged.
#[inline(always)]
pub(crate) fn conflict(frame: &XdpFrame, key: &AssociationKey) {
    if settings::log() {
        write_conflict(frame.context(), key);
    }
}

#[inline(never)]
fn write_opened(ctx: *mut xdp_md, key: &AssociationKey) {
    let (frame, key) = (&XdpFrame::of(ctx), kernel::whole(key));
    debug!(frame, "association opened: node {:i} peer {:i}", key.node.octets, key.peer.octets);
}

#[inline(never)]
fn write_conflict(ctx: *mut xdp_md, key: &AssociationKey) {
    let (frame, key) = (&XdpFrame::of(ctx), kernel::whole(key));
    warn!(frame, "forged record: node {:i} peer {:i}", key.node.octets, key.peer.octets);
}
