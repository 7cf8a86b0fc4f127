//! A router whose agent gives leases and ends tunnels, and the network next door that asks it.
use std::{
    fs,
    net::{Ipv6Addr, SocketAddr},
    os::unix::fs::PermissionsExt as _,
    path::PathBuf,
};

use anyhow::Result;
use aya::Ebpf;
use tests::{
    lab::{
        Gateway, Lab,
        gateway::ROOMY,
        topology::{ROUTER, at},
    },
    peer::{Psk, coap::COAPS, curl::Pki},
};

use crate::process::Cost;

/// Who asks: its certificate and its key have the same name.
pub(super) const IDENTITY: &str = "pump.example";
pub(super) const HTTPS: u16 = 4433;
/// The interface that everything comes in by.
pub(super) const UPLINK: &str = "wan0";
/// An interface by which nothing comes, for a router that filters nothing.
pub(super) const SPARE: &str = "spare0";
/// No budget ends a packet.
pub(super) const UNLIMITED: &str = "[agent]\nrate = \"unlimited\"\n";
/// All addresses of whom leases are for.
const BACKENDS: &str = "2001:db8:c::/48";
/// All sources that floods forge.
const FORGED: &str = "2600::/16";

/// The agent, and what its peers need to talk to it.
pub(super) struct Site<'a> {
    pub(super) lab: &'a Lab,
    pub(super) gateway: Gateway<'a>,
    pub(super) pki: Pki,
    pub(super) agent: Cost,
    _awake: Ebpf,
}

/// Gives the network next door every address that leases are for, and has it take what answers a
/// forged source without a word.
pub(super) fn number(lab: &Lab) -> Result<()> {
    let next_door = &lab.internet;
    next_door.run(&["ip", "-6", "route", "add", "local", BACKENDS, "dev", "lo"])?;
    next_door.run(&["ip", "-6", "route", "add", "blackhole", FORGED])?;
    next_door.set_sysctl("ipv6/ip_nonlocal_bind", "1")?;
    lab.router.run(&["ip", "link", "add", SPARE, "type", "veth", "peer", "name", "spare1"])?;
    lab.router.device(SPARE).up()
}

/// The address of a back-end, in a /64 of its own as sites have.
pub(super) fn backend(number: u32) -> Ipv6Addr {
    let [high, low] = [(number >> 16) as u16, number as u16];
    Ipv6Addr::new(0x2001, 0xdb8, 0xc, low, 0, 0, high, 1)
}

/// The key of whoever asks.
pub(super) fn psk() -> Psk {
    Psk::new(IDENTITY, b"the key of pumps")
}

/// Where keys are asked for.
pub(super) fn dtls() -> SocketAddr {
    at(ROUTER, COAPS)
}

impl<'a> Site<'a> {
    /// Starts the agent with its filter on the uplink `wan`; what is in `budgets` is configured too.
    pub(super) fn start(lab: &'a Lab, wan: &str, budgets: &str) -> Result<Self> {
        let mut gateway = Gateway::new(&lab.router, "")?;
        let pki = Pki::init(&gateway.folder().join("pki"))?;
        pki.run(&["issue", "router.lab", "--server", "--also", &ROUTER.to_string()])?;
        pki.issue(IDENTITY, &[])?;
        let keys = gateway.folder().join("psk.txt");
        fs::write(&keys, format!("{IDENTITY}:{}\n", psk().hex()))?;
        fs::set_permissions(&keys, fs::Permissions::from_mode(0o600))?;
        let file = |name| pki.file(name);
        gateway.configure(&format!(
            "[interfaces]\nwan = [{wan:?}]\nlln = [\"lln0\"]\n{budgets}{ROOMY}\
             [auth.psk]\nlisten = [\"[::]:{COAPS}\"]\nkeys = {keys:?}\n\
             [auth.https]\nlisten = [\"[::]:{HTTPS}\"]\ncertificate = {:?}\nkey = {:?}\n\
             client_ca = {:?}\ncrl = {:?}\n\
             [[auth.identity]]\nname = {IDENTITY:?}\nleases = 1000000\ntunnel = true\n",
            file("router.crt"),
            file("router.key"),
            file("ca.crt"),
            file("ca.crl"),
        ))?;
        gateway.run()?;
        let agent = Cost(gateway.pid()?);
        Ok(Self { lab, gateway, pki, agent, _awake: lab.awake()? })
    }

    /// The file with the key.
    pub(super) fn keys(&self) -> PathBuf {
        self.gateway.folder().join("psk.txt")
    }
}
