//! A flood in the background, bounded in count and pace.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::{Context as _, Result};

use super::Injector;

const BATCH: usize = 64;

/// Frames that are sent over and over until this is dropped, or there were enough.
#[derive(Debug)]
pub struct Siege {
    over: Arc<AtomicBool>,
    sent: Arc<AtomicUsize>,
    thread: Option<JoinHandle<Result<()>>>,
}

impl Siege {
    /// Begins to send `frames`, about so many a second and never more than `most`. Between batches
    /// it sleeps: what it floods runs on the same processors.
    pub fn begin(wire: Injector, frames: Vec<Vec<u8>>, per_second: u32, most: usize) -> Self {
        let (over, sent) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let (ends, counts) = (Arc::clone(&over), Arc::clone(&sent));
        let pause = Duration::from_secs(1) * BATCH as u32 / per_second.max(1);
        let thread = thread::spawn(move || {
            for batch in frames.chunks(BATCH).cycle() {
                if ends.load(Ordering::Relaxed) || counts.load(Ordering::Relaxed) >= most {
                    break;
                }
                let flooded = wire.flood(batch, batch.len(), None)?;
                counts.fetch_add(flooded.sent, Ordering::Relaxed);
                thread::sleep(pause);
            }
            Ok(())
        });
        Self { over, sent, thread: Some(thread) }
    }

    /// Frames so far.
    pub fn sent(&self) -> usize {
        self.sent.load(Ordering::Relaxed)
    }

    /// Whether it still goes on.
    pub fn lasts(&self) -> bool {
        self.thread.as_ref().is_some_and(|thread| !thread.is_finished())
    }

    /// Ends it and says how many frames there were.
    pub fn end(mut self) -> Result<usize> {
        self.over.store(true, Ordering::Relaxed);
        let thread = self.thread.take().context("a flood ends once")?;
        thread.join().expect("the flood does not panic")?;
        Ok(self.sent())
    }
}

impl Drop for Siege {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        self.thread.take().map(JoinHandle::join);
    }
}
