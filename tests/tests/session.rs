//! Whole sessions of real peers through the filter, and what becomes of those without a lease.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use tests::{
    lab::{
        Capture, Child, Gateway, Injector, Lab,
        gateway::EVERYDAY,
        topology::{ATTACKER, BACKEND, BACKEND_2, NODE, NODE_2, at},
        until,
    },
    need,
    packet::{Packet, dtls, read},
    peer::{
        Psk,
        coap::{self, COAPS, Flavour},
        gnutls, openssl,
    },
};

const SOON: Duration = Duration::from_secs(20);
const BRIEF: Duration = Duration::from_secs(1);

fn probe(seq: u64) -> Vec<u8> {
    let packet = Packet::udp6(BACKEND, NODE, 40_000, COAPS);
    packet.payload(dtls::application(seq, &[7; 40])).build()
}

/// Both directions were counted on the source's account, and nothing was dropped.
fn went_through_whole(gateway: &Gateway<'_>) -> Result<()> {
    let source = gateway.source(BACKEND)?;
    for counter in ["packets", "bytes", "answers", "answer_bytes"] {
        ensure!(source[counter].as_u64() > Some(0), "{counter}: {source}");
    }
    let drops = gateway.drops()?;
    ensure!(drops.is_empty(), "{drops:?}");
    Ok(())
}

#[test]
fn openssl_sessions_pass_both_ways() -> Result<()> {
    need::root_and_tools(&["openssl"]);
    let lab = Lab::new()?;
    let gateway = Gateway::start(&lab.router, EVERYDAY)?;
    gateway.allow(BACKEND, &[])?;
    let psk = Psk::default();
    let mut server = openssl::Settings::new(&lab.node, &psk).listen(at(NODE, COAPS))?;
    let backend = openssl::Settings::new(&lab.backend, &psk).bind(at(BACKEND, 41_000));
    let mut client = backend.connect(at(NODE, COAPS))?;
    for line in ["lamp on", "lamp off", "lamp on"] {
        openssl::round_trip(&mut client, &mut server, line, SOON)?;
    }
    client.close()?;
    went_through_whole(&gateway)
}

#[test]
fn gnutls_sessions_pass_both_ways() -> Result<()> {
    need::root_and_tools(&["gnutls-cli", "gnutls-serv"]);
    let lab = Lab::new()?;
    let gateway = Gateway::start(&lab.router, EVERYDAY)?;
    gateway.allow(BACKEND, &[])?;
    let psk = Psk::default();
    let _server = gnutls::Settings::new(&lab.node, &psk).listen(at(NODE, COAPS))?;
    let backend = gnutls::Settings::new(&lab.backend, &psk);
    let mut client = backend.connect_within(at(NODE, COAPS), SOON)?;
    client.echo("lamp on", SOON)?;
    client.echo("lamp off", SOON)?;
    client.close()?;
    went_through_whole(&gateway)
}

#[test]
fn coap_requests_pass_with_both_libraries_at_both_ends() -> Result<()> {
    need::root_and_tools(&["coap-client-openssl", "coap-client-gnutls", "coap-server-gnutls"]);
    let lab = Lab::new()?;
    let gateway = Gateway::start(&lab.router, EVERYDAY)?;
    gateway.allow(BACKEND, &[])?;
    let psk = Psk::default();
    let _openssl = coap::Server::start(&lab.node, Flavour::OpenSsl, NODE.into(), &psk)?;
    let _gnutls = coap::Server::start(&lab.node, Flavour::GnuTls, NODE_2.into(), &psk)?;
    for flavour in [Flavour::OpenSsl, Flavour::GnuTls] {
        for node in [NODE, NODE_2] {
            let client = coap::Client::new(&lab.backend, flavour, &psk).named("node.lab");
            let client = client.timeout(SOON);
            client.put(node.into(), "example_data", "lamp on")?;
            ensure!(client.get(node.into(), "example_data")? == "lamp on");
        }
    }
    went_through_whole(&gateway)
}

#[test]
fn an_unauthenticated_back_end_reaches_nothing() -> Result<()> {
    need::root_and_tools(&["coap-client-openssl", "coap-server-openssl"]);
    let lab = Lab::new()?;
    let gateway = Gateway::start(&lab.router, EVERYDAY)?;
    gateway.allow(BACKEND, &[])?;
    let psk = Psk::default();
    let _server = coap::Server::start(&lab.node, Flavour::OpenSsl, NODE.into(), &psk)?;
    let seen = Capture::start(lab.node.device("node0"))?;
    let words = ["events", "--json", "--reason", "no_lease", "--count", "1"];
    let mut events = Child::spawn(gateway.command(&words))?;
    // it has the right key: being able to speak to the node admits nobody
    let stranger = coap::Client::new(&lab.attacker, Flavour::OpenSsl, &psk).timeout(BRIEF);
    let reported = until(SOON, || {
        let refused = stranger.get(NODE.into(), "time").is_err();
        refused && !events.is_running()
    });
    ensure!(reported, "no event: {}", events.output());
    let event: serde_json::Value = serde_json::from_str(&events.output())?;
    assert_eq!(event["packet"]["source"], ATTACKER.to_string());
    assert_eq!((&event["reason"], &event["interface"]), (&"no_lease".into(), &"wan0".into()));
    assert!(gateway.dropped("no_lease")? > 0);
    // an admitted request behind it: all that came before it has arrived or never will
    let backend = coap::Client::new(&lab.backend, Flavour::OpenSsl, &psk).timeout(SOON);
    backend.get(NODE.into(), "time")?;
    assert_eq!(seen.count(|frame| read::is_from(frame, ATTACKER)), 0);
    assert!(seen.count(|frame| read::is_from(frame, BACKEND)) > 0);
    Ok(())
}

