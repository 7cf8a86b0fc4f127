//! The lab itself: what other tests take for granted, with no filter anywhere.

use std::{
    io::{Read, Write},
    net::{IpAddr, SocketAddr, UdpSocket},
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use tests::{
    lab::{Capture, Child, Injector, Lab, Loss, Namespace, link, topology::*, until},
    need,
    packet::{Datagram, Packet, dtls, icmp, read},
    peer::{
        Psk,
        coap::{self, Flavour},
        gnutls, openssl,
    },
};

const SOON: Duration = Duration::from_secs(5);

fn at(address: impl Into<IpAddr>, port: u16) -> SocketAddr {
    SocketAddr::new(address.into(), port)
}

#[test]
fn every_namespace_reaches_every_other() -> Result<()> {
    need::root_and_tools(&[]);
    let lab = Lab::new()?;
    for from in lab.all() {
        for to in [BACKEND, BACKEND_2, ATTACKER, INTERNET, ROUTER, ROUTER_LLN, NODE, NODE_2] {
            assert!(from.pings(to), "{} does not reach {to}", from.name());
        }
    }
    for from in [&lab.backend, &lab.attacker, &lab.internet, &lab.router] {
        for to in [BACKEND_V4, ATTACKER_V4, INTERNET_V4, ROUTER_V4] {
            assert!(from.pings(to), "{} does not reach {to}", from.name());
        }
    }
    Ok(())
}

#[test]
fn a_lab_is_up_within_two_seconds() -> Result<()> {
    need::root_and_tools(&[]);
    let took = || {
        let begin = Instant::now();
        Lab::new().map(|_lab| begin.elapsed())
    };
    let times = [took()?, took()?, took()?];
    assert!(times.iter().any(|time| *time < Duration::from_secs(2)), "{times:?}");
    Ok(())
}

#[test]
fn devices_are_set_as_told() -> Result<()> {
    need::root_and_tools(&[]);
    let lab = Lab::new()?;
    let device = lab.internet.device("up0");
    let features = lab.internet.run(&["ethtool", "-k", "up0"])?;
    assert!(features.contains("generic-receive-offload: on"), "{features}");
    assert!(features.contains("tx-checksumming: off"), "{features}");
    let before = device.counter("rx", "packets")?;
    assert!(lab.router.pings(INTERNET));
    assert!(device.counter("rx", "packets")? > before);
    lab.router.device("lln0").mtu(1280)?;
    lab.router.device("wan0").down()?;
    assert!(!lab.router.pings(INTERNET));
    Ok(())
}

#[test]
fn a_panic_leaves_no_namespace_behind() {
    need::root_and_tools(&[]);
    let mut path = None;
    let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let namespace = Namespace::new("doomed").expect("a namespace");
        path = Some(namespace.path());
        assert!(path.as_deref().is_some_and(Path::exists));
        panic!("on purpose");
    }));
    assert!(result.is_err());
    assert!(path.is_some_and(|path| !path.exists()));
}

#[test]
fn entered_threads_and_commands_see_the_same_network() -> Result<()> {
    need::root_and_tools(&["sysctl"]);
    let namespace = Namespace::new("enter")?;
    namespace.set_sysctl("ipv6/conf/all/hop_limit", "33")?;
    assert_eq!(namespace.sysctl("ipv6/conf/all/hop_limit")?, "33");
    let seen = namespace.run(&["sysctl", "-n", "net.ipv6.conf.all.hop_limit"])?;
    assert_eq!(seen.trim(), "33");
    let bpffs = namespace.run(&["stat", "-f", "-c", "%T", "/sys/fs/bpf"])?;
    let outside = Command::new("stat").args(["-f", "-c", "%T", "/sys/fs/bpf"]).output()?;
    assert_eq!(bpffs.as_bytes(), outside.stdout);
    Ok(())
}

