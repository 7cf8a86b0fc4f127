//! Tunnels over links that lose, double and delay: who loses what.
//!
//! libcoap 4.3 counts the waits of a DTLS handshake without a new count for each flight, and says
//! "cannot send CoAP pdu" after the fifth (`dtls_timeout_count > max_retransmit`). Where one
//! datagram in five is lost each way, one client in twelve gives up so, through a tunnel (5 of 60)
//! and without one (5 of 60). So no client is asked again until it works. Rather: whatever the
//! wires lose, the tunnel's two ends lose, double and reorder nothing; and what a client can mend
//! is mended.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use tests::{
    lab::{
        Capture, Lab, Loss,
        air::{Departure, Noise, Toward},
        topology::{BACKEND, NODE, ROUTER, ROUTER_LLN, at},
        until,
    },
    need,
    packet::{dtls, read::Datagram},
    peer::{
        Psk,
        coap::{self, COAPS, Flavour},
    },
};

use super::site::{HERE, LATE, SOON, Site, is_open, key};

/// What a client may take: all waits of the handshake and all of CoAP (RFC 7252 §4.8.2).
const PATIENCE: Duration = Duration::from_secs(150);
/// Waits of a handshake after which libcoap gives up, and how many it survives. A request after it
/// survives as many.
const WAITS: usize = 5;
const SPARE: usize = WAITS - 1;
/// Bytes of an outer record beside the inner datagram: nonce, frame's header, tag.
const AROUND: usize = 8 + 20 + 8;
/// Bytes of the outer record of a sign of life.
const ALIVE: usize = 8 + 1 + 8;

/// Every place that a datagram passes between a client and its node.
struct Wires {
    client: Capture,
    backend: Capture,
    /// Behind what the way to the router has lost.
    uplink: Capture,
    router: Capture,
    lln: Capture,
    /// Behind what the air has lost.
    air: Capture,
}

impl Wires {
    fn start(lab: &Lab) -> Result<Self> {
        Ok(Self {
            client: Capture::start(lab.backend.device("lo"))?,
            backend: Capture::start(lab.backend.device("eth0"))?,
            uplink: Capture::start(lab.internet.device("up0"))?,
            router: Capture::start(lab.router.device("wan0"))?,
            lln: Capture::start(lab.router.device("lln0"))?,
            air: Capture::start(lab.air().namespace.device("a0"))?,
        })
    }

    /// Both directions: what the tunnel took in is what it gave out, but for what a wire lost.
    fn add_up(&self) -> Result<()> {
        let to_door = |one: &Datagram| one.dst == at(HERE, COAPS);
        let from_door = |one: &Datagram| one.src == at(HERE, COAPS);
        let to_router = |one: &Datagram| one.dst == at(ROUTER, COAPS) && one.src.ip() == BACKEND;
        let from_router = |one: &Datagram| one.src == at(ROUTER, COAPS);
        let to_node = |one: &Datagram| one.dst == at(NODE, COAPS) && one.src.ip() == ROUTER_LLN;
        let from_node = |one: &Datagram| one.src == at(NODE, COAPS);
        carried(
            &seen(&self.client, true, to_door),
            &records(&seen(&self.backend, true, to_router)),
            &records(&seen(&self.uplink, true, to_router)),
            &seen(&self.lln, true, to_node),
        )
        .context("towards the node")?;
        carried(
            &seen(&self.air, true, from_node),
            &records(&seen(&self.router, true, from_router)),
            &records(&seen(&self.backend, false, from_router)),
            &seen(&self.client, true, from_door),
        )
        .context("towards the client")
    }
}

fn seen(wire: &Capture, outgoing: bool, which: impl Fn(&Datagram) -> bool) -> Vec<Vec<u8>> {
    let frames = wire.snapshot();
    let frames = frames.iter().filter(|frame| frame.outgoing == outgoing);
    let datagrams = frames.filter_map(|frame| Datagram::from_frame(&frame.bytes));
    datagrams.filter(which).map(|one| one.payload).collect()
}

/// Protected outer records but for signs of life: number, and bytes of the datagram inside.
fn records(datagrams: &[Vec<u8>]) -> Vec<(u64, usize)> {
    let all = datagrams.iter().filter_map(|datagram| dtls::records(datagram)).flatten();
    let data = all.filter(|one| one.epoch == 1 && one.content_type == dtls::content::APPLICATION);
    let frames = data.filter(|one| one.body.len() != ALIVE);
    frames.map(|one| (one.seq, one.body.len().saturating_sub(AROUND))).collect()
}

/// From what came in at one end to what went out at the other: each datagram in a record of its
/// own, in order; each record that came over the wire opened once, in order, byte for byte.
fn carried(
    given: &[Vec<u8>],
    sent: &[(u64, usize)],
    came: &[(u64, usize)],
    out: &[Vec<u8>],
) -> Result<()> {
    let lengths: Vec<usize> = given.iter().map(Vec::len).collect();
    let framed: Vec<usize> = sent.iter().map(|(_, length)| *length).collect();
    ensure!(lengths == framed, "of {lengths:?} bytes came in, of {framed:?} were sent");
    let inside: HashMap<u64, &Vec<u8>> =
        sent.iter().map(|(number, _)| *number).zip(given).collect();
    ensure!(inside.len() == sent.len(), "a number was used twice");
    let expected: Option<Vec<&Vec<u8>>> =
        came.iter().map(|(number, _)| inside.get(number).copied()).collect();
    let expected = expected.context("a record came that nobody sent")?;
    let same = expected.iter().copied().eq(out);
    ensure!(same, "{} records came, {} datagrams went out", expected.len(), out.len());
    Ok(())
}

