//! Kinds of interfaces: native and generic mode, VLAN tags, no Ethernet header, several at once.

use std::{
    fs::File,
    io::{Read, Write},
    time::Duration,
};

use anyhow::Result;
use serde_json::Value;
use tests::{
    lab::{
        Capture, Gateway, Injector, Lab,
        gateway::{EVERYDAY, ROOMY},
        link::{self, End},
        topology::{ATTACKER, BACKEND, LLN, MAC_AT0, MAC_ATTACKER, NODE},
        until,
    },
    need,
    packet::{Packet, dtls, read},
    peer::{
        Psk,
        coap::{self, COAPS, Flavour},
    },
};

const SOON: Duration = Duration::from_secs(20);

fn record(source: std::net::Ipv6Addr, seq: u64) -> Packet {
    let packet = Packet::udp6(source, NODE, 40_000, COAPS);
    packet.payload(dtls::application(seq, &[7; 40]))
}

fn with_mode(mode: &str) -> String {
    format!("{EVERYDAY}mode = \"{mode}\"\n{ROOMY}")
}

/// The entry of an interface in `gateway status`.
fn status(gateway: &Gateway<'_>, name: &str) -> Result<Value> {
    let status = gateway.json(&["status"])?;
    let all = status["interfaces"].as_array().cloned().unwrap_or_default();
    Ok(all.into_iter().find(|interface| interface["name"] == name).unwrap_or_default())
}

fn passed(gateway: &Gateway<'_>, name: &str) -> u64 {
    let status = status(gateway, name).unwrap_or_default();
    status["passed"]["packets"].as_u64().unwrap_or(0)
}

fn serves(mode: &str) -> Result<()> {
    need::root_and_tools(&["coap-client-openssl", "coap-server-openssl"]);
    let lab = Lab::new()?;
    let gateway = Gateway::start(&lab.router, &with_mode(mode))?;
    gateway.allow(BACKEND, &[])?;
    for name in ["wan0", "lln0"] {
        assert_eq!(status(&gateway, name)?["mode"], mode);
    }
    let output = lab.router.run(&["ip", "-j", "-d", "link", "show", "dev", "wan0"])?;
    let link: Value = serde_json::from_str(&output)?;
    // linux/if_link.h: XDP_ATTACHED_DRV, XDP_ATTACHED_SKB
    assert_eq!(link[0]["xdp"]["mode"], if mode == "native" { 1 } else { 2 });
    let psk = Psk::default();
    let _server = coap::Server::start(&lab.node, Flavour::OpenSsl, NODE.into(), &psk)?;
    let client = coap::Client::new(&lab.backend, Flavour::OpenSsl, &psk).timeout(SOON);
    client.get(NODE.into(), "time")?;
    assert!(gateway.drops()?.is_empty());
    let wire = Injector::new(lab.internet.device("up0"))?;
    wire.send_many((0..100).map(|seq| record(ATTACKER, seq).build()))?;
    gateway.wait_for_drops("no_lease", 100, SOON)
}

#[test]
fn native_mode_filters() -> Result<()> {
    serves("native")
}

#[test]
fn generic_mode_filters() -> Result<()> {
    serves("generic")
}

#[test]
fn a_driver_without_xdp_is_refused_natively_and_filtered_generically_by_itself() -> Result<()> {
    need::root_and_tools(&[]);
    let lab = Lab::new()?;
    // the kernel has no native XDP for the loopback device
    let native = "[interfaces]\nwan = [\"lo\"]\nlln = [\"lln0\"]\nmode = \"native\"\n";
    let gateway = Gateway::new(&lab.router, native)?;
    let (code, said) = gateway.refused(&["run", "--once"])?;
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("cannot attach to interface lo in native mode"), "{said}");

    gateway.configure(&native.replace("native", "auto"))?;
    let running = gateway.run_once()?;
    let wan = &running["interfaces"][0];
    assert_eq!((&wan["interface"], &wan["mode"]), (&"lo".into(), &"generic".into()));
    assert!(wan["fallback"].is_string(), "it says why: {running}");
    Ok(())
}

#[test]
fn tagged_frames_are_judged_by_what_is_inside() -> Result<()> {
    need::root_and_tools(&[]);
    for mode in ["native", "generic"] {
        let lab = Lab::new()?;
        let gateway = Gateway::start(&lab.router, &with_mode(mode))?;
        gateway.allow(BACKEND, &[])?;
        let wire = Injector::new(lab.internet.device("up0"))?;
        let tags: [&[u16]; 3] = [&[], &[5], &[5, 6]];
        for (number, tags) in (1u64..).zip(tags) {
            let tagged = |packet: Packet| tags.iter().fold(packet, |packet, id| packet.vlan(*id));
            wire.send(&tagged(record(ATTACKER, number)).build())?;
            gateway.wait_for_drops("no_lease", number, SOON)?;
            wire.send(&tagged(record(BACKEND, number)).build())?;
            assert!(until(SOON, || passed(&gateway, "wan0") == number), "{mode}, {tags:?}");
            // the same record under another tag is the same record
            wire.send(&tagged(record(BACKEND, 1)).build())?;
            gateway.wait_for_drops("replayed", number, SOON)?;
        }
    }
    Ok(())
}

