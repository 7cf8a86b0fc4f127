//! Agents die, are upgraded, reconfigured and removed: the filter stays closed throughout.

use std::{
    fs,
    process::Command,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tests::{
    lab::{
        Capture, Gateway, Injector, Lab,
        gateway::{EVERYDAY, ROOMY},
        topology::{ATTACKER, BACKEND, BACKEND_2, NODE},
        until,
    },
    need,
    packet::{Packet, dtls, read},
};

const SOON: Duration = Duration::from_secs(20);
const PORT: u16 = 5684;

fn record(source: std::net::Ipv6Addr, seq: u64) -> Vec<u8> {
    let packet = Packet::udp6(source, NODE, 40_000, PORT);
    packet.payload(dtls::application(seq, &[7; 40])).build()
}

/// A lab with a gateway that admits the back-end, and eyes on the node.
struct Scene<'a> {
    gateway: Gateway<'a>,
    seen: Capture,
    wire: Injector,
}

impl<'a> Scene<'a> {
    fn new(lab: &'a Lab) -> Result<Self> {
        let gateway = Gateway::start(&lab.router, &format!("{EVERYDAY}{ROOMY}"))?;
        gateway.allow(BACKEND, &[])?;
        let seen = Capture::start(lab.node.device("node0"))?;
        let wire = Injector::new(lab.internet.device("up0"))?;
        Ok(Self { gateway, seen, wire })
    }

    fn arrived(&self, source: std::net::Ipv6Addr) -> usize {
        self.seen.count(|frame| read::is_from(frame, source))
    }

    /// A record of the back-end passes.
    fn passes(&self, seq: u64) -> Result<()> {
        let before = self.arrived(BACKEND);
        self.wire.send(&record(BACKEND, seq))?;
        let passed = until(SOON, || self.arrived(BACKEND) > before);
        ensure!(passed, "record {seq} did not pass: {:?}", self.gateway.drops()?);
        Ok(())
    }

    /// A record of `source` is dropped for `reason`.
    fn ends(&self, source: std::net::Ipv6Addr, seq: u64, reason: &str) -> Result<()> {
        let (before, arrived) = (self.gateway.dropped(reason)?, self.arrived(source));
        self.wire.send(&record(source, seq))?;
        self.gateway.wait_for_drops(reason, before + 1, SOON)?;
        ensure!(self.arrived(source) == arrived, "it reached the node");
        Ok(())
    }
}

#[test]
fn a_killed_agent_leaves_the_filter_as_it_was() -> Result<()> {
    need::root_and_tools(&[]);
    let lab = Lab::new()?;
    let mut scene = Scene::new(&lab)?;
    scene.passes(1)?;
    scene.ends(ATTACKER, 1, "no_lease")?;
    scene.gateway.kill();
    scene.passes(2)?;
    scene.ends(BACKEND, 2, "replayed")?;
    scene.ends(ATTACKER, 2, "no_lease")?;
    // the command line does not need it either
    scene.gateway.allow(BACKEND_2, &[])?;
    scene.gateway.forbid(BACKEND)?;
    scene.ends(BACKEND, 3, "no_lease")
}

#[test]
fn leases_lapse_with_no_agent_alive() -> Result<()> {
    need::root_and_tools(&[]);
    let lab = Lab::new()?;
    let mut scene = Scene::new(&lab)?;
    scene.gateway.kill();
    scene.gateway.allow(BACKEND, &["--for", "2s"])?;
    scene.passes(1)?;
    let mut seq = 1;
    let lapsed = until(SOON, || {
        seq += 1;
        let _ = scene.wire.send(&record(BACKEND, seq));
        scene.gateway.dropped("lease_expired").is_ok_and(|count| count > 0)
    });
    assert!(lapsed, "{:?}", scene.gateway.drops()?);
    scene.ends(BACKEND, seq + 1, "lease_expired")?;
    scene.gateway.allow(BACKEND, &[])?;
    scene.passes(seq + 2)
}

#[test]
fn the_next_agent_takes_over_what_the_last_one_left() -> Result<()> {
    need::root_and_tools(&[]);
    let lab = Lab::new()?;
    let mut scene = Scene::new(&lab)?;
    scene.passes(1)?;
    scene.ends(ATTACKER, 1, "no_lease")?;
    scene.gateway.kill();
    scene.gateway.run()?;
    assert_eq!(scene.gateway.dropped("no_lease")?, 1);
    assert_eq!(scene.gateway.source(BACKEND)?["packets"], 1);
    let list = scene.gateway.json(&["allow", "list"])?;
    assert_eq!(list["allow"][0]["source"], BACKEND.to_string());
    assert_eq!(list["allow"][0]["in_force"], true);
    scene.ends(BACKEND, 1, "replayed")?;
    scene.ends(ATTACKER, 2, "no_lease")?;
    scene.passes(2)?;
    assert_eq!(scene.gateway.source(BACKEND)?["packets"], 2);
    assert_eq!(scene.gateway.dropped("no_lease")?, 2);
    Ok(())
}