#[test]
fn children_are_heard_and_do_not_outlive_their_handle() -> Result<()> {
    let mut command = Command::new("sh");
    command.args(["-c", "echo ready; read word; echo got $word; echo oops >&2; exec cat"]);
    let mut child = Child::spawn(command)?;
    child.wait_for_line("ready", SOON)?;
    let mark = child.mark();
    child.send_line("hello")?;
    assert_eq!(child.wait_for_line_since(mark, "got", SOON)?, "got hello");
    child.wait_for_line("oops", SOON)?;
    let process = format!("/proc/{}", child.pid());
    assert!(child.wait_for_line("never", Duration::from_millis(50)).is_err());
    drop(child);
    assert!(!Path::new(&process).exists());

    let mut short = Command::new("sh");
    short.args(["-c", "echo bye; exit 3"]);
    let mut child = Child::spawn(short)?;
    assert_eq!(child.wait(SOON)?.code(), Some(3));
    assert_eq!(child.output(), "bye\n");
    Ok(())
}

#[test]
fn a_tun_device_carries_raw_packets_both_ways() -> Result<()> {
    need::root_and_tools(&[]);
    let namespace = Namespace::new("tun")?;
    let mut tun = link::tun(&namespace, "tun0")?;
    let device = namespace.device("tun0");
    device.address("2001:db8:7::1/64")?;
    let (here, there) = ("2001:db8:7::1".parse::<IpAddr>()?, "2001:db8:7::2".parse::<IpAddr>()?);
    let request = icmp::echo_request(there, here, 1, 1).raw_ip().build();
    let reply = icmp::echo_reply(here, there, 1, 1).raw_ip().build();
    let mut buffer = [0; 1500];
    let found = until(SOON, || {
        // A device that has just come up may still drop what the kernel answers.
        tun.write_all(&request).expect("the device takes packets");
        let length = tun.read(&mut buffer).unwrap_or(0);
        buffer[..length].ends_with(&reply[40..])
    });
    assert!(found, "no echo reply on the tun device");
    Ok(())
}

#[test]
fn coap_over_dtls_works_with_both_libraries() -> Result<()> {
    need::root_and_tools(&["coap-client-openssl", "coap-server-openssl", "coap-server-notls"]);
    let lab = Lab::new()?;
    let psk = Psk::default();
    let server = coap::Server::start(&lab.node, Flavour::OpenSsl, NODE.into(), &psk)?;
    for flavour in [Flavour::OpenSsl, Flavour::GnuTls] {
        let client = coap::Client::new(&lab.backend, flavour, &psk).from(BACKEND_2.into(), 40_000);
        client.put(NODE.into(), "example_data", "lamp on")?;
        assert_eq!(client.get(NODE.into(), "example_data")?, "lamp on");
    }
    assert_eq!(server.requests(), 4, "{}", server.child.output());
    let wrong = Psk::new("node1", b"another key");
    let stranger = coap::Client::new(&lab.attacker, Flavour::OpenSsl, &wrong);
    assert!(stranger.timeout(Duration::from_secs(1)).get(NODE.into(), "time").is_err());
    Ok(())
}

#[test]
fn coap_servers_of_gnutls_and_in_the_clear_answer() -> Result<()> {
    need::root_and_tools(&["coap-client-gnutls", "coap-server-gnutls", "coap-server-notls"]);
    let lab = Lab::new()?;
    let psk = Psk::default();
    let _sealed = coap::Server::start(&lab.node, Flavour::GnuTls, NODE.into(), &psk)?;
    let _clear = coap::Server::start(&lab.node, Flavour::NoTls, NODE_2.into(), &psk)?;
    for flavour in [Flavour::OpenSsl, Flavour::GnuTls] {
        let client = coap::Client::new(&lab.backend, flavour, &psk).named("node.lab");
        client.get(NODE.into(), "time")?;
    }
    let clear = coap::Client::new(&lab.backend, Flavour::NoTls, &psk);
    ensure!(!clear.get(NODE_2.into(), "time")?.is_empty());
    assert_eq!(clear.request(NODE_2.into(), "nothing", &[])?.code, "4.04");
    Ok(())
}

