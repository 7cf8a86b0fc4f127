//! What a mapped session shows on either side of the router: with the key the same plaintext,
//! without it none.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;
use tests::{
    analysis::{self, Leg},
    lab::{
        Capture, Lab, Mapped,
        mapped::HTTPS,
        topology::{NODE, at},
    },
    need,
    packet::Datagram,
    peer::{
        coap::COAPS,
        https::{Fragment, Request, Stack, http},
    },
};

const SOON: Duration = Duration::from_secs(60);
const SECRET: &str = "lamp on, and nobody on the path knows";

/// The datagrams of a capture, oldest first.
fn datagrams(capture: &Capture) -> Vec<Datagram> {
    capture.snapshot().iter().filter_map(|frame| Datagram::from_frame(&frame.bytes)).collect()
}

/// Whether any frame shows some of this text.
fn shows(capture: &Capture, text: &str) -> bool {
    capture.count(|frame| frame.windows(text.len()).any(|window| window == text.as_bytes())) > 0
}

#[test]
fn both_sides_of_the_router_carry_the_same_plaintext_and_show_none() -> Result<()> {
    need::root_and_tools(&["tshark", "openssl", "gnutls-cli", "node", "python3"]);
    for stack in Stack::ALL {
        compare(stack).with_context(|| format!("{stack:?}"))?;
    }
    Ok(())
}

fn compare(stack: Stack) -> Result<()> {
    let lab = Lab::new()?;
    let mapped = Mapped::start(&lab)?;
    let node: SocketAddr = at(NODE, COAPS);
    // one side of each link: every frame once
    let internet = Capture::start(lab.internet.device("up0"))?;
    let lln = Capture::start(lab.node.device("node0"))?;
    let mut connection = mapped.client(stack).fragment(Fragment::Own(512)).connect(SOON)?;
    connection.request(&Request::put("/lamp", SECRET), SOON)?.ok()?;
    ensure!(connection.request(&Request::get("/lamp"), SOON)?.ok()? == SECRET);
    connection.request(&Request::post("/echo", http::body(2_000)), SOON)?.ok()?;
    connection.close(SOON)?;
    mapped.node.wait_free(SOON)?;

    let folder = TempDir::new()?;
    let (outside, inside) = (folder.path().join("tls.pcap"), folder.path().join("leg.pcap"));
    internet.write_pcap(&outside)?;
    let legs = Leg::all(&datagrams(&lln), node)?;
    ensure!(legs.len() == 1, "{} connections to the node", legs.len());
    legs[0].write_pcap(&inside)?;

    let tls = analysis::decrypt(&outside, HTTPS, Some(&mapped.psk))?;
    let dtls = analysis::decrypt(&inside, COAPS, Some(&mapped.psk))?;
    ensure!(
        tls.request().contains(SECRET) && tls.response().ends_with(&http::body(2_000)[1_900..]),
        "{tls:?}"
    );
    ensure!(tls == dtls, "{}\n---\n{}", tls.request(), dtls.request());
    for (pcap, port) in [(&outside, HTTPS), (&inside, COAPS)] {
        ensure!(analysis::decrypt(pcap, port, None)?.is_empty(), "readable without the key");
        let other = tests::peer::Psk::new("node1", b"fedcba9876543210");
        ensure!(analysis::decrypt(pcap, port, Some(&other))?.is_empty(), "readable with another");
    }
    for capture in [&internet, &lln] {
        for text in [SECRET, "lamp", "HTTP/1.1", "000000000000016"] {
            ensure!(!shows(capture, text), "{text:?} is in the clear");
        }
    }
    Ok(())
}

/// The records that tshark is shown come from the datagrams alone; the router made the same.
#[test]
fn the_lln_side_without_its_headers_is_the_tls_stream() -> Result<()> {
    need::root_and_tools(&["openssl"]);
    let lab = Lab::new()?;
    let mapped = Mapped::start(&lab)?;
    let internet = Capture::start(lab.internet.device("up0"))?;
    let lln = Capture::start(lab.node.device("node0"))?;
    let mut connection = mapped.client(Stack::OpenSsl).connect(SOON)?;
    connection.request(&Request::get("/large?bytes=3000"), SOON)?.ok()?;
    connection.close(SOON)?;
    mapped.node.wait_free(SOON)?;
    let legs = Leg::all(&datagrams(&lln), at(NODE, COAPS))?;
    let leg = legs.first().context("no connection to the node")?;
    for from_client in [true, false] {
        let tls = stream(&internet, from_client);
        let records = |bytes: &[u8]| protected(bytes);
        ensure!(records(&tls) == records(&leg.stream(from_client)), "client: {from_client}");
    }
    Ok(())
}

/// One direction of the TCP connection with the node's address, as the frames on `up0` have it.
fn stream(capture: &Capture, from_client: bool) -> Vec<u8> {
    let mut segments: Vec<_> = capture
        .snapshot()
        .iter()
        .filter_map(|frame| tests::packet::Segment::from_frame(&frame.bytes))
        .filter(|segment| {
            let end = if from_client { segment.dst } else { segment.src };
            end == at(NODE, HTTPS) && !segment.payload.is_empty()
        })
        .collect();
    let first = segments.first().map_or(0, |segment| segment.seq);
    segments.sort_by_key(|segment| segment.seq.wrapping_sub(first));
    segments.dedup_by_key(|segment| segment.seq);
    segments.into_iter().flat_map(|segment| segment.payload).collect()
}

/// The records behind ChangeCipherSpec: those that nobody without the key may touch.
fn protected(stream: &[u8]) -> Vec<Vec<u8>> {
    const CHANGE_CIPHER_SPEC: u8 = 20;
    let (mut rest, mut changed, mut records) = (stream, false, Vec::new());
    while let Some((header, behind)) = rest.split_at_checked(5) {
        let length = usize::from(u16::from_be_bytes([header[3], header[4]]));
        let Some((fragment, behind)) = behind.split_at_checked(length) else { break };
        if changed {
            records.push([header, fragment].concat());
        }
        changed |= header[0] == CHANGE_CIPHER_SPEC;
        rest = behind;
    }
    records
}
