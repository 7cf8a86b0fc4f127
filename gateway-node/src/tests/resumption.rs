//! Sessions that go on by their ID, in the form in which they began.

use std::{vec, vec::Vec};

use gateway_common::wire::dtls::content;

use crate::{
    Config, Origin, Suite,
    testing::{
        client::{Client, Event, Resume, Wish},
        world::{Seen, Weather, World, open},
    },
};

use super::handshake::{BOTH, with};

fn resume(world: &World) -> Option<Resume> {
    let client = &world.clients[0];
    Some(Resume { id: client.id.clone(), master: client.master.clone() })
}

#[test]
fn session_resumes_in_its_form_with_its_identity() {
    for origin in BOTH {
        for suite in Suite::ALL {
            let wish = Wish { suites: vec![*suite as u16, 0x00ff], ..Wish::of(origin) };
            let mut world = with(open(), wish.clone());
            world.clients[0].close(world.now);
            world.run(20_000);
            let again = Wish { resume: resume(&world), ..wish };
            let second = world.join(Client::new(again, 8));
            world.clients[second].send(world.now, content::APPLICATION_DATA, b"again");
            world.run(20_000);
            assert_eq!(world.events(second)[0], Event::Connected { resumed: true });
            assert_eq!(world.received(second), b"again");
            let identities = world.seen.iter().filter_map(|seen| match seen {
                Seen::Connected(_, seen, identity) => Some((*seen, identity.clone())),
                Seen::Data(..) | Seen::Closed(..) => None,
            });
            let identities: Vec<_> = identities.collect();
            assert_eq!(identities, vec![(origin, b"node1".to_vec()); 2]);
        }
    }
}

#[test]
fn session_does_not_resume_in_the_other_form() {
    for (origin, other) in [(Origin::Tls, Origin::Dtls), (Origin::Dtls, Origin::Tls)] {
        let mut world = with(open(), Wish::of(origin));
        let wish = Wish { resume: resume(&world), ..Wish::of(other) };
        let second = world.join(Client::new(wish, 8));
        world.run(100_000);
        assert!(!world.is_connected(second));
        assert_eq!(world.server.counters().connected, 1);
    }
}

#[test]
fn resumption_without_extended_master_secret_is_refused() {
    for origin in BOTH {
        let mut world = with(open(), Wish::of(origin));
        let wish = Wish { resume: resume(&world), extended: false, ..Wish::of(origin) };
        let second = world.join(Client::new(wish, 8));
        world.run(1_000);
        assert_eq!(world.events(second)[0], Event::Alert(40));

        let plain = with(open(), Wish { extended: false, ..Wish::of(origin) });
        assert!(plain.clients[0].id.is_empty(), "a session without it has no name to resume by");
    }
}

#[test]
fn old_or_unknown_session_gets_a_full_handshake() {
    for origin in BOTH {
        let config = Config { resumption_lifetime: 50_000, ..open() };
        let mut world = with(config, Wish::of(origin));
        let wish = Wish { resume: resume(&world), ..Wish::of(origin) };
        let second = world.join(Client::new(wish, 8));
        world.run(1_000);
        assert_eq!(world.events(second), [Event::Connected { resumed: false }]);
        let id = vec![7; 32]; // what a client of TLS 1.3 sends
        let master = world.clients[0].master.clone();
        let wish = Wish { resume: Some(Resume { id, master }), ..Wish::of(origin) };
        let third = world.join(Client::new(wish, 9));
        world.run(1_000);
        assert_eq!(world.events(third), [Event::Connected { resumed: false }]);
    }
}

#[test]
fn fatal_alert_forgets_the_session() {
    for origin in BOTH {
        let mut world = with(open(), Wish::of(origin));
        world.clients[0].send(world.now, content::ALERT, &[2, 20]);
        world.run(1_000);
        let wish = Wish { resume: resume(&world), ..Wish::of(origin) };
        let second = world.join(Client::new(wish, 8));
        world.run(1_000);
        assert_eq!(world.events(second), [Event::Connected { resumed: false }]);
    }
}

/// Master secrets that the server still has.
fn masters(world: &World) -> Vec<[u8; 48]> {
    let kept = world.server.resumable.iter().map(|entry| entry.master.0);
    kept.filter(|master| *master != [0; 48]).collect()
}

#[test]
fn forgotten_or_expired_session_leaves_no_master_secret() {
    for origin in BOTH {
        let mut world = with(open(), Wish::of(origin));
        assert_eq!(masters(&world), [world.clients[0].master.0]);
        world.clients[0].send(world.now, content::ALERT, &[2, 20]);
        world.run(1_000);
        assert!(masters(&world).is_empty(), "after a fatal alert");

        let config = Config { resumption_lifetime: 200_000, ..open() };
        let mut world = with(config, Wish::of(origin));
        assert_eq!(masters(&world), [world.clients[0].master.0]);
        world.run(200_000);
        assert!(masters(&world).is_empty(), "after its lifetime");
    }
}

#[test]
fn resumption_survives_a_bad_network() {
    let mut whole = 0;
    for seed in 0..500 {
        for origin in BOTH {
            let mut world = with(Config { flight_timeout: 2_000, ..open() }, Wish::of(origin));
            world.weather = Weather { loss: 15, duplication: 10, jitter: 500 };
            let wish = Wish { resume: resume(&world), ..Wish::of(origin) };
            let second = world.join(Client::new(wish, seed));
            world.run(120_000);
            if world.is_connected(second) {
                world.clients[second].send(world.now, content::APPLICATION_DATA, b"again");
                world.run(60_000);
            }
            let received = world.received(second);
            assert!(received.is_empty() || received == b"again");
            whole += usize::from(origin == Origin::Dtls || received == b"again");
        }
    }
    assert!(whole >= 990, "{whole} of 1000");
}
