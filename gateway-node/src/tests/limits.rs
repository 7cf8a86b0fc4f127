//! Tables that are full, peers that come again, and what it all weighs.

use std::vec::Vec;

use gateway_common::{mapping::handshake::kind, wire::dtls::content};

use crate::{
    Config, Evict, Origin, SendError, Why,
    handshake::Handshake,
    resumption::Resumable,
    session::Session,
    testing::{
        client::{Client, Event, Wish},
        world::{Seen, World, open},
    },
};

use super::handshake::{BOTH, with};

// what performance targets promise, on a 64-bit machine; less where pointers are shorter
const _: () = assert!(size_of::<Session>() <= 256);
const _: () = assert!(size_of::<Handshake>() <= 1_024);
const _: () = assert!(size_of::<Resumable>() <= 128);

#[test]
fn full_table_evicts_the_idlest_or_nobody() {
    for evict in [Evict::Idlest, Evict::Never] {
        let mut world = World::new(Config { evict, ..open() }, 1);
        for seed in 0..3 {
            world.join(Client::new(Wish::of(Origin::Dtls), seed));
            world.run(1_000);
        }
        world.clients[0].send(world.now, content::APPLICATION_DATA, b"busy");
        world.run(1_000);
        let late = world.join(Client::new(Wish::of(Origin::Dtls), 9));
        world.run(1_000);
        let evicted = world.seen.iter().find_map(|seen| match seen {
            Seen::Closed(session, Why::Evicted) => Some(session.index),
            Seen::Closed(..) | Seen::Connected(..) | Seen::Data(..) => None,
        });
        assert_eq!(evicted, (evict == Evict::Idlest).then_some(1));
        assert_eq!(world.is_connected(late), evict == Evict::Idlest);
    }
}

#[test]
fn old_session_lives_until_the_new_finished_verifies() {
    for origin in BOTH {
        let mut world = with(open(), Wish::of(origin));
        let stranger = Client::new(Wish { psk: b"wrong".to_vec(), ..Wish::of(origin) }, 8);
        let first = core::mem::replace(&mut world.clients[0], stranger);
        world.clients[0].start(world.now);
        world.run(30_000);
        world.clients[0] = first;
        world.clients[0].send(world.now, content::APPLICATION_DATA, b"still here");
        world.run(1_000);
        assert_eq!(world.received(0), b"still here");

        world.run(100_000);
        world.clients[0] = Client::new(Wish::of(origin), 9);
        world.clients[0].start(world.now);
        world.run(1_000);
        let events: Vec<_> = world.seen.iter().skip(2).collect();
        assert!(matches!(events[..], [Seen::Closed(_, Why::Replaced), Seen::Connected(..)]));
        world.clients[0].send(world.now, content::APPLICATION_DATA, b"new");
        world.run(1_000);
        assert_eq!(world.received(0), b"new");
    }
}

#[test]
fn flood_of_hellos_leaves_room_for_an_honest_client() {
    let mut world = World::new(open(), 1);
    let honest = world.join(Client::new(Wish::of(Origin::Tls), 1));
    for seed in 2..40 {
        world
            .clients
            .push(Client::new(Wish { psk: b"wrong".to_vec(), ..Wish::of(Origin::Dtls) }, seed));
        let last = world.clients.len() - 1;
        world.clients[last].start(world.now);
        world.run(500);
    }
    world.run(100_000);
    assert!(world.is_connected(honest));
    assert!(world.server.counters().crowded > 0);
}

#[test]
fn slow_handshake_that_moves_survives_a_flood_of_hellos() {
    for origin in BOTH {
        let mut world = World::new(open(), 1);
        world.delay = |client| if client == 0 { 2_500 } else { 10 };
        // Finished is lost until the third flight, whose first record is the sixth: it arrives 11
        // seconds after the ClientHello, but 6 after ClientKeyExchange
        world.tamper = |to_server, datagram| {
            let exchange = datagram.get(13) == Some(&kind::CLIENT_KEY_EXCHANGE);
            if to_server && exchange && datagram[10] < 6 {
                datagram.truncate(13 + usize::from(datagram[12]));
            }
        };
        let slow = world.join(Client::new(Wish::of(origin), 1));
        world.run(3_000);
        for seed in 2..60 {
            world.run(300);
            world
                .join(Client::new(Wish { psk: b"wrong".to_vec(), ..Wish::of(Origin::Dtls) }, seed));
        }
        let counters = *world.server.counters();
        assert!(world.is_connected(slow), "{origin:?}: {counters:?}");
        assert!(counters.crowded > 40 && counters.attackers > 0, "{counters:?}");
    }
}

#[test]
fn stale_session_is_refused() {
    let mut world = with(open(), Wish::of(Origin::Dtls));
    let Some(Seen::Connected(session, ..)) = world.seen.first().cloned() else {
        panic!("{:?}", world.seen);
    };
    world.clients[0].close(world.now);
    world.run(1_000);
    world.join(Client::new(Wish::of(Origin::Dtls), 8));
    world.run(1_000);
    let now = crate::Instant(world.now);
    assert_eq!(world.server.send(now, session, b"to nobody"), Err(SendError::Closed));
    world.server.close(now, session);
    world.run(1_000);
    assert!(!world.events(1).contains(&Event::Closed));
}

#[test]
fn record_is_never_longer_than_a_datagram() {
    for origin in BOTH {
        let mut world = with(Config { max_datagram: 100, ..open() }, Wish::of(origin));
        let Some(Seen::Connected(session, ..)) = world.seen.first().cloned() else {
            panic!("{:?}", world.seen);
        };
        assert_eq!(world.server.capacity(session), Some(100 - 13 - 16));
        let now = crate::Instant(world.now);
        assert_eq!(world.server.send(now, session, &[0; 72]), Err(SendError::TooLong(71)));
        assert_eq!(world.server.send(now, session, &[0; 71]), Ok(()));
        world.run(1_000);
        assert_eq!(world.received(0), [0; 71]);
    }
}
