//! A TLS client that knows nothing of DTLS talks to a node, by each of the ways that lead there.

use std::{
    io::{ErrorKind, Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use tests::{
    lab::{
        Capture, Lab, Mapped, Namespace,
        mapped::{BY_PORT, NAME, Way, config},
        topology::{ATTACKER, BACKEND, BACKEND_V4, NODE, NODE_2, at},
        until,
    },
    need,
    packet::read,
    peer::https,
};

const SOON: Duration = Duration::from_secs(20);
const BRIEF: Duration = Duration::from_secs(2);

fn admit(mapped: &Mapped<'_>) -> Result<()> {
    mapped.gateway.allow(BACKEND, &[])?;
    mapped.gateway.allow(BACKEND_V4, &[])
}

/// Connects from inside a namespace.
fn knock(from: &Namespace, at: SocketAddr) -> std::io::Result<TcpStream> {
    from.enter(|| {
        let stream = TcpStream::connect_timeout(&at, BRIEF)?;
        stream.set_read_timeout(Some(SOON))?;
        Ok(stream)
    })
}

/// Whether a stream is reset, with not a byte before.
fn is_reset(mut stream: TcpStream) -> Result<bool> {
    match stream.read(&mut [0]) {
        Ok(count) => anyhow::bail!("{count} bytes instead of a reset"),
        Err(error) => Ok(error.kind() == ErrorKind::ConnectionReset),
    }
}

#[test]
fn every_way_leads_to_the_node() -> Result<()> {
    need::root_and_tools(&["openssl"]);
    let lab = Lab::new()?;
    let mapped = Mapped::start(&lab, &config("", ""), &[])?;
    admit(&mapped)?;
    let client = https::client(&lab.backend, &mapped.psk, NAME);
    for way in Way::ALL {
        let said = https::get(&client, way.door(), "/sensors/temperature", SOON)
            .with_context(|| format!("{way:?}"))?;
        ensure!(said.contains("200 OK") && said.contains("21.5"), "{way:?}: {said}");
    }
    mapped.wait_for_ended("closed", 4, SOON)?;
    let counters = &mapped.report()?["counters"];
    assert_eq!(counters["accepted"]["address"], 1, "{counters:#}");
    assert_eq!(counters["accepted"]["name"], 1, "{counters:#}");
    assert_eq!(counters["accepted"]["port"], 2, "{counters:#}");
    assert_eq!(counters["established"], 4, "{counters:#}");
    assert!(mapped.gateway.drops()?.is_empty(), "{:?}", mapped.gateway.drops()?);
    Ok(())
}

#[test]
fn a_connection_that_stays_open_is_listed_and_outlives_a_reload() -> Result<()> {
    need::root_and_tools(&["openssl"]);
    let lab = Lab::new()?;
    let mut mapped = Mapped::start(&lab, &config("", ""), &[])?;
    admit(&mapped)?;
    let client = https::client(&lab.backend, &mapped.psk, NAME);
    let mut session = client.connect_within(Way::Name.door(), SOON)?;
    https::ask(&mut session, "/sensors/temperature", "21.5", SOON)?;
    let report = mapped.report()?;
    let one = &report["connections"][0];
    assert_eq!(
        (&one["phase"], &one["node"]),
        (&"established".into(), &"lamp".into()),
        "{report:#}"
    );
    assert_eq!((&one["way"], &one["address"]), (&"name".into(), &NODE.to_string().into()));
    assert!(one["records_to_node"].as_u64() >= Some(2), "{report:#}");
    let text = mapped.gateway.text(&["connections", "--node", "lamp"])?;
    assert!(text.contains("established") && text.contains(&BACKEND.to_string()), "{text}");
    assert!(mapped.gateway.text(&["status"])?.contains("1 connections, 1 established"));

    // the name's port goes, the connection that came through it stays
    let moved = config("", "").replace("ports = [8443]", "ports = [9443]");
    mapped.gateway.configure(&moved)?;
    mapped.gateway.reload("configuration reloaded")?;
    https::ask(&mut session, "/lamp", "off", SOON)?;
    assert!(knock(&lab.backend, Way::Name.door()).is_err());
    let client = https::client(&lab.backend, &mapped.psk, NAME);
    let said = https::get(&client, at(Way::Name.door().ip(), 9443), "/lamp", SOON)?;
    assert!(said.contains("200 OK"), "{said}");
    Ok(())
}

#[test]
fn a_stranger_gets_no_connection_by_any_way() -> Result<()> {
    need::root_and_tools(&[]);
    let lab = Lab::new()?;
    let mapped = Mapped::start(&lab, &config("", ""), &[])?;
    admit(&mapped)?;
    let seen = Capture::start(lab.node.device("node0"))?;
    for way in [Way::Address, Way::Name, Way::Port] {
        let error = knock(&lab.attacker, way.door()).expect_err("no lease, no connection");
        assert_eq!(error.kind(), ErrorKind::TimedOut, "{way:?}: {error}");
    }
    assert!(mapped.gateway.dropped("no_lease")? >= 3);
    let counters = &mapped.report()?["counters"];
    assert_eq!(counters["accepted"].as_object().map(serde_json::Map::len), Some(0), "{counters:#}");
    assert_eq!(seen.count(|frame| read::is_from(frame, ATTACKER)), 0);
    Ok(())
}

#[test]
fn an_entry_for_another_node_ends_at_the_router() -> Result<()> {
    need::root_and_tools(&["openssl"]);
    let lab = Lab::new()?;
    let mapped = Mapped::start(&lab, &config("", ""), &[])?;
    mapped.gateway.allow(BACKEND, &["--node", &NODE_2.to_string()])?;
    // the filter sees the node's address by the first way, the agent learns it by the others
    knock(&lab.backend, Way::Address.door()).expect_err("dropped");
    assert!(mapped.gateway.dropped("node_denied")? > 0);
    assert!(is_reset(knock(&lab.backend, Way::Port.door())?)?);
    let client = https::client(&lab.backend, &mapped.psk, NAME);
    assert!(client.connect_within(Way::Name.door(), SOON).is_err());
    mapped.wait_for_ended("node_denied", 2, SOON)?;

    // and so it is with ports: those that the source connects to
    mapped.gateway.allow(BACKEND, &["--port", &BY_PORT.to_string()])?;
    let said = https::get(&client, Way::Port.door(), "/lamp", SOON)?;
    assert!(said.contains("200 OK"), "{said}");
    knock(&lab.backend, Way::Name.door()).expect_err("dropped");
    assert!(mapped.gateway.dropped("port_denied")? > 0);
    Ok(())
}

#[test]
fn a_withdrawn_entry_ends_its_connections() -> Result<()> {
    need::root_and_tools(&["openssl"]);
    let lab = Lab::new()?;
    let mapped = Mapped::start(&lab, &config("", ""), &[])?;
    admit(&mapped)?;
    let client = https::client(&lab.backend, &mapped.psk, NAME);
    let mut sessions = Vec::new();
    for way in [Way::Address, Way::Port] {
        let mut session = client.connect_within(way.door(), SOON)?;
        https::ask(&mut session, "/lamp", "off", SOON)?;
        sessions.push(session);
    }
    mapped.gateway.forbid(BACKEND)?;
    mapped.wait_for_ended("no_lease", 2, SOON)?;
    assert_eq!(mapped.report()?["connections"].as_array().map(Vec::len), Some(0));
    // the reset itself leaves: the filter watches what comes
    for session in &mut sessions {
        session.child.wait(SOON)?;
    }
    Ok(())
}

/// What the agent has set up in the router.
fn routing(lab: &Lab) -> Result<(bool, usize, usize)> {
    let table = lab.router.run(&["nft", "list", "table", "inet", "gateway"]).is_ok();
    let rules = |version| -> Result<usize> {
        let rules = lab.router.run(&["ip", version, "rule", "show"])?;
        Ok(rules.lines().filter(|line| line.contains("fwmark")).count())
    };
    Ok((table, rules("-6")?, rules("-4")?))
}

#[test]
fn routing_survives_a_kill_is_taken_over_and_goes_when_it_is_not_wanted() -> Result<()> {
    need::root_and_tools(&["openssl"]);
    let lab = Lab::new()?;
    let mut mapped = Mapped::start(&lab, &config("", ""), &[])?;
    admit(&mapped)?;
    let client = https::client(&lab.backend, &mapped.psk, NAME);
    let works = |mapped: &Mapped<'_>| -> Result<()> {
        let _ = mapped;
        let said = https::get(&client, Way::Address.door(), "/lamp", SOON)?;
        ensure!(said.contains("200 OK"), "{said}");
        Ok(())
    };
    works(&mapped)?;
    assert_eq!(routing(&lab)?, (true, 1, 1));

    // with nobody to take them, connections do not go on to the node
    let seen = Capture::start(lab.node.device("node0"))?;
    let mut cut = client.connect_within(Way::Address.door(), SOON)?;
    mapped.gateway.kill();
    cut.child.wait(SOON)?;
    knock(&lab.backend, Way::Address.door()).expect_err("nobody listens");
    assert_eq!(seen.count(|frame| read::is_from(frame, BACKEND)), 0);
    assert_eq!(routing(&lab)?, (true, 1, 1));
    let (code, said) = mapped.gateway.refused(&["connections"])?;
    assert_eq!(code, 3, "{said}");

    mapped.gateway.run()?;
    works(&mapped)?;
    assert_eq!(routing(&lab)?, (true, 1, 1));

    // another mark and table replace the first
    let other = config("routing = { mark = 0x77, table = 77 }\n", "");
    mapped.gateway.configure(&other)?;
    mapped.gateway.reload("configuration reloaded")?;
    works(&mapped)?;
    assert_eq!(routing(&lab)?, (true, 1, 1));
    assert!(lab.router.run(&["ip", "-6", "route", "show", "table", "1728"])?.trim().is_empty());

    mapped.gateway.configure(&config("transparent = false\n", ""))?;
    mapped.gateway.reload("configuration reloaded")?;
    assert_eq!(routing(&lab)?, (false, 0, 0));
    knock(&lab.backend, Way::Address.door()).expect_err("not mapped");
    assert!(mapped.gateway.dropped("tcp_port")? > 0);

    mapped.gateway.configure(&config("", ""))?;
    mapped.gateway.reload("configuration reloaded")?;
    works(&mapped)?;
    mapped.gateway.stop()?;
    mapped.gateway.text(&["detach"])?;
    assert_eq!(routing(&lab)?, (false, 0, 0));
    assert!(lab.router.run(&["ip", "-6", "route", "show", "table", "1728"])?.trim().is_empty());
    Ok(())
}

#[test]
fn the_router_keeps_its_own_services_on_a_mapped_port() -> Result<()> {
    need::root_and_tools(&[]);
    let lab = Lab::new()?;
    let mapped = Mapped::start(&lab, &config("", ""), &[])?;
    admit(&mapped)?;
    let own = at(tests::lab::topology::ROUTER, 443);
    let listener = lab.router.enter(|| std::net::TcpListener::bind(own))?;
    let mut client = knock(&lab.backend, own)?;
    let (mut server, _) = listener.accept()?;
    client.write_all(b"hello")?;
    let mut bytes = [0; 5];
    server.read_exact(&mut bytes)?;
    assert_eq!(&bytes, b"hello");
    Ok(())
}

#[test]
fn merged_segments_come_through_the_filter() -> Result<()> {
    need::root_and_tools(&["openssl"]);
    let lab = Lab::new()?;
    for (namespace, device) in [
        (&lab.backend, "eth0"),
        (&lab.internet, "be0"),
        (&lab.internet, "up0"),
        (&lab.router, "wan0"),
    ] {
        let device = namespace.device(device);
        for feature in ["tx", "tso", "gso", "gro"] {
            device.offload(feature, true)?;
        }
    }
    let mapped = Mapped::start(&lab, &config("", ""), &[])?;
    admit(&mapped)?;
    let client = https::client(&lab.backend, &mapped.psk, NAME).arguments(&["-maxfraglen", "512"]);
    let mut session = client.connect_within(Way::Address.door(), SOON)?;
    let body = "0123456789abcdef".repeat(1000);
    for line in
        ["POST /echo HTTP/1.1", "Host: node", &format!("Content-Length: {}", body.len()), "", &body]
    {
        session.send(line)?;
    }
    let whole = until(SOON * 3, || session.child.output().contains(&body));
    ensure!(
        whole,
        "{}\n{:#}\n{:?}",
        session.child.output(),
        mapped.report()?,
        mapped.gateway.drops()?
    );
    assert!(mapped.gateway.drops()?.is_empty(), "{:?}", mapped.gateway.drops()?);
    Ok(())
}
