//! The whole proxy against a scripted node.

use alloc::{
    format,
    string::{String, ToString},
    vec,
};

use proptest::prelude::*;

use super::super::{
    block::BlockSize,
    message::{self, Code, Kind, Message, option, uint_value},
    world::{Resource, World, text},
};
use super::*;

fn status(response: &str) -> u16 {
    response.get(9..12).and_then(|s| s.parse().ok()).unwrap_or_else(|| panic!("{response:?}"))
}

fn field<'r>(response: &'r str, name: &str) -> Option<&'r str> {
    let head = response.split("\r\n\r\n").next()?;
    head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}

fn body(response: &str) -> &str {
    response.split_once("\r\n\r\n").expect("a head").1
}

/// A body in chunks, put together; `None` if its end is missing.
fn unchunked(mut rest: &str) -> Option<String> {
    let mut whole = String::new();
    loop {
        let (size, after) = rest.split_once("\r\n")?;
        let size = usize::from_str_radix(size, 16).ok()?;
        let (piece, after) = after.split_at_checked(size)?;
        whole.push_str(piece);
        rest = after.strip_prefix("\r\n")?;
        if size == 0 {
            return Some(whole);
        }
    }
}

#[test]
fn a_small_resource_takes_two_messages_and_is_then_cached() {
    let mut world = World::new(1);
    let response = world.get("/lamp/temp");
    assert_eq!((status(&response), body(&response)), (200, "22.3 C"));
    assert_eq!(field(&response, "Content-Type"), Some("text/plain; charset=utf-8"));
    assert_eq!(field(&response, "ETag"), Some("\"aa01\""));
    assert_eq!(field(&response, "Cache-Control"), Some("max-age=30"));
    assert_eq!(field(&response, "Via"), Some("CoAP/1 hc"));
    assert_eq!(field(&response, "Age"), None);
    world.now += 10_000;
    let again = world.get("/hc/coap://lamp/temp");
    assert_eq!((body(&again), field(&again, "Age")), ("22.3 C", Some("10")));
    assert_eq!(world.server.seen.len(), 1);
    assert_eq!(world.proxy.counters().hits, 1);
}

#[test]
fn a_stale_response_is_confirmed_with_its_etag() {
    let mut world = World::new(2);
    world.get("/lamp/temp");
    world.now += 31_000;
    let response = world.get("/lamp/temp");
    assert_eq!((status(&response), body(&response)), (200, "22.3 C"));
    assert_eq!(field(&response, "Age"), None);
    let asked = world.server.seen.last().expect("a request");
    assert_eq!(asked.option(option::ETAG), Some(&[0xaa, 0x01][..]));
    assert_eq!((world.server.seen.len(), world.proxy.counters().validated), (2, 1));
    world.now += 29_000;
    world.get("/lamp/temp");
    assert_eq!(world.server.seen.len(), 2, "it is fresh again");
}

#[test]
fn a_client_that_knows_the_representation_gets_304() {
    let mut world = World::new(3);
    let ask = |world: &mut World| world.fetch("GET /lamp/temp", "If-None-Match: \"aa01\"\r\n", "");
    let response = ask(&mut world);
    assert_eq!((status(&response), body(&response)), (304, ""));
    assert_eq!(field(&response, "ETag"), Some("\"aa01\""));
    assert_eq!(field(&response, "Content-Length"), None);
    world.get("/lamp/temp");
    assert_eq!(world.server.seen.len(), 2);
    assert_eq!(status(&ask(&mut world)), 304);
    assert_eq!(world.server.seen.len(), 2, "from the cache");
    let other = world.fetch("GET /lamp/temp", "If-None-Match: \"bb\"\r\n", "");
    assert_eq!((status(&other), body(&other)), (200, "22.3 C"));
}

#[test]
fn cache_control_of_the_client_is_heard() {
    let mut world = World::new(4);
    let none = world.fetch("GET /lamp/temp", "Cache-Control: only-if-cached\r\n", "");
    assert_eq!((status(&none), world.server.seen.len()), (504, 0));
    world.fetch("GET /lamp/temp", "Cache-Control: no-store\r\n", "");
    world.get("/lamp/temp");
    assert_eq!(world.server.seen.len(), 2);
    world.fetch("GET /lamp/temp", "Cache-Control: no-cache\r\n", "");
    assert_eq!(world.server.seen.len(), 3);
    let stored = world.fetch("GET /lamp/temp", "Cache-Control: only-if-cached\r\n", "");
    assert_eq!((status(&stored), world.server.seen.len()), (200, 3));
}

