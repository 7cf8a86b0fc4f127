//! Ctrl-C ends the measurement between two samples, so that everything is put away as always.
use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use anyhow::{Result, ensure};
use nix::sys::signal::{SigSet, Signal};

static ASKED: AtomicBool = AtomicBool::new(false);

/// Takes SIGINT and SIGTERM from now on. To be called before there are other threads.
pub(crate) fn watch() -> Result<()> {
    let mut signals = SigSet::empty();
    signals.add(Signal::SIGINT);
    signals.add(Signal::SIGTERM);
    signals.thread_block()?;
    thread::spawn(move || {
        if signals.wait().is_ok() {
            eprintln!("bench: ending");
            ASKED.store(true, Ordering::Relaxed);
        }
    });
    Ok(())
}

/// Fails once somebody has asked for an end.
pub(crate) fn check() -> Result<()> {
    ensure!(!ASKED.load(Ordering::Relaxed), "interrupted");
    Ok(())
}