/// What leaves through a tun device, as far as it is a record from `source`.
fn arrives(tun: &mut File, source: std::net::Ipv6Addr) -> bool {
    let mut buffer = [0; 2000];
    until(SOON, || {
        let length = tun.read(&mut buffer).unwrap_or(0);
        tests::packet::Datagram::from_ip(&buffer[..length])
            .is_some_and(|datagram| datagram.src.ip() == source)
    })
}

#[test]
fn an_lln_without_ethernet_is_filtered() -> Result<()> {
    need::root_and_tools(&[]);
    let lab = Lab::new()?;
    let mut tun = link::tun(&lab.router, "wpan0")?;
    let device = lab.router.device("wpan0");
    device.no_link_local()?;
    device.route("2001:db8:2::/64", None)?;
    let config = "[interfaces]\nwan = [\"wan0\"]\nlln = [\"wpan0\"]\n\
                  [lln]\nprefixes = [\"2001:db8:2::/64\"]\n";
    let gateway = Gateway::start(&lab.router, &format!("{config}{ROOMY}"))?;
    gateway.allow(BACKEND, &[])?;
    assert_eq!(status(&gateway, "wpan0")?["raw_ip"], true);
    let node = "2001:db8:2::10".parse()?;
    let wire = Injector::new(lab.internet.device("up0"))?;
    let inward = Packet::udp6(BACKEND, node, 40_000, COAPS).payload(dtls::application(1, &[7; 40]));
    wire.send(&inward.build())?;
    assert!(arrives(&mut tun, BACKEND), "{:?}", gateway.drops()?);

    let answer = Packet::udp6(node, BACKEND, COAPS, 40_000).payload(dtls::application(1, &[8; 20]));
    tun.write_all(&answer.raw_ip().build())?;
    assert!(until(SOON, || passed(&gateway, "wpan0") == 1), "{:?}", gateway.drops()?);
    let leak = Packet::udp6(node, ATTACKER, COAPS, 40_000).payload(dtls::application(2, &[8; 20]));
    tun.write_all(&leak.raw_ip().build())?;
    gateway.wait_for_drops("not_admitted", 1, SOON)
}

#[test]
fn an_uplink_without_ethernet_is_filtered() -> Result<()> {
    need::root_and_tools(&[]);
    let lab = Lab::new()?;
    let mut tun = link::tun(&lab.router, "wwan0")?;
    let config = "[interfaces]\nwan = [\"wwan0\"]\nlln = [\"lln0\"]\n";
    let gateway = Gateway::start(&lab.router, &format!("{config}{ROOMY}"))?;
    gateway.allow(BACKEND, &[])?;
    assert_eq!(status(&gateway, "wwan0")?["raw_ip"], true);
    let seen = Capture::start(lab.node.device("node0"))?;
    tun.write_all(&record(ATTACKER, 1).raw_ip().build())?;
    gateway.wait_for_drops("no_lease", 1, SOON)?;
    tun.write_all(&record(BACKEND, 1).raw_ip().build())?;
    assert!(seen.wait_for(1, SOON, |frame| read::is_from(frame, BACKEND)));
    tun.write_all(&record(BACKEND, 1).raw_ip().build())?;
    gateway.wait_for_drops("replayed", 1, SOON)?;
    // a packet by hand goes the same way
    let verdict = gateway.json(&["explain", &ATTACKER.to_string(), &NODE.to_string()])?;
    assert_eq!(verdict["reason"], "no_lease", "{verdict}");
    Ok(())
}

#[test]
fn two_uplinks_share_one_memory() -> Result<()> {
    need::root_and_tools(&[]);
    let lab = Lab::new()?;
    let end = |namespace, name, mac| End { namespace, name, mac };
    link::veth(end(&lab.attacker, "eth1", MAC_ATTACKER), end(&lab.router, "wan1", MAC_AT0))?;
    let config = "[interfaces]\nwan = [\"wan0\", \"wan1\"]\nlln = [\"lln0\"]\n";
    let gateway = Gateway::start(&lab.router, &format!("{config}{ROOMY}"))?;
    gateway.allow(BACKEND, &[])?;
    let seen = Capture::start(lab.node.device("node0"))?;
    let first = Injector::new(lab.internet.device("up0"))?;
    let second = Injector::new(lab.attacker.device("eth1"))?;
    let other = |packet: Packet| packet.ethernet(MAC_ATTACKER, MAC_AT0).build();

    first.send(&record(BACKEND, 1).build())?;
    assert!(seen.wait_for(1, SOON, |frame| read::is_from(frame, BACKEND)));
    second.send(&other(record(BACKEND, 1)))?;
    gateway.wait_for_drops("replayed", 1, SOON)?;
    second.send(&other(record(BACKEND, 2)))?;
    assert!(seen.wait_for(2, SOON, |frame| read::is_from(frame, BACKEND)));
    first.send(&record(BACKEND, 2).build())?;
    gateway.wait_for_drops("replayed", 2, SOON)?;
    second.send(&other(record(ATTACKER, 1)))?;
    gateway.wait_for_drops("no_lease", 1, SOON)?;

    let drops = gateway.json(&["drops", "--interval", "0s"])?;
    assert_eq!(drops["drops"]["replayed"]["interfaces"]["wan0"], 1, "{drops}");
    assert_eq!(drops["drops"]["replayed"]["interfaces"]["wan1"], 1, "{drops}");
    assert_eq!((passed(&gateway, "wan0"), passed(&gateway, "wan1")), (1, 1));

    // one of them is taken off again, the other filters on
    gateway.configure(&format!("{EVERYDAY}{ROOMY}"))?;
    let running = gateway.run_once()?;
    assert_eq!(running["released"], serde_json::json!(["wan1"]));
    first.send(&record(BACKEND, 1).build())?;
    gateway.wait_for_drops("replayed", 2, SOON)
}

