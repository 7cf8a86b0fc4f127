//! The back-end's end of a tunnel: local UDP ports that lead to nodes, through the router.
//!
//! Unmodified CoAP clients use them; no privileges are needed. What cannot be sent while there is
//! no tunnel is lost, as on any way: DTLS sends it again.
mod channel;
mod doors;
mod dtls;
mod session;
mod tls;

pub use channel::{Credentials, Error};
pub use doors::Doors;
pub use session::Certificate;

use crate::tunnel::frame::{Flow, Frame};
use channel::Channel;
use core::time::Duration;
use std::time::Instant;
use tokio::time::{interval, timeout};

/// How often the router is asked whether it is there, and how long it may take to answer.
const PING: Duration = Duration::from_secs(5);
const SILENCE: Duration = Duration::from_secs(16);
/// For the name's look-up and the handshake.
const PATIENCE: Duration = Duration::from_secs(15);
/// Waits between attempts, doubled each time: first and longest.
const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_mins(1);
/// A tunnel that was open for so long was no failure.
const LASTING: Duration = Duration::from_secs(10);

/// What a person wants to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The tunnel is open.
    Open,
    /// There is none, or no longer: why, and when it is tried again.
    Down {
        /// Why.
        error: String,
        /// Until the next attempt.
        wait: Duration,
    },
    /// The router did not send a datagram on.
    Refused {
        /// Which way it should have gone.
        flow: Flow,
        /// Why not.
        why: String,
    },
}

/// The tunnel.
pub struct Tunnel {
    router: String,
    credentials: Credentials,
    doors: Doors,
    failures: u32,
}

impl Tunnel {
    /// A tunnel to the router, for what comes in at the doors.
    pub const fn new(router: String, credentials: Credentials, doors: Doors) -> Self {
        Self { router, credentials, doors, failures: 0 }
    }

    /// Keeps the tunnel open for as long as it is polled.
    pub async fn run(mut self, mut report: impl FnMut(&Event)) {
        loop {
            let opened = timeout(PATIENCE, channel::open(&self.router, &self.credentials)).await;
            let error = match opened {
                Ok(Ok(channel)) => {
                    let begin = Instant::now();
                    report(&Event::Open);
                    let error = self.carry(channel, &mut report).await;
                    if begin.elapsed() > LASTING {
                        self.failures = 0;
                    }
                    error
                }
                Ok(Err(error)) => error.to_string(),
                Err(_) => format!("no answer within {} seconds", PATIENCE.as_secs()),
            };
            let wait = self.wait();
            report(&Event::Down { error, wait });
            tokio::time::sleep(wait).await;
        }
    }

    /// Between half of the full time and all of it, so that not all back-ends come at once.
    fn wait(&mut self) -> Duration {
        let full = FIRST.saturating_mul(1 << self.failures.min(16)).min(LONGEST);
        self.failures = self.failures.saturating_add(1);
        let part = getrandom::u32().map_or(1.0, |chance| f64::from(chance) / f64::from(u32::MAX));
        full / 2 + (full / 2).mul_f64(part)
    }

    /// Moves datagrams until the channel is over: why.
    async fn carry(&mut self, mut channel: Channel, report: &mut impl FnMut(&Event)) -> String {
        let mut ping = interval(PING);
        let mut heard = Instant::now();
        let mut told: Option<(Flow, String)> = None;
        loop {
            tokio::select! {
                frame = channel.incoming.recv() => {
                    let Some(frame) = frame else { return channel.reason().await };
                    heard = Instant::now();
                    match Frame::read(&frame) {
                        Some(Frame::Datagram(flow, inner)) => self.doors.deliver(&flow, inner),
                        Some(Frame::Refused(flow, why)) => {
                            // said once: what is refused is tried again and again
                            let new = Some((flow, why.to_owned()));
                            if new != told {
                                report(&Event::Refused { flow, why: why.to_owned() });
                                told = new;
                            }
                        }
                        Some(Frame::Ping | Frame::Pong) | None => {}
                    }
                }
                frame = self.doors.next() => {
                    // more than the way takes is lost
                    let _ = channel.outgoing.try_send(frame);
                }
                _ = ping.tick() => {
                    if heard.elapsed() > SILENCE {
                        return "the router has fallen silent".to_owned();
                    }
                    let _ = channel.outgoing.try_send(Frame::Ping.bytes());
                }
            }
        }
    }
}
