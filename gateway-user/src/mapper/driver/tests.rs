//! The driver with real sockets on loopback: a client that speaks just enough TLS, and a node that
//! only looks at what comes.
use super::*;
use crate::config::Config;
use std::{
    io::{ErrorKind, Read as _, Write as _},
    net::{Ipv4Addr, TcpStream, UdpSocket},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

const SOON: Duration = Duration::from_secs(10);
const CCM_8: u16 = 0xc0a8;

/// An allow-list of everybody, or of nobody.
struct Gate(Arc<AtomicBool>);

impl Admit for Gate {
    fn generation(&self) -> u64 {
        self.0.load(Ordering::Relaxed).into()
    }

    fn admit(&self, _: IpAddr, _: IpAddr, _: u16) -> Result<u64, Reason> {
        if self.0.load(Ordering::Relaxed) { Ok(u64::MAX) } else { Err(Reason::NoLease) }
    }
}

/// A driver with a port for server names and one for the node.
struct Bench {
    driver: Driver,
    node: UdpSocket,
    open: Arc<AtomicBool>,
    doors: [SocketAddr; 2],
}

impl Bench {
    fn new(more: &str) -> Self {
        let node = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        node.set_read_timeout(Some(SOON)).unwrap();
        // ports that were free a moment ago
        let probes =
            [0, 0].map(|port| std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap());
        let doors = probes.each_ref().map(|probe| probe.local_addr().unwrap());
        drop(probes);
        let open = Arc::new(AtomicBool::new(true));
        let plan = Plan::new(&Config::parse("", "-").unwrap().mapper);
        let driver = Driver::start(plan, Box::new(Gate(Arc::clone(&open)))).unwrap();
        let mut bench = Self { driver, node, open, doors };
        bench.configure(more);
        bench
    }

    /// Puts the bench's node and further keys into force.
    fn configure(&mut self, more: &str) {
        let read = Config::parse(more, "-").unwrap();
        let budgets = Budgets { node: read.rates.node, lln: read.rates.lln };
        let mut config = read.mapper;
        let [names, ports] = self.doors.map(|door| door.port());
        config.listen = vec![Ipv4Addr::LOCALHOST.into()];
        config.ports = vec![names];
        let at = self.node.local_addr().unwrap();
        config.nodes.push(crate::config::mapper::Node {
            name: "lamp".to_owned(),
            address: at.ip(),
            server_names: vec!["lamp.example".to_owned()],
            ports: vec![ports],
            leg: crate::config::mapper::Leg { dtls_port: at.port(), ..config.leg.clone() },
        });
        let doors = Doors::new(&config, &[], false, false);
        self.driver.apply(Plan::new(&config).within(budgets), &doors).unwrap();
    }

    fn connect(&self, door: usize) -> TcpStream {
        let client = TcpStream::connect(self.doors[door]).unwrap();
        client.set_read_timeout(Some(SOON)).unwrap();
        client
    }

    /// A client whose ClientHello is on its way.
    fn greet(&self, door: usize, name: &str) -> TcpStream {
        let mut client = self.connect(door);
        client.write_all(&hello(name, CCM_8)).unwrap();
        client
    }

    fn report(&self) -> Report {
        self.driver.report().unwrap().blocking_recv().unwrap()
    }

    /// Waits until the report says so.
    #[track_caller]
    fn until(&self, condition: impl Fn(&Report) -> bool) {
        let end = Instant::now() + SOON;
        let mut report = self.report();
        while !condition(&report) {
            assert!(Instant::now() < end, "{report:#?}");
            std::thread::yield_now();
            report = self.report();
        }
    }

    /// Waits for a datagram at the node.
    fn datagram(&self) -> Vec<u8> {
        let mut bytes = [0; 2048];
        let (length, _) = self.node.recv_from(&mut bytes).unwrap();
        bytes[..length].to_vec()
    }
}

fn ended(report: &Report, reason: &str) -> u64 {
    report.counters.ended.get(reason).copied().unwrap_or(0)
}

fn phases(report: &Report, phase: &str) -> usize {
    report.connections.iter().filter(|one| one.phase == phase).count()
}

/// A ClientHello in one record (RFC 5246 §7.4.1.2), with a server name (RFC 6066 §3).
fn hello(name: &str, suite: u16) -> Vec<u8> {
    let length = |bytes: &[u8]| u16::try_from(bytes.len()).unwrap().to_be_bytes();
    let named = [&[0][..], &length(name.as_bytes()), name.as_bytes()].concat();
    let list = [&length(&named)[..], &named].concat();
    let extension = [&[0, 0][..], &length(&list), &list].concat();
    let body = [
        &[3, 3][..],
        &[7; 32],
        &[0, 0, 2],
        &suite.to_be_bytes(),
        &[1, 0],
        &length(&extension),
        &extension,
    ]
    .concat();
    let message = [&[1, 0][..], &length(&body), &body].concat();
    [&[22, 3, 1][..], &length(&message), &message].concat()
}

/// How a stream ends for a client: the bytes before it, and whether it was reset.
fn last_words(mut client: TcpStream) -> (Vec<u8>, bool) {
    let mut bytes = Vec::new();
    match client.read_to_end(&mut bytes) {
        Ok(_) => (bytes, false),
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{error}");
            (bytes, true)
        }
    }
}

