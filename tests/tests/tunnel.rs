//! Tunnels: unmodified CoAP clients and servers at both ends, and what gets in between.

#[path = "tunnel/certificates.rs"]
mod certificates;
#[path = "tunnel/lossy.rs"]
mod lossy;
#[path = "tunnel/site.rs"]
mod site;

use std::net::IpAddr;

use anyhow::Result;
use nix::sys::signal::Signal;
use site::{BRIEF, HERE, LATE, SOON, Site, is_open, key, payloads};
use tests::{
    lab::{
        Capture, Child, Injector, Lab,
        topology::{BACKEND, MAC_UP0, MAC_WAN0, NODE, NODE_2, ROUTER, ROUTER_LLN, at},
        until,
    },
    need,
    packet::{Packet, dtls, read::Datagram},
    peer::{
        Psk,
        coap::{self, COAPS, Flavour},
    },
};

fn nodes() -> [IpAddr; 2] {
    [NODE.into(), NODE_2.into()]
}

fn round(site: &Site<'_>, mut tunnel: Child) -> Result<()> {
    let psk = Psk::default();
    is_open(&mut tunnel)?;
    let near = Capture::start(site.lab.backend.device("lo"))?;
    let far = Capture::start(site.lab.node.device("node0"))?;
    for flavour in [Flavour::OpenSsl, Flavour::GnuTls] {
        let client = coap::Client::new(&site.lab.backend, flavour, &psk).named("node.example");
        client.put(HERE, "example_data", "on")?;
        assert_eq!(client.get(HERE, "example_data")?, "on");
        // the second node is at the next port
        assert!(client.port(COAPS + 1).get(HERE, "time").is_ok());
    }
    // the node gets the client's own bytes, and nothing else
    let sent = payloads(&near, COAPS, HERE, true);
    let same = until(SOON, || {
        let first = Capture::snapshot(&far);
        let to_node = first.iter().filter_map(|frame| Datagram::from_frame(&frame.bytes));
        let got: Vec<Vec<u8>> =
            to_node.filter(|one| one.dst == at(NODE, COAPS)).map(|one| one.payload).collect();
        got == sent
    });
    assert!(same && !sent.is_empty(), "{} datagrams were sent", sent.len());
    assert!(!payloads(&far, COAPS, ROUTER_LLN.into(), false).is_empty(), "not the router's own");
    // the source's own address is admitted to nothing
    let direct = coap::Client::new(&site.lab.backend, Flavour::OpenSsl, &psk).timeout(BRIEF);
    assert!(direct.get(NODE.into(), "time").is_err());
    assert!(site.gateway.dropped("no_lease")? > 0);
    let [lease] = &site.leases()?[..] else { anyhow::bail!("not one lease") };
    assert_eq!(lease["way"], "tunnel");
    // told to end, it ends well
    tunnel.signal(Signal::SIGTERM)?;
    assert!(tunnel.wait(SOON)?.success(), "{}", tunnel.output());
    Ok(())
}

#[test]
fn unmodified_clients_reach_unmodified_nodes_through_either_tunnel() -> Result<()> {
    need::root_and_tools(&["coap-client-openssl", "coap-client-gnutls", "coap-server-openssl"]);
    let lab = Lab::new()?;
    let site = Site::start(&lab)?;
    let psk = Psk::default();
    let _one = coap::Server::start(&lab.node, Flavour::OpenSsl, NODE.into(), &psk)?;
    let _two = coap::Server::start(&lab.node, Flavour::OpenSsl, NODE_2.into(), &psk)?;
    round(&site, site.by_key(&key("all.example"), &nodes())?)?;
    round(&site, site.by_certificate(&nodes())?)?;
    round(&site, site.over_dtls(&site.pki, "all.example", &site.pki, &nodes())?)
}