/// The kernel's links that hold a program.
fn links(lab: &Lab, program: u64) -> Result<usize> {
    let output = lab.router.run(&["bpftool", "-j", "link", "show"])?;
    let all: Vec<Value> = serde_json::from_str(&output)?;
    Ok(all.iter().filter(|link| link["prog_id"] == program).count())
}

/// Runs `task` while the attacker sends without a pause, and says how many frames that were.
fn under_fire(wire: &Injector, task: impl FnOnce() -> Result<()>) -> Result<u64> {
    let (over, sent) = (AtomicBool::new(false), AtomicU64::new(0));
    thread::scope(|scope| {
        let fire = scope.spawn(|| -> Result<()> {
            while !over.load(Ordering::Relaxed) {
                let frame = record(ATTACKER, sent.fetch_add(10, Ordering::Relaxed));
                wire.flood(&[frame], 10, Some(5_000))?;
            }
            Ok(())
        });
        let result = task();
        over.store(true, Ordering::Relaxed);
        fire.join().expect("the fire does not panic")?;
        result
    })?;
    Ok(sent.into_inner())
}

/// The XDP program of an interface.
fn attached(lab: &Lab, interface: &str) -> Result<Option<u64>> {
    let output = lab.router.run(&["ip", "-j", "-d", "link", "show", "dev", interface])?;
    let link: Value = serde_json::from_str(&output)?;
    Ok(link[0]["xdp"]["prog"]["id"].as_u64())
}

#[test]
fn an_upgrade_replaces_the_program_and_no_packet_gets_past_it() -> Result<()> {
    need::root_and_tools(&["bpftool"]);
    let lab = Lab::new()?;
    let mut scene = Scene::new(&lab)?;
    let pinned = scene.gateway.bpffs().join("links/wan0").display().to_string();
    let link = || -> Result<(Value, Value)> {
        let output =
            Command::new("bpftool").args(["-j", "link", "show", "pinned", &pinned]).output()?;
        let link: Value = serde_json::from_slice(&output.stdout)?;
        Ok((link["id"].clone(), link["prog_id"].clone()))
    };
    let (first, program) = link()?;
    let sent = under_fire(&scene.wire, || {
        for _ in 0..3 {
            scene.gateway.kill();
            scene.gateway.run()?;
        }
        scene.gateway.reload("reloaded").map(drop)
    })?;
    let (last, replaced) = link()?;
    assert_eq!(first, last, "the link is the same");
    assert_ne!(program, replaced, "the program is another");
    assert_eq!(attached(&lab, "wan0")?, replaced.as_u64());
    assert!(sent > 100, "{sent}");
    scene.gateway.wait_for_drops("no_lease", sent, SOON)?;
    assert_eq!(scene.gateway.dropped("no_lease")?, sent);
    assert_eq!(scene.arrived(ATTACKER), 0);
    Ok(())
}

#[test]
fn another_capacity_keeps_the_allow_list_and_lets_nothing_through() -> Result<()> {
    need::root_and_tools(&[]);
    let lab = Lab::new()?;
    let mut scene = Scene::new(&lab)?;
    scene.passes(1)?;
    let smaller = format!("{EVERYDAY}{ROOMY}[sources]\ncapacity = 128\n[replay]\npages = 64\n");
    scene.gateway.configure(&smaller)?;
    under_fire(&scene.wire, || {
        scene.gateway.kill();
        scene.gateway.run()
    })?;
    let log = scene.gateway.log();
    assert!(log.contains("maps of another size or version were replaced"), "{log}");
    assert_eq!(scene.gateway.json(&["sources"])?["sources"][0]["source"], BACKEND.to_string());
    scene.passes(2)?;
    scene.ends(BACKEND, 2, "replayed")?;
    scene.ends(ATTACKER, 1, "no_lease")?;
    let status = scene.gateway.json(&["status"])?;
    assert_ne!(status["interfaces"][0]["mode"], "unknown", "links keep their modes");
    // the new maps are where everyone looks for them
    scene.gateway.forbid(BACKEND)?;
    scene.ends(BACKEND, 3, "no_lease")?;
    assert!(!scene.gateway.bpffs().join("next").exists());
    assert_eq!(scene.arrived(ATTACKER), 0);
    Ok(())
}

