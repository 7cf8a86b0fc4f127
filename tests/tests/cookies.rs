//! Cookies before nodes and before the router's own DTLS port, with real peers and forgers.

use std::{
    net::{Ipv6Addr, SocketAddr, UdpSocket},
    time::Duration,
};

use anyhow::{Result, ensure};
use tests::{
    lab::{
        Capture, Gateway, Injector, Lab,
        gateway::EVERYDAY,
        topology::{BACKEND, NODE, ROUTER, at},
        until,
    },
    need,
    packet::{Packet, dtls::ClientHello, read},
    peer::{
        Psk,
        coap::{self, COAPS, Flavour},
        node::Node,
        openssl,
    },
};

const SOON: Duration = Duration::from_secs(20);
const PORT: u16 = 5686;

/// Cookies before the node and at a port of the router's own.
fn config(mode: &str) -> String {
    format!(
        "{EVERYDAY}mode = \"{mode}\"\n[agent]\nrate = \"unlimited\"\n\
         [cookies]\nports = [{PORT}]\nnodes = [\"{NODE}\"]\n"
    )
}

/// Hellos of admitted and other sources that nobody sent, to the node or to the router.
fn forged(to: SocketAddr, count: u32) -> Vec<Vec<u8>> {
    let hello = |n: u32| {
        let mut hello = ClientHello::new();
        hello.random[..4].copy_from_slice(&n.to_be_bytes());
        let far = Ipv6Addr::from(0x2600 << 112 | u128::from(n));
        let source = if to.ip() == NODE { BACKEND } else { far };
        let from = SocketAddr::new(source.into(), 1024 + (n % 60_000) as u16);
        Packet::udp(from, to).payload(hello.record(0, 0)).build()
    };
    (0..count).map(hello).collect()
}

fn sessions(lab: &Lab, psk: &Psk, node: &Node) -> Result<()> {
    let before = node.connected();
    let client = openssl::Settings::new(&lab.backend, psk).connect(at(NODE, COAPS))?;
    client.close()?;
    let client = coap::Client::new(&lab.backend, Flavour::OpenSsl, psk).timeout(SOON);
    client.get(NODE.into(), "sensors/temperature")?;
    ensure!(node.connected() == before + 2, "{}", node.child.report());
    Ok(())
}

/// Real clients get through behind the router's cookies, and a flood of forged hellos reaches nobody.
fn a_node_behind_cookies(mode: &str) -> Result<()> {
    need::root_and_tools(&["openssl", "coap-client-openssl"]);
    let lab = Lab::new()?;
    let gateway = Gateway::start(&lab.router, &config(mode))?;
    let _awake = lab.awake()?;
    gateway.allow(BACKEND, &[])?;
    let psk = Psk::default();
    let node = Node::start(&lab.node, at(NODE, COAPS), &psk, &["--cookie", "foreign"])?;
    sessions(&lab, &psk, &node)?;
    ensure!(gateway.dropped("cookie_asked")? >= 2, "{:?}", gateway.drops()?);

    let seen = Capture::start(lab.node.device("node0"))?;
    let wire = Injector::new(lab.internet.device("up0"))?;
    let frames = forged(at(NODE, COAPS), 2000);
    wire.flood(&frames, frames.len(), Some(20_000))?;
    gateway.wait_for_drops("cookie_asked", 500, SOON)?;
    ensure!(seen.count(|frame| read::is_from(frame, BACKEND)) == 0, "a forged hello got through");
    let drops = gateway.drops()?;
    // who never asked refuses the answers, which is related to nothing
    let known = ["cookie_asked", "icmp_unrelated"];
    ensure!(drops.keys().all(|reason| known.contains(&reason.as_str())), "{drops:?}");
    sessions(&lab, &psk, &node)
}

#[test]
fn real_clients_reach_a_node_behind_cookies_and_forged_hellos_do_not() -> Result<()> {
    a_node_behind_cookies("native")
}

#[test]
fn the_same_where_the_network_stack_runs_the_filter() -> Result<()> {
    a_node_behind_cookies("generic")
}

/// Hellos that reached a socket.
fn received(socket: &UdpSocket) -> usize {
    let mut bytes = [0; 2048];
    (0..).take_while(|_| socket.recv(&mut bytes).is_ok()).count()
}

#[test]
fn forged_hellos_to_the_routers_own_port_wake_nobody() -> Result<()> {
    need::root_and_tools(&[]);
    let lab = Lab::new()?;
    let gateway = Gateway::start(&lab.router, &config("native"))?;
    let _awake = lab.awake()?;
    let socket = lab.router.enter(|| UdpSocket::bind((ROUTER, PORT)))?;
    socket.set_nonblocking(true)?;
    let wire = Injector::new(lab.internet.device("up0"))?;
    let frames = forged(at(ROUTER, PORT), 2000);
    wire.flood(&frames, frames.len(), Some(20_000))?;
    gateway.wait_for_drops("cookie_asked", 500, SOON)?;
    ensure!(received(&socket) == 0, "a forged hello reached the socket");

    // an honest client: asked, then heard
    let client = lab.backend.enter(|| UdpSocket::bind((BACKEND, 0)))?;
    client.set_read_timeout(Some(SOON))?;
    client.connect((ROUTER, PORT))?;
    let hello = ClientHello::new();
    client.send(&hello.record(0, 0))?;
    let mut answer = [0; 256];
    let length = client.recv(&mut answer)?;
    ensure!(length == 44, "{length}");
    client.send(&hello.cookie(&answer[28..44]).record(1, 1))?;
    ensure!(until(SOON, || received(&socket) == 1), "{:?}", gateway.drops()?);
    Ok(())
}

#[test]
fn a_cookie_outlives_the_agent_that_made_its_key() -> Result<()> {
    need::root_and_tools(&[]);
    let lab = Lab::new()?;
    let mut gateway = Gateway::start(&lab.router, &config("native"))?;
    let _awake = lab.awake()?;
    let socket = lab.router.enter(|| UdpSocket::bind((ROUTER, PORT)))?;
    socket.set_nonblocking(true)?;
    let client = lab.backend.enter(|| UdpSocket::bind((BACKEND, 0)))?;
    client.set_read_timeout(Some(SOON))?;
    client.connect((ROUTER, PORT))?;
    let hello = ClientHello::new();
    client.send(&hello.record(0, 0))?;
    let mut answer = [0; 256];
    client.recv(&mut answer)?;
    gateway.kill();
    gateway.run()?;
    client.send(&hello.cookie(&answer[28..44]).record(1, 1))?;
    ensure!(until(SOON, || received(&socket) == 1), "{:?}", gateway.drops()?);
    let status = gateway.json(&["status"])?;
    ensure!(status["cookie_ports"][0] == PORT, "{status}");
    ensure!(status["cookie_nodes"][0] == NODE.to_string(), "{status}");
    Ok(())
}
