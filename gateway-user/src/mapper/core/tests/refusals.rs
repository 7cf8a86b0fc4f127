//! What cannot succeed is told so before the node hears of it.
use super::*;
use crate::mapper::core::{Hello, hello::binds_version, peek_client_hello};

fn refused(record: &[u8]) -> (Option<Reason>, Vec<u8>) {
    let mut world = World::new();
    world.tls(record);
    assert!(world.finished && world.sent().is_empty() && world.connection.is_over());
    (world.connection.reason(), world.passed())
}

fn alert(description: u8) -> Vec<u8> {
    tls(21, &[2, description])
}

fn offering(body: &[u8]) -> Vec<u8> {
    tls(22, &message(1, body))
}

#[test]
fn no_common_suite() {
    let hello = client_hello(&[], &[GCM, 0x1301, 0x00ff], &[]);
    assert_eq!(refused(&offering(&hello)), (Some(Reason::NoCommonSuite), alert(40)));
}

#[test]
fn suites_that_bind_the_version_are_not_common_even_if_configured() {
    for suite in [0x002f, 0x009c, 0x00ac, 0xc09c, 0xccae] {
        assert!(binds_version(suite));
        let mut world = World::with(Policy::new(vec![suite]));
        world.tls(&offering(&client_hello(&[], &[suite], &[])));
        assert_eq!(world.connection.reason(), Some(Reason::NoCommonSuite));
    }
    for suite in [CCM_8, GCM, 0xc0a4, 0x00ae, 0xc037, 0xd001, 0xc02b, 0xc0ac, 0xccab, 0x009e] {
        assert!(!binds_version(suite), "{suite:04x}");
    }
}

#[test]
fn no_tls_1_2() {
    let only13 = client_hello(&[], &[CCM_8], &hex("002b0003020304"));
    assert_eq!(refused(&offering(&only13)), (Some(Reason::Version), alert(70)));
    let mut tls11 = hello();
    tls11[1] = 2;
    assert_eq!(refused(&offering(&tls11)), (Some(Reason::Version), alert(70)));
}

#[test]
fn what_is_over_the_limit() {
    let padding = [&hex("00150ff0")[..], &[0; 4080]].concat();
    let long = client_hello(&[], &[CCM_8], &padding);
    assert_eq!(refused(&offering(&long)), (Some(Reason::Oversize), alert(40)));
    // from the header of the record, or of the message, alone
    assert_eq!(refused(&[22, 3, 1, 0x20, 0]), (Some(Reason::Oversize), alert(40)));
    assert_eq!(refused(&[22, 3, 1, 0, 4, 1, 0, 0x20, 0]), (Some(Reason::Oversize), alert(40)));
    assert_eq!(refused(&[22, 3, 1, 0x40, 1]), (Some(Reason::RecordOverflow), alert(22)));
}

#[test]
fn what_is_no_tls_or_out_of_place() {
    assert_eq!(refused(b"GET / HTTP/1.1\r\n\r\n"), (Some(Reason::Unexpected), alert(10)));
    assert_eq!(refused(&tls(20, &[1])), (Some(Reason::Unexpected), alert(10)));
    assert_eq!(refused(&tls(23, &[1; 20])), (Some(Reason::Unexpected), alert(10)));
    assert_eq!(refused(&tls(22, &message(16, &[0; 7]))), (Some(Reason::Unexpected), alert(10)));
    assert_eq!(refused(&[22, 2, 0, 0, 9]), (Some(Reason::Version), alert(70)));
    assert_eq!(refused(&tls(22, &[])), (Some(Reason::Malformed), alert(50)));
    assert_eq!(refused(&offering(&hello()[..40])), (Some(Reason::Malformed), alert(50)));
    assert_eq!(refused(&tls(21, &[2, 40])), (Some(Reason::Alert), Vec::new()));
}

#[test]
fn a_back_end_out_of_turn_is_refused_in_mid_handshake() {
    for early in [message(16, &[0; 7]), message(1, &hello())] {
        let mut world = World::new();
        world.tls(&offering(&hello()));
        world.tls(&tls(22, &early));
        assert_eq!(world.passed(), alert(10));
    }
    let mut world = World::new();
    world.tls(&offering(&hello()));
    world.node(&node_flight(0));
    world.passed();
    world.tls(&tls_of(0x0301, 22, &message(16, &[0; 7])));
    assert_eq!(world.passed(), alert(70), "the version is negotiated now");
}

#[test]
fn warnings_in_clear_are_not_a_way_into_the_network() {
    let mut world = World::new();
    world.tls(&offering(&hello()));
    world.sent();
    for _ in 0..10 {
        world.tls(&tls(21, &[1, 90]));
    }
    assert_eq!(world.sent().len(), 4);
    assert_eq!(world.connection.reason(), Some(Reason::Unexpected));
}

#[test]
fn a_node_that_chooses_what_it_may_not() {
    for (hello, reason, description) in [
        (server_hello(0xfeff, &[], CCM_8, &[]), Reason::NodeVersion, 70),
        (server_hello(0xfefd, &[], GCM, &[]), Reason::NodeSuite, 40),
        (vec![0xfe, 0xfd, 1], Reason::NodeMalformed, 40),
    ] {
        let mut world = World::new();
        world.tls(&offering(&super::hello()));
        world.node(&dtls_message(0, 2, 0, &hello));
        assert_eq!((world.connection.reason(), world.passed()), (Some(reason), alert(description)));
    }
}

#[test]
fn the_server_name_is_read_as_soon_as_the_hello_is_whole() {
    let name = [&hex("0000000b000900000661")[..], b".b.c1"].concat();
    let record = offering(&client_hello(&[], &[CCM_8], &name));
    for end in 0..record.len() {
        assert_eq!(peek_client_hello(&record[..end], 4096), Hello::Incomplete, "{end} bytes");
    }
    let server_name = Some("a.b.c1".to_owned());
    assert_eq!(peek_client_hello(&record, 4096), Hello::Complete { server_name });
    let nameless = offering(&hello());
    assert_eq!(peek_client_hello(&nameless, 4096), Hello::Complete { server_name: None });
    assert_eq!(peek_client_hello(&nameless, 40), Hello::Refused(Reason::Oversize));
    assert_eq!(peek_client_hello(b"GET / HTTP", 4096), Hello::Refused(Reason::Unexpected));
    assert_eq!(Reason::UnknownName.alert().map(Vec::from), Some(alert(112)));
}

#[test]
fn reasons_have_names_of_their_own() {
    let mut names: Vec<_> = Reason::ALL.iter().map(|reason| reason.name()).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), Reason::ALL.len());
    assert!(Reason::ALL.iter().all(|reason| !reason.to_string().is_empty()));
}
