//! A router that ends tunnels, and the back-end's end of them.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr},
    os::unix::fs::PermissionsExt as _,
    path::Path,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use aya::Ebpf;
use serde_json::Value;
use tests::{
    lab::{
        Capture, Child, Gateway, Lab,
        gateway::{EVERYDAY, binary},
        topology::{ROUTER, at},
        until,
    },
    packet::read::Datagram,
    peer::{Psk, coap::COAPS, curl::Pki},
};

pub(super) const SOON: Duration = Duration::from_secs(30);
pub(super) const LATE: Duration = Duration::from_secs(90);
pub(super) const BRIEF: Duration = Duration::from_secs(1);
const HTTPS: u16 = 4433;
pub(super) const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

const IDENTITIES: &str = "
[[auth.identity]]
name = \"pump-7.example\"
nodes = [\"2001:db8:1::10\"]
tunnel = true
[[auth.identity]]
name = \"all.example\"
tunnel = true
[[auth.identity]]
name = \"lease-only.example\"
";

/// Tests send faster than back-ends do.
const ROOMY: &str = "[agent]\nrate = \"unlimited\"\n";

pub(super) fn key(identity: &str) -> Psk {
    Psk::new(identity, format!("the key of {identity}").as_bytes())
}

/// A router that ends tunnels.
pub(super) struct Site<'a> {
    pub(super) lab: &'a Lab,
    pub(super) gateway: Gateway<'a>,
    pub(super) pki: Pki,
    _awake: Ebpf,
}

impl<'a> Site<'a> {
    pub(super) fn start(lab: &'a Lab) -> Result<Self> {
        let mut gateway = Gateway::new(&lab.router, EVERYDAY)?;
        let pki = Pki::init(&gateway.folder().join("pki"))?;
        pki.run(&["issue", "router.lab", "--server", "--also", &ROUTER.to_string()])?;
        pki.issue("all.example", &[])?;
        let keys = gateway.folder().join("psk.txt");
        let names = ["pump-7.example", "all.example", "lease-only.example"];
        let line = |name: &&str| format!("{name}:{}\n", key(name).hex());
        secret(&keys, &names.iter().map(line).collect::<String>())?;
        gateway.configure(&format!(
            "{EVERYDAY}{ROOMY}[auth.psk]\nlisten = [\"[::]:{COAPS}\"]\nkeys = {keys:?}\n\
             [auth.dtls]\nlisten = [\"[::]:{COAPS}\"]\n\
             [auth.https]\nlisten = [\"[::]:{HTTPS}\"]\ncertificate = {:?}\nkey = {:?}\n\
             client_ca = {:?}\ncrl = {:?}\n{IDENTITIES}",
            pki.file("router.crt"),
            pki.file("router.key"),
            pki.file("ca.crt"),
            pki.file("ca.crl"),
        ))?;
        gateway.run()?;
        Ok(Self { lab, gateway, pki, _awake: lab.awake()? })
    }

    /// The back-end's end, with these arguments beside the credentials.
    pub(super) fn tunnel(
        &self,
        credentials: &[&str],
        port: u16,
        nodes: &[IpAddr],
    ) -> Result<Child> {
        let mut command = self.lab.backend.command(&binary().display().to_string());
        command.args(["backend", "tunnel", "--json", "--router", &format!("[{ROUTER}]:{port}")]);
        for node in nodes {
            command.args(["--node", &at(*node, COAPS).to_string()]);
        }
        command.args(credentials).env_remove("GATEWAY_CONFIG");
        Child::spawn(command)
    }

    pub(super) fn by_key(&self, psk: &Psk, nodes: &[IpAddr]) -> Result<Child> {
        let file = self.gateway.folder().join(format!("{}.psk", psk.identity));
        secret(&file, &format!("{}:{}\n", psk.identity, psk.hex()))?;
        let file = file.display().to_string();
        self.tunnel(&["--psk-identity", &psk.identity, "--psk-file", &file], COAPS, nodes)
    }

    pub(super) fn by_certificate(&self, nodes: &[IpAddr]) -> Result<Child> {
        let file = |name: &str| self.pki.file(name);
        let (cert, key, ca) = (file("all.example.crt"), file("all.example.key"), file("ca.crt"));
        self.tunnel(&["--cert", &cert, "--key", &key, "--ca", &ca], HTTPS, nodes)
    }

    /// The same over DTLS, as `name` by one authority, who takes the router by another's word.
    pub(super) fn over_dtls(
        &self,
        pki: &Pki,
        name: &str,
        router: &Pki,
        nodes: &[IpAddr],
    ) -> Result<Child> {
        let (cert, key) = (pki.file(&format!("{name}.crt")), pki.file(&format!("{name}.key")));
        let ca = router.file("ca.crt");
        self.tunnel(&["--dtls", "--cert", &cert, "--key", &key, "--ca", &ca], COAPS, nodes)
    }

    /// Shuts a certificate out, and waits until the router knows.
    pub(super) fn revoke(&self, name: &str) -> Result<()> {
        let reloads = || self.gateway.log().matches("certificates reloaded").count();
        let before = reloads();
        self.pki.run(&["revoke", name])?;
        ensure!(until(SOON, || reloads() > before), "the router does not look at its files");
        Ok(())
    }

    pub(super) fn leases(&self) -> Result<Vec<Value>> {
        let value = self.gateway.json(&["lease", "list"])?;
        Ok(value["leases"].as_array().context("no leases")?.clone())
    }
}

fn secret(file: &Path, text: &str) -> Result<()> {
    fs::write(file, text)?;
    Ok(fs::set_permissions(file, fs::Permissions::from_mode(0o600))?)
}

pub(super) fn is_open(tunnel: &mut Child) -> Result<()> {
    tunnel.wait_for_line("\"state\":\"open\"", SOON).map(drop)
}

/// What a device saw on the way to a node, or to the tunnel's local port.
pub(super) fn payloads(wire: &Capture, to_port: u16, from: IpAddr, outgoing: bool) -> Vec<Vec<u8>> {
    let frames = wire.snapshot();
    let sent = frames.iter().filter(|frame| frame.outgoing == outgoing);
    let datagrams = sent.filter_map(|frame| Datagram::from_frame(&frame.bytes));
    let wanted = datagrams.filter(|one| one.dst.port() == to_port && one.src.ip() == from);
    wanted.map(|one| one.payload).collect()
}
