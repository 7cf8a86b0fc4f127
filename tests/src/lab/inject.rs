//! Frames put on a link as they are.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use nix::libc;

use super::{link::Device, socket::PacketSocket};

/// What a flood achieved.
#[derive(Clone, Copy, Debug)]
pub struct Flooded {
    /// Frames handed to the device.
    pub sent: usize,
    /// Time that it took.
    pub took: Duration,
}

/// Sends frames out of one device.
#[derive(Debug)]
pub struct Injector {
    socket: PacketSocket,
}

impl Injector {
    /// Opens a sender on `device`; its peer receives the frames.
    pub fn new(device: Device<'_>) -> Result<Self> {
        PacketSocket::open(device, false).map(|socket| Self { socket })
    }

    /// Sends one frame.
    pub fn send(&self, frame: &[u8]) -> Result<()> {
        self.socket.send(frame).with_context(|| format!("send {} bytes", frame.len()))
    }

    /// Sends frames in order and says how many there were.
    pub fn send_many<F: AsRef<[u8]>>(&self, frames: impl IntoIterator<Item = F>) -> Result<usize> {
        let mut sent = 0;
        for frame in frames {
            self.send(frame.as_ref())?;
            sent += 1;
        }
        Ok(sent)
    }

    /// Sends `total` frames, going round `frames`, at `per_second` or as fast as it goes.
    pub fn flood(
        &self,
        frames: &[Vec<u8>],
        total: usize,
        per_second: Option<u32>,
    ) -> Result<Flooded> {
        ensure!(!frames.is_empty(), "a flood of no frames");
        let begin = Instant::now();
        let gap = per_second.map_or(Duration::ZERO, |rate| Duration::from_secs(1) / rate.max(1));
        for (number, frame) in (0u32..).zip(frames.iter().cycle().take(total)) {
            let due = begin + gap * number;
            while Instant::now() < due {
                thread::yield_now();
            }
            self.insist(frame)?;
        }
        Ok(Flooded { sent: total, took: begin.elapsed() })
    }

    /// Sends, and tries again while the queue is full.
    fn insist(&self, frame: &[u8]) -> Result<()> {
        loop {
            match self.socket.send(frame) {
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => thread::yield_now(),
                result => return result.context("flood"),
            }
        }
    }
}