#[test]
fn a_missing_interface_is_named_with_those_that_are_there() -> Result<()> {
    need::root_and_tools(&[]);
    let lab = Lab::new()?;
    let gateway = Gateway::new(&lab.router, EVERYDAY)?;
    let (code, said) = gateway.refused(&["run", "--once", "--lln", "wpan7"])?;
    assert_eq!(code, 1, "{said}");
    for word in ["interfaces.lln", "wpan7", "lln0", "wan0"] {
        assert!(said.contains(word), "no {word:?} in: {said}");
    }
    assert!(!gateway.bpffs().join("links").exists(), "nothing is attached by halves");
    // its own interfaces are all there
    gateway.text(&["config", "check", "--interfaces"]).map(drop)
}

#[test]
fn an_lln_without_addresses_needs_its_prefixes_told() -> Result<()> {
    need::root_and_tools(&[]);
    let lab = Lab::new()?;
    lab.router.run(&["ip", "address", "flush", "dev", "lln0", "scope", "global"])?;
    let gateway = Gateway::new(&lab.router, EVERYDAY)?;
    let (code, said) = gateway.refused(&["run", "--once"])?;
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("lln0") && said.contains("lln.prefixes"), "{said}");
    gateway.configure(&format!("{EVERYDAY}[lln]\nprefixes = [\"{LLN}\"]\n"))?;
    gateway.run_once()?;
    assert_eq!(gateway.json(&["status"])?["lln_prefixes"][0], LLN);
    Ok(())
}

#[test]
fn an_interface_that_comes_back_is_filtered_again() -> Result<()> {
    need::root_and_tools(&[]);
    let lab = Lab::new()?;
    let end = |namespace, name, mac| End { namespace, name, mac };
    let plug =
        || link::veth(end(&lab.attacker, "eth1", MAC_ATTACKER), end(&lab.router, "wan1", MAC_AT0));
    plug()?;
    let config = "[interfaces]\nwan = [\"wan0\", \"wan1\"]\nlln = [\"lln0\"]\n";
    let mut gateway = Gateway::start(&lab.router, &format!("{config}{ROOMY}"))?;
    let again = |gateway: &mut Gateway<'_>, drops| {
        let wire = Injector::new(lab.attacker.device("eth1"))?;
        wire.send(&record(ATTACKER, 1).ethernet(MAC_ATTACKER, MAC_AT0).build())?;
        gateway.wait_for_drops("no_lease", drops, SOON)
    };
    let replug = || lab.router.run(&["ip", "link", "delete", "wan1"]).and_then(|_| plug());
    // the agent sees it by itself
    replug()?;
    assert!(until(SOON, || status(&gateway, "wan1").is_ok_and(|one| one["attached"] == true)));
    again(&mut gateway, 1)?;
    // and so does the next one
    gateway.kill();
    replug()?;
    gateway.run()?;
    again(&mut gateway, 2)?;
    let psk = Psk::default();
    gateway.allow(BACKEND, &[])?;
    let _server = coap::Server::start(&lab.node, Flavour::OpenSsl, NODE.into(), &psk)?;
    let client = coap::Client::new(&lab.backend, Flavour::OpenSsl, &psk).timeout(SOON);
    client.get(NODE.into(), "time").map(drop)
}

#[test]
fn status_names_an_interface_that_went_away_and_came_back() -> Result<()> {
    need::root_and_tools(&[]);
    let lab = Lab::new()?;
    let mut gateway = Gateway::start(&lab.router, EVERYDAY)?;
    for name in ["wan0", "lln0"] {
        assert_eq!(status(&gateway, name)?["attached"], true, "{name}");
    }
    gateway.kill();
    lab.router.run(&["ip", "link", "del", "wan0"])?;
    lab.router.run(&["ip", "link", "add", "wan0", "type", "veth", "peer", "name", "wan1"])?;
    assert_eq!(status(&gateway, "wan0")?["attached"], false);
    assert_eq!(status(&gateway, "lln0")?["attached"], true);
    let said = gateway.text(&["status"])?;
    assert!(said.contains("wan0 is not filtered"), "{said}");
    gateway.run_once()?;
    assert_eq!(status(&gateway, "wan0")?["attached"], true);
    Ok(())
}
