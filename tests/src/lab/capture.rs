//! Frames seen on a device: after XDP on the way in, before the wire on the way out.

use std::{
    path::Path,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, SystemTime},
};

use anyhow::Result;

use super::{
    link::Device,
    pcap,
    socket::{PacketSocket, retag},
    until,
};

const ROOM: usize = 1 << 17;
const TICK: Duration = Duration::from_millis(20);

/// One frame with its circumstances.
#[derive(Clone, Debug)]
pub struct Captured {
    /// When it was read.
    pub at: SystemTime,
    /// Whether the device sent it, rather than received it.
    pub outgoing: bool,
    /// The frame from its link header on, VLAN tags in place.
    pub bytes: Vec<u8>,
}

type Frames = Arc<Mutex<Vec<Captured>>>;

/// A running capture on one device.
#[derive(Debug)]
pub struct Capture {
    frames: Frames,
    ending: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Capture {
    /// Captures every frame on `device`, both directions.
    pub fn start(device: Device<'_>) -> Result<Self> {
        Self::filtered(device, |_| true)
    }

    /// Captures the frames for which `keep` holds.
    pub fn filtered(
        device: Device<'_>,
        keep: impl Fn(&Captured) -> bool + Send + 'static,
    ) -> Result<Self> {
        let socket = PacketSocket::open(device, true)?;
        socket.set_timeout(TICK)?;
        let frames = Frames::default();
        let ending = Arc::new(AtomicBool::new(false));
        let (store, end) = (Arc::clone(&frames), Arc::clone(&ending));
        let thread = thread::spawn(move || collect(&socket, &keep, &store, &end));
        Ok(Self { frames, ending, thread: Some(thread) })
    }

    /// What was captured so far, oldest first.
    pub fn snapshot(&self) -> Vec<Captured> {
        self.frames.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How many captured frames satisfy `test`.
    pub fn count(&self, test: impl Fn(&[u8]) -> bool) -> usize {
        let frames = self.frames.lock().unwrap_or_else(PoisonError::into_inner);
        frames.iter().filter(|frame| test(&frame.bytes)).count()
    }

    /// Waits until `number` captured frames satisfy `test`; says whether they came.
    pub fn wait_for(
        &self,
        number: usize,
        deadline: Duration,
        test: impl Fn(&[u8]) -> bool,
    ) -> bool {
        until(deadline, || self.count(&test) >= number)
    }

    /// Writes what was captured so far as a pcap file.
    pub fn write_pcap(&self, path: &Path) -> Result<()> {
        pcap::write(path, pcap::ETHERNET, &self.snapshot())
    }

    /// Ends the capture, after all frames that have arrived are read.
    pub fn stop(mut self) -> Vec<Vec<u8>> {
        self.end();
        self.snapshot().into_iter().map(|frame| frame.bytes).collect()
    }

    fn end(&mut self) {
        self.ending.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        self.end();
    }
}

/// Reads until there is nothing more to read and the capture is ending.
fn collect(
    socket: &PacketSocket,
    keep: &impl Fn(&Captured) -> bool,
    store: &Frames,
    ending: &AtomicBool,
) {
    let mut buffer = vec![0; ROOM];
    loop {
        let last = ending.load(Ordering::Relaxed);
        let Ok(received) = socket.receive(&mut buffer) else {
            if last {
                return;
            }
            continue;
        };
        let mut bytes = buffer[..received.length].to_vec();
        received.tag.into_iter().for_each(|tag| retag(&mut bytes, tag));
        let frame = Captured { at: SystemTime::now(), outgoing: received.outgoing, bytes };
        if keep(&frame) {
            store.lock().unwrap_or_else(PoisonError::into_inner).push(frame);
        }
    }
}
