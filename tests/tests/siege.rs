//! Everything at once: while forged hellos, forged SYNs and forged records come in, the agent sleeps
//! on, and an honest back-end gets in by each of the three ways.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    os::unix::fs::PermissionsExt as _,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use aya::Ebpf;
use tests::{
    lab::{
        Capture, Child, Gateway, Injector, Lab, Siege,
        gateway::{EVERYDAY, binary},
        topology::{NODE, ROUTER, at},
        until, usage,
    },
    need,
    packet::{Packet, dtls, read},
    peer::{
        Psk,
        coap::{self, COAPS, Flavour},
        curl::{Client, Pki},
    },
};

const SOON: Duration = Duration::from_secs(60);
const HTTPS: u16 = 4433;
const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
/// Frames a second, a third of each kind: sixty times what a LLN carries.
const PACE: u32 = 6000;
/// Frames at least, while nobody honest is there.
const ALONE: usize = 30_000;
/// Frames at most, however long the rest takes.
const MOST: usize = 600_000;
/// The share of one processor that the agent may take for itself meanwhile.
const SHARE: f64 = 0.05;

/// A router that lets in by all three ways, at the usual rates.
struct Site<'a> {
    lab: &'a Lab,
    gateway: Gateway<'a>,
    pki: Pki,
    _awake: Ebpf,
}

fn pump() -> Psk {
    Psk::new("pump-7.example", b"a key of the pump's own")
}

impl<'a> Site<'a> {
    fn start(lab: &'a Lab) -> Result<Self> {
        // answers to addresses that nobody has end here, as they would in the Internet
        lab.internet.run(&["ip", "-6", "route", "add", "blackhole", "2600::/16"])?;
        let mut gateway = Gateway::new(&lab.router, EVERYDAY)?;
        let pki = Pki::init(&gateway.folder().join("pki"))?;
        pki.run(&["issue", "router.lab", "--server", "--also", &ROUTER.to_string()])?;
        pki.issue("pump-7.example", &[])?;
        let keys = gateway.folder().join("psk.txt");
        fs::write(&keys, format!("pump-7.example:{}\n", pump().hex()))?;
        fs::set_permissions(&keys, fs::Permissions::from_mode(0o600))?;
        gateway.configure(&format!(
            "{EVERYDAY}[auth.psk]\nlisten = [\"[::]:{COAPS}\"]\nkeys = {keys:?}\n\
             [auth.https]\nlisten = [\"[::]:{HTTPS}\"]\ncertificate = {:?}\nkey = {:?}\n\
             client_ca = {:?}\ncrl = {:?}\n\
             [[auth.identity]]\nname = \"pump-7.example\"\nnodes = [\"{NODE}\"]\ntunnel = true\n",
            pki.file("router.crt"),
            pki.file("router.key"),
            pki.file("ca.crt"),
            pki.file("ca.crl"),
        ))?;
        gateway.run()?;
        Ok(Self { lab, gateway, pki, _awake: lab.awake()? })
    }

    /// The flood: none of its sources is there twice.
    fn besieged(&self) -> Result<Siege> {
        let wire = Injector::new(self.lab.internet.device("up0"))?;
        let frames = (0..20_000).flat_map(|n| [hello(n), syn(n), record(n)]);
        Ok(Siege::begin(wire, frames.collect(), PACE, MOST))
    }

    fn tunnel(&self) -> Result<Child> {
        let keys = self.gateway.folder().join("psk.txt");
        let mut command = self.lab.backend.command(&binary().display().to_string());
        command.args(["backend", "tunnel", "--json", "--router", &at(ROUTER, COAPS).to_string()]);
        command.args(["--psk-identity", "pump-7.example", "--psk-file"]).arg(keys);
        command.args(["--node", &at(NODE, COAPS).to_string()]).env_remove("GATEWAY_CONFIG");
        Child::spawn(command)
    }
}

fn forged(n: u32) -> Ipv6Addr {
    let spread = u128::from(n.wrapping_mul(0x9e37_79b9));
    Ipv6Addr::from(0x2600 << 112 | spread << 64 | u128::from(n))
}

fn hello(n: u32) -> Vec<u8> {
    let mut hello = dtls::ClientHello::new();
    hello.random[..4].copy_from_slice(&n.to_be_bytes());
    Packet::udp6(forged(n), ROUTER, 40_000, COAPS).payload(hello.record(0, 0)).build()
}

fn syn(n: u32) -> Vec<u8> {
    Packet::tcp6(forged(n), ROUTER, 40_000, HTTPS).seq(n).build()
}

fn record(n: u32) -> Vec<u8> {
    let packet = Packet::udp6(forged(n), NODE, 40_000, COAPS);
    packet.payload(dtls::application(n.into(), &[7; 40])).build()
}

