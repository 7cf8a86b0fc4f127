//! Leases, by certificate and by key: with a handshake each, and renewed over what is open.
use std::{
    thread::{self, sleep},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

use super::{
    clients::{Client, Clients, Way},
    name,
    site::Site,
};
use crate::interrupt;

/// Back-ends that ask at once.
const CLIENTS: usize = 4;
/// Until the agent has done away with what has ended.
const SETTLE: Duration = Duration::from_millis(150);
/// A lease costs a millisecond or so: fewer of them say little.
const SHORTEST: Duration = Duration::from_millis(300);

/// A way to leases, a sample a round.
#[derive(Debug)]
pub(crate) struct Measured {
    pub(crate) name: &'static str,
    way: Way,
    /// Over one session that stays open.
    renewed: bool,
    /// CPU us of the agent for a lease.
    pub(crate) cpu: Vec<f64>,
    /// Leases a second, from back-ends that share the agent's CPUs and wait for its disk.
    pub(crate) rate: Vec<f64>,
}

fn rows() -> Vec<Measured> {
    let row = |name, way, renewed| {
        let (cpu, rate) = (Vec::new(), Vec::new());
        Measured { name, way, renewed, cpu, rate }
    };
    vec![
        row("by certificate, a new connection each", Way::Certificate, false),
        row("by certificate, renewed over one kept alive", Way::Certificate, true),
        row("by key, a new session each", Way::Key, false),
        row(name::RENEWED, Way::Key, true),
    ]
}

/// Measures all ways in turn, round by round.
pub(super) fn measure(
    site: &Site<'_>,
    clients: &Clients,
    rounds: u32,
    time: Duration,
) -> Result<Vec<Measured>> {
    let mut rows = rows();
    for round in 1..=rounds {
        eprintln!("bench: leases, round {round} of {rounds}");
        for row in &mut rows {
            interrupt::check()?;
            row.sample(site, clients, time.max(SHORTEST)).with_context(|| row.name)?;
        }
    }
    Ok(rows)
}

impl Measured {
    fn sample(&mut self, site: &Site<'_>, clients: &Clients, time: Duration) -> Result<()> {
        let (way, renewed) = (self.way, self.renewed);
        let (ran, wall, count) = site.lab.internet.enter(|| -> Result<_> {
            let open = || -> Result<Option<Client>> {
                let mut client = renewed.then(|| clients.open(way)).transpose()?;
                client.as_mut().map_or(Ok(()), Client::lease)?;
                Ok(client)
            };
            let kept = (0..CLIENTS).map(|_| open()).collect::<Result<Vec<_>>>()?;
            sleep(SETTLE);
            let (ran, start) = (site.agent.ran()?, Instant::now());
            let count = at_once(kept, |client| ask(clients, way, client, start + time))?;
            let wall = start.elapsed();
            sleep(SETTLE);
            Ok((site.agent.ran()?.saturating_sub(ran), wall, count))
        })?;
        self.cpu.push(ran.as_secs_f64() * 1e6 / count as f64);
        self.rate.push(count as f64 / wall.as_secs_f64());
        Ok(())
    }
}

/// Has each client ask on a thread of its own; how many leases they got together.
fn at_once(
    clients: Vec<Option<Client>>,
    ask: impl Fn(Option<Client>) -> Result<u64> + Sync,
) -> Result<u64> {
    thread::scope(|scope| {
        let ask = &ask;
        let threads: Vec<_> =
            clients.into_iter().map(|client| scope.spawn(move || ask(client))).collect();
        let mut all = 0;
        for thread in threads {
            let Ok(count) = thread.join() else { bail!("a client panicked") };
            all += count?;
        }
        Ok(all)
    })
}

/// Asks until `end` over a client that is kept, or as a new one each time; how often.
fn ask(clients: &Clients, way: Way, mut kept: Option<Client>, end: Instant) -> Result<u64> {
    let mut count = 0;
    while Instant::now() < end {
        match &mut kept {
            Some(client) => client.lease()?,
            None => {
                let mut client = clients.open(way)?;
                client.lease()?;
                client.close()?;
            }
        }
        count += 1;
    }
    kept.map_or(Ok(()), Client::close)?;
    Ok(count)
}