#[test]
fn a_name_and_a_port_lead_to_the_node() {
    let bench = Bench::new("");
    let _by_name = bench.greet(0, "Lamp.Example");
    let first = bench.datagram();
    // DTLS handshake record, epoch 0, a ClientHello
    assert_eq!((first[0], &first[1..3], first[13]), (22, &[0xfe, 0xfd][..], 1));
    let _by_port = bench.greet(1, "whatever.example");
    assert_eq!(bench.datagram()[13], 1);
    bench.until(|report| {
        let ways: Vec<_> = report.connections.iter().map(|one| (one.way, one.phase)).collect();
        ways == [("name", "handshake"), ("port", "handshake")]
    });
    let report = bench.report();
    assert_eq!(report.connections[0].node.as_deref(), Some("lamp"));
    assert_eq!(report.counters.accepted["name"], 1);
}

#[test]
fn a_hello_that_comes_byte_by_byte_is_one() {
    let bench = Bench::new("");
    let mut client = bench.connect(0);
    client.set_nodelay(true).unwrap();
    for byte in hello("lamp.example", CCM_8) {
        client.write_all(&[byte]).unwrap();
    }
    assert_eq!(bench.datagram()[13], 1);
}

#[test]
fn what_cannot_succeed_gets_an_alert_and_reaches_no_node() {
    let bench = Bench::new("");
    let cases = [
        (0, hello("bulb.example", CCM_8), 112, "unknown_name"),
        (1, hello("lamp.example", 0x002f), 40, "no_common_suite"),
        (1, b"GET / HTTP/1.1\r\n\r\n".to_vec(), 10, "unexpected"),
    ];
    for (door, bytes, alert, reason) in cases {
        let mut client = bench.connect(door);
        client.write_all(&bytes).unwrap();
        // more than it takes to answer lies in the router's socket: the answer arrives all the same
        client.write_all(&[0; 3000]).unwrap();
        let (answer, reset) = last_words(client);
        assert_eq!((&answer[..], reset), (&[21, 3, 3, 0, 2, 2, alert][..], false), "{reason}");
        bench.until(|report| ended(report, reason) == 1 && report.connections.is_empty());
    }
    bench.node.set_nonblocking(true).unwrap();
    assert_eq!(bench.node.recv(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
}

#[test]
fn a_source_without_a_lease_is_reset() {
    let bench = Bench::new("");
    bench.open.store(false, Ordering::Relaxed);
    assert_eq!(last_words(bench.connect(1)), (Vec::new(), true));
    assert_eq!(last_words(bench.greet(0, "lamp.example")), (Vec::new(), true));
    bench.until(|report| ended(report, "no_lease") == 2);
}

#[test]
fn a_withdrawn_lease_ends_its_connections() {
    let bench = Bench::new("");
    let mapped = bench.greet(1, "lamp.example");
    bench.datagram();
    bench.open.store(false, Ordering::Relaxed);
    let begin = Instant::now();
    assert_eq!(last_words(mapped), (Vec::new(), true));
    assert!(begin.elapsed() < Duration::from_secs(3), "{:?}", begin.elapsed());
    bench.until(|report| ended(report, "no_lease") == 1 && report.connections.is_empty());
}

#[test]
fn a_node_works_on_few_handshakes_at_once_and_the_next_follows() {
    let bench = Bench::new(
        "[mapper.limits]\nhandshakes_per_node = 1\nwaiting_per_node = 1\n\
         [mapper.timers]\nretransmit = \"1m\"\n",
    );
    let first = bench.greet(1, "lamp.example");
    bench.datagram();
    let second = bench.greet(1, "lamp.example");
    bench.until(|report| phases(report, "waiting") == 1);
    assert_eq!(last_words(bench.greet(1, "lamp.example")), (Vec::new(), true));
    assert_eq!(ended(&bench.report(), "waiting_per_node"), 1);
    drop(first);
    bench.datagram();
    bench.until(|report| phases(report, "handshake") == 1 && phases(report, "waiting") == 0);
    drop(second);
    bench.until(|report| report.connections.is_empty());
}

#[test]
fn a_handshake_that_does_not_move_gives_way_to_who_waits() {
    let bench = Bench::new(
        "[mapper.limits]\nhandshakes_per_node = 1\n\
         [mapper.timers]\nretransmit = \"1m\"\nhello = \"1s\"\n",
    );
    let first = bench.greet(1, "lamp.example");
    bench.datagram();
    let _second = bench.greet(1, "lamp.example");
    assert_eq!(bench.datagram()[13], 1, "its turn");
    assert_eq!(last_words(first), (vec![21, 3, 3, 0, 2, 2, 80], false));
    assert_eq!(ended(&bench.report(), "busy"), 1);
}

#[test]
fn a_source_whose_handshakes_fail_has_to_wait() {
    let bench = Bench::new("[mapper.timers]\nretransmit = \"1m\"\n");
    for _ in 0..5 {
        let failing = bench.greet(1, "lamp.example");
        bench.datagram();
        drop(failing);
        bench.until(|report| report.connections.is_empty());
    }
    assert_eq!(last_words(bench.greet(1, "lamp.example")), (Vec::new(), true));
    bench.until(|report| ended(report, "back_off") == 1);
}

#[test]
fn what_is_over_a_budget_waits_and_arrives() {
    let bench = Bench::new(
        "[rate.node]\npackets = \"4/s\"\npacket_burst = 1\n\
         [mapper.timers]\nretransmit = \"1m\"\n",
    );
    let begin = Instant::now();
    let _clients = [bench.greet(1, "lamp.example"), bench.greet(1, "lamp.example")];
    bench.datagram();
    assert_eq!(bench.datagram()[13], 1);
    assert!(begin.elapsed() >= Duration::from_millis(240), "{:?}", begin.elapsed());
}

#[test]
fn connections_of_a_source_are_limited() {
    let bench = Bench::new("[mapper.limits]\nconnections_per_source = 2\n");
    let kept = [bench.connect(0), bench.connect(0)];
    assert_eq!(last_words(bench.connect(0)), (Vec::new(), true));
    bench.until(|report| ended(report, "connections_per_source") == 1);
    drop(kept);
    bench.until(|report| report.connections.is_empty());
    assert_eq!(ended(&bench.report(), "reset_by_back_end"), 2);
}

#[test]
fn who_says_nothing_is_reset() {
    let bench = Bench::new("[mapper.timers]\nhello = \"1s\"\n");
    let mut slow = bench.connect(0);
    slow.write_all(&hello("lamp.example", CCM_8)[..20]).unwrap();
    assert_eq!(last_words(slow), (Vec::new(), true));
    assert_eq!(ended(&bench.report(), "hello_timeout"), 1);
}

#[test]
fn a_reload_moves_doors_and_leaves_connections_alone() {
    let mut bench = Bench::new("");
    let mut client = bench.greet(1, "lamp.example");
    bench.datagram();
    let before = bench.doors;
    let free = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    bench.doors[1] = free.local_addr().unwrap();
    drop(free);
    bench.configure("");
    bench.until(|report| report.listening.iter().all(|door| door.address != before[1]));
    TcpStream::connect(before[1]).unwrap_err();
    let _moved = bench.greet(1, "lamp.example");
    bench.datagram();
    client.set_nonblocking(true).unwrap();
    assert_eq!(client.read(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
    assert_eq!(bench.report().connections.len(), 2);
}

#[test]
fn a_port_that_is_taken_is_named_and_changes_nothing() {
    let mut bench = Bench::new("");
    let taken = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let at = taken.local_addr().unwrap();
    let mut doors = Doors { own: bench.doors.into(), ..Doors::default() };
    doors.own.insert(at);
    let plan = Plan::new(&Config::default().mapper);
    let error = bench.driver.apply(plan, &doors).unwrap_err().to_string();
    assert_eq!(error, format!("cannot listen on {at} (mapper.listen, mapper.ports)"));
    let _client = bench.greet(1, "lamp.example");
    bench.datagram();
}

#[test]
fn the_end_of_the_driver_is_a_reset() {
    let bench = Bench::new("");
    let (mapped, silent) = (bench.greet(1, "lamp.example"), bench.connect(0));
    bench.datagram();
    bench.until(|report| report.connections.len() == 2);
    drop(bench.driver);
    assert_eq!(last_words(mapped), (Vec::new(), true));
    assert_eq!(last_words(silent), (Vec::new(), true));
}

#[test]
fn a_node_that_is_not_there_is_counted_and_waited_for() {
    let bench = Bench::new("[mapper.timers]\nretransmit = \"100ms\"\n");
    let at = bench.node.local_addr().unwrap();
    let Bench { node, driver, open, doors } = bench;
    drop(node);
    let mut client = TcpStream::connect(doors[1]).unwrap();
    client.write_all(&hello("lamp.example", CCM_8)).unwrap();
    let node = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let bench = Bench { node, driver, open, doors };
    bench.until(|report| report.counters.undelivered > 0);
    let back = UdpSocket::bind(at).unwrap();
    back.set_read_timeout(Some(SOON)).unwrap();
    let mut bytes = [0; 2048];
    back.recv_from(&mut bytes).unwrap();
    assert_eq!(bytes[13], 1);
    assert_eq!(phases(&bench.report(), "handshake"), 1);
}