#[test]
fn openssl_sessions_carry_lines_both_ways() -> Result<()> {
    need::root_and_tools(&["openssl"]);
    let lab = Lab::new()?;
    let psk = Psk::default();
    for (port, suite) in [(4433, openssl::CCM8), (4434, openssl::GCM)] {
        let node = openssl::Settings::new(&lab.node, &psk).suite(suite);
        let backend = openssl::Settings::new(&lab.backend, &psk).suite(suite);
        let mut server = node.listen(at(NODE, port))?;
        let mut client = backend.bind(at(BACKEND, 41_000)).connect(at(NODE, port))?;
        openssl::round_trip(&mut client, &mut server, "lamp on", SOON)?;
        openssl::round_trip(&mut client, &mut server, "lamp on", SOON)?;
        client.close()?;
    }
    Ok(())
}

#[test]
fn openssl_sessions_run_over_tls_too() -> Result<()> {
    need::root_and_tools(&["openssl"]);
    let lab = Lab::new()?;
    let psk = Psk::default();
    let tls = openssl::Protocol::Tls12;
    let router = openssl::Settings::new(&lab.router, &psk).protocol(tls).arguments(&["-rev"]);
    let _server = router.listen(at(ROUTER_V4, 4433))?;
    let backend = openssl::Settings::new(&lab.backend, &psk).protocol(tls);
    let mut client = backend.connect(at(ROUTER_V4, 4433))?;
    client.send("olleh")?;
    client.expect("hello", SOON)?;
    Ok(())
}

#[test]
fn gnutls_and_openssl_clients_get_their_echo_from_gnutls() -> Result<()> {
    need::root_and_tools(&["gnutls-cli", "gnutls-serv", "openssl"]);
    let lab = Lab::new()?;
    let psk = Psk::default();
    let _server = gnutls::Settings::new(&lab.node, &psk).listen(at(NODE, 5684))?;
    let mut client = gnutls::Settings::new(&lab.backend, &psk).connect(at(NODE, 5684))?;
    client.echo("lamp on", SOON)?;
    client.echo("lamp off", SOON)?;
    client.close()?;
    let mut client = openssl::Settings::new(&lab.backend, &psk).connect(at(NODE, 5684))?;
    client.send("hello")?;
    client.expect("hello", SOON)?;
    Ok(())
}

#[test]
fn gnutls_runs_over_tls_too() -> Result<()> {
    need::root_and_tools(&["gnutls-cli", "gnutls-serv"]);
    let lab = Lab::new()?;
    let psk = Psk::default();
    let _server = gnutls::Settings::new(&lab.router, &psk).tls().listen(at(ROUTER, 5684))?;
    let mut client = gnutls::Settings::new(&lab.backend, &psk).tls().connect(at(ROUTER, 5684))?;
    client.echo("lamp on", SOON)
}

#[test]
fn a_capture_holds_the_records_of_a_session() -> Result<()> {
    need::root_and_tools(&["coap-client-openssl", "coap-server-openssl"]);
    let lab = Lab::new()?;
    let psk = Psk::default();
    let _server = coap::Server::start(&lab.node, Flavour::OpenSsl, NODE.into(), &psk)?;
    let capture = Capture::start(lab.router.device("lln0"))?;
    let client = coap::Client::new(&lab.backend, Flavour::OpenSsl, &psk);
    client.from(BACKEND.into(), 42_000).get(NODE.into(), "time")?;
    let frames = capture.stop();
    let client = at(BACKEND, 42_000);
    let from_client: Vec<_> = frames
        .iter()
        .filter_map(|frame| Datagram::from_frame(frame))
        .filter(|datagram| datagram.src == client)
        .flat_map(|datagram| dtls::records(&datagram.payload).expect("whole DTLS records"))
        .collect();
    let hello = from_client.first().expect("a record");
    assert_eq!((hello.content_type, hello.epoch, hello.seq), (dtls::content::HANDSHAKE, 0, 0));
    assert!(from_client.iter().any(|r| r.epoch == 1 && r.content_type == 23));
    assert!(frames.iter().all(|frame| has_right_checksum(frame)));
    Ok(())
}

