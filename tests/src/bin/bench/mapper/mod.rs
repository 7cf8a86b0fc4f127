//! What mapping costs the router, beside a relay that does nothing else with the records and beside
//! the proxies that a user would pick, which end TLS.
//!
//! Everything is on loopback. The figure is the relaying process's own CPU time, from the scheduler;
//! what loads it and what echoes is not counted. A node is played with canned handshake messages: no
//! relay without keys can tell them from true ones, and node and client cost nothing here.
mod bare;
mod echo;
pub(crate) mod lln;
mod load;
mod ours;
mod ready;

use std::{
    net::{Ipv4Addr, TcpListener},
    process::Command,
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use self::{
    load::{Connection, Flow, Kind, Load},
    ready::Ready,
};
use super::{interrupt, process::Process};

/// Names that targets refer to.
pub(crate) mod name {
    pub(crate) const BARE: &str = "bare relay, no TLS";
    pub(crate) const MAPPER: &str = "mapper";
    pub(crate) const STUNNEL: &str = "stunnel, PSK CCM_8";
    pub(crate) const HAPROXY: &str = "haproxy, TLS 1.2 ECDSA GCM";
}

/// Connections under load.
const CONNECTIONS: u32 = 16;
/// Bytes of a record.
const SIZE: usize = 64;
/// Connections that rest.
const IDLE: u32 = 5000;
/// Until a relay is busy with nothing but the load.
const SETTLE: Duration = Duration::from_millis(150);

/// A relay's figures, a sample a round.
#[derive(Debug, Default)]
pub(crate) struct Measured {
    pub(crate) name: &'static str,
    /// CPU ns a record, one in flight on each connection.
    pub(crate) single: Vec<f64>,
    /// CPU ns a record, 16 in flight on each connection; proxies that merge records have none.
    pub(crate) batched: Vec<f64>,
    /// CPU us a connection: accept, handshake, a record there and back, close.
    pub(crate) connection: Vec<f64>,
    /// Wall us of a record there and back, alone.
    pub(crate) latency: Vec<f64>,
    /// KiB of memory an idle connection; one sample.
    pub(crate) memory: f64,
}

/// A running relay and how to load it.
struct Relay {
    name: &'static str,
    process: Process,
    kind: Kind,
    port: u16,
    /// What it needs to live.
    _ready: Option<ready::Client>,
}

/// Measures all relays in turn, round by round.
pub(crate) fn measure(rounds: u32, time: Duration) -> Result<Vec<Measured>> {
    open_files()?;
    let (streams, datagrams, node) = (echo::streams()?, echo::datagrams()?, echo::node()?);
    let relays = [
        Relay::child(name::BARE, Kind::Framed, datagrams)?,
        Relay::child(name::MAPPER, Kind::Handshaken, node)?,
        Relay::ready(name::STUNNEL, ready::stunnel(streams)?),
        Relay::ready(name::HAPROXY, ready::haproxy(streams)?),
    ];
    let named = |relay: &Relay| Measured { name: relay.name, ..Measured::default() };
    let mut rows: Vec<Measured> = relays.iter().map(named).collect();
    for round in 1..=rounds {
        eprintln!("bench: relays, round {round} of {rounds}");
        for (relay, row) in relays.iter().zip(&mut rows) {
            interrupt::check()?;
            relay.sample(row, time).with_context(|| relay.name)?;
        }
    }
    for (relay, row) in relays.iter().zip(&mut rows) {
        row.memory = relay.idle().with_context(|| relay.name)?;
    }
    Ok(rows)
}

impl Relay {
    /// One of our own, as a process of its own.
    fn child(name: &'static str, kind: Kind, to: u16) -> Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        let (process, port) =
            Process::start_saying(command.arg("--relay").arg(format!("{name}:{to}")))?;
        let port = port.parse().with_context(|| format!("{name} says {port:?} for its port"))?;
        Ok(Self { name, process, kind, port, _ready: None })
    }

    fn ready(name: &'static str, ready: Ready) -> Self {
        let Ready { proxy, port, client } = ready;
        Self { name, process: proxy, kind: Kind::Plain, port, _ready: Some(client) }
    }

    fn sample(&self, row: &mut Measured, time: Duration) -> Result<()> {
        row.single.push(self.record(CONNECTIONS, 1, time)?.0);
        if self.kind != Kind::Plain {
            row.batched.push(self.record(CONNECTIONS, 16, time)?.0);
        }
        row.latency.push(self.record(1, 1, time)?.1);
        row.connection.push(self.connection(time)?);
        Ok(())
    }

    fn load(&self, connections: u32, window: usize) -> Load {
        Load { kind: self.kind, port: self.port, size: SIZE, connections, window }
    }

    /// CPU ns a record, and wall us an echo.
    fn record(&self, connections: u32, window: usize, time: Duration) -> Result<(f64, f64)> {
        let mut flow = Flow::open(self.load(connections, window))?;
        sleep(SETTLE);
        let (cpu, start) = (self.process.cost().ran()?, Instant::now());
        let echoes = flow.run(time)? as f64;
        let (ran, wall) = (self.process.cost().ran()? - cpu, start.elapsed());
        let wall = wall.as_secs_f64() * 1e6 * f64::from(connections);
        Ok((ran.as_nanos() as f64 / (2.0 * echoes), wall / echoes))
    }

    /// CPU us a connection. Some proxies use a thread for each: ended ones are in the ticks alone.
    fn connection(&self, time: Duration) -> Result<f64> {
        let (ran, ticked) = (self.process.cost().ran()?, self.process.cost().ticked()?);
        let count = load::connect_and_close(self.load(1, 1), time)?;
        sleep(SETTLE);
        let ran = self.process.cost().ran()?.saturating_sub(ran);
        let ticked = self.process.cost().ticked()?.saturating_sub(ticked);
        Ok(ran.max(ticked).as_secs_f64() * 1e6 / count as f64)
    }

    /// KiB of resident memory that a connection which rests takes.
    fn idle(&self) -> Result<f64> {
        let before = self.process.cost().resident()?;
        let open = |number| {
            let mut connection = Connection::open(self.kind, self.port, number)?;
            connection.echo(SIZE)?;
            Ok(connection)
        };
        let connections = (0..IDLE).map(open).collect::<Result<Vec<_>>>()?;
        sleep(SETTLE);
        let grown = self.process.cost().resident()?.saturating_sub(before);
        drop(connections);
        Ok(grown as f64 / 1024.0 / f64::from(IDLE))
    }
}

/// A process of its own for one relay: says its port, then relays until it is killed.
pub(crate) fn run(relay: &str) -> Result<()> {
    open_files()?;
    let (name, to) = relay.split_once(':').context("NAME:PORT")?;
    let (listener, to) = (TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?, to.parse()?);
    let port = listener.local_addr()?.port();
    match name {
        name::BARE => {
            println!("{port}");
            bare::relay(&listener, to)
        }
        name::MAPPER => {
            let _driver = ours::map(listener, to)?;
            println!("{port}");
            loop {
                std::thread::park();
            }
        }
        _ => bail!("no relay {name}"),
    }
}

/// As many files as may be: each connection has two.
fn open_files() -> Result<()> {
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE)?;
    Ok(setrlimit(Resource::RLIMIT_NOFILE, most, most)?)
}
