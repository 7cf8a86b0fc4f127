//! The whole proxy against a scripted node: mapping and caching.

use alloc::{
    format,
    string::{String, ToString},
    vec,
};

use super::super::{
    message::{self, Code, Kind, Message, option, uint_value},
    world::{World, body, field, status, text},
};
use super::*;

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
