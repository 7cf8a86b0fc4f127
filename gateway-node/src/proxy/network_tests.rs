//! The whole proxy on a network that loses: blocks, streams, timeouts, queues, and any bytes.

use alloc::{
    format,
    string::{String, ToString},
    vec,
};

use proptest::prelude::*;

use super::super::{
    block::BlockSize,
    world::{Resource, World, body, field, status, text, unchunked},
};
use super::*;

#[test]
fn a_large_resource_comes_whole_and_in_order() {
    for (loss, separate, blocks) in [(0, None, 6), (20, None, 6), (20, Some(500), 5), (0, None, 2)]
    {
        let mut world = World::new(7);
        world.loss = loss;
        world.server.separate = separate;
        world.server.block = BlockSize::of(8 << blocks).expect("a size");
        let response = world.get("/lamp/large");
        assert_eq!((status(&response), body(&response)), (200, &*text(1_000)));
        assert_eq!(field(&response, "Content-Length"), Some("1000"));
        assert_eq!(field(&response, "Content-Type"), Some("application/json"));
    }
}

#[test]
fn a_very_large_resource_is_streamed_in_chunks() {
    let mut world = World::new(8);
    let payload = text(40_000).into_bytes();
    world.server.resources.insert("huge".to_string(), Resource { payload, options: vec![] });
    let response = world.get("/lamp/huge");
    assert_eq!(field(&response, "Transfer-Encoding"), Some("chunked"));
    assert_eq!(unchunked(body(&response)), Some(text(40_000)));
    assert_eq!(world.proxy.memory(), 0, "nothing of it is kept");
}

#[test]
fn a_client_that_does_not_read_stops_the_node() {
    let mut world = World::new(9);
    let payload = text(400_000).into_bytes();
    world.server.resources.insert("huge".to_string(), Resource { payload, options: vec![] });
    let client = world.open();
    world.send(client, b"GET /lamp/huge HTTP/1.1\r\nHost: p\r\n\r\n");
    while world.step() {}
    assert!(world.proxy.memory() < 25_000, "{}", world.proxy.memory());
    let response = world.receive(client);
    assert_eq!(unchunked(body(&response)), Some(text(400_000)));
}

#[test]
fn a_stream_that_breaks_is_cut_and_not_ended() {
    let mut world = World::new(10);
    let payload = text(40_000).into_bytes();
    world.server.resources.insert("huge".to_string(), Resource { payload, options: vec![] });
    let client = world.open();
    world.send(client, b"GET /lamp/huge HTTP/1.1\r\nHost: p\r\n\r\n");
    while world.server.seen.len() < 300 {
        world.step();
        let count = world.proxy.output(client).len().min(1_000);
        world.proxy.handle_sent(Instant(world.now), client, count);
    }
    world.server.silent = true;
    let rest = world.receive(client);
    assert!(!rest.ends_with("0\r\n\r\n"));
    assert!(world.proxy.is_finished(client));
    assert!(world.proxy.jobs.is_empty());
}

#[test]
fn a_client_of_http_1_0_gets_what_fits() {
    let mut world = World::new(11);
    let payload = text(40_000).into_bytes();
    world.server.resources.insert("huge".to_string(), Resource { payload, options: vec![] });
    for (path, expected) in [("large", 200), ("huge", 502)] {
        let client = world.open();
        world.send(client, format!("GET /lamp/{path} HTTP/1.0\r\n\r\n").as_bytes());
        let response = world.receive(client);
        assert_eq!((status(&response), field(&response, "Connection")), (expected, Some("close")));
        assert!(world.proxy.is_finished(client));
    }
}

#[test]
fn a_large_body_arrives_however_it_was_sent_and_lost() {
    for (loss, largest) in [(0, 1024), (0, 16), (10, 64), (10, 32)] {
        let mut world = World::new(12);
        world.loss = loss;
        world.server.block = BlockSize::of(largest).expect("a size");
        let response = world.fetch("PUT /lamp/firmware", "", &text(3_000));
        assert_eq!(status(&response), 201);
        assert_eq!(world.server.resources["firmware"].payload, text(3_000).into_bytes());
        let client = world.open();
        world.send(
            client,
            b"POST /lamp/firmware HTTP/1.1\r\nHost: p\r\nTransfer-Encoding: chunked\r\n\r\n",
        );
        world.send(client, format!("3e8\r\n{}\r\n0\r\n\r\n", text(1_000)).as_bytes());
        assert_eq!(status(&world.receive(client)), 204);
        assert_eq!(world.server.resources["firmware"].payload, text(1_000).into_bytes());
    }
}

#[test]
fn a_node_that_does_not_know_blocks_is_asked_once() {
    let mut world = World::new(13);
    world.server.plain = true;
    assert_eq!(body(&world.get("/lamp/temp")), "22.3 C");
    assert_eq!(world.server.seen.len(), 2);
    world.fetch("PUT /lamp/x", "", &text(500));
    assert_eq!(world.server.seen.len(), 3, "it is remembered");
    assert_eq!(world.server.resources["x"].payload, text(500).into_bytes());
}

#[test]
fn head_fetches_one_block_only() {
    let mut world = World::new(14);
    let response = world.fetch("HEAD /lamp/large", "", "");
    assert_eq!((status(&response), body(&response)), (200, ""));
    assert_eq!(world.server.seen.len(), 1);
    let small = world.fetch("HEAD /lamp/temp", "", "");
    assert_eq!((field(&small, "Content-Length"), body(&small)), (Some("6"), ""));
    assert_eq!(body(&world.get("/lamp/temp")), "22.3 C");
    assert_eq!(world.server.seen.len(), 2, "what HEAD fetched whole is stored");
    let missing = world.fetch("HEAD /nobody", "", "");
    assert_eq!((status(&missing), body(&missing)), (404, ""));
}

