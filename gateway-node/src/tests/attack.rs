//! An attacker on the path, or one who can send in a peer's name: nobody without the key gets data
//! accepted, ends a session, or kills a handshake.

use std::{vec, vec::Vec};

use gateway_common::{mapping::handshake::kind, wire::dtls::content};
use proptest::prelude::*;

use crate::{
    Config, Instant, Origin, Why,
    handshake::flight::plain,
    testing::{
        Dice,
        client::{Client, Event, Wish, fragments},
        world::{Node, Seen, World, open, peer},
    },
};

use super::handshake::{BOTH, with};

fn protected(content: u8, number: u8, body: &[u8]) -> Vec<u8> {
    let length = (body.len() as u16).to_be_bytes();
    [&[content, 0xfe, 0xfd, 0, 1, 0, 0, 0, 0, 0, number], &length[..], body].concat()
}

fn clear(content: u8, number: u64, body: &[u8]) -> Vec<u8> {
    [&plain(content, number, body.len())[..], body].concat()
}

/// A bit of everything that can be made without the key.
fn forge(dice: &mut Dice, genuine: &[u8]) -> Vec<Vec<u8>> {
    let mut noise = vec![0; dice.below(80) as usize];
    crate::Random::fill(dice, &mut noise);
    let mut changed = genuine.to_vec();
    let place = dice.below(changed.len() as u64) as usize;
    changed[place] ^= 1 << dice.below(8);
    let cut = genuine[..dice.below(genuine.len() as u64) as usize].to_vec();
    let number = dice.below(4) as u8;
    let exchange = fragments(kind::CLIENT_KEY_EXCHANGE, 1, b"\x00\x05node2", 99);
    let mut kinds = vec![
        noise.clone(),
        changed,
        cut,
        clear(content::ALERT, 9, &[2, 40]),
        clear(content::CHANGE_CIPHER_SPEC, 9, &[1]),
        clear(content::HANDSHAKE, 9, &exchange[0]),
        clear(content::HANDSHAKE, 9, &noise),
        clear(content::APPLICATION_DATA, 9, b"GET / HTTP/1.1\r\n\r\n"),
        clear(content::ACK, 9, &noise),
        protected(content::HANDSHAKE, 0, &[7; 32]),
        protected(content::HANDSHAKE, 0, &[7; 40]),
        protected(content::APPLICATION_DATA, number, &[7; 40]),
        protected(content::ALERT, number, &[7; 18]),
    ];
    let one = dice.below(kinds.len() as u64) as usize;
    let other = dice.below(kinds.len() as u64) as usize;
    kinds.swap(0, one);
    kinds.swap(1, other);
    kinds.truncate(2);
    kinds
}

#[test]
fn forged_datagrams_at_each_step_end_nothing() {
    for seed in 0..400 {
        for origin in BOTH {
            let config = if seed % 2 == 0 { open() } else { Config::default() };
            let mut world = World::new(config, seed);
            world.inject = forge;
            let mut client = Client::new(Wish::of(origin), seed);
            client.send(0, content::APPLICATION_DATA, b"first");
            client.send(0, content::APPLICATION_DATA, b"second");
            world.join(client);
            world.run(200_000);
            assert!(world.is_connected(0), "seed {seed} {origin:?}");
            assert_eq!(world.received(0), b"firstsecond", "seed {seed} {origin:?}");
            let data: Vec<_> = world.seen.iter().filter(|s| matches!(s, Seen::Data(..))).collect();
            assert_eq!(data.len(), 2, "seed {seed}: {data:?}");
        }
    }
}

#[test]
fn changed_server_hello_is_detected() {
    for origin in BOTH {
        let mut world = World::new(open(), 1);
        world.tamper = |to_server, datagram| {
            if !to_server && datagram.get(13) == Some(&kind::SERVER_HELLO) {
                datagram[60] ^= 1; // in the session ID
            }
        };
        world.join(Client::new(Wish::of(origin), 7));
        world.run(600_000);
        assert!(!world.is_connected(0) && world.seen.is_empty());
        assert!(world.server.counters().attackers > 0);
        assert!(world.is_empty(), "the node's state is freed");
    }
}