#[test]
fn a_write_makes_what_is_stored_stale() {
    let mut world = World::new(5);
    world.get("/lamp/temp");
    let put = world.fetch("PUT /lamp/temp", "Content-Type: text/plain\r\n", "23.0 C");
    assert_eq!((status(&put), body(&put)), (204, ""));
    assert_eq!(body(&world.get("/lamp/temp")), "23.0 C");
    let delete = world.fetch("DELETE /lamp/temp", "", "");
    assert_eq!(status(&delete), 204);
    let gone = world.get("/lamp/temp");
    assert_eq!((status(&gone), body(&gone)), (404, "no such thing"));
    assert_eq!(field(&gone, "Content-Type"), Some("text/plain; charset=utf-8"));
}

#[test]
fn a_new_resource_is_201() {
    let mut world = World::new(6);
    let fields = "Content-Type: application/json\r\nIf-None-Match: *\r\n";
    let response = world.fetch("PUT /lamp/new", fields, "{}");
    assert_eq!(status(&response), 201);
    let put = world.server.seen.last().expect("a request");
    assert_eq!(message::uint(&put.options, option::CONTENT_FORMAT), Some(50));
    assert_eq!(put.option(option::IF_NONE_MATCH), Some(&[][..]));
}

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
fn formats_are_asked_for_until_one_is_there() {
    let mut world = World::new(15);
    let ask = |world: &mut World, accept: &str| {
        world.fetch("GET /lamp/large", &format!("Accept: {accept}\r\n"), "")
    };
    assert_eq!(status(&ask(&mut world, "application/cbor, application/json;q=0.5")), 200);
    assert_eq!(status(&ask(&mut world, "application/cbor")), 406);
    assert_eq!(status(&ask(&mut world, "application/coap-payload;cf=50")), 406);
    assert_eq!(status(&ask(&mut world, "text/html, */*;q=0.1")), 200);
    assert_eq!(world.server.seen.last().and_then(|m| m.option(option::ACCEPT)), None);
}

#[test]
fn what_the_proxy_refuses_reaches_no_node() {
    let mut world = World::new(16);
    for (line, fields, expected) in [
        ("GET /nobody/temp", "", 404),
        ("GET /hc/coap://%5Bff02::1%5D/temp", "", 403),
        ("GET /hc/coap://%5B2001:db8::2%5D/temp", "", 403),
        ("GET /lamp/.well-known/core", "", 403),
        ("OPTIONS /lamp/temp", "", 501),
        ("PUT /lamp/temp", "Content-Type: text/html\r\n", 415),
        ("PUT /lamp/temp", "Content-Type: text/plain\r\nContent-Encoding: gzip\r\n", 415),
        ("PUT /lamp/temp", "If-None-Match: \"aa\"\r\n", 501),
        ("PUT /lamp/temp", "If-Match: \"x\"\r\n", 412),
        ("GET /lamp/temp", "Via: 1.1 a, 1.1 hc\r\n", 508),
        ("PUT /.well-known/core", "", 403),
        ("GET /lamp/temp", "Expect: tea\r\n", 417),
    ] {
        let response = world.fetch(line, fields, "");
        assert_eq!(status(&response), expected, "{line}");
        assert!(body(&response).starts_with(&expected.to_string()), "{line}: {response}");
    }
    assert!(world.server.seen.is_empty());
}

