//! Replayed, forged, lost and reordered records: what is dropped, and what must never be.

use std::{
    net::SocketAddr,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use tests::{
    lab::{
        Capture, Captured, Gateway, Injector, Lab, Loss,
        gateway::{EVERYDAY, ROOMY},
        topology::{BACKEND, MAC_UP0, MAC_WAN0, NODE, at},
        until,
    },
    need,
    packet::{Datagram, dtls, read},
    peer::{
        Psk,
        coap::{self, COAPS, Flavour},
        gnutls, openssl,
    },
};

const SOON: Duration = Duration::from_secs(20);
const LATE: Duration = Duration::from_secs(90);
/// What may never be the end of an honest record.
const FALSE: [&str; 5] = ["replayed", "replay_conflict", "replay_stale", "epoch", "premature"];

fn is_sent(frame: &Captured) -> bool {
    let datagram = Datagram::from_frame(&frame.bytes);
    frame.outgoing && datagram.is_some_and(|datagram| datagram.src.ip() == BACKEND)
}

/// What the back-end has sent over the wire before the filter.
fn recorded(wire: &Capture) -> Vec<Vec<u8>> {
    wire.snapshot().into_iter().map(|frame| frame.bytes).collect()
}

fn sum(gateway: &Gateway<'_>) -> Result<u64> {
    Ok(gateway.drops()?.values().sum())
}

/// Records of the back-end that reached the node, datagram by datagram.
fn passed(seen: &Capture) -> impl Iterator<Item = Vec<dtls::Record>> {
    let frames = seen.snapshot().into_iter();
    let datagrams = frames.filter_map(|frame| Datagram::from_frame(&frame.bytes));
    let ours = datagrams.filter(|datagram| datagram.src.ip() == BACKEND);
    ours.map(|datagram| dtls::records(&datagram.payload).unwrap_or_default())
}

/// Sends frames again: every one is dropped, none reaches the node.
fn replay(lab: &Lab, gateway: &Gateway<'_>, frames: &[Vec<u8>]) -> Result<()> {
    let seen = Capture::start(lab.node.device("node0"))?;
    let before = sum(gateway)?;
    Injector::new(lab.internet.device("up0"))?.send_many(frames)?;
    let goal = before + frames.len() as u64;
    let dropped = until(SOON, || sum(gateway).is_ok_and(|now| now >= goal));
    let drops = gateway.drops()?;
    let passed: Vec<_> = passed(&seen).collect();
    ensure!(passed.is_empty(), "of {} replayed passed: {passed:x?}; {drops:?}", frames.len());
    ensure!(dropped, "of {} replayed, {before} before: {drops:?}", frames.len());
    Ok(())
}

#[test]
fn a_replayed_session_is_dropped_to_the_last_record() -> Result<()> {
    need::root_and_tools(&["coap-client-openssl", "coap-server-openssl"]);
    let lab = Lab::new()?;
    let mut gateway = Gateway::start(&lab.router, &format!("{EVERYDAY}{ROOMY}"))?;
    gateway.allow(BACKEND, &[])?;
    let psk = Psk::default();
    let _server = coap::Server::start(&lab.node, Flavour::OpenSsl, NODE.into(), &psk)?;
    let wire = Capture::filtered(lab.internet.device("up0"), is_sent)?;
    let client = coap::Client::new(&lab.backend, Flavour::OpenSsl, &psk).timeout(SOON);
    client.get(NODE.into(), "time")?;
    let frames = recorded(&wire);
    assert!(frames.len() >= 5, "a session has more than {} frames", frames.len());
    assert!(gateway.drops()?.is_empty());

    replay(&lab, &gateway, &frames)?;
    assert!(gateway.dropped("replayed")? > 0);
    // and later, in another order, through another agent, through another program
    let reversed: Vec<_> = frames.iter().rev().cloned().collect();
    replay(&lab, &gateway, &reversed)?;
    gateway.kill();
    replay(&lab, &gateway, &frames)?;
    gateway.run()?;
    replay(&lab, &gateway, &frames)?;
    gateway.kill();
    let again = gateway.run_once()?;
    assert_eq!(again["interfaces"][0]["replaced"], true, "{again}");
    replay(&lab, &gateway, &frames)?;
    // nor has any of it shut the true back-end out
    client.get(NODE.into(), "time")?;
    Ok(())
}

#[test]
fn a_live_session_goes_on_while_it_is_replayed() -> Result<()> {
    need::root_and_tools(&["openssl"]);
    let lab = Lab::new()?;
    let gateway = Gateway::start(&lab.router, &format!("{EVERYDAY}{ROOMY}"))?;
    gateway.allow(BACKEND, &[])?;
    let psk = Psk::default();
    let wire = Capture::filtered(lab.internet.device("up0"), is_sent)?;
    let mut server = openssl::Settings::new(&lab.node, &psk).listen(at(NODE, COAPS))?;
    let mut client = openssl::Settings::new(&lab.backend, &psk).connect(at(NODE, COAPS))?;
    for line in ["one", "two", "three"] {
        openssl::round_trip(&mut client, &mut server, line, SOON)?;
        replay(&lab, &gateway, &recorded(&wire))?;
        // what was sent again is on the wire a second time; start from what is true
    }
    let said = server.child.output();
    assert_eq!(said.matches("three").count(), 1, "{said}");
    Ok(())
}

/// GnuTLS sends each message of a flight in a datagram of its own. Two of them are plaintext that
/// a restarted back-end repeats bit by bit: those alone may pass, within the small budget.
#[test]
fn of_a_replayed_gnutls_session_no_hello_and_no_protected_record_passes() -> Result<()> {
    need::root_and_tools(&["gnutls-cli", "gnutls-serv"]);
    let lab = Lab::new()?;
    let gateway = Gateway::start(&lab.router, &format!("{EVERYDAY}{ROOMY}"))?;
    gateway.allow(BACKEND, &[])?;
    let psk = Psk::default();
    let _server = gnutls::Settings::new(&lab.node, &psk).listen(at(NODE, COAPS))?;
    let wire = Capture::filtered(lab.internet.device("up0"), is_sent)?;
    let mut client = gnutls::Settings::new(&lab.backend, &psk).connect(at(NODE, COAPS))?;
    client.echo("lamp on", SOON)?;
    client.close()?;
    let frames = recorded(&wire);
    assert!(gateway.drops()?.is_empty());

    let seen = Capture::start(lab.node.device("node0"))?;
    Injector::new(lab.internet.device("up0"))?.send_many(&frames)?;
    let all = until(SOON, || {
        let count = passed(&seen).count() as u64 + sum(&gateway).unwrap_or(0);
        count >= frames.len() as u64
    });
    assert!(all, "{:?}", gateway.drops()?);
    for records in passed(&seen) {
        let harmless = records.iter().all(|record| {
            let hello = record.body.first() == Some(&dtls::message::CLIENT_HELLO);
            record.epoch == 0 && (record.content_type != dtls::content::HANDSHAKE || !hello)
        });
        assert!(harmless, "{records:?}");
    }
    assert!(gateway.dropped("replayed")? > 0);
    Ok(())
}

/// Epoch and sequence number of the last record that was sent, and from where.
fn last_record(wire: &Capture) -> Result<(SocketAddr, u64)> {
    let frames = wire.snapshot();
    let last = frames.iter().rev().find_map(|frame| Datagram::from_frame(&frame.bytes));
    let last = last.context("nothing was sent")?;
    let records = dtls::records(&last.payload).context("no records")?;
    let record = records.last().context("no record")?;
    ensure!(record.epoch == 1, "{record:?}");
    Ok((last.src, record.seq))
}

#[test]
fn a_forged_record_does_not_shut_the_true_sender_out() -> Result<()> {
    need::root_and_tools(&["openssl"]);
    let lab = Lab::new()?;
    let gateway = Gateway::start(&lab.router, &format!("{EVERYDAY}{ROOMY}"))?;
    gateway.allow(BACKEND, &[])?;
    let psk = Psk::default();
    let wire = Capture::filtered(lab.internet.device("up0"), is_sent)?;
    let mut server = openssl::Settings::new(&lab.node, &psk).listen(at(NODE, COAPS))?;
    let mut client = openssl::Settings::new(&lab.backend, &psk).connect(at(NODE, COAPS))?;
    openssl::round_trip(&mut client, &mut server, "zero", SOON)?;

    // the attacker is ahead: the next eight numbers, and one far away, with bytes of his own
    let (peer, seq) = last_record(&wire)?;
    let seen = Capture::start(lab.node.device("node0"))?;
    let ahead = (seq + 1..=seq + 8).chain([seq + 1_000_000]);
    let forged = ahead.map(|seq| {
        let record = dtls::application(seq, &[0xee; 40]);
        tests::packet::Packet::udp(peer, at(NODE, COAPS)).payload(record).build()
    });
    let count = Injector::new(lab.internet.device("up0"))?.send_many(forged)?;
    assert!(seen.wait_for(count, SOON, |frame| read::is_from(frame, BACKEND)));

    let lines = ["one", "two", "three", "four", "five", "six"];
    for line in lines {
        let before = wire.snapshot().len();
        client.send(line)?;
        assert!(until(SOON, || wire.snapshot().len() > before), "{line} was not sent");
    }
    server.expect("six", SOON)?;
    let said = server.child.output();
    let lost: Vec<_> = lines.iter().filter(|line| !said.contains(*line)).collect();
    assert!(lost.len() <= 1, "{lost:?} did not arrive: {said}");
    assert_eq!(gateway.dropped("replay_conflict")?, lost.len() as u64);
    assert_eq!(gateway.drops()?.len(), lost.len(), "{:?}", gateway.drops()?);
    openssl::round_trip(&mut client, &mut server, "seven", SOON)
}

#[test]
fn a_restarted_back_end_gets_through_from_the_same_port() -> Result<()> {
    need::root_and_tools(&["coap-client-openssl", "coap-server-openssl"]);
    let lab = Lab::new()?;
    let gateway = Gateway::start(&lab.router, &format!("{EVERYDAY}{ROOMY}"))?;
    gateway.allow(BACKEND, &[])?;
    let psk = Psk::default();
    let _server = coap::Server::start(&lab.node, Flavour::OpenSsl, NODE.into(), &psk)?;
    for flavour in [Flavour::OpenSsl, Flavour::GnuTls, Flavour::OpenSsl] {
        let client = coap::Client::new(&lab.backend, flavour, &psk).timeout(SOON);
        client.from(BACKEND.into(), 42_000).get(NODE.into(), "time")?;
    }
    assert!(gateway.drops()?.is_empty(), "{:?}", gateway.drops()?);
    Ok(())
}

#[test]
fn a_killed_back_end_gets_through_again_and_its_old_session_does_not() -> Result<()> {
    need::root_and_tools(&["openssl"]);
    let lab = Lab::new()?;
    let gateway = Gateway::start(&lab.router, &format!("{EVERYDAY}{ROOMY}"))?;
    gateway.allow(BACKEND, &[])?;
    let psk = Psk::default();
    let wire = Capture::filtered(lab.internet.device("up0"), is_sent)?;
    let node = openssl::Settings::new(&lab.node, &psk);
    let backend = openssl::Settings::new(&lab.backend, &psk).bind(at(BACKEND, 41_000));
    let mut ends = Vec::new();
    for _ in 0..3 {
        // killed at both ends: nobody says goodbye
        ends.clear();
        let mut server = node.listen(at(NODE, COAPS))?;
        let mut client = backend.connect(at(NODE, COAPS))?;
        openssl::round_trip(&mut client, &mut server, "lamp on", SOON)?;
        ends.extend([client, server]);
    }
    assert!(gateway.drops()?.is_empty(), "{:?}", gateway.drops()?);
    replay(&lab, &gateway, &recorded(&wire))
}

fn no_false_drop(gateway: &Gateway<'_>) -> Result<()> {
    let drops = gateway.drops()?;
    let wrong: Vec<_> = FALSE.iter().filter(|reason| drops.contains_key(**reason)).collect();
    ensure!(wrong.is_empty(), "{wrong:?} in {drops:?}");
    Ok(())
}

#[test]
fn loss_causes_no_false_drop() -> Result<()> {
    need::root_and_tools(&["coap-client-openssl", "coap-client-gnutls", "coap-server-openssl"]);
    let lab = Lab::new()?;
    let gateway = Gateway::start(&lab.router, &format!("{EVERYDAY}{ROOMY}"))?;
    gateway.allow(BACKEND, &[])?;
    let psk = Psk::default();
    let _server = coap::Server::start(&lab.node, Flavour::OpenSsl, NODE.into(), &psk)?;
    // before the filter, behind it, and on the way back
    let losses = [
        Loss::egress(lab.internet.device("up0"), 100)?,
        Loss::egress(lab.router.device("lln0"), 100)?,
        Loss::egress(lab.node.device("node0"), 150)?,
    ];
    let run = |flavour: Flavour| {
        let client = coap::Client::new(&lab.backend, flavour, &psk).timeout(LATE);
        // a client that gives up says nothing about the filter: another one tries
        until(LATE, || client.get(NODE.into(), "time").is_ok())
    };
    let done = thread::scope(|scope| {
        let flavours = [Flavour::OpenSsl, Flavour::GnuTls, Flavour::OpenSsl, Flavour::GnuTls];
        let all = flavours.map(|flavour| scope.spawn(move || run(flavour)));
        all.map(|one| one.join().unwrap_or(false))
    });
    assert_eq!(done, [true; 4]);
    let lost: u64 = losses.iter().map(|loss| loss.dropped().unwrap_or(0)).sum();
    assert!(lost > 0);
    no_false_drop(&gateway)
}

/// Carries the back-end's datagrams over `up0` in place of the kernel, a few at a time, backwards.
fn reorder(lab: &Lab, arriving: &Capture, over: &AtomicBool) -> Result<usize> {
    const HOLD: Duration = Duration::from_millis(150);
    const MOST: usize = 4;
    let wire = Injector::new(lab.internet.device("up0"))?;
    let (mut taken, mut swapped) = (0, 0);
    while !over.load(Ordering::Relaxed) {
        let begin = Instant::now();
        until(HOLD, || arriving.snapshot().len() >= taken + MOST);
        let batch = arriving.snapshot().split_off(taken);
        taken += batch.len();
        swapped += batch.len().saturating_sub(1);
        for frame in batch.iter().rev() {
            let rest = frame.bytes.get(12..).context("a whole frame")?;
            wire.send(&[&MAC_WAN0[..], &MAC_UP0, rest].concat())?;
        }
        ensure!(begin.elapsed() < SOON, "the reordering link is too slow");
    }
    Ok(swapped)
}

#[test]
fn reordering_causes_no_false_drop() -> Result<()> {
    need::root_and_tools(&["openssl", "gnutls-cli", "gnutls-serv"]);
    let lab = Lab::new()?;
    let gateway = Gateway::start(&lab.router, &format!("{EVERYDAY}{ROOMY}"))?;
    gateway.allow(BACKEND, &[])?;
    let psk = Psk::default();
    let rules = "table inet hold { chain pass { type filter hook forward priority 0; \
                 ip6 saddr 2001:db8:b::2 udp dport 5684 counter drop; }; }";
    lab.internet.run(&["nft", rules])?;
    let arriving = Capture::filtered(lab.internet.device("be0"), |frame| {
        let to_node = Datagram::from_frame(&frame.bytes).is_some_and(|d| d.dst.port() == COAPS);
        !frame.outgoing && to_node
    })?;
    let _server = gnutls::Settings::new(&lab.node, &psk).listen(at(NODE, COAPS))?;
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let link = scope.spawn(|| reorder(&lab, &arriving, &over));
        let session = (|| -> Result<()> {
            let backend = openssl::Settings::new(&lab.backend, &psk);
            let mut client = backend.connect_within(at(NODE, COAPS), LATE)?;
            let lines: Vec<_> = (0..40).map(|number| format!("line-{number}-")).collect();
            for line in &lines {
                let before = arriving.snapshot().len();
                client.send(line)?;
                ensure!(until(SOON, || arriving.snapshot().len() > before), "{line} is not sent");
            }
            for line in &lines {
                client.expect(line, SOON)?;
            }
            client.close().map(drop)
        })();
        over.store(true, Ordering::Relaxed);
        let swapped = link.join().expect("the link does not panic")?;
        session?;
        ensure!(swapped >= 10, "only {swapped} frames changed places");
        Ok(())
    })?;
    no_false_drop(&gateway)
}
