//! Bad networks: loss, duplication, re-ordering, each run told by its seed.

use std::vec::Vec;

use gateway_common::wire::dtls::content;

use crate::{
    Config, Origin, Why,
    testing::{
        Dice,
        client::{Client, Event, Wish},
        world::{Seen, Weather, World, open},
    },
};

use super::handshake::BOTH;

/// Seeds of a sweep. Each is a session of its own kind in weather of its own.
const SEEDS: u64 = 3_000;

fn stream(seed: u64, length: u64) -> Vec<u8> {
    let mut dice = Dice(seed);
    (0..length).map(|_| dice.roll() as u8).collect()
}

/// A session, and what its client sent.
fn storm(seed: u64, origin: Origin) -> (World, Vec<Vec<u8>>) {
    let mut dice = Dice(seed);
    let ack_window = 1 + dice.below(4) as u8;
    let config = if dice.percent(50) { open() } else { Config::default() };
    let mut world = World::new(Config { ack_window, ..config }, seed);
    world.weather =
        Weather { loss: dice.below(41), duplication: dice.below(30), jitter: dice.below(3_000) };
    let fragment = if dice.percent(30) { 40 } else { 1_000 };
    let window = usize::from(ack_window);
    let mut client = Client::new(Wish { fragment, window, ..Wish::of(origin) }, seed);
    let data = stream(seed, dice.below(4_000));
    let pieces: Vec<Vec<u8>> =
        data.chunks(200 + dice.below(400) as usize).map(<[u8]>::to_vec).collect();
    for piece in &pieces {
        client.send(0, content::APPLICATION_DATA, piece);
    }
    world.join(client);
    world.run(3_000_000);
    (world, pieces)
}

/// TLS's promise through the border: the stream, or a clean end; never a gap.
#[test]
fn mapped_streams_are_whole_or_reset() {
    let mut whole = 0;
    for seed in 0..SEEDS {
        let (world, sent) = storm(seed, Origin::Tls);
        let sent = sent.concat();
        let received = world.received(0);
        let got: Vec<u8> = world.seen.iter().filter_map(data).collect::<Vec<_>>().concat();
        assert!(sent.starts_with(&got) && got.starts_with(&received), "seed {seed}");
        let failed = world.events(0).contains(&Event::Reset) || world.seen.iter().any(unreachable);
        let last = (world.events(0).last(), world.seen.last());
        assert!(failed || received == sent, "seed {seed}: {} {last:02x?}", received.len());
        whole += usize::from(!failed);
        assert_eq!(world.server.counters().forged, 0, "seed {seed}");
        assert!(world.is_empty(), "seed {seed}");
    }
    assert!(whole as u64 > SEEDS / 2, "{whole} of {SEEDS}");
}

#[test]
fn mapped_streams_survive_moderate_loss() {
    let mut whole = 0;
    for seed in 0..300 {
        let mut world = World::new(open(), seed);
        world.weather = Weather { loss: 10, duplication: 5, jitter: 300 };
        let mut client = Client::new(Wish::of(Origin::Tls), seed);
        let sent = stream(seed, 5_000);
        for piece in sent.chunks(500) {
            client.send(0, content::APPLICATION_DATA, piece);
        }
        world.join(client);
        world.run(250_000);
        whole += usize::from(world.received(0) == sent);
    }
    // a record or its report is lost five times running once in 4,000
    assert!(whole >= 297, "{whole} of 300");
}

/// DTLS's promise: each message once and unchanged, or not at all.
#[test]
fn native_messages_arrive_once_and_unchanged() {
    for seed in 0..SEEDS / 2 {
        let (world, mut sent) = storm(seed, Origin::Dtls);
        for message in world.seen.iter().filter_map(data) {
            let place = sent.iter().position(|sent| sent == message);
            let place = place.unwrap_or_else(|| panic!("seed {seed}: never sent, or twice here"));
            sent.remove(place);
        }
        let reset = world.events(0).contains(&Event::Reset);
        assert!(reset || world.is_connected(0), "seed {seed}");
        assert!(world.is_empty(), "seed {seed}");
    }
}

fn data(seen: &Seen) -> Option<&[u8]> {
    match seen {
        Seen::Data(_, data) => Some(data),
        Seen::Connected(..) | Seen::Closed(..) => None,
    }
}

fn unreachable(seen: &Seen) -> bool {
    matches!(seen, Seen::Closed(_, Why::Unreachable))
}

#[test]
fn silent_peer_ends_by_the_clock() {
    for origin in BOTH {
        let mut world = World::new(open(), 3);
        world.join(Client::new(Wish::of(origin), 3));
        world.run(290_000);
        assert!(!world.is_empty());
        world.run(20_000);
        assert!(matches!(world.seen.last(), Some(Seen::Closed(_, Why::Idle))));
        assert!(world.is_empty());
    }
}

#[test]
fn unconfirmed_record_frees_the_session() {
    let mut world = World::new(open(), 3);
    world.join(Client::new(Wish::of(Origin::Tls), 3));
    world.run(1_000);
    world.clients[0].send(world.now, content::APPLICATION_DATA, b"a request");
    world.run(11); // it is on its way when the network goes down
    world.weather.loss = 100;
    let Some(Seen::Connected(session, ..)) = world.seen.first().cloned() else {
        panic!("{:?}", world.seen);
    };
    let _ = world.server.send(crate::Instant(world.now), session, b"an answer");
    let before = world.wire.len();
    world.run(200_000);
    assert_eq!(world.seen.last(), Some(&Seen::Closed(session, Why::Unreachable)));
    let sent: Vec<_> = world.wire[before..].iter().filter(|(to_server, _)| !to_server).collect();
    let [again @ .., last] = &sent[..] else { panic!("nothing was sent") };
    assert!(again.len() >= 4 && again.windows(2).all(|pair| pair[0] == pair[1]), "{sent:02x?}");
    // content, and the low bytes of the number: the next one after the record that was given up
    let number = |datagram: &[u8]| u16::from_be_bytes([datagram[9], datagram[10]]);
    assert_eq!(last.1[0], content::ALERT);
    assert_eq!(number(&last.1), number(&again[0].1) + 1);
}

#[test]
fn a_close_that_the_peer_began_is_told_once_even_if_its_answer_is_lost() {
    let mut world = World::new(open(), 3);
    world.join(Client::new(Wish::of(Origin::Tls), 3));
    world.run(1_000);
    world.clients[0].close(world.now);
    world.run(11); // it is on its way when the network goes down
    world.weather.loss = 100;
    world.run(200_000);
    let closed: Vec<_> =
        world.seen.iter().filter(|seen| matches!(seen, Seen::Closed(..))).collect();
    assert!(matches!(closed[..], [Seen::Closed(_, Why::Peer)]), "{closed:?}");
    assert!(world.is_empty());
}