#[test]
fn the_proxy_tells_where_it_is() {
    let mut world = World::new(17);
    let response = world.get("/.well-known/core?rt=core.hc");
    assert_eq!(field(&response, "Content-Type"), Some("application/link-format"));
    assert!(body(&response).starts_with("</hc/>;rt=\"core.hc\""));
    assert!(world.server.seen.is_empty());
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
fn clients_who_wait_for_the_same_share_the_response() {
    let mut world = World::new(22);
    let clients = [world.open(), world.open(), world.open()];
    for client in clients {
        world.send(client, b"GET /lamp/temp HTTP/1.1\r\nHost: p\r\n\r\n");
    }
    while world.step() {}
    for client in clients {
        assert_eq!(body(&world.receive(client)), "22.3 C");
    }
    assert_eq!(world.server.seen.len(), 1);
}

#[test]
fn the_response_for_a_client_that_left_is_stored() {
    let mut world = World::new(23);
    let client = world.open();
    world.send(client, b"GET /lamp/temp HTTP/1.1\r\nHost: p\r\n\r\n");
    world.proxy.handle_close(Instant(0), client);
    while world.step() {}
    assert!(world.proxy.jobs.is_empty());
    assert_eq!(status(&world.get("/lamp/temp")), 200);
    assert_eq!(world.server.seen.len(), 1);
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let mut world = World::new(24);
    let client = world.open();
    let requests = "GET /lamp/temp HTTP/1.1\r\nHost: p\r\n\r\nGET /nobody HTTP/1.1\r\nHost: p\r\n\r\n\
                    GET /lamp/large HTTP/1.1\r\nHost: p\r\nConnection: close\r\n\r\n";
    world.send(client, requests.as_bytes());
    let response = world.receive(client);
    let found: Vec<_> = ["22.3 C", "no node has this name", &text(1_000)]
        .iter()
        .map(|part| response.find(part).expect("in the response"))
        .collect();
    assert!(found.is_sorted(), "{found:?}");
    assert!(world.proxy.is_finished(client));
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

#[test]
fn retry_after_is_the_nodes_max_age() {
    let mut world = World::new(26);
    let client = world.open();
    world.send(client, b"GET /lamp/temp HTTP/1.1\r\nHost: p\r\n\r\n");
    let (_, request) = world.proxy.poll_datagram().expect("a request");
    let request = Message::read(&request).expect("CoAP");
    let response = Message {
        kind: Kind::Acknowledgement,
        code: Code::SERVICE_UNAVAILABLE,
        options: vec![(option::MAX_AGE, uint_value(17))],
        payload: b"asleep".to_vec(),
        ..request
    };
    world.proxy.handle_datagram(Instant(1), world.endpoint, &response.write());
    let output = String::from_utf8_lossy(world.proxy.output(client)).to_string();
    assert_eq!((status(&output), field(&output, "Retry-After")), (503, Some("17")));
    assert_eq!(body(&output), "asleep");
}

#[test]
fn a_4_05_says_so_in_its_reason() {
    let mut world = World::new(27);
    let client = world.open();
    world.send(client, b"POST /lamp/temp HTTP/1.1\r\nHost: p\r\n\r\n");
    let (_, request) = world.proxy.poll_datagram().expect("a request");
    let mut response = Message::read(&request).expect("CoAP");
    response.kind = Kind::Acknowledgement;
    (response.code, response.options) = (Code::METHOD_NOT_ALLOWED, vec![]);
    world.proxy.handle_datagram(Instant(1), world.endpoint, &response.write());
    let output = String::from_utf8_lossy(world.proxy.output(client)).to_string();
    assert!(output.starts_with("HTTP/1.1 400 CoAP server returned 4.05\r\n"), "{output}");
}

#[test]
fn a_new_resource_has_a_location_of_the_same_form() {
    for (target, location) in [
        ("/lamp/log", "/lamp/log/a%20b?x=%26"),
        ("/hc/coap://lamp/log", "/hc/coap://%5B2001:db8::1%5D:5683/log/a%20b?x=%26"),
    ] {
        let mut world = World::new(28);
        let client = world.open();
        world.send(client, format!("POST {target} HTTP/1.1\r\nHost: p\r\n\r\n").as_bytes());
        let (_, request) = world.proxy.poll_datagram().expect("a request");
        let mut response = Message::read(&request).expect("CoAP");
        response.kind = Kind::Acknowledgement;
        response.code = Code::CREATED;
        response.options = vec![
            (option::LOCATION_PATH, b"log".to_vec()),
            (option::LOCATION_PATH, b"a b".to_vec()),
            (option::LOCATION_QUERY, b"x=&".to_vec()),
        ];
        world.proxy.handle_datagram(Instant(1), world.endpoint, &response.write());
        let output = String::from_utf8_lossy(world.proxy.output(client)).to_string();
        assert_eq!((status(&output), field(&output, "Location")), (201, Some(location)));
    }
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
