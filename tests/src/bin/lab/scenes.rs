//! What passes and what dies, one scene a claim.
use super::{mapped, world::World};
use anyhow::{Context as _, Result, ensure};
use std::{net::IpAddr, thread, time::Duration};
use tests::{
    lab::{
        topology::{ATTACKER, BACKEND, BACKEND_2, NODE, NODE_2},
        until,
    },
    packet::{Packet, dtls},
    peer::openssl::{self, Settings},
};

/// A claim and the play that proves it.
pub struct Scene {
    pub claim: &'static str,
    pub play: fn(&mut World) -> Result<String>,
}

pub const ALL: &[Scene] = &[
    Scene { claim: "a back-end that is not admitted does not reach the node", play: stranger },
    Scene { claim: "an admitted back-end talks CoAP over DTLS to the node", play: admitted },
    Scene {
        claim: "a flood with forged sources dies, and the back-end keeps working",
        play: flood,
    },
    Scene { claim: "a recorded session, replayed, dies to the last record", play: replay },
    Scene { claim: "a forged record does not lock the true sender out", play: forgery },
    Scene { claim: "an admitted source over its rate is limited, another is not", play: rate },
    Scene { claim: "what is no DTLS for a DTLS port never reaches the radio", play: content },
    Scene {
        claim: "an HTTPS client reads a DTLS node through the router, which has no key",
        play: mapped::play,
    },
];

const COAPS: u16 = 5684;
const PATIENCE: Duration = Duration::from_secs(5);
const FLOOD: usize = 20_000;

fn stranger(world: &mut World) -> Result<String> {
    let _ = world.gateway(&["allow", "remove", &BACKEND.to_string()]);
    let before = world.reached();
    let attempt = |world: &mut World| Ok(world.get(BACKEND.into(), Duration::from_secs(1)));
    let (answer, dropped) = world.counting("no_lease", attempt)?;
    ensure!(answer.is_err(), "the node answered: {answer:?}");
    ensure!(dropped > 0, "nothing was dropped as no_lease");
    ensure!(world.reached() == before, "something reached the node");
    Ok(format!("{dropped} datagrams dropped as no_lease; the node saw none"))
}

fn admitted(world: &mut World) -> Result<String> {
    let comment = ["--comment", "the lab's back-end"];
    let admit = ["allow", "add", &BACKEND.to_string(), "--node", &NODE.to_string(), "--for", "1h"];
    world.gateway(&[admit.as_slice(), &comment].concat())?;
    let answer = world.get(BACKEND.into(), PATIENCE)?;
    Ok(format!(
        "`gateway allow add {BACKEND} --node {NODE} --for 1h`; GET /time: {}",
        answer.trim()
    ))
}

/// A ClientHello from anyone to the node.
fn hello(source: std::net::Ipv6Addr, port: u16, random: u8) -> Packet {
    let mut hello = dtls::ClientHello::new();
    hello.random = [random; 32];
    Packet::udp6(source, NODE, port, COAPS).payload(hello.record(0, 0))
}

fn flood(world: &mut World) -> Result<String> {
    let frames: Vec<Vec<u8>> = (0..512u16)
        .map(|n| {
            let mut source = ATTACKER.segments();
            (source[6], source[7]) = (n.wrapping_mul(40_503), n);
            hello(source.into(), 1024 + n, n as u8).build()
        })
        .collect();
    let before = world.reached();
    let (answers, dropped) = world.counting("no_lease", |world| {
        thread::scope(|scope| {
            let injector = &world.injector;
            let attack = scope.spawn(|| injector.flood(&frames, FLOOD, None));
            let mut answers = 0;
            while !attack.is_finished() || answers == 0 {
                world.get(BACKEND.into(), PATIENCE)?;
                answers += 1;
            }
            attack.join().map_err(|_| anyhow::anyhow!("the flood panicked"))??;
            Ok(answers)
        })
    })?;
    ensure!(dropped as usize >= FLOOD, "{dropped} of {FLOOD} dropped as no_lease");
    let strangers = world.node.count(|frame| {
        let datagram = tests::packet::Datagram::from_frame(frame);
        datagram.is_some_and(|d| {
            let known = [IpAddr::from(BACKEND), IpAddr::from(BACKEND_2)];
            d.dst.ip() == IpAddr::from(NODE) && !known.contains(&d.src.ip())
        })
    });
    ensure!(strangers == 0, "{strangers} datagrams of strangers reached the node");
    let reached = world.reached() - before;
    Ok(format!(
        "{dropped} dropped, {answers} requests answered meanwhile, {reached} datagrams reached the node, all the back-end's"
    ))
}

fn replay(world: &mut World) -> Result<String> {
    let seen = world.uplink.snapshot().len();
    world.get(BACKEND.into(), PATIENCE)?;
    let frames: Vec<Vec<u8>> = world
        .uplink
        .snapshot()
        .split_off(seen)
        .into_iter()
        .map(|captured| captured.bytes)
        .collect();
    let session: Vec<Vec<u8>> = World::to_node(&frames)
        .into_iter()
        .filter(|(_, datagram)| datagram.src.ip() == IpAddr::from(BACKEND))
        .filter(|(_, datagram)| holds_more_than_plaintext(&datagram.payload))
        .map(|(frame, _)| frame)
        .collect();
    ensure!(session.len() >= 3, "only {} datagrams recorded", session.len());
    let before = world.reached();
    let (_, dropped) =
        world.counting("replayed", |world| world.injector.send_many(&session).context("replay"))?;
    ensure!(
        dropped as usize == session.len(),
        "{dropped} of {} dropped as replayed",
        session.len()
    );
    ensure!(world.reached() == before, "something reached the node");
    Ok(format!("{} datagrams sent again, {dropped} dropped as replayed", session.len()))
}

