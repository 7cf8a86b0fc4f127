//! What the README says is typed as it stands, on machines that have never seen a gateway.

use std::{fs, net::IpAddr, time::Duration};

use anyhow::{Context as _, Result, bail, ensure};
use aya::Ebpf;
use tests::{
    lab::{
        Child, Lab, Machine,
        gateway::START,
        topology::{BACKEND, ROUTER},
        until,
    },
    need, readme,
};

const TOOLS: [&str; 4] = ["curl", "coap-client-openssl", "coap-server-openssl", "openssl"];
const SOON: Duration = Duration::from_secs(60);
const ROUTER_NAME: &str = "router.example";

/// A router, a back-end and a node, fresh out of the box, with the devices that the README names.
struct Site<'a> {
    router: Machine<'a>,
    backend: Machine<'a>,
    node: Child,
    _awake: Ebpf,
}

/// The lab with the devices that the README names.
fn lab() -> Result<Lab> {
    let lab = Lab::new()?;
    for (ours, theirs) in [("wan0", "eth0"), ("lln0", "wpan0")] {
        lab.router.run(&["ip", "link", "set", ours, "name", theirs])?;
    }
    Ok(lab)
}

impl<'a> Site<'a> {
    fn new(lab: &'a Lab) -> Result<Self> {
        let hosts: [(IpAddr, &str); 1] = [(ROUTER.into(), ROUTER_NAME)];
        let node = Machine::new(&lab.node, &[])?;
        let [start, ..] = &readme::blocks("## Three ways in")[..] else { bail!("no node") };
        Ok(Self {
            router: Machine::new(&lab.router, &[])?,
            backend: Machine::new(&lab.backend, &hosts)?,
            node: node.types(start)?,
            _awake: lab.awake()?,
        })
    }

    /// The router's block of a section, which ends with an agent that runs.
    fn sets_up(&self, block: &str) -> Result<Child> {
        let mut agent = self.router.types(block)?;
        agent.wait_for_line("filtering;", START)?;
        Ok(agent)
    }

    /// Takes files from the router to the back-end, by whatever way people do that.
    fn carries(&self, files: &[&str]) -> Result<()> {
        for file in files {
            let name = file.rsplit('/').next().context("a name")?;
            fs::copy(self.router.settings().join(file), self.backend.home().join(name))?;
        }
        Ok(())
    }

    /// The back-end's block, at the end of which the node has said what time it is, and each of
    /// `others` has been said by something in the background.
    fn reaches(&mut self, block: &str, others: &[&str]) -> Result<String> {
        let mut shell = self.backend.types(block)?;
        let answered = until(SOON, || shell.output().lines().any(is_time) || shell.is_over());
        let missing = || format!("{}{}", shell.report(), self.node.report());
        ensure!(answered, "no answer of the node: {}", missing());
        for part in others {
            shell.wait_for_line(part, SOON)?;
        }
        shell.close_stdin();
        let status = shell.wait(SOON)?;
        ensure!(status.success(), "{status}: {}", shell.report());
        Ok(shell.output())
    }

    fn leases(&self) -> Result<String> {
        self.router.typed("gateway lease list", SOON)
    }
}

/// What libcoap's server says at `/time`: `Nov 22 15:00:00`.
fn is_time(line: &str) -> bool {
    let words: Vec<&str> = line.split_whitespace().collect();
    matches!(words[..], [_, _, clock] if clock.len() == 8 && clock.matches(':').count() == 2)
}

const CERTIFICATES: [&str; 3] = ["pki/ca.crt", "pki/pump-7.example.crt", "pki/pump-7.example.key"];

#[test]
fn a_lease_by_certificate_is_had_as_the_readme_says() -> Result<()> {
    need::root_and_tools(&TOOLS);
    let lab = lab()?;
    let mut site = Site::new(&lab)?;
    let [router, backend] = &readme::blocks("### A lease by certificate")[..] else {
        bail!("one block for the router and one for the back-end")
    };
    let _agent = site.sets_up(router)?;
    site.carries(&CERTIFICATES)?;
    let held = format!("{BACKEND} may reach");
    let said = site.reaches(backend, &[&held, "\"identity\":\"pump-7.example\""])?;
    ensure!(said.contains("given back"), "hold does not give back what it held: {said}");
    Ok(())
}