/// Whether a client that got no answer had used up its waits.
fn has_given_up(log: &str) -> bool {
    log.matches("DTLS retransmit timeout").count() == WAITS || log.contains("give up after")
}

/// What the air does, to so many datagrams and then no more; it counts them.
fn at_most(
    most: usize,
    harmed: Arc<AtomicUsize>,
    mut edit: impl FnMut(Toward, Datagram) -> Vec<Departure> + Send + 'static,
) -> impl FnMut(Toward, Datagram) -> Vec<Departure> + Send + 'static {
    let mut left = most;
    move |toward, datagram| {
        if left == 0 {
            return vec![datagram.into()];
        }
        let departures = edit(toward, datagram);
        let as_it_was = matches!(&departures[..], [one] if one.after.is_zero());
        left -= usize::from(!as_it_was);
        harmed.fetch_add(usize::from(!as_it_was), Ordering::Relaxed);
        departures
    }
}

#[test]
fn what_the_wires_lose_is_all_that_gets_lost_in_a_tunnel() -> Result<()> {
    need::root_and_tools(&["coap-client-openssl", "coap-server-openssl", "nft"]);
    let lab = Lab::with_air()?;
    let site = Site::start(&lab)?;
    let psk = Psk::default();
    let _node = coap::Server::start(&lab.node, Flavour::OpenSsl, NODE.into(), &psk)?;
    lab.air().set(Noise { loss: 100, doubled: 50, late: 50, seed: 4 }.edit());
    let _out = Loss::egress(lab.internet.device("up0"), 100)?;
    let _back = Loss::egress(lab.internet.device("be0"), 100)?;
    // either is opened again and again until it is open
    let mut tunnel = site.over_dtls(&site.pki, "all.example", &site.pki, &[NODE.into()])?;
    tunnel.wait_for_line("\"state\":\"open\"", LATE)?;
    drop(tunnel);
    let mut tunnel = site.by_key(&key("pump-7.example"), &[NODE.into()])?;
    tunnel.wait_for_line("\"state\":\"open\"", LATE)?;
    let wires = Wires::start(&lab)?;
    let client = coap::Client::new(&lab.backend, Flavour::OpenSsl, &psk).timeout(PATIENCE);
    let client = client.verbose();
    let mut answers = 0;
    for _ in 0..6 {
        match client.get(HERE, "time") {
            Ok(_) => answers += 1,
            Err(error) => ensure!(has_given_up(&error.to_string()), "{error}"),
        }
    }
    ensure!(answers > 0, "nobody got an answer");
    // what is still on its way arrives
    until(SOON, || wires.add_up().is_ok());
    wires.add_up()
}

#[test]
fn a_tunnel_over_lossy_links_loses_nothing_that_coap_cannot_mend() -> Result<()> {
    need::root_and_tools(&["coap-client-openssl", "coap-server-openssl", "nft"]);
    let lab = Lab::with_air()?;
    let site = Site::start(&lab)?;
    let psk = Psk::default();
    let _node = coap::Server::start(&lab.node, Flavour::OpenSsl, NODE.into(), &psk)?;
    let mut tunnel = site.by_key(&key("pump-7.example"), &[NODE.into()])?;
    is_open(&mut tunnel)?;
    let client = coap::Client::new(&lab.backend, Flavour::OpenSsl, &psk).timeout(PATIENCE);
    let client = client.verbose();
    let harmed = Arc::new(AtomicUsize::new(0));
    // in the air, towards the router, back: each costs a client one of its waits at most
    for (seed, [air, out, back]) in [[4, 0, 0], [0, 2, 2], [2, 1, 1], [1, 3, 0]].iter().enumerate()
    {
        assert_eq!(air + out + back, SPARE);
        let noise = Noise { loss: 200, doubled: 100, late: 100, seed: seed as u64 };
        lab.air().set(at_most(*air, Arc::clone(&harmed), noise.edit()));
        let lost = [
            Loss::egress_at_most(lab.internet.device("up0"), 200, *out as u32)?,
            Loss::egress_at_most(lab.internet.device("be0"), 200, *back as u32)?,
        ];
        let text = format!("turn {seed}");
        client.put(HERE, "example_data", &text)?;
        lab.air().clear();
        assert_eq!(client.get(HERE, "example_data")?, text);
        for (wire, most) in lost.iter().zip([*out, *back]) {
            let dropped = wire.dropped()? as usize;
            assert!(dropped <= most, "{dropped} instead of {most} at most");
            harmed.fetch_add(dropped, Ordering::Relaxed);
        }
    }
    let harmed = harmed.load(Ordering::Relaxed);
    assert!(harmed > SPARE, "only {harmed} datagrams did not come as they were sent");
    Ok(())
}
