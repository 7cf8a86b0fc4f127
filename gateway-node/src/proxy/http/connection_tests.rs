//! Connections without a proxy behind them.

use alloc::{format, string::String, vec};

use proptest::prelude::*;

use super::*;

const GET: &[u8] = b"GET /lamp HTTP/1.1\r\nHost: p\r\n\r\n";

fn connection(bytes: &[u8]) -> Connection {
    let mut connection = Connection::new(Instant(0));
    connection.handle_bytes(bytes, Instant(0), &Limits::default());
    connection
}

fn next(connection: &mut Connection) -> Option<Request> {
    connection.poll_request(&Limits::default())
}

fn output(connection: &mut Connection) -> String {
    let output = String::from_utf8(connection.output().to_vec()).expect("text");
    connection.sent(output.len(), Instant(0));
    output
}

#[test]
fn pipelined_requests_come_one_after_the_other() {
    let mut connection = connection(&GET.repeat(2));
    assert_eq!(next(&mut connection).expect("the first").head.target, "/lamp");
    assert!(next(&mut connection).is_none());
    connection.answer(Answer::new(204));
    assert!(next(&mut connection).is_some());
    connection.answer(Answer::new(204));
    assert!(next(&mut connection).is_none());
    assert_eq!(output(&mut connection), "HTTP/1.1 204 No Content\r\n\r\n".repeat(2));
}

#[test]
fn a_client_that_sends_too_far_ahead_is_answered_once() {
    let mut connection = connection(&GET.repeat(2));
    next(&mut connection).expect("the first");
    connection.handle_bytes(&GET.repeat(300), Instant(0), &Limits::default());
    connection.answer(Answer::new(204));
    assert!(next(&mut connection).is_none());
    assert!(output(&mut connection).contains("Connection: close"));
    assert!(connection.is_finished());
    assert_eq!(connection.buffered(), 0);
}

#[test]
fn a_client_that_waits_for_100_gets_it_once() {
    let head = b"PUT / HTTP/1.1\r\nHost: p\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n";
    let mut connection = connection(head);
    assert!(next(&mut connection).is_none());
    assert_eq!(output(&mut connection), "HTTP/1.1 100 Continue\r\n\r\n");
    connection.handle_bytes(b"a", Instant(0), &Limits::default());
    assert!(next(&mut connection).is_none());
    connection.handle_bytes(b"b", Instant(0), &Limits::default());
    assert_eq!(next(&mut connection).expect("complete").body, b"ab");
    assert_eq!(output(&mut connection), "");
}

#[test]
fn what_is_no_request_ends_the_connection_with_a_word() {
    let mut connection = connection(b"\x16\x03\x01 hello");
    assert!(next(&mut connection).is_none());
    let output = output(&mut connection);
    assert!(output.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{output}");
    assert!(output.contains("Connection: close"), "{output}");
    assert!(connection.is_finished());
}

#[test]
fn an_expected_body_that_is_too_large_is_refused_before_it_comes() {
    let head =
        b"PUT / HTTP/1.1\r\nHost: p\r\nContent-Length: 999999\r\nExpect: 100-continue\r\n\r\n";
    let mut connection = connection(head);
    assert!(next(&mut connection).is_none());
    assert!(output(&mut connection).starts_with("HTTP/1.1 413 "));
}

#[test]
fn chunks_end_with_an_empty_one_or_not_at_all() {
    let mut whole = connection(GET);
    next(&mut whole);
    whole.begin_chunks(&Answer::new(200));
    whole.chunk(b"abc");
    whole.chunk(b"");
    whole.end_chunks();
    assert!(output(&mut whole).ends_with("\r\n\r\n3\r\nabc\r\n0\r\n\r\n"));
    assert!(!whole.is_finished());
    let mut cut = connection(GET);
    next(&mut cut);
    cut.begin_chunks(&Answer::new(200));
    cut.chunk(b"abc");
    cut.abort();
    assert!(output(&mut cut).ends_with("3\r\nabc\r\n"));
    assert!(cut.is_finished());
}

#[test]
fn idle_and_stalled_clients_are_let_go() {
    let timing = Timing::default();
    let mut idle = Connection::new(Instant(0));
    assert_eq!(idle.deadline(&timing), Some(Instant(120_000)));
    idle.handle_timeout(Instant(120_000));
    assert!(idle.is_finished());
    let mut stalled = connection(&GET[..10]);
    next(&mut stalled);
    assert_eq!(stalled.deadline(&timing), Some(Instant(60_000)));
    stalled.handle_timeout(Instant(120_000));
    assert!(output(&mut stalled).starts_with("HTTP/1.1 408 "));
    let mut waiting = connection(GET);
    next(&mut waiting);
    assert_eq!(waiting.deadline(&timing), None);
}

#[test]
fn a_loop_is_seen_in_via() {
    let via = |field: &str| {
        let text = format!("GET / HTTP/1.1\r\nHost: p\r\nVia: {field}\r\n\r\n");
        next(&mut connection(text.as_bytes())).expect("a request").head.has_passed("hc")
    };
    assert!(via("1.1 a, 1.1 hc"));
    assert!(via("CoAP/1 hc (here)"));
    assert!(!via("1.1 hc2, 1.0 other (hc)"));
}

proptest! {
    #[test]
    fn any_bytes_leave_bounded_buffers(
        pieces in proptest::collection::vec(proptest::collection::vec(
            prop_oneof![Just(b'\r'), Just(b'\n'), Just(b' '), any::<u8>()], 0..200), 0..30)
    ) {
        let limits = Limits { head: 400, body: 300, target: 100, ..Limits::default() };
        let mut connection = Connection::new(Instant(0));
        let mut requests = vec![];
        for piece in pieces {
            connection.handle_bytes(b"POST / HTTP/1.1\r\nHost: p\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n", Instant(0), &limits);
            connection.handle_bytes(&piece, Instant(0), &limits);
            requests.extend(connection.poll_request(&limits));
            let output = connection.output().len();
            prop_assert!(connection.buffered() - output <= limits.head + 300);
        }
    }
}
