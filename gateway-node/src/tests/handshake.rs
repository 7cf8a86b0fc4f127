//! Handshakes in good weather.

use gateway_common::wire::dtls::content;

use crate::{
    Config, Cookie, Origin,
    testing::{
        client::{Client, Event, Wish},
        world::{Seen, World, open},
    },
};

const BOTH: [Origin; 2] = [Origin::Dtls, Origin::Tls];

#[test]
fn client_of_either_protocol_connects_and_talks() {
    for origin in BOTH {
        let mut world = World::new(open(), 1);
        let client = world.join(Client::new(Wish::of(origin), 7));
        world.run(1_000);
        assert_eq!(world.events(client), [Event::Connected { resumed: false }]);
        let Some(Seen::Connected(_, seen, identity)) = world.seen.first() else {
            panic!("{:?}", world.seen);
        };
        assert_eq!((*seen, identity.as_slice()), (origin, b"node1".as_slice()));
        world.clients[client].send(world.now, content::APPLICATION_DATA, b"hello");
        world.run(1_000);
        assert_eq!(world.received(client), b"hello");
        let counters = *world.server.counters();
        assert_eq!(counters, crate::Counters { connected: 1, ..Default::default() });
    }
}

#[test]
fn cookie_is_asked_for_and_taken() {
    for origin in BOTH {
        let mut world = World::new(Config::default(), 1);
        assert_eq!(Config::default().cookie, Cookie::Required);
        let client = world.join(Client::new(Wish::of(origin), 7));
        world.run(1_000);
        assert!(world.is_connected(client));
        assert_eq!(world.server.counters().cookies, 1);
    }
}
