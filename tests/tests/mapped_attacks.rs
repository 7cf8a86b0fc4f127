//! A man on the path, on either side of the router: what he does is detected by who must detect it,
//! nothing that he made is taken for plaintext, and everybody goes on.

#[path = "mapped_attacks/path.rs"]
mod path;

use std::{io::Write as _, time::Duration};

use anyhow::{Context, Result, anyhow, ensure};
use path::{air, relayed};
use tests::{
    lab::{
        Capture, Lab, Mapped,
        air::Toward,
        link,
        mapped::Settings,
        relay::Sender,
        topology::{NODE, at},
    },
    need,
    packet::{
        Datagram, Packet,
        dtls::{self, content},
        hello,
    },
    peer::{
        Psk,
        coap::COAPS,
        https::{Answer, Client, Connection, Request, Stack, http},
    },
};

const SOON: Duration = Duration::from_secs(60);
const EXTENDED_MASTER_SECRET: u16 = 23;
const RENEGOTIATION_INFO: u16 = 0xff01;

fn tools() {
    need::root_and_tools(&[&Stack::ALL.map(Stack::program)[..], &["nft"]].concat());
}

/// Requests in several records, so that one of them can be lost, doubled or moved.
fn post(connection: &mut Connection) -> Result<Answer> {
    connection.request(&Request::post("/echo", http::body(5_000)), SOON)
}

/// An attack must break the connection: the client takes nothing, and does not wait for its own
/// patience to end.
fn broke(outcome: Result<Answer>) -> Result<()> {
    let error = outcome.map_or_else(
        |error| Ok(error.to_string()),
        |answer| Err(anyhow!("took {} bytes", answer.body.len())),
    )?;
    let waited = ["silent", "no answer in"].iter().any(|word| error.starts_with(word));
    ensure!(!waited, "{error}");
    Ok(())
}

/// What must hold after attacks on handshakes: no session at the node, nothing kept, and the next
/// client is served as if nothing had been.
fn nobody_came_in(mapped: &Mapped<'_>) -> Result<()> {
    ensure!(mapped.node.connected() == 0, "{}", mapped.node.child.output());
    mapped.wait_over(SOON)?;
    mapped.still_serves(SOON)
}

/// A handshake that somebody meddles with; it must fail, and at the node first.
fn handshake_fails_at_the_node(mapped: &Mapped<'_>, client: &Client<'_>) -> Result<()> {
    let attackers = mapped.node.counted("attackers");
    let outcome = client.connect(SOON).map(drop);
    ensure!(outcome.is_err(), "the handshake was completed");
    mapped.node.wait_counted("attackers", attackers + 1, SOON)
}

#[test]
fn a_client_with_another_key_gets_no_session() -> Result<()> {
    tools();
    let lab = Lab::new()?;
    let mapped = Mapped::with(&lab, Settings::HASTY)?;
    let other = Psk::new(&mapped.psk.identity, b"fedcba9876543210");
    for stack in Stack::ALL {
        let client = Client::new(stack, &lab.backend, &other, path::NODE_HTTPS);
        handshake_fails_at_the_node(&mapped, &client).with_context(|| format!("{stack:?}"))?;
    }
    // a client's reset is not told in the LLN: the node forgets by itself
    mapped.node.wait_counted("expired", 4, SOON)?;
    nobody_came_in(&mapped)
}

#[test]
fn a_tampered_hello_ends_the_handshake_on_either_side_of_the_router() -> Result<()> {
    tools();
    let lab = Lab::with_air()?;
    let mapped = Mapped::with(&lab, Settings::HASTY)?;
    for (toward, name) in [(Toward::Node, "ClientHello"), (Toward::Router, "ServerHello")] {
        lab.air().set(air(move |way, record, out| {
            // the first byte of the random: behind headers of 12 bytes and a version
            if way == toward && path::is_hello(record) {
                record.body[14] ^= 1;
            }
            out.push(record.clone());
        }));
        handshake_fails_at_the_node(&mapped, &mapped.client(Stack::OpenSsl)).context(name)?;
        lab.air().clear();
    }
    for sender in [Sender::Client, Sender::Server] {
        let mut first = true;
        let relay = relayed(&mapped, move |way, record| {
            if way == sender && record.content == content::HANDSHAKE && first {
                record.fragment[6] ^= 1;
                first = false;
            }
            vec![record.clone()]
        })?;
        handshake_fails_at_the_node(&mapped, &relay.client(Stack::GnuTls))
            .with_context(|| format!("{sender:?}"))?;
    }
    nobody_came_in(&mapped)
}

