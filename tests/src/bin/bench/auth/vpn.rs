//! The VPNs that a user would pick instead, both in user space here: WireGuard as `wireguard-go`,
//! as not every router's kernel has it, and OpenVPN over UDP.
use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use tests::{
    lab::{
        Child, Namespace,
        topology::{NODE_2, NODE_3, ROUTER, at},
        until,
    },
    peer::coap::COAPS,
};

use super::site::{IDENTITY, Site};
use crate::process::Cost;

/// For a program to come up, or to shake hands.
const START: Duration = Duration::from_secs(20);
const WIREGUARD: u16 = 51_820;
const OPENVPN: u16 = 1194;
/// The /64s inside.
const INSIDE_WIREGUARD: &str = "2001:db8:77::";
const INSIDE_OPENVPN: &str = "2001:db8:78::";

/// Both ends of a VPN that is up.
pub(super) struct Vpn {
    router: End,
    _peer: End,
}

/// One of them.
struct End {
    process: Child,
    /// Its socket, which it leaves behind when it is killed.
    socket: Option<PathBuf>,
}

impl Drop for End {
    fn drop(&mut self) {
        self.process.kill();
        if let Some(socket) = &self.socket {
            let _ = fs::remove_file(socket);
        }
    }
}

impl Vpn {
    /// The router's end.
    pub(super) fn cost(&self) -> Cost {
        Cost(self.router.process.pid())
    }
}

/// WireGuard with a key pair on each side; it leads to the second node.
pub(super) fn wireguard(site: &Site<'_>) -> Result<(Vpn, SocketAddr)> {
    let folder = site.gateway.folder();
    let (router, next_door) = (&site.lab.router, &site.lab.internet);
    let keys = [key_pair(folder, "wg-router")?, key_pair(folder, "wg-peer")?];
    let [(router_key, router_public), (peer_key, peer_public)] = keys;
    let names = ["r", "p"].map(|end| format!("wg{}{end}", std::process::id() % 10_000_000));
    let [router_name, peer_name] = &names;
    let vpn = Vpn { router: start(router, router_name)?, _peer: start(next_door, peer_name)? };
    let (port, inside) = (WIREGUARD.to_string(), format!("{INSIDE_WIREGUARD}2"));
    let key = router_key.display().to_string();
    let words = ["wg", "set", router_name, "listen-port", &port, "private-key", &key];
    let peer = ["peer", &peer_public, "allowed-ips", &format!("{inside}/128")];
    router.run(&[&words[..], &peer].concat())?;
    let (key, endpoint) = (peer_key.display().to_string(), at(ROUTER, WIREGUARD).to_string());
    let words = ["wg", "set", peer_name, "private-key", &key, "peer", &router_public];
    let nodes = ["allowed-ips", "2001:db8:1::/64", "endpoint", &endpoint];
    next_door.run(&[&words[..], &nodes].concat())?;
    router.device(router_name).address(&format!("{INSIDE_WIREGUARD}1/64"))?;
    router.device(router_name).up()?;
    next_door.device(peer_name).address(&format!("{inside}/64"))?;
    next_door.device(peer_name).up()?;
    next_door.device(peer_name).route(&format!("{NODE_2}/128"), None)?;
    site.gateway.allow(inside, &[])?;
    Ok((vpn, at(NODE_2, COAPS)))
}

fn start(namespace: &Namespace, name: &str) -> Result<End> {
    let mut command = namespace.command("wireguard-go");
    command.args(["--foreground", name]).env("LOG_LEVEL", "error");
    let mut process = Child::spawn(command)?;
    let up = until(START, || namespace.run(&["wg", "show", name]).is_ok() || process.is_over());
    ensure!(up && process.is_running(), "wireguard-go does not start: {}", process.report());
    let socket = Path::new("/var/run/wireguard").join(name).with_extension("sock");
    Ok(End { process, socket: Some(socket) })
}

/// A file with a new private key, and the public one.
fn key_pair(folder: &Path, name: &str) -> Result<(PathBuf, String)> {
    let file = folder.join(name);
    let made = Command::new("wg").arg("genkey").output().context("cannot start wg")?;
    fs::write(&file, &made.stdout)?;
    let public = Command::new("wg").arg("pubkey").stdin(fs::File::open(&file)?).output()?;
    ensure!(public.status.success(), "wg: {}", String::from_utf8_lossy(&public.stderr));
    Ok((file, String::from_utf8(public.stdout)?.trim().to_owned()))
}

/// OpenVPN with the certificates that back-ends have here; it leads to the third node.
pub(super) fn openvpn(site: &Site<'_>) -> Result<(Vpn, SocketAddr)> {
    let (router, next_door) = (&site.lab.router, &site.lab.internet);
    let (near, far) = (format!("{INSIDE_OPENVPN}1"), format!("{INSIDE_OPENVPN}2"));
    let (here, port) = (ROUTER.to_string(), OPENVPN.to_string());
    let listen = ["--tls-server", "--dh", "none", "--local", &here, "--lport", &port];
    let call = ["--tls-client", "--nobind", "--remote", &here, &port];
    let router_end = open(site, router, "router", [&near, &far], &listen)?;
    let mut peer = open(site, next_door, IDENTITY, [&far, &near], &call)?;
    peer.process.wait_for_line("Initialization Sequence Completed", START)?;
    next_door.device(DEVICE).route(&format!("{NODE_3}/128"), None)?;
    site.gateway.allow(far, &[])?;
    Ok((Vpn { router: router_end, _peer: peer }, at(NODE_3, COAPS)))
}

const DEVICE: &str = "ovpn0";

fn open(
    site: &Site<'_>,
    namespace: &Namespace,
    name: &str,
    [own, other]: [&str; 2],
    role: &[&str],
) -> Result<End> {
    let file = |name: &str| site.pki.file(name);
    let (certificate, key, ca) =
        (file(&format!("{name}.crt")), file(&format!("{name}.key")), file("ca.crt"));
    let mut command = namespace.command("openvpn");
    command.args(["--dev", DEVICE, "--dev-type", "tun", "--proto", "udp6", "--disable-dco"]);
    command.args(["--ifconfig-ipv6", &format!("{own}/64"), other]);
    command.args(["--data-ciphers", "AES-128-GCM", "--verb", "1"]);
    command.args(["--cert", &certificate, "--key", &key, "--ca", &ca]).args(role);
    Ok(End { process: Child::spawn(command)?, socket: None })
}
