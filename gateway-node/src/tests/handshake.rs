//! Handshakes in good weather.

use std::{vec, vec::Vec};

use gateway_common::{mapping::hello::ServerHello, wire::dtls::content};

use crate::{
    Config, Cookie, Origin, Suite, Why,
    testing::{
        client::{Client, Event, Wish},
        world::{Seen, World, open},
    },
};

pub(super) const BOTH: [Origin; 2] = [Origin::Dtls, Origin::Tls];

/// A world with one client that has had its time.
pub(super) fn with(config: Config, wish: Wish) -> World {
    let mut world = World::new(config, 1);
    world.join(Client::new(wish, 7));
    world.run(100_000);
    world
}

fn extensions(world: &World) -> Vec<(u16, Vec<u8>)> {
    let hello = ServerHello::read(&world.clients[0].server_hello).expect("a ServerHello");
    hello.extensions().map(|(kind, content)| (kind, content.to_vec())).collect()
}

#[test]
fn client_of_either_protocol_connects_and_talks() {
    for origin in BOTH {
        for (suite, extended) in
            Suite::ALL.iter().flat_map(|suite| [(*suite, true), (*suite, false)])
        {
            let suites = vec![0x1301, suite as u16, 0x00ff];
            let mut world = with(open(), Wish { extended, suites, ..Wish::of(origin) });
            assert_eq!(world.events(0), [Event::Connected { resumed: false }]);
            let Some(Seen::Connected(_, seen, identity)) = world.seen.first() else {
                panic!("{:?}", world.seen);
            };
            assert_eq!((*seen, identity.as_slice()), (origin, b"node1".as_slice()));
            world.clients[0].send(world.now, content::APPLICATION_DATA, b"hello");
            world.run(1_000);
            assert_eq!(world.received(0), b"hello");
            let counters = *world.server.counters();
            assert_eq!(counters, crate::Counters { connected: 1, ..Default::default() });
        }
    }
}

#[test]
fn cookie_is_asked_for_and_taken() {
    for origin in BOTH {
        let world = with(Config::default(), Wish::of(origin));
        assert_eq!(Config::default().cookie, Cookie::Required);
        assert!(world.is_connected(0));
        assert_eq!(world.server.counters().cookies, 1);
        let (_, request) = &world.wire[1];
        assert!(request[13] == 3 && request.len() < world.wire[0].1.len());
    }
}

#[test]
fn foreign_cookie_is_taken_and_a_mapped_client_needs_none() {
    let config = Config { cookie: Cookie::Foreign, ..Config::default() };
    assert!(with(config.clone(), Wish::of(Origin::Tls)).is_connected(0));
    let mut world = World::new(config, 1);
    let mut client = Client::new(Wish::of(Origin::Dtls), 7);
    client.verified(b"made by the border");
    world.join(client);
    world.run(1_000);
    assert!(world.is_connected(0));
    assert_eq!(world.server.counters().cookies, 0);
}

#[test]
fn renegotiation_info_is_answered_and_nothing_that_was_not_asked() {
    let world = with(open(), Wish::of(Origin::Tls));
    assert_eq!(extensions(&world), [(0xff01, vec![0]), (23, vec![])]);
    let bare = Wish { extended: false, suites: vec![0xc0a8], ..Wish::of(Origin::Tls) };
    assert_eq!(extensions(&with(open(), bare)), []);
    let asked =
        Wish { extensions: vec![0xff, 1, 0, 1, 0], suites: vec![0xc0a8], ..Wish::of(Origin::Tls) };
    assert_eq!(extensions(&with(open(), asked)), [(0xff01, vec![0]), (23, vec![])]);
}

#[test]
fn application_protocol_and_fragment_length_are_answered() {
    let alpn = |names: &[u8]| {
        let length = names.len() as u8;
        [&[0, 16, 0, length + 2, 0, length], names].concat()
    };
    for origin in BOTH {
        let wished = [alpn(b"\x02h2\x08http/1.1"), vec![0, 1, 0, 1, 1]].concat();
        let mut world = with(open(), Wish { extensions: wished, ..Wish::of(origin) });
        let answered = extensions(&world);
        assert!(answered.contains(&(16, b"\x00\x09\x08http/1.1".to_vec())), "{answered:?}");
        assert!(answered.contains(&(1, vec![1])));
        let data: Vec<u8> = (0..1_100).map(|i| i as u8).collect();
        world.clients[0].send(world.now, content::APPLICATION_DATA, &data);
        world.run(1_000);
        assert!(world.received(0) == data);
        assert!(
            world
                .events(0)
                .iter()
                .all(|event| !matches!(event, Event::Data(data) if data.len() > 512))
        );
    }
    let world = with(open(), Wish { extensions: alpn(b"\x02h2"), ..Wish::of(Origin::Tls) });
    assert_eq!(world.events(0)[0], Event::Alert(120));
    let world = with(open(), Wish { extensions: alpn(b"\x04coap"), ..Wish::of(Origin::Tls) });
    assert!(extensions(&world).contains(&(16, b"\x00\x05\x04coap".to_vec())));
}

