//! The packet builder and reader: what they make is what tshark calls well-formed.

use std::{net::SocketAddr, process::Command};

use anyhow::Result;
use tests::{
    lab::{pcap, topology::*},
    need,
    packet::{Datagram, Extension, Packet, Segment, dtls, flag, icmp, read},
};

#[test]
fn built_packets_are_well_formed() -> Result<()> {
    need::root_and_tools(&["tshark"]);
    let frames = shapes();
    let lines = judged(&frames)?;
    assert_eq!(lines.len(), frames.len(), "{lines:?}");
    for line in lines {
        assert!(is_sound(&line), "a wrong checksum or length: {line}");
    }
    let udp = Packet::udp6(BACKEND, NODE, 40_000, 5684).payload(dtls::application(1, b"x"));
    let wrong = [
        udp.clone().checksum(1).build(),
        udp.ip_length(9).build(),
        Packet::tcp6(BACKEND, NODE, 40_000, 443).checksum(1).build(),
        Packet::udp4(BACKEND_V4, ROUTER_V4, 1, 9).ip_checksum(1).build(),
    ];
    for line in judged(&wrong)? {
        assert!(!is_sound(&line), "nothing wrong was found: {line}");
    }
    Ok(())
}

/// What tshark says of each frame: five checksums' states, whether malformed, the protocols.
fn judged(frames: &[Vec<u8>]) -> Result<Vec<String>> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("shapes.pcap");
    pcap::write_frames(&path, pcap::ETHERNET, frames)?;
    let mut tshark = Command::new("tshark");
    tshark.arg("-r").arg(&path).args(["-d", "udp.port==5684,dtls", "-T", "fields"]);
    for option in ["ip.check_checksum", "udp.check_checksum", "tcp.check_checksum"] {
        tshark.args(["-o", &format!("{option}:TRUE")]);
    }
    let states = ["ip", "udp", "tcp", "icmpv6", "icmp"].map(|p| format!("{p}.checksum.status"));
    for field in states.iter().map(String::as_str).chain(["_ws.malformed", "frame.protocols"]) {
        tshark.args(["-e", field]);
    }
    let text = String::from_utf8(tshark.output()?.stdout)?;
    Ok(text.lines().map(str::to_owned).collect())
}

fn is_sound(line: &str) -> bool {
    let fields: Vec<_> = line.split('\t').collect();
    let states: Vec<_> = fields[..5].iter().flat_map(|field| field.split(',')).collect();
    states.contains(&"1") && !states.contains(&"0") && fields[5].is_empty()
}

fn shapes() -> Vec<Vec<u8>> {
    let hello = dtls::ClientHello::new();
    let udp = Packet::udp6(BACKEND, NODE, 40_000, 5684);
    let quoted = Packet::udp6(NODE, BACKEND, 5684, 40_000).raw_ip().payload(b"reply").build();
    let (mine, other) = (BACKEND.into(), NODE.into());
    vec![
        udp.clone().payload(hello.record(0, 0)).build(),
        udp.clone().payload(hello.clone().cookie(&[7; 16]).record(1, 1)).vlan(5).build(),
        udp.clone().payload(dtls::hello_verify_request(0, &[7; 16])).vlan(5).vlan(6).build(),
        udp.clone().payload(dtls::server_hello(1, 1, dtls::PSK_CCM8)).build(),
        udp.clone()
            .payload([dtls::change_cipher_spec(0, 2), dtls::finished(0, 9)].concat())
            .build(),
        udp.clone().payload(dtls::application(1, b"odd")).build(),
        udp.clone()
            .extension(Extension::hop_by_hop())
            .extension(Extension::routing(0, 0))
            .extension(Extension::destination())
            .payload(dtls::application(2, b"even"))
            .build(),
        Packet::udp4(BACKEND_V4, ROUTER_V4, 40_000, 5684)
            .options(&[1, 1, 1])
            .payload(dtls::application(3, b"four"))
            .build(),
        Packet::tcp6(BACKEND, NODE, 40_000, 443).tcp_options(&[2, 4, 5, 0xa0]).build(),
        Packet::tcp4(BACKEND_V4, ROUTER_V4, 40_000, 443)
            .flags(flag::ACK | flag::PSH)
            .seq(7)
            .ack(9)
            .payload(b"hello")
            .build(),
        icmp::port_unreachable(mine, &quoted).build(),
        icmp::packet_too_big(mine, 1280, &quoted).build(),
        icmp::echo_request(mine, other, 1, 2).build(),
        icmp::echo_request(BACKEND_V4.into(), ROUTER_V4.into(), 1, 2).build(),
    ]
}

#[test]
fn what_was_built_reads_back() {
    let (src, dst) = (SocketAddr::new(BACKEND.into(), 40_000), SocketAddr::new(NODE.into(), 5684));
    let packet = Packet::udp(src, dst).payload(dtls::application(1, b"sealed"));
    let stretched = packet.clone().extension(Extension::destination()).vlan(5).trailer(&[0; 4]);
    let datagram = Datagram::from_frame(&stretched.build()).expect("UDP");
    assert_eq!((datagram.src, datagram.dst), (src, dst));
    assert_eq!(datagram.packet().build(), packet.build());
    let reset = Packet::tcp(src, dst).flags(flag::RST).seq(u32::MAX).build();
    let segment = Segment::from_frame(&reset).expect("TCP");
    assert_eq!((segment.flags, segment.seq, segment.dst), (flag::RST, u32::MAX, dst));
    let error = icmp::time_exceeded(NODE.into(), &packet.clone().raw_ip().build()).build();
    assert_eq!(read::icmp_of(&error), Some((3, 0)));
    assert_eq!(packet.clone().truncate(20).build().len(), 20);
    assert_eq!(packet.patch(0, &[9]).build()[0], 9);
}