#[test]
fn stripped_extension_is_detected() {
    for origin in BOTH {
        let mut world = World::new(open(), 1);
        world.tamper = |to_server, datagram| {
            if to_server && datagram.get(13) == Some(&kind::CLIENT_HELLO) {
                let end = datagram.len();
                datagram[end - 3] = 99; // extended_master_secret becomes one that nobody knows
            }
        };
        world.join(Client::new(Wish::of(origin), 7));
        world.run(600_000);
        assert!(!world.is_connected(0) && world.seen.is_empty() && world.is_empty());
    }
}

#[test]
fn tls_record_is_not_taken_for_dtls_nor_the_reverse() {
    for (origin, other) in [(Origin::Tls, Origin::Dtls), (Origin::Dtls, Origin::Tls)] {
        let mut world = with(open(), Wish { extended: false, ..Wish::of(origin) });
        world.clients[0].wish.origin = other;
        world.clients[0].send(world.now, content::APPLICATION_DATA, b"in the other form");
        world.run(60_000);
        assert!(world.seen.iter().all(|seen| !matches!(seen, Seen::Data(..))));
        assert!(world.server.counters().forged > 0);
    }
}

#[test]
fn replayed_session_says_nothing_again() {
    for origin in BOTH {
        let mut world = with(open(), Wish::of(origin));
        for _ in 0..3 {
            world.clients[0].send(world.now, content::APPLICATION_DATA, b"unlock");
            world.run(1_000);
        }
        let seen = world.seen.len();
        let recorded: Vec<Vec<u8>> =
            world.wire.iter().filter(|(to_server, _)| *to_server).map(|(_, d)| d.clone()).collect();
        let replay = |world: &mut World| {
            for datagram in &recorded {
                world.deliver(peer(0), datagram);
                world.now += 3_000;
            }
        };
        replay(&mut world);
        assert_eq!(world.seen.len(), seen, "{:?}", world.seen);
        assert!(world.server.counters().replayed >= 3);
        world.clients[0].close(world.now);
        world.run(20_000);
        replay(&mut world);
        assert!(matches!(world.seen.last(), Some(Seen::Closed(_, Why::Peer))));
        assert_eq!(world.server.counters().connected, 1);
    }
}

#[test]
fn changed_record_is_dropped_and_the_session_lives() {
    for origin in BOTH {
        let mut world = with(open(), Wish::of(origin));
        let genuine = world.clients[0].seal(content::APPLICATION_DATA, b"genuine");
        for place in 13..genuine.len() {
            let mut changed = genuine.clone();
            changed[place] ^= 0x40;
            world.deliver(peer(0), &changed);
        }
        assert_eq!(world.server.counters().forged as usize, genuine.len() - 13);
        world.deliver(peer(0), &genuine);
        assert!(matches!(world.seen.last(), Some(Seen::Data(_, data)) if data == b"genuine"));
    }
}

#[test]
fn renegotiation_is_refused_and_the_session_lives() {
    for origin in BOTH {
        let mut world = with(open(), Wish::of(origin));
        let hello = [vec![kind::CLIENT_HELLO, 0, 0, 1], vec![0; 9]].concat();
        world.clients[0].send(world.now, content::HANDSHAKE, &hello);
        world.clients[0].send(world.now, content::APPLICATION_DATA, b"still here");
        world.run(10_000);
        assert!(world.events(0).contains(&Event::Alert(100)));
        assert_eq!(world.received(0), b"still here");
    }
}