#[test]
fn what_the_server_does_not_do_is_refused_with_an_alert() {
    let refused = |wish: Wish| {
        let world = with(open(), wish);
        assert!(!world.is_connected(0));
        assert!(world.server.counters().refused > 0);
        world.events(0)[0].clone()
    };
    let wish = Wish::of(Origin::Tls);
    assert_eq!(refused(Wish { suites: vec![0xc02b], ..wish.clone() }), Event::Alert(40));
    let fragment = vec![0, 1, 0, 1, 9];
    assert_eq!(refused(Wish { extensions: fragment, ..wish.clone() }), Event::Alert(47));
    let renegotiation = vec![0xff, 1, 0, 3, 2, 1, 1];
    assert_eq!(refused(Wish { extensions: renegotiation, ..wish }), Event::Alert(40));
}

#[test]
fn wrong_key_and_unknown_identity_cannot_be_told_apart() {
    for origin in BOTH {
        let wrong = with(open(), Wish { psk: b"another key".to_vec(), ..Wish::of(origin) });
        let unknown = with(open(), Wish { identity: b"node2".to_vec(), ..Wish::of(origin) });
        let answers = |world: &World| {
            let sent = world.wire.iter().filter(|(to_server, _)| !to_server);
            sent.map(|(_, datagram)| datagram.len()).collect::<Vec<_>>()
        };
        assert_eq!(answers(&wrong), answers(&unknown));
        for mut world in [wrong, unknown] {
            world.run(600_000);
            assert_eq!(world.events(0), [Event::Reset]);
            assert!(world.seen.is_empty());
            assert!(world.server.counters().attackers > 0);
            assert_eq!(world.server.counters().expired, 1);
        }
    }
}

#[test]
fn client_hello_of_today_is_joined_in_any_order() {
    for origin in BOTH {
        for seed in 0..20 {
            for config in [open(), Config::default()] {
                // 1,528 bytes, as clients with an ML-KEM share send
                let padding = [vec![0, 21, 5, 0x84], vec![0; 0x584]].concat();
                let wish = Wish { extensions: padding, fragment: 100, ..Wish::of(origin) };
                let mut world = World::new(config, seed);
                world.weather.jitter = 200;
                let client = Client::new(wish, seed);
                assert!(client.hello_body(true).len() >= 1_464);
                world.join(client);
                world.run(100_000);
                assert!(world.is_connected(0), "seed {seed}");
            }
        }
    }
}

#[test]
fn small_datagrams_carry_a_handshake() {
    for origin in BOTH {
        let config = Config { max_datagram: 80, ..open() };
        let mut world = with(config, Wish { fragment: 30, ..Wish::of(origin) });
        assert!(world.is_connected(0));
        world.clients[0].send(
            world.now,
            content::APPLICATION_DATA,
            b"longer than a datagram is here",
        );
        world.run(10_000);
        assert_eq!(world.received(0), b"longer than a datagram is here");
        let longest = world.wire.iter().filter(|(to_server, _)| !to_server).map(|(_, d)| d.len());
        assert!(longest.max() <= Some(80));
    }
}

#[test]
fn close_is_answered_and_the_session_is_freed() {
    for origin in BOTH {
        let mut world = with(open(), Wish::of(origin));
        world.clients[0].close(world.now);
        world.run(20_000);
        assert_eq!(world.events(0)[1..], [Event::Closed]);
        let Some(Seen::Closed(session, Why::Peer)) = world.seen.last().cloned() else {
            panic!("{:?}", world.seen);
        };
        assert_eq!(world.server.capacity(session), None);
        assert!(world.is_empty());
    }
}

#[test]
fn close_by_the_server_arrives() {
    for origin in BOTH {
        let mut world = with(open(), Wish::of(origin));
        let Some(Seen::Connected(session, ..)) = world.seen.first().cloned() else {
            panic!("{:?}", world.seen);
        };
        world.server.close(crate::Instant(world.now), session);
        world.run(20_000);
        assert_eq!(world.events(0)[1..], [Event::Closed]);
        assert_eq!(world.seen.last(), Some(&Seen::Closed(session, Why::Local)));
        assert!(world.is_empty());
    }
}
