//! A flood of ClientHellos from forged sources at the agent's DTLS port, and a back-end that asks
//! for a lease meanwhile.
//!
//! Cookies cannot be switched off at this port. So the agent answers alone where the filter is not
//! attached to the interface by which hellos come, as on a router whose kernel cannot do it.
use std::{
    net::{Ipv6Addr, SocketAddr},
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread::{self, sleep},
    time::{Duration, Instant},
};

use anyhow::{Result, bail, ensure};
use tests::{
    lab::{
        Injector, Lab,
        topology::{MAC_UP0, MAC_WAN0},
        until,
    },
    packet::{Packet, dtls::ClientHello},
};

use super::{
    clients::{Clients, Way},
    name,
    site::{self, SPARE, Site, UPLINK},
};
use crate::interrupt;

/// Hellos a second of the smaller flood.
const RATE: u32 = 20_000;
/// Hellos before the sender looks up, and forged sources in all.
const BURST: usize = 200;
const SOURCES: u32 = 20_000;
/// Back-ends that ask for a lease in each flood.
const BACKENDS: u32 = 3;
/// The agent looks after its files twice a second: shorter samples say little.
const SAMPLE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(2));
/// Samples of seconds agree: more of them only take longer.
const ROUNDS: u32 = 5;
const SOON: Duration = Duration::from_secs(10);

/// The agent under a flood, a sample a round.
#[derive(Debug, Default)]
pub(crate) struct Measured {
    pub(crate) name: &'static str,
    /// Per cent of a CPU that the agent takes without a flood.
    pub(crate) rest: Vec<f64>,
    /// The same in a flood.
    pub(crate) busy: Vec<f64>,
    /// CPU us of the agent for a hello, beyond that.
    pub(crate) hello: Vec<f64>,
    /// Hellos a second that came.
    pub(crate) rate: Vec<f64>,
    /// Per cent of them that were answered with a cookie, whoever did.
    pub(crate) answered: Vec<f64>,
    /// Milliseconds until a back-end had its lease in a flood, handshake included.
    pub(crate) waited: Vec<f64>,
    /// Back-ends that got none.
    pub(crate) refused: u32,
}

/// Measures both floods at both routers.
pub(super) fn measure(lab: &Lab, rounds: u32, time: Duration) -> Result<Vec<Measured>> {
    let rounds = rounds.min(ROUNDS);
    let time = (time * 3).clamp(SAMPLE.0, SAMPLE.1);
    let frames: Vec<Vec<u8>> = (0..SOURCES).map(forged).collect();
    let mut rows = Vec::new();
    let routers = [
        (UPLINK, [(name::XDP, Some(RATE)), (name::XDP_MOST, None)]),
        (SPARE, [(name::AGENT, Some(RATE)), (name::AGENT_MOST, None)]),
    ];
    for (wan, floods) in routers {
        let site = Site::start(lab, wan, "")?;
        let clients = Clients::new(&site)?;
        let mut both = floods.map(|(name, _)| Measured { name, ..Measured::default() });
        for round in 1..=rounds {
            eprintln!("bench: floods of hellos to {wan}, round {round} of {rounds}");
            for (row, (_, rate)) in both.iter_mut().zip(floods) {
                interrupt::check()?;
                row.sample(&site, &clients, Flood { frames: &frames, rate }, time)?;
            }
        }
        rows.extend(both);
    }
    Ok(rows)
}

/// Hellos, and how many a second; none is as many as one CPU can send.
#[derive(Clone, Copy)]
struct Flood<'a> {
    frames: &'a [Vec<u8>],
    rate: Option<u32>,
}

/// A hello that nobody sent.
fn forged(number: u32) -> Vec<u8> {
    let mut hello = ClientHello::new();
    if let Some(place) = hello.random.first_chunk_mut() {
        *place = number.to_be_bytes();
    }
    let source = Ipv6Addr::from(0x2600 << 112 | u128::from(number));
    let from = SocketAddr::new(source.into(), 1024 + (number % 60_000) as u16);
    let packet = Packet::udp(from, site::dtls()).payload(hello.record(0, 0));
    packet.ethernet(MAC_UP0, MAC_WAN0).build()
}

impl Measured {
    fn sample(
        &mut self,
        site: &Site<'_>,
        clients: &Clients,
        flood: Flood<'_>,
        time: Duration,
    ) -> Result<()> {
        let (rest, _) = share(site, time)?;
        let (sent, over) = (AtomicU64::new(0), AtomicBool::new(false));
        let flooding = || flood.run(site, &sent, &over);
        thread::scope(|scope| {
            let flood = scope.spawn(flooding);
            let measured = self.during(site, clients, &sent, rest, time);
            over.store(true, Ordering::Relaxed);
            let Ok(flooded) = flood.join() else { bail!("the flood panicked") };
            flooded.and(measured)
        })
    }

    /// What is to be seen while hellos come in.
    fn during(
        &mut self,
        site: &Site<'_>,
        clients: &Clients,
        sent: &AtomicU64,
        rest: f64,
        time: Duration,
    ) -> Result<()> {
        ensure!(until(SOON, || sent.load(Ordering::Relaxed) > 0), "the flood does not start");
        let (before, answered) = (sent.load(Ordering::Relaxed), answers(site)?);
        let (busy, wall) = share(site, time)?;
        let (after, answered) = (sent.load(Ordering::Relaxed), answers(site)? - answered);
        let hellos = (after - before) as f64;
        self.rest.push(rest);
        self.busy.push(busy);
        self.hello.push((busy - rest) / 100.0 * wall.as_secs_f64() * 1e6 / hellos);
        self.rate.push(hellos / wall.as_secs_f64());
        self.answered.push(answered as f64 / hellos * 100.0);
        site.lab.internet.enter(|| {
            for _ in 0..BACKENDS {
                let begin = Instant::now();
                let leased = clients.open(Way::Key).and_then(|mut client| {
                    client.lease()?;
                    client.close()
                });
                match leased {
                    Ok(()) => self.waited.push(begin.elapsed().as_secs_f64() * 1e3),
                    Err(error) => {
                        eprintln!("bench: {}: {error:#}", self.name);
                        self.refused += 1;
                    }
                }
            }
        });
        Ok(())
    }
}

/// Per cent of a CPU that the agent takes in a while.
fn share(site: &Site<'_>, time: Duration) -> Result<(f64, Duration)> {
    let (ran, start) = (site.agent.ran()?, Instant::now());
    sleep(time);
    let (ran, wall) = (site.agent.ran()?.saturating_sub(ran), start.elapsed());
    Ok((ran.as_secs_f64() / wall.as_secs_f64() * 100.0, wall))
}

/// Frames that the router has sent up so far: nothing but answers, here.
fn answers(site: &Site<'_>) -> Result<u64> {
    site.lab.internet.device("up0").counter("rx", "packets")
}

impl Flood<'_> {
    /// Sends them over and over until it is over.
    fn run(self, site: &Site<'_>, sent: &AtomicU64, over: &AtomicBool) -> Result<()> {
        let wire = Injector::new(site.lab.internet.device("up0"))?;
        for burst in self.frames.chunks(BURST).cycle() {
            if over.load(Ordering::Relaxed) {
                return Ok(());
            }
            wire.flood(burst, burst.len(), self.rate)?;
            sent.fetch_add(burst.len() as u64, Ordering::Relaxed);
        }
        bail!("no hellos to send")
    }
}