#[test]
fn a_full_allow_list_says_so_and_keeps_what_is_in_force() -> Result<()> {
    need::root_and_tools(&[]);
    let lab = Lab::new()?;
    let config = format!("{EVERYDAY}{ROOMY}[sources]\ncapacity = 64\n");
    let gateway = Gateway::start(&lab.router, &config)?;
    let entries = |count: u32| {
        let one = |n| format!("[[allow]]\nsource = \"2001:db8:c::{n:x}\"\n");
        (1..=count).map(one).collect::<String>()
    };
    fs::write(gateway.allow_file(), entries(64))?;
    let in_force = || gateway.json(&["status"]).is_ok_and(|status| status["addresses"] == 64);
    assert!(until(SOON, in_force));
    let (code, said) = gateway.refused(&["allow", "add", &BACKEND.to_string()])?;
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("sources.capacity"), "{said}");
    assert!(in_force());
    Ok(())
}

#[test]
fn a_broken_configuration_changes_nothing() -> Result<()> {
    need::root_and_tools(&[]);
    let lab = Lab::new()?;
    let mut scene = Scene::new(&lab)?;
    scene.gateway.configure(&format!("{EVERYDAY}{ROOMY}[lln]\ndtls_port = [5685]\n"))?;
    let line = scene.gateway.reload("not reloaded")?;
    assert!(line.contains("dtls_port") && line.contains("dtls_ports"), "{line}");
    scene.gateway.configure(&format!("{EVERYDAY}{ROOMY}"))?;
    scene.passes(1)?;
    scene.ends(ATTACKER, 1, "no_lease")?;

    scene.gateway.configure(&format!("{EVERYDAY}{ROOMY}[lln]\nmax_datagram = 128\n"))?;
    scene.gateway.reload("configuration reloaded")?;
    let oversize =
        Packet::udp6(BACKEND, NODE, 40_000, PORT).payload(dtls::application(9, &[7; 200]));
    scene.wire.send(&oversize.build())?;
    scene.gateway.wait_for_drops("oversize", 1, SOON)?;
    scene.passes(2)
}

#[test]
fn a_broken_configuration_hides_nothing_of_what_runs() -> Result<()> {
    need::root_and_tools(&[]);
    let lab = Lab::new()?;
    let scene = Scene::new(&lab)?;
    scene.ends(ATTACKER, 1, "no_lease")?;
    scene.gateway.configure(&format!("{EVERYDAY}{ROOMY}[lln]\ndtls_port = [5685]\n"))?;
    let looks: [&[&str]; 6] = [
        &["status"],
        &["drops", "--interval", "0s"],
        &["sources"],
        &["allow", "list"],
        &["lease", "list"],
        &["connections"],
    ];
    for words in looks {
        let output = scene.gateway.cli(words)?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{words:?}: {said}");
        ensure!(
            said.contains("lln.dtls_port") && said.contains("was not read"),
            "{words:?}: {said}"
        );
    }
    assert_eq!(scene.gateway.dropped("no_lease")?, 1);
    assert_eq!(scene.gateway.json(&["allow", "list"])?["allow"][0]["in_force"], true);
    // what changes something goes by the file, or not at all
    for words in [&["allow", "remove", "2001:db8:b::2"][..], &["detach"], &["config", "show"]] {
        let (code, said) = scene.gateway.refused(words)?;
        assert!(code == 1 && said.contains("lln.dtls_port"), "{words:?}: {said}");
    }
    // a file that is not there was named by mistake
    fs::remove_file(scene.gateway.config_file())?;
    let (code, said) = scene.gateway.refused(&["status"])?;
    assert!(code == 1 && said.contains("cannot read"), "{said}");
    // the gateway is found again at the end
    scene.gateway.configure(EVERYDAY)
}

#[test]
fn a_broken_allow_list_changes_nothing() -> Result<()> {
    need::root_and_tools(&[]);
    let lab = Lab::new()?;
    let scene = Scene::new(&lab)?;
    let good = fs::read_to_string(scene.gateway.allow_file())?;
    fs::write(scene.gateway.allow_file(), "[[allow]]\nsource = \"2001:db8::/33/4\"\n")?;
    let said = || scene.gateway.log().contains("what was in force stays");
    assert!(until(SOON, said), "{}", scene.gateway.log());
    scene.passes(1)?;
    fs::write(scene.gateway.allow_file(), format!("{good}\n[[allow]]\nsource = \"{ATTACKER}\"\n"))?;
    let mut seq = 0;
    let admitted = until(SOON, || {
        seq += 1;
        let _ = scene.wire.send(&record(ATTACKER, seq));
        scene.arrived(ATTACKER) > 0
    });
    assert!(admitted, "{}", scene.gateway.log());
    Ok(())
}

