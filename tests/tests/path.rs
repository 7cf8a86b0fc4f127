//! What the mapping's tests take for granted of the path: the air, the relay and the analysis.

use std::{
    net::{SocketAddr, UdpSocket},
    time::Duration,
};

use anyhow::{Result, ensure};
use tempfile::TempDir;
use tests::{
    analysis,
    lab::{
        Capture, Lab, Namespace, Relay,
        air::Noise,
        relay::{Record, Sender},
        topology::{NODE, ROUTER_LLN, at},
    },
    need,
    packet::dtls::content,
    peer::{
        Psk,
        https::{Client, Ending, Request, Server, Stack},
    },
};

const SOON: Duration = Duration::from_secs(30);
/// Longer than the air holds anything.
const QUIET: Duration = Duration::from_millis(900);

/// Sends numbered datagrams from router to node; the numbers that arrived, in order.
fn arrivals(lab: &Lab, count: u16) -> Result<Vec<u16>> {
    let node = lab.node.enter(|| UdpSocket::bind(at(NODE, 9_000)))?;
    let router = lab.router.enter(|| UdpSocket::bind(at(ROUTER_LLN, 0)))?;
    for number in 0..count {
        router.send_to(&number.to_be_bytes(), at(NODE, 9_000))?;
    }
    node.set_read_timeout(Some(QUIET))?;
    let (mut seen, mut number) = (Vec::new(), [0; 2]);
    while node.recv(&mut number).is_ok() {
        seen.push(u16::from_be_bytes(number));
    }
    Ok(seen)
}

#[test]
fn the_air_carries_everything_until_it_is_told_otherwise() -> Result<()> {
    need::root_and_tools(&[]);
    let lab = Lab::with_air()?;
    assert_eq!(arrivals(&lab, 50)?, (0..50).collect::<Vec<_>>());
    lab.air().set(|_, _| Vec::new());
    assert!(arrivals(&lab, 50)?.is_empty());
    assert!(lab.router.pings(NODE), "what is not UDP passes");
    lab.air().clear();
    assert_eq!(arrivals(&lab, 50)?.len(), 50);
    Ok(())
}

#[test]
fn noise_loses_doubles_and_reorders_what_the_seed_says() -> Result<()> {
    need::root_and_tools(&[]);
    let lab = Lab::with_air()?;
    let noise = Noise { loss: 300, doubled: 200, late: 300, seed: 7 };
    let run = || {
        lab.air().set(noise.edit());
        arrivals(&lab, 200)
    };
    let (first, mut second) = (run()?, run()?);
    let mut distinct = first.clone();
    distinct.sort_unstable();
    ensure!(first != distinct, "nothing changed places");
    second.sort_unstable();
    assert_eq!(distinct, second);
    distinct.dedup();
    ensure!((100..180).contains(&distinct.len()), "{} of 200 arrived", distinct.len());
    ensure!(distinct.len() < second.len(), "nothing came twice");
    Ok(())
}

/// Two requests of a client to a server behind a relay, and how they ended.
fn relayed(
    edit: impl FnMut(Sender, Record) -> Vec<Record> + Send + 'static,
) -> Result<(Result<String>, Ending)> {
    need::root_and_tools(&["python3", "node"]);
    let namespace = Namespace::new("relay")?;
    let psk = Psk::default();
    let (server, relay): (SocketAddr, SocketAddr) = ("[::1]:4433".parse()?, "[::1]:4434".parse()?);
    let _server = Server::start(&namespace, &psk, server)?;
    let _relay = Relay::start(&namespace, relay, server, edit)?;
    let mut connection = Client::new(Stack::Python, &namespace, &psk, relay).connect(SOON)?;
    connection.request(&Request::get("/first"), SOON)?.ok()?;
    match connection.request(&Request::get("/second"), SOON) {
        Ok(answer) => Ok((answer.ok(), connection.close(SOON)?)),
        Err(error) => Ok((Err(error), Ending::Broken(String::new()))),
    }
}

#[test]
fn a_relay_carries_tls_as_it_is() -> Result<()> {
    let (answer, ending) = relayed(|_, record| vec![record])?;
    assert_eq!(answer?, "GET /second\n");
    assert_eq!(ending, Ending::Clean);
    Ok(())
}

#[test]
fn a_record_that_a_relay_changes_ends_the_connection() -> Result<()> {
    let mut sealed = 0;
    let (answer, _) = relayed(move |sender, mut record| {
        if sender == Sender::Client && record.content == content::APPLICATION {
            sealed += 1;
            if let (2, Some(byte)) = (sealed, record.fragment.last_mut()) {
                *byte ^= 1;
            }
        }
        vec![record]
    })?;
    assert!(answer.is_err(), "{answer:?}");
    Ok(())
}

#[test]
fn tshark_reads_tls_with_the_key_and_not_without() -> Result<()> {
    need::root_and_tools(&["openssl", "node", "tshark"]);
    let namespace = Namespace::new("tshark")?;
    let (psk, server): (_, SocketAddr) = (Psk::default(), "[::1]:4433".parse()?);
    let _server = Server::start(&namespace, &psk, server)?;
    let seen = Capture::filtered(namespace.device("lo"), |frame| frame.outgoing)?;
    let mut connection = Client::new(Stack::OpenSsl, &namespace, &psk, server).connect(SOON)?;
    connection.request(&Request::get("/secret"), SOON)?.ok()?;
    connection.close(SOON)?;
    let folder = TempDir::new()?;
    let pcap = folder.path().join("tls.pcap");
    seen.write_pcap(&pcap)?;
    let plaintext = analysis::decrypt(&pcap, server.port(), Some(&psk))?;
    ensure!(plaintext.request().starts_with("GET /secret HTTP/1.1\r\n"), "{plaintext:?}");
    ensure!(plaintext.response().ends_with("\r\n\r\nGET /secret\n"), "{plaintext:?}");
    ensure!(analysis::decrypt(&pcap, server.port(), None)?.is_empty());
    Ok(())
}