#[test]
fn replayed_and_forged_outer_records_reach_no_node() -> Result<()> {
    need::root_and_tools(&["coap-client-openssl", "coap-server-openssl"]);
    let lab = Lab::new()?;
    let site = Site::start(&lab)?;
    let psk = Psk::default();
    let _node = coap::Server::start(&lab.node, Flavour::OpenSsl, NODE.into(), &psk)?;
    let wire = Capture::start(lab.internet.device("up0"))?;
    let far = Capture::start(lab.node.device("node0"))?;
    let mut tunnel = site.by_key(&key("pump-7.example"), &[NODE.into()])?;
    is_open(&mut tunnel)?;
    let client = coap::Client::new(&lab.backend, Flavour::OpenSsl, &psk);
    client.get(HERE, "time")?;
    let arrived = || far.count(to_node);
    let before = arrived();
    assert!(before > 0);
    // everything that the back-end said to the router, once more, and the like with other bytes
    let inject = Injector::new(lab.internet.device("up0"))?;
    let outer: Vec<Datagram> = wire
        .snapshot()
        .iter()
        .filter_map(|frame| Datagram::from_frame(&frame.bytes))
        .filter(|one| one.src.ip() == BACKEND && one.dst == at(ROUTER, COAPS))
        .collect();
    let protected = |one: &&Datagram| {
        dtls::records(&one.payload).is_some_and(|all| all.iter().any(|record| record.epoch == 1))
    };
    let outer: Vec<&Datagram> = outer.iter().filter(protected).collect();
    assert!(outer.len() >= before, "{} outer datagrams, {before} inner ones", outer.len());
    for one in &outer {
        inject.send(&one.packet().ethernet(MAC_UP0, MAC_WAN0).build())?;
        let mut forged = (*one).clone();
        // a number that was not there yet, and a tag that is not right
        if let [.., number, _, _] = &mut forged.payload[..13] {
            *number ^= 0x40;
        }
        inject.send(&forged.packet().ethernet(MAC_UP0, MAC_WAN0).build())?;
    }
    // a thief of the address, without the tunnel's key
    let inner = Packet::udp6(BACKEND, NODE, 40_000, COAPS);
    inject.send(&inner.payload(dtls::application(1, &[7; 40])).build())?;
    site.gateway.wait_for_drops("no_lease", 1, SOON)?;
    // the tunnel itself still works: had anything else gone through, it would have come before this
    let mark = Capture::start(lab.backend.device("lo"))?;
    client.get(HERE, "time")?;
    let own = payloads(&mark, COAPS, HERE, true).len();
    assert!(until(SOON, || arrived() >= before + own));
    assert_eq!(arrived(), before + own);
    Ok(())
}

fn to_node(frame: &[u8]) -> bool {
    Datagram::from_frame(frame).is_some_and(|one| one.dst.ip() == NODE)
}

#[test]
fn what_a_tunnel_may_not_do_is_said_in_words() -> Result<()> {
    need::root_and_tools(&["coap-client-openssl"]);
    let lab = Lab::new()?;
    let mut site = Site::start(&lab)?;
    let psk = Psk::default();
    let ask = |port: u16| {
        let client = coap::Client::new(&lab.backend, Flavour::OpenSsl, &psk).timeout(BRIEF);
        client.port(port).get(HERE, "time").map(drop)
    };
    let mut denied = site.by_key(&key("lease-only.example"), &[NODE.into()])?;
    denied.wait_for_line("may not open a tunnel", SOON)?;
    drop(denied);
    let wrong = Psk::new("pump-7.example", b"not the key of the pump");
    let mut refused = site.by_key(&wrong, &[NODE.into()])?;
    refused.wait_for_line("takes neither identity nor key", SOON)?;
    drop(refused);
    let mut tunnel = site.by_key(&key("pump-7.example"), &nodes())?;
    is_open(&mut tunnel)?;
    let _ = ask(COAPS + 1);
    let line = tunnel.wait_for_line("\"state\":\"refused\"", SOON)?;
    assert!(line.contains("does not cover this node") && line.contains("2001:db8:1::11"), "{line}");
    // a lease that is revoked ends its tunnel; a router that was away is found again
    assert_eq!(site.leases()?.len(), 1);
    site.gateway.text(&["lease", "revoke", "pump-7.example"])?;
    tunnel.wait_for_line("\"state\":\"down\"", SOON)?;
    let mark = tunnel.mark();
    site.gateway.kill();
    site.gateway.run()?;
    tunnel.wait_for_line_since(mark, "\"state\":\"open\"", LATE)?;
    Ok(())
}
