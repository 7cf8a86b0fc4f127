//! Floods: what an attacker sends costs admitted back-ends nothing, and the LLN not one frame.

use std::{
    net::{IpAddr, Ipv6Addr},
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use gateway_common::{abi::SHARED_SLOTS, hash::Key as _, wire::Address};
use gateway_user::dataplane::{Maps, Pins};
use tests::{
    lab::{
        Capture, Gateway, Injector, Lab,
        gateway::{EVERYDAY, ROOMY},
        topology::{BACKEND, BACKEND_2, NODE, NODE_2},
        until,
    },
    need,
    packet::{Packet, dtls, read},
    peer::{
        Psk,
        coap::{self, COAPS, Flavour},
    },
};

const SOON: Duration = Duration::from_secs(30);
const PACE: u32 = 20_000;
const BATCH: usize = 1000;

fn record(source: Ipv6Addr, seq: u64) -> Vec<u8> {
    let packet = Packet::udp6(source, NODE, 40_000, COAPS);
    packet.payload(dtls::application(seq, &[7; 40])).build()
}

/// Sources all over the Internet, none of them twice.
fn forged(count: u64) -> Vec<Vec<u8>> {
    let source = |n: u64| {
        let spread = n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        Ipv6Addr::from(0x2600 << 112 | u128::from(spread) << 32 | u128::from(n))
    };
    (0..count).map(|n| record(source(n), n)).collect()
}

/// Runs `task` under a flood of `frames`, which goes on until at least `least` were sent, and says
/// how many were.
fn under_flood(
    lab: &Lab,
    frames: &[Vec<u8>],
    least: usize,
    task: impl FnOnce() -> Result<()>,
) -> Result<usize> {
    let wire = Injector::new(lab.internet.device("up0"))?;
    let (over, sent) = (AtomicBool::new(false), AtomicUsize::new(0));
    thread::scope(|scope| {
        let flood = scope.spawn(|| -> Result<()> {
            for batch in frames.chunks(BATCH).cycle() {
                if over.load(Ordering::Relaxed) && sent.load(Ordering::Relaxed) >= least {
                    break;
                }
                let flooded = wire.flood(batch, batch.len(), Some(PACE))?;
                sent.fetch_add(flooded.sent, Ordering::Relaxed);
            }
            Ok(())
        });
        ensure!(until(SOON, || sent.load(Ordering::Relaxed) > BATCH), "no flood");
        let result = task();
        over.store(true, Ordering::Relaxed);
        flood.join().expect("the flood does not panic")?;
        result
    })?;
    Ok(sent.into_inner())
}

#[test]
fn an_admitted_back_end_is_served_through_a_flood_of_forged_sources() -> Result<()> {
    need::root_and_tools(&["coap-client-openssl", "coap-server-openssl"]);
    let lab = Lab::new()?;
    let gateway = Gateway::start(&lab.router, &format!("{EVERYDAY}{ROOMY}"))?;
    gateway.allow(BACKEND, &[])?;
    let psk = Psk::default();
    let server = coap::Server::start(&lab.node, Flavour::OpenSsl, NODE.into(), &psk)?;
    let seen = Capture::start(lab.node.device("node0"))?;
    let client = coap::Client::new(&lab.backend, Flavour::OpenSsl, &psk).timeout(SOON);
    let sent = under_flood(&lab, &forged(10_000), 40_000, || {
        (0..5).try_for_each(|_| client.get(NODE.into(), "time").map(drop))
    })?;
    assert!(sent >= 40_000, "{sent}");
    assert!(server.requests() >= 5, "{}", server.child.output());
    // what the veth's queue had no room for never came to the filter
    gateway.wait_for_drops("no_lease", sent as u64 / 4, SOON)?;
    let strangers = seen.count(|frame| {
        read::source_of(frame).is_some_and(|source| source.to_string().starts_with("2600:"))
    });
    assert_eq!(strangers, 0);
    assert_eq!(gateway.drops()?.keys().collect::<Vec<_>>(), ["no_lease"]);
    Ok(())
}

#[test]
fn strangers_leave_no_trace_in_memory() -> Result<()> {
    need::root_and_tools(&[]);
    let lab = Lab::new()?;
    let gateway = Gateway::start(&lab.router, &format!("{EVERYDAY}{ROOMY}"))?;
    gateway.allow(BACKEND, &[])?;
    let frames = forged(20_000);
    let wire = Injector::new(lab.internet.device("up0"))?;
    wire.flood(&frames, frames.len(), Some(PACE))?;
    gateway.wait_for_drops("no_lease", 5_000, SOON)?;
    let status = gateway.json(&["status"])?;
    assert_eq!(status["associations"], 0, "{status}");
    assert_eq!(status["addresses"], 1, "{status}");
    Ok(())
}

#[test]
fn a_source_over_its_rate_is_limited_and_another_is_not() -> Result<()> {
    need::root_and_tools(&["coap-client-openssl", "coap-server-openssl"]);
    let lab = Lab::new()?;
    let gateway = Gateway::start(&lab.router, &format!("{EVERYDAY}{ROOMY}"))?;
    gateway.allow(BACKEND, &["--rate", "5/s", "--burst", "10"])?;
    gateway.allow(BACKEND_2, &[])?;
    let psk = Psk::default();
    let _server = coap::Server::start(&lab.node, Flavour::OpenSsl, NODE.into(), &psk)?;
    let seen = Capture::start(lab.node.device("node0"))?;
    let frames: Vec<_> = (0..20_000).map(|seq| record(BACKEND, seq)).collect();
    let client = coap::Client::new(&lab.backend, Flavour::OpenSsl, &psk).timeout(SOON);
    let client = client.from(BACKEND_2.into(), 0);
    let begin = Instant::now();
    under_flood(&lab, &frames, 2_000, || {
        (0..3).try_for_each(|_| client.get(NODE.into(), "time").map(drop))
    })?;
    let passed = seen.count(|frame| read::is_from(frame, BACKEND));
    let most = 10 + 5 * (begin.elapsed().as_secs() as usize + 1);
    assert!((10..=most).contains(&passed), "{passed} passed, at most {most} should");
    let limited = gateway.dropped("source_packets")?;
    assert!(limited > 500, "{:?}", gateway.drops()?);
    assert!(gateway.source(BACKEND)?["drops"].as_u64() > Some(500));
    assert_eq!(gateway.source(BACKEND_2)?["drops"], 0);
    Ok(())
}

#[test]
fn a_source_over_its_bytes_is_limited() -> Result<()> {
    need::root_and_tools(&[]);
    let lab = Lab::new()?;
    let gateway = Gateway::start(&lab.router, &format!("{EVERYDAY}{ROOMY}"))?;
    gateway.allow(BACKEND, &["--bytes", "1500B/s", "--byte-burst", "3000B"])?;
    let wire = Injector::new(lab.internet.device("up0"))?;
    wire.send_many((0..100).map(|seq| {
        let packet = Packet::udp6(BACKEND, NODE, 40_000, COAPS);
        packet.payload(dtls::application(seq, &[7; 1000])).build()
    }))?;
    gateway.wait_for_drops("source_bytes", 50, SOON)
}

#[test]
fn a_node_gets_no_more_than_its_budget_and_its_neighbour_is_not_charged() -> Result<()> {
    need::root_and_tools(&["coap-client-openssl", "coap-server-openssl"]);
    let lab = Lab::new()?;
    let rates = "\
        [rate]\n\
        source = { packets = \"unlimited\", bytes = \"unlimited\" }\n\
        node = { packets = \"20/s\", packet_burst = 40, bytes = \"unlimited\" }\n\
        lln = { packets = \"unlimited\", bytes = \"unlimited\" }\n\
        unproven = { packets = \"unlimited\" }\n";
    let gateway = Gateway::start(&lab.router, &format!("{EVERYDAY}{rates}"))?;
    gateway.allow(BACKEND, &[])?;
    let psk = Psk::default();
    let _server = coap::Server::start(&lab.node, Flavour::OpenSsl, NODE_2.into(), &psk)?;
    let frames: Vec<_> = (0..20_000).map(|seq| record(BACKEND, seq)).collect();
    let client = coap::Client::new(&lab.backend, Flavour::OpenSsl, &psk).timeout(SOON);
    under_flood(&lab, &frames, 2_000, || client.get(NODE_2.into(), "time").map(drop))?;
    gateway.wait_for_drops("node_packets", 500, SOON)
}

/// An address of the prefix whose budget is not the one that `other` draws on.
fn stranger_to(other: Ipv6Addr, gateway: &Gateway<'_>) -> Result<Ipv6Addr> {
    let key = Maps::open(&Pins::new(gateway.bpffs()))?.settings()?.key;
    let bucket = |address: Ipv6Addr| {
        let (high, low) = Address::from(IpAddr::from(address)).raw_words();
        key.hash([high, low, 1]) as u32 % SHARED_SLOTS
    };
    let mut candidates = (0x1000u16..).map(|n| Ipv6Addr::new(0x2001, 0xdb8, 0xb, 0, 0, 0, 0, n));
    Ok(candidates.find(|one| bucket(*one) != bucket(other)).expect("thousands to choose from"))
}

#[test]
fn a_flood_from_inside_an_admitted_prefix_leaves_its_other_sources_alone() -> Result<()> {
    need::root_and_tools(&["coap-client-openssl", "coap-server-openssl"]);
    let lab = Lab::new()?;
    let gateway = Gateway::start(&lab.router, &format!("{EVERYDAY}{ROOMY}"))?;
    gateway.allow("2001:db8:b::/64", &["--rate", "20/s", "--burst", "40"])?;
    let flooder = stranger_to(BACKEND, &gateway)?;
    let psk = Psk::default();
    let _server = coap::Server::start(&lab.node, Flavour::OpenSsl, NODE.into(), &psk)?;
    let seen = Capture::start(lab.node.device("node0"))?;
    let frames: Vec<_> = (0..20_000).map(|seq| record(flooder, seq)).collect();
    let client = coap::Client::new(&lab.backend, Flavour::OpenSsl, &psk).timeout(SOON);
    let begin = Instant::now();
    under_flood(&lab, &frames, 5_000, || {
        (0..3).try_for_each(|_| client.get(NODE.into(), "time").map(drop))
    })?;
    let passed = seen.count(|frame| read::is_from(frame, flooder));
    let most = 40 + 20 * (begin.elapsed().as_secs() as usize + 1);
    assert!((1..=most).contains(&passed), "{passed} passed, at most {most} should");
    gateway.wait_for_drops("source_packets", 1_000, SOON)
}