#[test]
fn an_entry_is_in_force_within_a_second_and_over_at_once() -> Result<()> {
    need::root_and_tools(&[]);
    let lab = Lab::new()?;
    let gateway = Gateway::start(&lab.router, EVERYDAY)?;
    let seen = Capture::start(lab.node.device("node0"))?;
    let wire = Injector::new(lab.internet.device("up0"))?;
    let arrived = || seen.count(|frame| read::is_from(frame, BACKEND));
    wire.send(&probe(1))?;
    gateway.wait_for_drops("no_lease", 1, SOON)?;

    gateway.allow(BACKEND, &[])?;
    let begin = Instant::now();
    wire.send(&probe(2))?;
    assert!(until(SOON, || arrived() == 1));
    assert!(begin.elapsed() < BRIEF, "{:?}", begin.elapsed());

    gateway.forbid(BACKEND)?;
    wire.send(&probe(3))?;
    gateway.wait_for_drops("no_lease", 2, SOON)?;
    assert_eq!(arrived(), 1);
    Ok(())
}

#[test]
fn a_withdrawn_entry_cuts_a_session_and_a_new_one_lets_it_go_on() -> Result<()> {
    need::root_and_tools(&["openssl"]);
    let lab = Lab::new()?;
    let gateway = Gateway::start(&lab.router, EVERYDAY)?;
    gateway.allow(BACKEND, &[])?;
    let psk = Psk::default();
    let mut server = openssl::Settings::new(&lab.node, &psk).listen(at(NODE, COAPS))?;
    let mut client = openssl::Settings::new(&lab.backend, &psk).connect(at(NODE, COAPS))?;
    openssl::round_trip(&mut client, &mut server, "lamp on", SOON)?;

    gateway.forbid(BACKEND)?;
    client.send("lamp off")?;
    gateway.wait_for_drops("no_lease", 1, SOON)?;
    server.send("still there?")?;
    gateway.wait_for_drops("not_admitted", 1, SOON)?;

    gateway.allow(BACKEND, &[])?;
    openssl::round_trip(&mut client, &mut server, "lamp green", SOON)?;
    let said = server.child.output();
    assert!(!said.contains("lamp off"), "{said}");
    assert!(!client.child.output().contains("still there?"));
    Ok(())
}

#[test]
fn an_entry_covers_the_nodes_that_it_names_and_no_other() -> Result<()> {
    need::root_and_tools(&["coap-client-openssl", "coap-server-openssl"]);
    let lab = Lab::new()?;
    let gateway = Gateway::start(&lab.router, EVERYDAY)?;
    gateway.allow(BACKEND, &["--node", &NODE_2.to_string()])?;
    let psk = Psk::default();
    let _one = coap::Server::start(&lab.node, Flavour::OpenSsl, NODE.into(), &psk)?;
    let _two = coap::Server::start(&lab.node, Flavour::OpenSsl, NODE_2.into(), &psk)?;
    let client = coap::Client::new(&lab.backend, Flavour::OpenSsl, &psk);
    client.clone().timeout(SOON).get(NODE_2.into(), "time")?;
    assert!(gateway.drops()?.is_empty());
    assert!(client.clone().timeout(BRIEF).get(NODE.into(), "time").is_err());
    assert!(gateway.dropped("node_denied")? > 0);

    gateway.allow(BACKEND, &["--node", &NODE_2.to_string(), "--node", &NODE.to_string()])?;
    client.timeout(SOON).get(NODE.into(), "time")?;
    Ok(())
}

#[test]
fn an_entry_covers_the_ports_that_it_names_and_no_other() -> Result<()> {
    need::root_and_tools(&["openssl"]);
    let lab = Lab::new()?;
    let config = format!("{EVERYDAY}[lln]\ndtls_ports = [5684, 5685]\n");
    let gateway = Gateway::start(&lab.router, &config)?;
    gateway.allow(BACKEND, &["--port", "5685"])?;
    let psk = Psk::default();
    let node = openssl::Settings::new(&lab.node, &psk);
    let (_closed, mut open) = (node.listen(at(NODE, 5684))?, node.listen(at(NODE, 5685))?);
    let backend = openssl::Settings::new(&lab.backend, &psk);
    let mut client = backend.connect(at(NODE, 5685))?;
    openssl::round_trip(&mut client, &mut open, "lamp on", SOON)?;
    let _knocking = backend.start(at(NODE, 5684))?;
    gateway.wait_for_drops("port_denied", 1, SOON)?;
    let drops = gateway.source(BACKEND)?["drops"].as_u64();
    assert!(drops > Some(0), "the source's own account: {drops:?}");
    Ok(())
}

#[test]
fn an_entry_for_one_address_is_none_for_its_neighbour() -> Result<()> {
    need::root_and_tools(&["coap-client-openssl", "coap-server-openssl"]);
    let lab = Lab::new()?;
    let gateway = Gateway::start(&lab.router, EVERYDAY)?;
    gateway.allow(BACKEND_2, &[])?;
    let psk = Psk::default();
    let _server = coap::Server::start(&lab.node, Flavour::OpenSsl, NODE.into(), &psk)?;
    let client = coap::Client::new(&lab.backend, Flavour::OpenSsl, &psk);
    let second = client.clone().from(BACKEND_2.into(), 0).timeout(SOON);
    second.get(NODE.into(), "time")?;
    assert!(client.from(BACKEND.into(), 0).timeout(BRIEF).get(NODE.into(), "time").is_err());
    assert!(gateway.dropped("no_lease")? > 0);
    Ok(())
}