#[test]
fn fatal_alert_ends_the_session_only_if_authentic() {
    for origin in BOTH {
        let mut world = with(open(), Wish::of(origin));
        world.deliver(peer(0), &clear(content::ALERT, 9, &[2, 20]));
        assert!(!world.is_empty());
        world.clients[0].send(world.now, content::ALERT, &[2, 20]);
        world.run(1_000);
        assert!(matches!(world.seen.last(), Some(Seen::Closed(_, Why::Alert(20)))));
        assert!(world.is_empty());
    }
}

#[test]
fn final_flight_is_repeated_four_times_and_its_finished_is_the_same() {
    for origin in BOTH {
        let mut world = with(open(), Wish::of(origin));
        let to_server: Vec<_> = world.wire.iter().filter(|(to, _)| *to).cloned().collect();
        let flight = &to_server[1].1;
        let before = world.wire.len();
        for _ in 0..20 {
            world.deliver(peer(0), flight);
            world.now += 1_000;
        }
        let length = if origin == Origin::Tls { 45 } else { 53 };
        let sent = world.wire[before..].iter();
        let ends = sent.filter_map(|(_, sent)| sent.get(sent.len().checked_sub(length)?..));
        let finished: Vec<_> = ends.filter(|end| end[0] == content::HANDSHAKE).collect();
        assert_eq!(finished.len(), 4);
        assert!(finished.windows(2).all(|pair| pair[0] == pair[1]));
    }
}

#[test]
fn failed_trials_are_limited() {
    for origin in BOTH {
        let mut world = World::new(open(), 1);
        world.join(Client::new(Wish::of(origin), 7));
        world.run(25); // ServerHello is on its way back
        let exchange = fragments(kind::CLIENT_KEY_EXCHANGE, 1, b"\x00\x05node1", 99);
        world.deliver(peer(0), &clear(content::HANDSHAKE, 1, &exchange[0]));
        for _ in 0..100 {
            world.deliver(peer(0), &protected(content::HANDSHAKE, 0, &[7; 32]));
        }
        let counters = *world.server.counters();
        assert_eq!((counters.attackers, counters.untried), (4, 96));
        world.run(60_000);
        assert!(world.is_connected(0), "the client's next flight gets through");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn any_bytes_leave_the_server_standing(
        datagrams in proptest::collection::vec(
            (0..3_u8, proptest::collection::vec(any::<u8>(), 0..200)), 1..30),
        shapes in proptest::collection::vec(any::<[u8; 3]>(), 30),
    ) {
        let mut world = World::new(open(), 1);
        for ((from, bytes), [content, epoch, header]) in datagrams.iter().zip(shapes) {
            let shaped = if epoch % 2 == 0 {
                clear(20 + content % 8, header.into(), bytes)
            } else {
                protected(20 + content % 8, header, bytes)
            };
            world.deliver(peer(usize::from(*from)), if header % 3 == 0 { bytes } else { &shaped });
            world.now += u64::from(header) * 100;
        }
        prop_assert!(world.seen.is_empty());
    }
}

#[test]
fn forged_early_records_are_neither_kept_nor_reported() {
    let mut world = World::new(Config { ack_window: 4, ..open() }, 1);
    for seed in 0..2 {
        world.join(Client::new(Wish::of(Origin::Tls), seed));
        world.run(1_000);
        for number in 2..5 {
            let forged = protected(content::APPLICATION_DATA, number, &[7; 40]);
            world.deliver(peer(seed as usize), &forged);
        }
    }
    assert_eq!(world.server.counters().forged, 6);
    for client in 0..2 {
        world.clients[client].send(world.now, content::APPLICATION_DATA, b"a request");
        world.run(1_000);
        assert_eq!(world.received(client), b"a request");
    }
}

#[test]
fn second_datagram_before_the_first_is_read_is_counted() {
    let mut world = World::new(open(), 1);
    let server: &mut Node = &mut world.server;
    server.handle_datagram(Instant(1), peer(0), &[1, 2, 3]);
    server.handle_datagram(Instant(1), peer(0), &[1, 2, 3]);
    assert_eq!(server.counters().crowded, 1);
}