/// What the agent has had to do with: its time on a processor, datagrams and connections.
#[derive(Clone, Copy, Debug)]
struct Work {
    at: Instant,
    time: Duration,
    datagrams: u64,
    connections: u64,
}

impl Work {
    fn of(site: &Site<'_>) -> Result<Self> {
        let router = &site.lab.router;
        Ok(Self {
            at: Instant::now(),
            time: usage::processor_time(site.gateway.pid()?)?,
            datagrams: usage::ipv6_counter(router, "Udp6InDatagrams")?,
            connections: usage::tcp_counter(router, "PassiveOpens")?,
        })
    }

    /// The share of a processor since then.
    fn share(self, before: Self) -> f64 {
        (self.time - before.time).as_secs_f64() / (self.at - before.at).as_secs_f64()
    }
}

/// By certificate, by key, to the node, and through a tunnel.
fn everything_honest(site: &Site<'_>, flood: &Siege) -> Result<()> {
    let (lab, node) = (site.lab, Psk::default());
    let router = format!("[{ROUTER}]:{HTTPS}");
    let client = Client::new(&lab.backend, &router, &site.pki);
    let lease = client.certificate(&site.pki, "pump-7.example").lease("{\"ttl\": 60}")?;
    ensure!(lease["in_force"] == true, "{lease}");
    let direct = coap::Client::new(&lab.backend, Flavour::OpenSsl, &node).timeout(SOON);
    direct.get(NODE.into(), "time")?;
    let asks = coap::Client::new(&lab.backend, Flavour::OpenSsl, &pump()).timeout(SOON);
    let words = ["-m", "post", "-t", "50", "-e", "{\"ttl\": 60}"];
    let answer = asks.request(ROUTER.into(), "leases", &words)?;
    ensure!(answer.code == "2.01", "{answer:?}");
    let mut tunnel = site.tunnel()?;
    tunnel.wait_for_line("\"state\":\"open\"", SOON)?;
    direct.put(HERE, "example_data", "through all of it")?;
    ensure!(direct.get(HERE, "example_data")? == "through all of it");
    ensure!(flood.lasts(), "the flood was over before: {} frames", flood.sent());
    Ok(())
}

/// While nobody honest is there, the flood reaches neither the agent's sockets nor its time.
fn sleeps_on(site: &Site<'_>) -> Result<(Siege, Work)> {
    let rest = Work::of(site)?;
    ensure!(until(SOON, || rest.at.elapsed() > Duration::from_secs(3)), "time stands still");
    let before = Work::of(site)?;
    let flood = site.besieged()?;
    ensure!(until(SOON, || flood.sent() >= ALONE), "no flood: {} frames", flood.sent());
    let under = Work::of(site)?;
    let (idle, busy, sent) = (before.share(rest), under.share(before), flood.sent());
    eprintln!("{sent} frames: the agent took {busy:.4} of a processor, {idle:.4} at rest");
    ensure!(busy < idle + SHARE, "{busy} of a processor, {idle} at rest");
    ensure!(under.datagrams == before.datagrams, "hellos got through: {before:?} {under:?}");
    ensure!(under.connections == before.connections, "forged connections: {before:?} {under:?}");
    let cookies = usage::tcp_counter(&site.lab.router, "SyncookiesSent")?;
    ensure!(cookies > 0, "the queue of the HTTPS port took every SYN");
    Ok((flood, under))
}

#[test]
fn a_flood_of_everything_wakes_nobody_and_shuts_nobody_out() -> Result<()> {
    need::root_and_tools(&["curl", "coap-client-openssl", "coap-server-openssl"]);
    let lab = Lab::new()?;
    let site = Site::start(&lab)?;
    let server = coap::Server::start(&lab.node, Flavour::OpenSsl, NODE.into(), &Psk::default())?;
    let seen = Capture::start(lab.node.device("node0"))?;
    let (flood, under) = sleeps_on(&site)?;
    everything_honest(&site, &flood)?;
    ensure!(server.requests() >= 3, "{}", server.child.output());
    let sent = flood.end()?;
    let after = Work::of(&site)?;
    // some dozens are the honest back-end's own
    ensure!(after.datagrams - under.datagrams < 500, "{under:?} {after:?}");
    ensure!(after.connections - under.connections < 10, "{under:?} {after:?}");
    let drops = site.gateway.drops()?;
    for reason in ["cookie_asked", "no_lease"] {
        // what the veth's queue had no room for never came to the filter
        let count = drops.get(reason).copied().unwrap_or(0);
        ensure!(count > sent as u64 / 3 / 4, "{count} times {reason} of {sent}: {drops:?}");
    }
    let strangers = seen.count(|frame| {
        read::source_of(frame).is_some_and(|source| source.to_string().starts_with("2600:"))
    });
    ensure!(strangers == 0, "{strangers} forged records reached the node");
    Ok(())
}