#[test]
fn a_lease_by_pre_shared_key_is_had_as_the_readme_says() -> Result<()> {
    need::root_and_tools(&TOOLS);
    let lab = lab()?;
    let mut site = Site::new(&lab)?;
    let [router, backend] = &readme::blocks("### A lease by pre-shared key")[..] else {
        bail!("one block for the router and one for the back-end")
    };
    let _agent = site.sets_up(router)?;
    site.carries(&["psk.txt"])?;
    let said = site.reaches(backend, &[])?;
    ensure!(said.matches("\"way\":\"psk\"").count() == 2, "granted, then listed once: {said}");
    let leases = site.leases()?;
    ensure!(leases.contains("pump-7.example") && leases.contains("psk"), "{leases}");
    Ok(())
}

/// What a back-end's tunnel goes through.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Outer {
    Key,
    Tls,
    Dtls,
}

/// Either setup, then the tunnel's own lines.
fn tunnel(setup: &str, files: &[&str], outer: Outer) -> Result<()> {
    need::root_and_tools(&TOOLS);
    let lab = lab()?;
    let mut site = Site::new(&lab)?;
    let before = readme::blocks(setup);
    let [router, key, tls, listening, dtls] = &readme::blocks("### A tunnel")[..] else {
        bail!("the router's block, by key, by TLS, the router's for DTLS, by DTLS")
    };
    let way = match outer {
        Outer::Key => key,
        Outer::Tls => tls,
        Outer::Dtls => dtls,
    };
    let agent = site.sets_up(before.first().context("a setup")?)?;
    agent.stop()?;
    let mut agent = site.sets_up(router)?;
    if outer == Outer::Dtls {
        agent.stop()?;
        agent = site.sets_up(listening)?;
    }
    site.carries(files)?;
    let said = site.reaches(way, &["open"])?;
    ensure!(outer != Outer::Dtls || said.contains("\"expires\""), "no lease by CoAP: {said}");
    agent.stop().map(drop)
}

#[test]
fn a_tunnel_by_pre_shared_key_is_had_as_the_readme_says() -> Result<()> {
    tunnel("### A lease by pre-shared key", &["psk.txt"], Outer::Key)
}

#[test]
fn a_tunnel_by_certificate_is_had_as_the_readme_says() -> Result<()> {
    tunnel("### A lease by certificate", &CERTIFICATES, Outer::Tls)
}

#[test]
fn a_tunnel_by_certificate_over_dtls_is_had_as_the_readme_says() -> Result<()> {
    tunnel("### A lease by certificate", &CERTIFICATES, Outer::Dtls)
}

#[test]
fn a_router_is_filtered_as_the_readme_says() -> Result<()> {
    need::root_and_tools(&["bpftool", "jq"]);
    let lab = lab()?;
    let router = Machine::new(&lab.router, &[])?;
    let [_build, block] = &readme::blocks("## On a router")[..] else { bail!("two blocks") };
    let mut agent = router.types(block)?;
    agent.wait_for_line("filtering;", START)?;
    let status = router.typed("gateway status", SOON)?;
    ensure!(status.contains("eth0") && status.contains("wpan0"), "{status}");
    // and its state is to be had without us
    let [dumps, used] = &readme::blocks("## With bpftool alone")[..] else {
        bail!("the dumps, and what leaves out free places")
    };
    router.typed(used, SOON)?;
    let state = router.typed(dumps, SOON)?;
    ensure!(state.contains("\"no_lease\"") && state.contains("prog"), "{state}");
    Ok(())
}

#[test]
fn the_configuration_in_the_readme_is_good() -> Result<()> {
    need::root_and_tools(&[]);
    let lab = Lab::new()?;
    let router = Machine::new(&lab.router, &[])?;
    let [file] = &readme::configurations("## HTTPS to a node")[..] else { bail!("one file") };
    fs::write(router.home().join("gateway.toml"), file)?;
    let said = router.typed("gateway config check gateway.toml", SOON)?;
    ensure!(said.contains("good") && said.contains("to node lamp"), "{said}");
    Ok(())
}