/// Frames are as on a wire: no checksum is left for a card to fill in.
fn has_right_checksum(frame: &[u8]) -> bool {
    let sum = |frame: &[u8]| read::ip_of(frame).map(|packet| packet[46..48].to_vec());
    Datagram::from_frame(frame).is_none_or(|datagram| sum(&datagram.packet().build()) == sum(frame))
}

#[test]
fn forged_and_tagged_frames_arrive_as_they_were_sent() -> Result<()> {
    need::root_and_tools(&[]);
    let lab = Lab::new()?;
    let seen = Capture::start(lab.node.device("node0"))?;
    let socket = lab.node.enter(|| UdpSocket::bind(at(NODE, 5684)))?;
    socket.set_read_timeout(Some(SOON))?;
    let forged = Packet::udp6(BACKEND, NODE, 40_000, 5684).payload(dtls::application(7, b"sealed"));
    let attacker = Injector::new(lab.attacker.device("eth0"))?;
    attacker.send(&forged.clone().ethernet(MAC_ATTACKER, MAC_AT0).build())?;
    let mut buffer = [0; 100];
    let (length, from) = socket.recv_from(&mut buffer)?;
    assert_eq!(from, at(BACKEND, 40_000));
    assert_eq!(buffer[..length], dtls::application(7, b"sealed"));

    let tagged = forged.ethernet(MAC_LLN0, MAC_NODE0).vlan(5).vlan(6).build();
    let inside = Injector::new(lab.router.device("lln0"))?;
    let flooded = inside.flood(std::slice::from_ref(&tagged), 100, Some(10_000))?;
    assert_eq!(flooded.sent, 100);
    assert!(flooded.took >= Duration::from_millis(9));
    assert!(seen.wait_for(100, SOON, |frame| frame == tagged));
    assert!(Datagram::from_frame(&tagged).is_some());
    Ok(())
}

#[test]
fn loss_takes_its_share() -> Result<()> {
    need::root_and_tools(&[]);
    let lab = Lab::new()?;
    let device = lab.internet.device("up0");
    let socket = lab.backend.enter(|| UdpSocket::bind(at(BACKEND, 0)))?;
    let seen = Capture::start(lab.router.device("wan0"))?;
    let ours = |frame: &[u8]| Datagram::from_frame(frame).is_some_and(|d| d.dst.port() == 9);
    let send =
        |number: usize| (0..number).try_for_each(|_| socket.send_to(b"x", at(NODE, 9)).map(drop));
    {
        let loss = Loss::egress(device, 300)?;
        send(500)?;
        let passed = || 500 - usize::try_from(loss.dropped().unwrap_or(0)).unwrap_or(0);
        assert!(until(SOON, || seen.count(ours) == passed()));
        assert!((250..450).contains(&passed()), "{} of 500 passed", passed());
        assert!(lab.backend.pings(NODE));
    }
    let before = seen.count(ours);
    send(100)?;
    assert!(seen.wait_for(before + 100, SOON, ours));
    Ok(())
}

#[test]
fn fragments_are_put_together_again_by_a_host() -> Result<()> {
    need::root_and_tools(&[]);
    let lab = Lab::new()?;
    let socket = lab.node.enter(|| UdpSocket::bind(at(NODE, 9)))?;
    socket.set_read_timeout(Some(SOON))?;
    let whole = Packet::udp6(BACKEND, NODE, 40_000, 9).payload([7; 500]);
    let frames = whole.ethernet(MAC_UP0, MAC_WAN0).fragments(200, 77);
    assert_eq!(Injector::new(lab.internet.device("up0"))?.send_many(&frames)?, 3);
    let mut buffer = [0; 1000];
    assert_eq!(socket.recv_from(&mut buffer)?, (500, at(BACKEND, 40_000)));
    Ok(())
}
