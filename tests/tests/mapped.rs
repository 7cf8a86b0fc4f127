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
        topology::{ATTACKER, BACKEND, NODE, NODE_2, at},
    },
    need,
    packet::read,
    peer::https::{Connection, Ending, Fragment, Request, Stack, http},
};

const SOON: Duration = Duration::from_secs(20);
const BRIEF: Duration = Duration::from_secs(2);

/// What the node says of its lamp, over a connection that stays open.
fn lamp(connection: &mut Connection) -> Result<String> {
    connection.request(&Request::get("/lamp"), SOON)?.ok()
}

/// Connects from inside a namespace.
fn knock(from: &Namespace, at: SocketAddr) -> std::io::Result<TcpStream> {
    from.enter(|| {
        let stream = TcpStream::connect_timeout(&at, BRIEF)?;
        stream.set_read_timeout(Some(SOON))?;
        Ok(stream)
    })
}

/// Whether a stream is reset, with not a byte before: perhaps before the kernel had said that it was
/// open.
fn is_reset(stream: std::io::Result<TcpStream>) -> Result<bool> {
    match stream.and_then(|mut stream| stream.read(&mut [0])) {
        Ok(count) => anyhow::bail!("{count} bytes instead of a reset"),
        Err(error) => Ok(error.kind() == ErrorKind::ConnectionReset),
    }
}

#[test]
fn every_way_leads_to_the_node() -> Result<()> {
    need::root_and_tools(&["openssl"]);
    let lab = Lab::new()?;
    let mapped = Mapped::configured(&lab, &config("", ""), &[])?;
    mapped.admit()?;
    for way in Way::ALL {
        let client = mapped.client_by(Stack::NodeJs, way);
        let answer = client.ask(&Request::get("/sensors/temperature"), SOON);
        ensure!(answer.with_context(|| format!("{way:?}"))? == "21.5");
    }
    mapped.wait_for_ended("closed", 5, SOON)?;
    let counters = &mapped.report()?["counters"];
    assert_eq!(counters["accepted"]["address"], 1, "{counters:#}");
    assert_eq!(counters["accepted"]["name"], 2, "{counters:#}");
    assert_eq!(counters["accepted"]["port"], 2, "{counters:#}");
    assert_eq!(counters["established"], 5, "{counters:#}");
    assert!(mapped.gateway.drops()?.is_empty(), "{:?}", mapped.gateway.drops()?);
    Ok(())
}

#[test]
fn a_connection_that_stays_open_is_listed_and_outlives_a_reload() -> Result<()> {
    need::root_and_tools(&["openssl"]);
    let lab = Lab::new()?;
    let mut mapped = Mapped::configured(&lab, &config("", ""), &[])?;
    mapped.admit()?;
    let mut session = mapped.client_by(Stack::OpenSsl, Way::Name).connect(SOON)?;
    assert_eq!(lamp(&mut session)?, "off");
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
    assert_eq!(lamp(&mut session)?, "off");
    assert!(knock(&lab.backend, Way::Name.door()).is_err());
    let moved = mapped.client_of(Stack::OpenSsl, at(Way::Name.door().ip(), 9443)).named(NAME);
    assert_eq!(moved.ask(&Request::get("/lamp"), SOON)?, "off");
    Ok(())
}

#[test]
fn a_stranger_gets_no_connection_by_any_way() -> Result<()> {
    need::root_and_tools(&[]);
    let lab = Lab::new()?;
    let mapped = Mapped::configured(&lab, &config("", ""), &[])?;
    mapped.admit()?;
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
    let mapped = Mapped::configured(&lab, &config("", ""), &[])?;
    mapped.gateway.allow(BACKEND, &["--node", &NODE_2.to_string()])?;
    // the filter sees the node's address by the first way, the agent learns it by the others
    knock(&lab.backend, Way::Address.door()).expect_err("dropped");
    assert!(mapped.gateway.dropped("node_denied")? > 0);
    assert!(is_reset(knock(&lab.backend, Way::Port.door()))?);
    assert!(mapped.client_by(Stack::OpenSsl, Way::Name).connect(SOON).is_err());
    mapped.wait_for_ended("node_denied", 2, SOON)?;

    // and so it is with ports: those that the source connects to
    mapped.gateway.allow(BACKEND, &["--port", &BY_PORT.to_string()])?;
    let client = mapped.client_by(Stack::OpenSsl, Way::Port);
    assert_eq!(client.ask(&Request::get("/lamp"), SOON)?, "off");
    knock(&lab.backend, Way::Name.door()).expect_err("dropped");
    assert!(mapped.gateway.dropped("port_denied")? > 0);
    Ok(())
}

#[test]
fn a_withdrawn_entry_ends_its_connections() -> Result<()> {
    need::root_and_tools(&["openssl"]);
    let lab = Lab::new()?;
    let mapped = Mapped::configured(&lab, &config("", ""), &[])?;
    mapped.admit()?;
    let mut sessions = Vec::new();
    for way in [Way::Address, Way::Port] {
        let mut session = mapped.client_by(Stack::OpenSsl, way).connect(SOON)?;
        assert_eq!(lamp(&mut session)?, "off");
        sessions.push(session);
    }
    mapped.gateway.forbid(BACKEND)?;
    mapped.wait_for_ended("no_lease", 2, SOON)?;
    assert_eq!(mapped.report()?["connections"].as_array().map(Vec::len), Some(0));
    // the reset itself leaves: the filter watches what comes
    for session in sessions {
        let ending = session.closed_by_server(SOON)?;
        assert!(matches!(ending, Ending::Broken(_)), "{ending:?}");
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
    let mut mapped = Mapped::configured(&lab, &config("", ""), &[])?;
    mapped.admit()?;
    let works = |mapped: &Mapped<'_>| -> Result<()> {
        let client = mapped.client_by(Stack::OpenSsl, Way::Address);
        let said = client.ask(&Request::get("/lamp"), SOON)?;
        ensure!(said == "off", "{said}");
        Ok(())
    };
    works(&mapped)?;
    assert_eq!(routing(&lab)?, (true, 1, 1));

    // with nobody to take them, connections do not go on to the node
    let seen = Capture::start(lab.node.device("node0"))?;
    let cut = mapped.client_by(Stack::OpenSsl, Way::Address).connect(SOON)?;
    mapped.gateway.kill();
    cut.closed_by_server(SOON)?;
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
    let mapped = Mapped::configured(&lab, &config("", ""), &[])?;
    mapped.admit()?;
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
    let mapped = Mapped::configured(&lab, &config("", ""), &[])?;
    mapped.admit()?;
    let client = mapped.client(Stack::OpenSsl).fragment(Fragment::Asked(512));
    let mut connection = client.connect(SOON)?;
    let body = http::body(16_000);
    let answer = connection.request(&Request::post("/echo", body.clone()), 3 * SOON);
    let answer = answer.with_context(|| format!("{:?}", mapped.gateway.drops()))?;
    ensure!(answer.ok()? == body);
    assert!(mapped.gateway.drops()?.is_empty(), "{:?}", mapped.gateway.drops()?);
    Ok(())
}