#[test]
fn a_stripped_extension_ends_the_handshake() -> Result<()> {
    tools();
    let lab = Lab::with_air()?;
    let mapped = Mapped::with(&lab, Settings::HASTY)?;
    let relay = relayed(&mapped, |sender, record| {
        if sender == Sender::Client && record.content == content::HANDSHAKE {
            hello::strip_tls(&mut record.fragment, EXTENDED_MASTER_SECRET);
        }
        vec![record.clone()]
    })?;
    handshake_fails_at_the_node(&mapped, &relay.client(Stack::OpenSsl)).context("in TCP")?;
    drop(relay);
    lab.air().set(air(|toward, record, out| {
        if toward == Toward::Node && path::is_hello(record) {
            assert!(hello::strip_dtls(&mut record.body, EXTENDED_MASTER_SECRET));
        }
        out.push(record.clone());
    }));
    handshake_fails_at_the_node(&mapped, &mapped.client(Stack::OpenSsl)).context("in the LLN")?;
    // the client itself looks for this one
    lab.air().set(air(|toward, record, out| {
        if toward == Toward::Router && path::is_hello(record) {
            assert!(hello::strip_dtls(&mut record.body, RENEGOTIATION_INFO));
        }
        out.push(record.clone());
    }));
    ensure!(mapped.client(Stack::OpenSsl).connect(SOON).is_err());
    lab.air().clear();
    nobody_came_in(&mapped)
}

#[test]
fn forged_records_towards_the_node_are_dropped_and_the_true_ones_taken() -> Result<()> {
    tools();
    let lab = Lab::with_air()?;
    let mapped = Mapped::with(&lab, Settings::HASTY)?;
    lab.air().set(air(|toward, record, out| {
        if toward == Toward::Node && path::is_data(record) {
            out.push(path::forged(record));
        }
        out.push(record.clone());
    }));
    for stack in Stack::ALL {
        let mut connection = mapped.client(stack).fragment(path::SHORT).connect(SOON)?;
        ensure!(post(&mut connection)?.ok()? == http::body(5_000), "{stack:?}");
        connection.close(SOON)?;
    }
    mapped.node.wait_counted("forged", 4, SOON)?;
    mapped.node.wait_free(SOON)
}

#[test]
fn a_forged_record_towards_the_client_ends_its_connection_and_the_nodes_session() -> Result<()> {
    tools();
    let lab = Lab::with_air()?;
    let mapped = Mapped::with(&lab, Settings::HASTY)?;
    for stack in Stack::ALL {
        lab.air().set(air(|toward, record, out| {
            if toward == Toward::Router && path::is_data(record) {
                out.push(path::forged(record));
            }
            out.push(record.clone());
        }));
        let mut connection = mapped.client(stack).fragment(path::SHORT).connect(SOON)?;
        broke(post(&mut connection)).with_context(|| format!("{stack:?}"))?;
        drop(connection);
        lab.air().clear();
        mapped.node.wait_free(SOON)?;
        mapped.wait_over(SOON)?;
    }
    mapped.still_serves(SOON)
}

#[test]
fn what_comes_over_another_interface_is_not_the_nodes() -> Result<()> {
    tools();
    let lab = Lab::new()?;
    let mapped = Mapped::with(&lab, Settings::HASTY)?;
    let (node, lln) = (at(NODE, COAPS), Capture::start(lab.node.device("node0"))?);
    let mut other = link::tun(&lab.router, "other0")?;
    let mut connection = mapped.client(Stack::OpenSsl).connect(SOON)?;
    let temperature = Request::get("/sensors/temperature");
    connection.request(&temperature, SOON)?.ok()?;
    let datagrams = lln.snapshot();
    let mut datagrams = datagrams.iter().filter_map(|frame| Datagram::from_frame(&frame.bytes));
    let leg = datagrams.find(|datagram| datagram.dst == node).context("no datagram")?.src;
    // the numbers that the node may use next
    for number in 1..6 {
        let record = dtls::record(content::APPLICATION, 0xfefd, 1, number, &[7; 40]);
        other.write_all(&Packet::udp(node, leg).raw_ip().payload(record).build())?;
    }
    ensure!(connection.request(&temperature, SOON)?.ok()? == "21.5");
    connection.close(SOON)?;
    mapped.node.wait_free(SOON)
}

/// What a man on the TCP side does to the records of one sender, from the second sealed one on.
type Meddle = fn(&mut path::Memory, &path::Tls) -> Vec<path::Tls>;

