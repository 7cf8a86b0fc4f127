//! What leaves the LLN, and what is none of the filter's business.

use std::{
    io::{Read, Write},
    net::{Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    thread,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use tests::{
    lab::{
        Capture, Gateway, Injector, Lab,
        gateway::{EVERYDAY, ROOMY},
        topology::{
            ATTACKER, ATTACKER_V4, BACKEND, INTERNET, INTERNET_V4, MAC_LLN0, MAC_NODE0, NODE,
            NODE_2, ROUTER, ROUTER_LLN, ROUTER_V4, at,
        },
        until,
    },
    need,
    packet::{Datagram, Packet, dtls, icmp, read},
    peer::{
        Psk,
        coap::{self, COAPS, Flavour},
        openssl,
    },
};

const SOON: Duration = Duration::from_secs(20);

fn start(lab: &Lab) -> Result<Gateway<'_>> {
    let gateway = Gateway::start(&lab.router, &format!("{EVERYDAY}{ROOMY}"))?;
    gateway.allow(BACKEND, &[])?;
    Ok(gateway)
}

/// A frame that a node puts on the LLN.
fn spoken(packet: Packet) -> Vec<u8> {
    packet.ethernet(MAC_NODE0, MAC_LLN0).build()
}

#[test]
fn a_node_reaches_no_host_that_is_not_admitted() -> Result<()> {
    need::root_and_tools(&[]);
    let lab = Lab::new()?;
    let gateway = start(&lab)?;
    let seen = Capture::start(lab.attacker.device("eth0"))?;
    let socket = lab.node.enter(|| UdpSocket::bind(at(NODE, COAPS)))?;
    socket.send_to(&dtls::application(1, &[7; 20]), at(ATTACKER, 40_000))?;
    gateway.wait_for_drops("not_admitted", 1, SOON)?;
    assert!(!lab.node.pings(ATTACKER));
    assert!(gateway.dropped("not_admitted")? >= 2);
    lab.node
        .enter(|| TcpStream::connect_timeout(&at(ATTACKER, 80), Duration::from_millis(100)))
        .expect_err("no connection from the LLN");
    assert!(gateway.dropped("not_admitted")? >= 3);
    // what stands behind it in the queue has come: so would have what is before it
    assert!(lab.internet.pings(ATTACKER));
    assert_eq!(seen.count(|frame| read::is_from(frame, NODE)), 0);

    gateway.allow(ATTACKER, &[])?;
    assert!(until(SOON, || lab.node.pings(ATTACKER)), "{:?}", gateway.drops()?);
    Ok(())
}

#[test]
fn a_node_that_speaks_first_gets_its_answer() -> Result<()> {
    need::root_and_tools(&[]);
    let lab = Lab::new()?;
    let gateway = start(&lab)?;
    let timeout = Some(SOON);
    let node = lab.node.enter(|| UdpSocket::bind(at(NODE, 50_000)))?;
    let backend = lab.backend.enter(|| UdpSocket::bind(at(BACKEND, COAPS)))?;
    node.set_read_timeout(timeout)?;
    backend.set_read_timeout(timeout)?;
    let mut buffer = [0; 100];
    let hello = dtls::ClientHello::new().record(0, 0);
    node.send_to(&hello, at(BACKEND, COAPS))?;
    let (length, from) = backend.recv_from(&mut [0; 300])?;
    assert_eq!((length, from), (hello.len(), at(NODE, 50_000)));
    backend.send_to(&dtls::hello_verify_request(0, b"cookie"), from)?;
    node.recv_from(&mut buffer).context("the answer")?;
    // nobody else gets to that port, from the same host neither
    let other = lab.backend.enter(|| UdpSocket::bind(at(BACKEND, 5685)))?;
    other.send_to(&dtls::hello_verify_request(0, b"cookie"), from)?;
    gateway.wait_for_drops("udp_port", 1, SOON)
}

#[test]
fn sources_outside_the_lln_do_not_leave_it() -> Result<()> {
    need::root_and_tools(&[]);
    let lab = Lab::new()?;
    let gateway = start(&lab)?;
    let seen = Capture::start(lab.internet.device("up0"))?;
    let wire = Injector::new(lab.node.device("node0"))?;
    let record = dtls::application(1, &[7; 20]);
    for source in [ATTACKER, INTERNET, Ipv6Addr::new(0x2001, 0xdb8, 2, 0, 0, 0, 0, 1)] {
        let packet = Packet::udp6(source, BACKEND, COAPS, 40_000).payload(&record);
        wire.send(&spoken(packet))?;
    }
    gateway.wait_for_drops("spoofed_source", 3, SOON)?;
    let leaked = |frame: &[u8]| {
        Datagram::from_frame(frame).is_some_and(|datagram| datagram.dst == at(BACKEND, 40_000))
    };
    assert_eq!(seen.count(leaked), 0);
    wire.send(&spoken(Packet::udp6(NODE, BACKEND, COAPS, 40_000).payload(&record)))?;
    assert!(seen.wait_for(1, SOON, leaked), "{:?}", gateway.drops()?);
    Ok(())
}

#[test]
fn sources_inside_the_lln_do_not_come_from_outside() -> Result<()> {
    need::root_and_tools(&[]);
    let lab = Lab::new()?;
    let gateway = start(&lab)?;
    // even where an entry covers everything
    gateway.allow("2001:db8::/32", &[])?;
    let seen = Capture::start(lab.node.device("node0"))?;
    let record = dtls::application(1, &[7; 40]);
    let packet = Packet::udp6(NODE_2, NODE, 40_000, COAPS).payload(record);
    Injector::new(lab.internet.device("up0"))?.send(&packet.build())?;
    gateway.wait_for_drops("spoofed_source", 1, SOON)?;
    assert_eq!(
        seen.count(|frame| read::is_from(frame, NODE_2) && !frame.starts_with(&MAC_LLN0)),
        0
    );
    Ok(())
}

#[test]
fn an_unproven_address_draws_three_times_what_it_sent_and_no_more() -> Result<()> {
    need::root_and_tools(&[]);
    let lab = Lab::new()?;
    let gateway = start(&lab)?;
    let seen = Capture::start(lab.internet.device("up0"))?;
    let node = lab.node.enter(|| UdpSocket::bind(at(NODE, COAPS)))?;
    node.set_read_timeout(Some(SOON))?;
    let hello = dtls::ClientHello::new().record(0, 0);
    // forged: the back-end whose address this is never sent it
    let packet = Packet::udp6(BACKEND, NODE, 40_000, COAPS).payload(&hello);
    Injector::new(lab.internet.device("up0"))?.send(&packet.build())?;
    let (length, from) = node.recv_from(&mut [0; 1000])?;
    assert_eq!(length, hello.len());
    let flight = dtls::record(dtls::content::HANDSHAKE, dtls::DTLS12, 0, 1, &vec![7; length]);
    for _ in 0..10 {
        node.send_to(&flight, from)?;
    }
    gateway.wait_for_drops("amplification", 7, SOON)?;
    let answers =
        |frame: &[u8]| Datagram::from_frame(frame).is_some_and(|d| d.src == at(NODE, COAPS));
    let carried: usize = {
        let frames = seen.snapshot();
        let payloads = frames.iter().filter(|frame| answers(&frame.bytes));
        payloads.filter_map(|frame| read::ip_of(&frame.bytes).map(<[u8]>::len)).sum()
    };
    let received = 40 + 8 + hello.len();
    assert!((1..=3 * received).contains(&carried), "{carried} bytes for {received}");
    Ok(())
}

#[test]
fn router_and_nodes_talk_as_before() -> Result<()> {
    need::root_and_tools(&[]);
    let lab = Lab::new()?;
    let gateway = start(&lab)?;
    // neighbours are found anew, through the filter
    lab.router.run(&["ip", "-6", "neigh", "flush", "dev", "lln0"])?;
    lab.node.run(&["ip", "-6", "neigh", "flush", "dev", "node0"])?;
    assert!(until(SOON, || lab.router.pings(NODE)));
    assert!(until(SOON, || lab.node.pings(ROUTER_LLN)));
    assert!(until(SOON, || lab.node.pings(ROUTER)), "the router's other address is its own too");
    let listener = lab.router.enter(|| TcpListener::bind(at(ROUTER_LLN, 8080)))?;
    let served = thread::spawn(move || listener.accept().map(|(_, from)| from));
    lab.node.enter(|| TcpStream::connect_timeout(&at(ROUTER_LLN, 8080), SOON))?;
    let from = served.join().expect("no panic")?;
    assert_eq!(from.ip(), NODE);
    assert!(gateway.drops()?.is_empty(), "{:?}", gateway.drops()?);
    Ok(())
}

/// A line of echo from a TCP service of the router.
fn serves(lab: &Lab, address: SocketAddr) -> Result<()> {
    let listener = lab.router.enter(|| TcpListener::bind(address))?;
    let served = thread::spawn(move || -> std::io::Result<()> {
        let (mut stream, _) = listener.accept()?;
        let mut line = [0; 5];
        stream.read_exact(&mut line)?;
        stream.write_all(&line)
    });
    let mut stream = lab.attacker.enter(|| TcpStream::connect_timeout(&address, SOON))?;
    stream.set_read_timeout(Some(SOON))?;
    stream.write_all(b"hello")?;
    let mut line = [0; 5];
    stream.read_exact(&mut line)?;
    served.join().expect("no panic")?;
    ensure!(&line == b"hello");
    Ok(())
}

#[test]
fn the_routers_own_services_stay_reachable_for_everyone() -> Result<()> {
    need::root_and_tools(&[]);
    let lab = Lab::new()?;
    let gateway = start(&lab)?;
    lab.router.run(&["ip", "-6", "neigh", "flush", "dev", "wan0"])?;
    lab.router.run(&["ip", "-4", "neigh", "flush", "dev", "wan0"])?;
    assert!(until(SOON, || lab.attacker.pings(ROUTER)));
    assert!(until(SOON, || lab.attacker.pings(ROUTER_V4)));
    assert!(until(SOON, || lab.router.pings(INTERNET) && lab.router.pings(INTERNET_V4)));
    assert!(until(SOON, || lab.router.pings(ATTACKER) && lab.router.pings(ATTACKER_V4)));
    serves(&lab, at(ROUTER, 22))?;
    serves(&lab, at(ROUTER_V4, 22))?;
    // CoAP that the router serves itself is not the LLN's
    let socket = lab.router.enter(|| UdpSocket::bind(at(ROUTER, COAPS)))?;
    socket.set_read_timeout(Some(SOON))?;
    let stranger = lab.attacker.enter(|| UdpSocket::bind(at(ATTACKER, 0)))?;
    stranger.send_to(b"anything", at(ROUTER, COAPS))?;
    socket.recv_from(&mut [0; 100])?;
    assert!(gateway.drops()?.is_empty(), "{:?}", gateway.drops()?);
    Ok(())
}

#[test]
fn the_agents_ports_have_a_limit_for_each_source() -> Result<()> {
    need::root_and_tools(&[]);
    let lab = Lab::new()?;
    let config = format!("{EVERYDAY}[agent]\nports = [4433]\nrate = \"5/s\"\nburst = 10\n");
    let gateway = Gateway::start(&lab.router, &config)?;
    let wire = Injector::new(lab.internet.device("up0"))?;
    let knock = |source| Packet::udp6(source, ROUTER, 40_000, 4433).payload(b"hello").build();
    wire.send_many((0..100).map(|_| knock(ATTACKER)))?;
    gateway.wait_for_drops("agent_rate", 50, SOON)?;
    // another /64 has a budget of its own
    let before = gateway.dropped("agent_rate")?;
    wire.send(&knock(BACKEND))?;
    let socket = lab.router.enter(|| UdpSocket::bind(at(ROUTER, 4433)))?;
    socket.set_read_timeout(Some(SOON))?;
    let backend = lab.backend.enter(|| UdpSocket::bind(at(BACKEND, 40_001)))?;
    backend.send_to(b"hello", at(ROUTER, 4433))?;
    assert_eq!(socket.recv_from(&mut [0; 10])?.1, at(BACKEND, 40_001));
    assert_eq!(gateway.dropped("agent_rate")?, before);
    Ok(())
}

#[test]
fn a_packet_too_big_about_a_live_flow_reaches_its_node_and_no_other_does() -> Result<()> {
    need::root_and_tools(&["openssl"]);
    let lab = Lab::new()?;
    let gateway = start(&lab)?;
    let psk = Psk::default();
    let answers = Capture::start(lab.internet.device("up0"))?;
    let mut server = openssl::Settings::new(&lab.node, &psk).listen(at(NODE, COAPS))?;
    let mut client = openssl::Settings::new(&lab.backend, &psk).connect(at(NODE, COAPS))?;
    openssl::round_trip(&mut client, &mut server, "lamp on", SOON)?;

    let is_answer =
        |frame: &[u8]| Datagram::from_frame(frame).is_some_and(|d| d.src == at(NODE, COAPS));
    let frames = answers.snapshot();
    let answer = frames.iter().rev().find(|frame| is_answer(&frame.bytes)).context("an answer")?;
    let quoted = read::ip_of(&answer.bytes).context("an IP packet")?;
    let seen = Capture::start(lab.node.device("node0"))?;
    let wire = Injector::new(lab.internet.device("up0"))?;
    // the error comes from a router on the way, which has no lease
    wire.send(&icmp::packet_too_big(INTERNET.into(), 1280, quoted).build())?;
    let error = |frame: &[u8]| read::icmp_of(frame) == Some((icmp::PACKET_TOO_BIG, 0));
    assert!(seen.wait_for(1, SOON, error), "{:?}", gateway.drops()?);

    let never = Packet::udp6(NODE, ATTACKER, COAPS, 40_000).payload(b"never sent").build();
    let never = read::ip_of(&never).context("an IP packet")?;
    wire.send(&icmp::packet_too_big(INTERNET.into(), 1280, never).build())?;
    gateway.wait_for_drops("icmp_unrelated", 1, SOON)?;
    assert_eq!(seen.count(error), 1);
    Ok(())
}

#[test]
fn what_no_node_should_get_ends_even_from_an_admitted_source() -> Result<()> {
    need::root_and_tools(&[]);
    let lab = Lab::new()?;
    let gateway = start(&lab)?;
    let seen = Capture::start(lab.node.device("node0"))?;
    let wire = Injector::new(lab.internet.device("up0"))?;
    let record = dtls::application(1, &[7; 40]);
    let udp = |port| Packet::udp6(BACKEND, NODE, 40_000, port).payload(&record);
    let echo = |kind| Packet::icmp(BACKEND.into(), NODE.into(), kind, 0, 0);
    let wrong = [
        (udp(5683).build(), "plain_coap"),
        (udp(53).build(), "udp_port"),
        (udp(COAPS).payload([0; 40]).build(), "not_dtls"),
        (udp(COAPS).payload(dtls::application(1, &[7; 1300])).build(), "oversize"),
        (udp(COAPS).fragment(0, true, 7).build(), "fragment"),
        (Packet::tcp6(BACKEND, NODE, 40_000, 22).build(), "tcp_port"),
        (echo(139).build(), "icmp_type"),
        (Packet::ip(BACKEND.into(), NODE.into(), 47).payload([0; 20]).build(), "protocol"),
    ];
    for (frame, reason) in wrong {
        wire.send(&frame)?;
        gateway.wait_for_drops(reason, 1, SOON)?;
    }
    assert_eq!(seen.count(|frame| read::is_from(frame, BACKEND)), 0);
    assert!(lab.backend.pings(NODE), "an echo request is in order");
    Ok(())
}

#[test]
fn an_entry_for_an_ipv4_prefix_and_one_for_ipv6_do_not_meet() -> Result<()> {
    need::root_and_tools(&["coap-client-openssl", "coap-server-openssl"]);
    let lab = Lab::new()?;
    let gateway = Gateway::start(&lab.router, &format!("{EVERYDAY}{ROOMY}"))?;
    gateway.allow("0.0.0.0/0", &[])?;
    let wire = Injector::new(lab.internet.device("up0"))?;
    let record = dtls::application(1, &[7; 40]);
    wire.send(&Packet::udp6(BACKEND, NODE, 40_000, COAPS).payload(record).build())?;
    gateway.wait_for_drops("no_lease", 1, SOON)?;
    gateway.allow("::/0", &[])?;
    let psk = Psk::default();
    let _server = coap::Server::start(&lab.node, Flavour::OpenSsl, NODE.into(), &psk)?;
    let client = coap::Client::new(&lab.backend, Flavour::OpenSsl, &psk).timeout(SOON);
    client.get(NODE.into(), "time").map(drop)
}