#[test]
fn an_agent_that_is_told_to_end_leaves_the_filter_in_place() -> Result<()> {
    need::root_and_tools(&[]);
    let lab = Lab::new()?;
    let mut scene = Scene::new(&lab)?;
    let said = scene.gateway.stop()?;
    assert!(said.contains("the filter stays in place"), "{said}");
    scene.passes(1)?;
    scene.ends(ATTACKER, 1, "no_lease")
}

#[test]
fn detach_leaves_nothing_behind() -> Result<()> {
    need::root_and_tools(&["bpftool"]);
    let lab = Lab::new()?;
    let mut scene = Scene::new(&lab)?;
    let mut programs = Vec::new();
    for interface in ["wan0", "lln0"] {
        let program = attached(&lab, interface)?.context("a program")?;
        assert_eq!(links(&lab, program)?, 1, "{interface}");
        programs.push(program);
    }
    scene.gateway.kill();
    let removed = scene.gateway.json(&["detach"])?;
    assert!(removed["removed"].as_array().context("removed")?.len() >= 18, "{removed}");
    assert!(!scene.gateway.bpffs().exists());
    for interface in ["wan0", "lln0"] {
        // the kernel lets go of a link in the background
        assert!(until(SOON, || attached(&lab, interface).is_ok_and(|id| id.is_none())));
    }
    for program in programs {
        assert_eq!(links(&lab, program)?, 0);
    }
    scene.wire.send(&record(ATTACKER, 1))?;
    assert!(until(SOON, || scene.arrived(ATTACKER) == 1), "nothing filters any more");

    let (code, said) = scene.gateway.refused(&["detach"])?;
    assert_eq!(code, 3, "{said}");
    scene.gateway.text(&["detach", "--if-running"])?;
    scene.gateway.run()?;
    scene.ends(ATTACKER, 2, "no_lease")
}

#[test]
fn an_agent_that_took_over_does_not_hold_the_filter_against_detach() -> Result<()> {
    need::root_and_tools(&["bpftool"]);
    let lab = Lab::new()?;
    let mut scene = Scene::new(&lab)?;
    scene.gateway.kill();
    scene.gateway.run()?;
    scene.gateway.text(&["detach"])?;
    for interface in ["wan0", "lln0"] {
        assert!(until(SOON, || attached(&lab, interface).is_ok_and(|id| id.is_none())));
    }
    scene.wire.send(&record(ATTACKER, 1))?;
    assert!(until(SOON, || scene.arrived(ATTACKER) == 1), "nothing filters any more");
    // and does not wait for a filter that will not come back
    assert!(until(SOON, || scene.gateway.log().contains("there is nothing to keep")));
    Ok(())
}

#[test]
fn a_renamed_interface_keeps_its_filter() -> Result<()> {
    need::root_and_tools(&[]);
    let lab = Lab::new()?;
    let mut scene = Scene::new(&lab)?;
    let renaming = ["link set wan0 down", "link set wan0 name uplink", "link set uplink up"];
    lab.router.ip(&renaming.map(String::from))?;
    let status = scene.gateway.json(&["status"])?;
    assert_eq!(status["interfaces"][0]["attached"], true, "{status}");
    scene.gateway.kill();
    scene.gateway.configure(&format!("{EVERYDAY}{ROOMY}").replace("wan0", "uplink"))?;
    scene.gateway.run()?;
    assert!(scene.gateway.bpffs().join("links/uplink").exists());
    assert!(!scene.gateway.bpffs().join("links/wan0").exists());
    scene.ends(ATTACKER, 1, "no_lease")
}

#[test]
fn an_interface_with_someone_elses_program_is_left_alone() -> Result<()> {
    need::root_and_tools(&["xdp-filter"]);
    let lab = Lab::new()?;
    lab.router.run(&["xdp-filter", "load", "-m", "native", "wan0"])?;
    let theirs = attached(&lab, "wan0")?;
    let gateway = Gateway::new(&lab.router, EVERYDAY)?;
    let (code, said) = gateway.refused(&["run", "--once"])?;
    assert_eq!(code, 1, "{said}");
    for word in ["wan0", "already has an XDP program", "ip link set wan0 xdp off"] {
        assert!(said.contains(word), "no {word:?} in: {said}");
    }
    assert_eq!(attached(&lab, "wan0")?, theirs);
    assert!(!gateway.bpffs().exists(), "maps without a filter stay behind");
    lab.router.run(&["xdp-filter", "unload", "wan0"])?;
    gateway.run_once()?;
    Ok(())
}