#[test]
fn a_silent_node_is_504_after_its_time() {
    let mut world = World::new(18);
    world.server.silent = true;
    let response = world.get("/lamp/temp");
    assert_eq!(status(&response), 504);
    assert!((62_000..=93_000).contains(&world.now), "{}", world.now);
    assert_eq!(world.proxy.counters().messages, 5);
    world.server.silent = false;
    assert_eq!(status(&world.get("/lamp/temp")), 200);
}

#[test]
fn a_node_that_rejects_or_is_not_there_is_502() {
    let mut world = World::new(19);
    world.server.resets = true;
    assert_eq!(status(&world.get("/lamp/temp")), 502);
    let client = world.open();
    world.send(client, b"GET /lamp/temp HTTP/1.1\r\nHost: p\r\n\r\n");
    world.proxy.handle_unreachable(Instant(world.now), world.endpoint);
    let output = String::from_utf8_lossy(world.proxy.output(client)).to_string();
    assert_eq!(status(&output), 502);
}

#[test]
fn a_separate_response_lets_others_pass_meanwhile() {
    let mut world = World::new(20);
    world.server.separate = Some(20_000);
    let slow = world.open();
    world.send(slow, b"GET /lamp/large HTTP/1.1\r\nHost: p\r\n\r\n");
    while world.proxy.peers.values().any(|peer| peer.holder.is_some()) {
        world.step();
    }
    world.server.separate = None;
    let quick = world.open();
    world.send(quick, b"GET /lamp/temp HTTP/1.1\r\nHost: p\r\n\r\n");
    while world.proxy.output(quick).is_empty() {
        assert!(world.step());
    }
    assert!(world.now < 1_000 && world.proxy.output(slow).is_empty());
    assert_eq!(body(&world.receive(slow)), text(1_000));
}

#[test]
fn one_request_at_a_time_goes_to_a_node() {
    let mut world = World::new(21);
    world.server.silent = true;
    let clients = [world.open(), world.open(), world.open()];
    for (number, client) in clients.into_iter().enumerate() {
        let text = format!("GET /lamp/x{number} HTTP/1.1\r\nHost: p\r\n\r\n");
        world.send(client, text.as_bytes());
    }
    assert!(world.proxy.poll_datagram().is_some());
    assert_eq!(world.proxy.poll_datagram(), None, "NSTART is 1");
}

#[test]
fn a_full_house_is_told() {
    let mut world = World::with(25, |settings| {
        settings.limits.waiting = 1;
        settings.limits.connections = 3;
    });
    world.server.silent = true;
    let clients = [world.open(), world.open(), world.open()];
    assert_eq!(world.proxy.open(Instant(0)), None);
    for (number, client) in clients.into_iter().enumerate() {
        let text = format!("GET /lamp/x{number} HTTP/1.1\r\nHost: p\r\n\r\n");
        world.send(client, text.as_bytes());
    }
    let output = String::from_utf8_lossy(world.proxy.output(clients[2])).to_string();
    assert_eq!(status(&output), 503);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_response_is_whole_or_an_error_whatever_is_lost(
        seed in any::<u64>(), loss in 0..45u64, separate in proptest::option::of(0..9_000u64),
        largest in 0..=6u32, length in 0..2_000usize,
    ) {
        let mut world = World::new(seed);
        world.loss = loss;
        world.server.separate = separate;
        world.server.block = BlockSize::of(16 << largest).expect("a size");
        let put = status(&world.fetch("PUT /lamp/x", "", &text(length)));
        prop_assert!([201, 502, 504].contains(&put), "{put}");
        let get = world.get("/lamp/x");
        match status(&get) {
            200 => prop_assert_eq!(body(&get), text(length)),
            404 => prop_assert!(put != 201),
            other => prop_assert!([502, 504].contains(&other), "{other}"),
        }
        prop_assert!(world.proxy.jobs.is_empty());
        prop_assert!(world.proxy.peers.values().all(|peer| peer.holder.is_none()));
    }

    #[test]
    fn any_bytes_of_clients_and_nodes_are_survived_in_bounded_memory(
        seed in any::<u64>(),
        steps in proptest::collection::vec((0..7u8, proptest::collection::vec(any::<u8>(), 0..300)), 0..60),
    ) {
        let mut world = World::new(seed);
        let mut clients = vec![];
        for (kind, bytes) in steps {
            let now = Instant(world.now);
            let client = clients.get(bytes.len() % clients.len().max(1)).copied();
            match (kind, client) {
                (0, _) => clients.extend(world.proxy.open(now)),
                (1, Some(client)) => world.send(client, &bytes),
                (2, Some(client)) => {
                    let line = b"GET /lamp/large HTTP/1.1\r\nHost: p\r\n\r\n".repeat(bytes.len() / 3);
                    world.send(client, &line);
                }
                (3, _) => world.proxy.handle_datagram(now, world.endpoint, &bytes),
                (4, Some(client)) => world.proxy.handle_close(now, client),
                (5, Some(client)) => world.proxy.handle_sent(now, client, bytes.len() * 10),
                _ => { world.step(); }
            }
            prop_assert!(world.proxy.memory() < 400_000);
        }
    }
}