/// Whether a datagram holds a record that can be told from its like: a ClientHello or a protected
/// one. The other plaintext records of a handshake are the same in every session, and harmless.
fn holds_more_than_plaintext(payload: &[u8]) -> bool {
    const CLIENT_HELLO: u8 = 1;
    dtls::records(payload).is_some_and(|records| {
        records.iter().any(|record| record.epoch > 0 || record.body.first() == Some(&CLIENT_HELLO))
    })
}

fn forgery(world: &mut World) -> Result<String> {
    let admit = ["allow", "add", &BACKEND_2.to_string(), "--rate", "50/s"];
    world.gateway(&admit)?;
    let server = (NODE_2, COAPS).into();
    let mut node = Settings::new(&world.lab.node, &world.psk).listen(server)?;
    let here = (BACKEND_2, 0).into();
    let mut back_end = Settings::new(&world.lab.backend, &world.psk).bind(here).connect(server)?;
    openssl::round_trip(&mut back_end, &mut node, "before the forgery", PATIENCE)?;
    let sent = world.uplink.snapshot();
    let last = sent
        .iter()
        .rev()
        .filter_map(|captured| tests::packet::Datagram::from_frame(&captured.bytes))
        .find(|datagram| datagram.dst == server)
        .context("no datagram of the session was recorded")?;
    let record = dtls::records(&last.payload).and_then(|mut r| r.pop()).context("no record")?;
    let (_, conflicts) = world.counting("replay_conflict", |world| {
        for ahead in 1..=3 {
            let forged =
                dtls::record(23, dtls::DTLS12, 1, record.seq + ahead, &[0xbad_u16 as u8; 40]);
            let mut datagram = last.clone();
            datagram.payload = forged;
            world.injector.send(&datagram.packet().build())?;
        }
        back_end.send("lost to the forger, who was first")?;
        let conflict = |world: &World| world.drops().map_or(0, |drops| drops["replay_conflict"]);
        until(PATIENCE, || conflict(world) > 0);
        openssl::round_trip(&mut back_end, &mut node, "after the forgery", PATIENCE)
    })?;
    back_end.close()?;
    node.close()?;
    ensure!(conflicts <= 1, "{conflicts} conflicts dropped, at most one a minute should be");
    Ok(format!("3 forged records ahead of the sender: {conflicts} lost to them, the rest arrived"))
}

fn rate(world: &mut World) -> Result<String> {
    world.gateway(&["allow", "add", &BACKEND_2.to_string(), "--rate", "5/s", "--burst", "10"])?;
    // records without a session: they cost the node's server nothing that it would run out of
    let (first, fill) = (world.fresh_port(), [world.reached() as u8; 40]);
    let record = dtls::application(1, &fill);
    let datagram = |port| Packet::udp6(BACKEND_2, NODE, port, COAPS).payload(&record).build();
    let frames: Vec<Vec<u8>> = (0..200).map(|n| datagram(first + n)).collect();
    let (_, limited) = world.counting("source_packets", |world| {
        world.injector.send_many(&frames)?;
        world.get(BACKEND.into(), PATIENCE)
    })?;
    ensure!(limited >= 150, "only {limited} of 200 limited");
    Ok(format!("200 datagrams at once from a source with 5/s: {limited} dropped, the other works"))
}

fn content(world: &mut World) -> Result<String> {
    let datagram =
        |port, payload: &[u8]| Packet::udp6(BACKEND, NODE, 40_000, port).payload(payload);
    let big = dtls::record(23, dtls::DTLS12, 1, 9, &[0; 1300]);
    let cases = [
        ("plain_coap", datagram(5683, &[0x40, 1, 0, 1]).build()),
        ("udp_port", datagram(9999, b"hello").build()),
        ("not_dtls", datagram(COAPS, b"GET / HTTP/1.1\r\n\r\n").build()),
        ("oversize", datagram(COAPS, &big).build()),
        (
            "routing_header",
            datagram(COAPS, &dtls::application(9, &[0; 32]))
                .extension(tests::packet::Extension::routing(0, 1))
                .build(),
        ),
        (
            "fragment",
            datagram(COAPS, &dtls::application(9, &[0; 32]))
                .extension(tests::packet::Extension::fragment(0, true, 7))
                .build(),
        ),
    ];
    let before = world.reached();
    let mut names = Vec::new();
    for (reason, frame) in &cases {
        let (_, dropped) = world.counting(reason, |world| world.injector.send(frame))?;
        ensure!(dropped == 1, "{dropped} dropped as {reason}");
        names.push(*reason);
    }
    ensure!(world.reached() == before, "something reached the node");
    Ok(format!("dropped: {}", names.join(", ")))
}
