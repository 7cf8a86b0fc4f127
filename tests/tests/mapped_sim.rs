//! OpenSSL's TLS client, the mapper and the node's engine in one process, on a made-up clock, with
//! a network between router and node that a seed makes bad: every stream arrives byte for byte, or
//! its end is a reset.

#[path = "mapped_sim/client.rs"]
mod client;
#[path = "mapped_sim/node.rs"]
mod node;
#[path = "mapped_sim/world.rs"]
mod world;

use client::Client;
use world::{Ended, Weather, World};

const CALM: Weather = Weather { loss: 0, duplication: 0, jitter: 0 };

#[test]
fn an_unmodified_client_talks_to_a_node_whatever_the_suite() {
    for (cipher, suite) in [("PSK-AES128-CCM8", 0xc0a8), ("PSK-AES128-CCM", 0xc0a4)] {
        let mut world = World::new(7, CALM);
        let mut client = Client::new(cipher, None, vec![vec![1; 10], vec![2; 1000]]);
        assert_eq!(world.run(&mut client), Ended::Whole, "{cipher}");
        assert_eq!(world.suite, Some(suite));
        assert!(world.node.is_empty(), "{cipher}: the node's session ended with it");
    }
}

#[test]
fn a_client_that_offers_tls_1_3_too_gets_1_2() {
    let mut world = World::new(8, CALM);
    let mut client = Client::with_tls13("PSK-AES128-CCM8", vec![vec![3; 40]]);
    assert_eq!(world.run(&mut client), Ended::Whole);
}

#[test]
fn a_session_is_resumed_with_the_node_finishing_first() {
    let mut world = World::new(9, CALM);
    let mut client = Client::new("PSK-AES128-CCM8", None, vec![vec![1; 10]]);
    assert_eq!(world.run(&mut client), Ended::Whole);
    let mut again = Client::new("PSK-AES128-CCM8", client.session(), vec![vec![2; 10]]);
    assert_eq!(world.run(&mut again), Ended::Whole);
    assert!(again.resumed());
}

#[test]
fn a_wrong_key_ends_without_data() {
    let mut world = World::new(10, CALM);
    let mut client = Client::new("PSK-AES128-CCM8", None, vec![vec![1; 10]]).with_key([7; 16]);
    assert!(matches!(world.run(&mut client), Ended::Broken(_)));
    assert!(world.node.heard.is_empty());
}

#[test]
fn a_client_without_a_suite_of_the_node_costs_it_nothing() {
    let mut world = World::new(11, CALM);
    let mut client = Client::new("PSK-AES128-GCM-SHA256", None, vec![vec![1; 10]]);
    assert!(matches!(world.run(&mut client), Ended::Broken(_)));
    assert_eq!(world.datagrams, 0);
}

/// Two connections a seed: the second resumes the first if that ended well.
fn streams(seeds: std::ops::Range<u64>, weather: Weather) -> (u32, u32, u32) {
    let (mut whole, mut broken, mut resumed) = (0, 0, 0);
    for seed in seeds {
        let mut world = World::new(seed, weather);
        let mut session = None;
        for _ in 0..2 {
            let questions = world.questions();
            let mut client = Client::new("PSK-AES128-CCM8", session.take(), questions);
            match world.run(&mut client) {
                Ended::Whole => whole += 1,
                Ended::Broken(_) => broken += 1,
            }
            resumed += u32::from(client.resumed());
            session = client.session();
        }
    }
    (whole, broken, resumed)
}

#[test]
fn without_loss_every_stream_is_whole() {
    let weather = Weather { loss: 0, duplication: 10, jitter: 300 };
    let (whole, broken, resumed) = streams(0..40, weather);
    assert_eq!((whole, broken, resumed), (80, 0, 40));
}

#[test]
fn with_loss_every_stream_is_whole_or_reset() {
    for loss in [5, 10, 20, 30, 40] {
        let weather = Weather { loss, duplication: 10, jitter: 300 };
        let (whole, broken, resumed) = streams(1000 * loss..1000 * loss + 50, weather);
        eprintln!("{loss} %: {whole} whole, {broken} reset, {resumed} resumed");
        assert!(whole + broken == 100 && whole >= if loss <= 10 { 95 } else { 30 }, "{whole}");
    }
}
