//! A datagram that goes through the router to a node and back, in tunnels and without.
use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    thread::sleep,
    time::Duration,
};

use anyhow::{Context, Result};
use tests::{
    lab::{
        Child,
        gateway::binary,
        topology::{NODE, NODE_2, NODE_3, ROUTER, at},
    },
    peer::coap::COAPS,
};

use super::{
    flow::{self, Flow},
    name,
    site::{HTTPS, IDENTITY, Site},
    vpn::{self, Vpn},
};
use crate::{interrupt, process::Cost};

/// Bytes of an inner datagram.
const SMALL: usize = 64;
const LARGE: usize = 1024;
/// Datagrams in flight under load: a quarter of what a tunnel lets wait.
const WINDOW: usize = 16;
/// The relay's port at the router.
const RELAY: u16 = 5700;
const OPEN: Duration = Duration::from_secs(30);
/// Until nobody works at what is over.
const SETTLE: Duration = Duration::from_millis(50);

/// A way's figures, a sample a round.
#[derive(Debug, Default)]
pub(crate) struct Measured {
    pub(crate) name: &'static str,
    /// CPU ns of the router's process for a small datagram, one in flight.
    pub(crate) alone: Vec<f64>,
    /// Wall us of that datagram there and back.
    pub(crate) latency: Vec<f64>,
    /// CPU ns of a small datagram under load.
    pub(crate) loaded: Vec<f64>,
    /// Small datagrams a second that went through then, both directions together.
    pub(crate) rate: Vec<f64>,
    /// CPU ns of a large datagram under load.
    pub(crate) large: Vec<f64>,
    /// Megabytes a second in them, both directions together.
    pub(crate) megabytes: Vec<f64>,
    /// Datagrams that did not come back, in all rounds.
    pub(crate) lost: u64,
}

/// What runs at the router, and where an application next door reaches a node through it.
struct Way {
    name: &'static str,
    router: Cost,
    door: SocketAddr,
    /// What it needs to live.
    _runs: Runs,
}

/// Only its end matters.
#[expect(dead_code, reason = "dropped, not read")]
enum Runs {
    Program(Child),
    Vpn(Vpn),
}

/// Measures all ways in turn, round by round.
pub(super) fn measure(site: &Site<'_>, rounds: u32, time: Duration) -> Result<Vec<Measured>> {
    flow::echo(&site.lab.node, &[NODE, NODE_2, NODE_3].map(|node| at(node, COAPS)))?;
    let ways = [
        relay(site)?,
        by_key(site)?,
        by_certificate(site)?,
        vpn("wireguard-go, WireGuard", vpn::wireguard(site)?),
        vpn("OpenVPN, UDP, AES-128-GCM", vpn::openvpn(site)?),
    ];
    let named = |way: &Way| Measured { name: way.name, ..Measured::default() };
    let mut rows: Vec<Measured> = ways.iter().map(named).collect();
    for round in 1..=rounds {
        eprintln!("bench: tunnels, round {round} of {rounds}");
        for (way, row) in ways.iter().zip(&mut rows) {
            interrupt::check()?;
            row.sample(site, way, time).with_context(|| way.name)?;
        }
    }
    Ok(rows)
}

impl Measured {
    fn sample(&mut self, site: &Site<'_>, way: &Way, time: Duration) -> Result<()> {
        let small = Flow::open(&site.lab.internet, way.door, SMALL)?;
        let (cpu, rate) = self.load(&small, way, 1, time)?;
        self.alone.push(cpu);
        self.latency.push(2e6 / rate);
        let (cpu, rate) = self.load(&small, way, WINDOW, time)?;
        self.loaded.push(cpu);
        self.rate.push(rate);
        let large = Flow::open(&site.lab.internet, way.door, LARGE)?;
        let (cpu, rate) = self.load(&large, way, WINDOW, time)?;
        self.large.push(cpu);
        self.megabytes.push(rate * LARGE as f64 / 1e6);
        Ok(())
    }

    /// CPU ns a datagram, and datagrams a second: an echo is two.
    fn load(
        &mut self,
        flow: &Flow,
        way: &Way,
        window: usize,
        time: Duration,
    ) -> Result<(f64, f64)> {
        sleep(SETTLE);
        let cpu = way.router.ran()?;
        let ran = flow.run(window, time)?;
        let cpu = way.router.ran()?.saturating_sub(cpu);
        self.lost += ran.lost;
        let datagrams = 2.0 * ran.echoes as f64;
        Ok((cpu.as_nanos() as f64 / datagrams, datagrams / ran.wall.as_secs_f64()))
    }
}

fn relay(site: &Site<'_>) -> Result<Way> {
    let program = std::env::current_exe()?;
    let mut command = site.lab.router.command(program.to_str().context("the bench's own path")?);
    let door = at(ROUTER, RELAY);
    let [listen, node] = [door, at(NODE, COAPS)].map(|at| at.to_string());
    command.args(["--datagrams", &listen, "--datagrams", &node]);
    let mut child = Child::spawn(command)?;
    child.wait_for_line(&listen, OPEN)?;
    let router = Cost(child.pid());
    Ok(Way { name: name::RELAY, router, door, _runs: Runs::Program(child) })
}

fn by_key(site: &Site<'_>) -> Result<Way> {
    let keys = site.keys().display().to_string();
    let credentials = ["--psk-identity", IDENTITY, "--psk-file", &keys];
    tunnel(site, name::DTLS, COAPS, 5684, &credentials)
}

fn by_certificate(site: &Site<'_>) -> Result<Way> {
    let file = |name: &str| site.pki.file(name);
    let own = |end: &str| file(&format!("{IDENTITY}.{end}"));
    let (certificate, key, ca) = (own("crt"), own("key"), file("ca.crt"));
    let credentials = ["--cert", &certificate, "--key", &key, "--ca", &ca];
    tunnel(site, name::TLS, HTTPS, 5685, &credentials)
}

/// Ours: `gateway backend tunnel` next door, the agent at the router.
fn tunnel(
    site: &Site<'_>,
    name: &'static str,
    port: u16,
    local: u16,
    credentials: &[&str],
) -> Result<Way> {
    let door = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), local);
    let mut command = site.lab.internet.command(&binary().display().to_string());
    command.args(["backend", "tunnel", "--json", "--router", &at(ROUTER, port).to_string()]);
    command.args(["--node", &at(NODE, COAPS).to_string(), "--listen", &door.to_string()]);
    command.args(credentials).env_remove("GATEWAY_CONFIG");
    let mut child = Child::spawn(command)?;
    child.wait_for_line("\"state\":\"open\"", OPEN)?;
    Ok(Way { name, router: site.agent, door, _runs: Runs::Program(child) })
}

fn vpn(name: &'static str, (vpn, door): (Vpn, SocketAddr)) -> Way {
    Way { name, router: vpn.cost(), door, _runs: Runs::Vpn(vpn) }
}