#[test]
fn records_that_a_relay_injects_removes_or_reorders_end_the_connection() -> Result<()> {
    tools();
    let lab = Lab::new()?;
    let mapped = Mapped::with(&lab, Settings::HASTY)?;
    let meddling: [(&str, Meddle); 3] =
        [("injects", path::inject), ("removes", path::remove), ("re-orders", path::reorder)];
    for (what, meddle) in meddling {
        for sender in [Sender::Client, Sender::Server] {
            let requests = mapped.node.requests().len();
            let relay = relayed(&mapped, path::from_second(sender, meddle))?;
            let client = relay.client(Stack::Python).fragment(path::SHORT);
            let mut connection = client.connect(SOON)?;
            broke(post(&mut connection)).with_context(|| format!("{what}, {sender:?}"))?;
            drop(connection);
            let accepted = mapped.node.requests().len() - requests;
            let whole = usize::from(sender == Sender::Server);
            ensure!(accepted == whole, "{what}, {sender:?}: {:?}", mapped.node.requests());
            mapped.node.wait_free(SOON).with_context(|| format!("{what}, {sender:?}"))?;
            mapped.wait_over(SOON)?;
        }
    }
    mapped.still_serves(SOON)
}

/// Loses the third sealed record of data of one direction, however often it is sent.
fn lose_third(lab: &Lab, toward: Toward) {
    lab.air().set(air(move |way, record, out| {
        let third = path::is_data(record) && record.seq == 3;
        if way != toward || !third {
            out.push(record.clone());
        }
    }));
}

#[test]
fn a_record_that_never_reaches_the_node_is_a_reset() -> Result<()> {
    tools();
    let lab = Lab::with_air()?;
    let mapped = Mapped::with(&lab, Settings::HASTY)?;
    lose_third(&lab, Toward::Node);
    for stack in Stack::ALL {
        let mut connection = mapped.client(stack).fragment(path::SHORT).connect(SOON)?;
        broke(post(&mut connection)).with_context(|| format!("{stack:?}"))?;
        mapped.wait_over(SOON)?;
    }
    ensure!(mapped.ended("no_answer")? == 4, "{:#}", mapped.report()?);
    ensure!(mapped.node.requests().is_empty(), "{:?}", mapped.node.requests());
    mapped.node.wait_free(SOON)?;
    lab.air().clear();
    mapped.still_serves(SOON)
}

/// The node gives up and says so, in an alert behind the gap: when the router's own patience with the
/// gap ends, the client is reset, though it said nothing more.
#[test]
fn a_record_that_never_leaves_the_node_is_no_short_answer() -> Result<()> {
    tools();
    let lab = Lab::with_air()?;
    // it has nothing to do but to give up: no idle timer comes before that
    let settings = Settings { node: Settings::LIVELY.node, ..Settings::HASTY };
    let mapped = Mapped::with(&lab, settings)?;
    lose_third(&lab, Toward::Router);
    let mut connection = mapped.client(Stack::OpenSsl).connect(SOON)?;
    broke(connection.request(&Request::get("/large?bytes=9000"), SOON))?;
    let ended = mapped.wait_over(SOON)?;
    ensure!(ended["gap"] == 1 && ended["closed"].is_null(), "{ended}");
    ensure!(mapped.node.child.output().contains("Unreachable"), "{}", mapped.node.child.output());
    lab.air().clear();
    mapped.still_serves(SOON)
}

#[test]
fn records_that_change_places_in_the_lln_are_put_in_order() -> Result<()> {
    const WINDOW: Settings = Settings {
        mapper: "window = 4\n",
        node: &["--arq-window", "4", "--arq-timeout", "300", "--flight-timeout", "1000"],
        ..Settings::LIVELY
    };
    tools();
    let lab = Lab::with_air()?;
    let mapped = Mapped::with(&lab, WINDOW)?;
    lab.air().set(path::every_other_late());
    for stack in Stack::ALL {
        let mut connection = mapped.client(stack).fragment(path::SHORT).connect(SOON)?;
        let body = http::body(6_000);
        let answer = connection.request(&Request::post("/echo", body.clone()), SOON)?;
        ensure!(answer.ok()? == body, "{stack:?}");
        let answer = connection.request(&Request::get("/large?bytes=20000"), SOON)?.ok()?;
        ensure!(answer == http::large(20_000), "{stack:?}");
        connection.close(SOON)?;
    }
    mapped.node.wait_free(SOON)
}

#[test]
fn a_recorded_session_replayed_towards_the_node_moves_nothing() -> Result<()> {
    tools();
    let lab = Lab::with_air()?;
    let mapped = Mapped::with(&lab, Settings::HASTY)?;
    lab.air().set(path::everything_again());
    let mut connection = mapped.client(Stack::OpenSsl).connect(SOON)?;
    connection.request(&Request::put("/lamp", "on"), SOON)?.ok()?;
    ensure!(connection.request(&Request::get("/lamp"), SOON)?.ok()? == "on");
    connection.close(SOON)?;
    mapped.node.wait_free(SOON)?;
    ensure!(mapped.node.requests().len() == 2, "{:?}", mapped.node.requests());
    ensure!(mapped.node.connected() == 1);
    Ok(())
}
