//! Writes the seeds of the fuzz corpora: `cargo run -p tests --example seeds -- tests/fuzz/corpus`.
//!
//! Frames come from the packet builder, scripts are written out by hand. After a run of the fuzzer
//! `cargo fuzz cmin` keeps those that add something.

#[path = "seeds/mapped.rs"]
mod mapped;

use std::{fs, net::IpAddr, path::PathBuf};

use anyhow::{Context as _, Result};
use tests::{
    lab::topology::*,
    packet::{Extension, Packet, dtls, flag, icmp},
};

fn main() -> Result<()> {
    let folder = std::env::args_os().nth(1).context("usage: seeds DIR")?;
    let folder = PathBuf::from(folder);
    for (target, seeds) in [
        ("frame", frames()),
        ("association", associations()),
        ("replay", replays()),
        ("rate", rates()),
        ("record", mapped::records()),
        ("handshake", mapped::handshakes()),
        ("mapper", mapped::connections()),
    ] {
        let folder = folder.join(target);
        fs::create_dir_all(&folder)?;
        for (number, seed) in seeds.iter().enumerate() {
            fs::write(folder.join(format!("seed-{number:02}")), seed)?;
        }
    }
    Ok(())
}

fn frames() -> Vec<Vec<u8>> {
    let mut frames = Vec::new();
    for payload in payloads() {
        let v6 = Packet::udp6(BACKEND, NODE, 40_000, 5684).payload(&payload);
        let v4 = Packet::udp4(BACKEND_V4, ROUTER_V4, 40_000, 5684).payload(&payload);
        frames.extend([v6.clone().build(), v6.raw_ip().build(), v4.build(), payload]);
    }
    frames.extend(headers());
    frames.extend(others());
    frames.extend(malformed());
    frames
}

/// Datagrams: flights, several records, connection IDs, DTLS 1.3, what is cut off.
fn payloads() -> Vec<Vec<u8>> {
    let hello = dtls::ClientHello::new();
    let flight = [
        dtls::record(dtls::content::HANDSHAKE, dtls::DTLS12, 0, 2, &[16; 30]),
        dtls::change_cipher_spec(0, 3),
        dtls::finished(0, 0x5a),
    ];
    let report = [0, 1, 0, 0, 0, 0, 0, 9, 0xff, 0xff];
    let eight: Vec<u8> = (0..8).flat_map(|n| dtls::application(n, &[7; 16])).collect();
    let part = dtls::handshake_fragment(1, 0, 200, 40, &[3; 20]);
    vec![
        hello.record(0, 0),
        hello.clone().cookie(&[7; 20]).record(1, 1),
        dtls::hello_verify_request(0, &[7; 20]),
        dtls::server_hello(1, 1, dtls::PSK_CCM8),
        flight.concat(),
        dtls::application(1 << 40, &[9; 32]),
        eight.clone(),
        [eight, dtls::application(8, &[7; 16])].concat(),
        dtls::record(26, dtls::DTLS12, 0, 5, &report),
        dtls::record(dtls::content::ALERT, dtls::DTLS12, 1, 2, &[1; 18]),
        dtls::record(dtls::content::HANDSHAKE, dtls::DTLS12, 0, 0, &part),
        dtls::cid_record(&[1, 2, 3, 4], 1, 4, &[8; 24]),
        dtls::unified(3, 77, None, &[4; 24]),
        dtls::unified(3, 78, Some(&[1, 2]), &[4; 24]),
        [dtls::unified(2, 1, None, &[4; 24]), dtls::unified(3, 2, None, &[5; 24])].concat(),
        dtls::application(1, &[7; 16])[..20].to_vec(),
        b"\x40\x01\x00\x01\xbbcoap".to_vec(),
    ]
}

/// Everything that may stand before a UDP header.
fn headers() -> Vec<Vec<u8>> {
    let v6 = || Packet::udp6(BACKEND, NODE, 40_000, 5684).payload(dtls::application(1, &[7; 16]));
    let v4 = || {
        Packet::udp4(BACKEND_V4, ROUTER_V4, 40_000, 5684).payload(dtls::application(1, &[7; 16]))
    };
    let six = (0..6).fold(v6(), |packet, _| packet.extension(Extension::destination()));
    let mut frames = vec![
        v6().vlan(5).build(),
        v6().vlan(5).vlan(6).build(),
        v6().vlan(5).vlan(6).vlan(7).build(),
        v4().vlan(5).build(),
        v4().options(&[1; 8]).build(),
        v4().options(&[1; 40]).vlan(5).vlan(6).build(),
        v6().extension(Extension::destination()).build(),
        six.clone().build(),
        six.extension(Extension::destination()).build(),
        v6().extension(Extension::hop_by_hop()).build(),
        v6().extension(Extension::routing(0, 1)).build(),
        v6().trailer(&[0; 6]).build(),
    ];
    frames.extend(v6().payload([7; 100]).fragments(48, 9));
    frames.extend(v4().payload([7; 100]).raw_ip().fragments(48, 9));
    frames
}

/// TCP, ICMP and what is neither.
fn others() -> Vec<Vec<u8>> {
    let router = IpAddr::from(INTERNET);
    let quoted = Packet::udp6(NODE, BACKEND, 5684, 40_000).raw_ip().build();
    let quoted_v4 = Packet::udp4(ROUTER_V4, BACKEND_V4, 5684, 40_000).raw_ip().build();
    let tcp = Packet::tcp6(BACKEND, NODE, 40_000, 443);
    vec![
        tcp.clone().build(),
        tcp.clone().tcp_options(&[1; 12]).flags(flag::ACK).build(),
        tcp.data_offset(4).build(),
        Packet::tcp4(BACKEND_V4, ROUTER_V4, 40_000, 443).build(),
        icmp::echo_request(BACKEND.into(), NODE.into(), 1, 1).build(),
        icmp::echo_reply(BACKEND_V4.into(), ROUTER_V4.into(), 1, 1).build(),
        icmp::packet_too_big(router, 1280, &quoted).build(),
        icmp::port_unreachable(router, &quoted).raw_ip().build(),
        icmp::time_exceeded(INTERNET_V4.into(), &quoted_v4).build(),
        Packet::icmp(ROUTER.into(), NODE.into(), 135, 0, 0).hops(255).build(),
        Packet::ip(BACKEND.into(), NODE.into(), 50).payload([1; 24]).build(),
        Packet::udp6(BACKEND, NODE, 1, 2).ether_type(0x0806).build(),
    ]
}

/// Lengths and fields that contradict the packet.
fn malformed() -> Vec<Vec<u8>> {
    let v6 = || Packet::udp6(BACKEND, NODE, 40_000, 5684).payload(dtls::application(1, &[7; 16]));
    let v4 = || Packet::udp4(BACKEND_V4, ROUTER_V4, 40_000, 5684).payload([7; 16]);
    let mapped = BACKEND_V4.to_ipv6_mapped();
    vec![
        v6().ip_length(9).build(),
        v6().ip_length(u16::MAX).build(),
        v6().udp_length(7).build(),
        v6().udp_length(u16::MAX).build(),
        v6().version(5).build(),
        v6().truncate(60).build(),
        v6().truncate(70).build(),
        v4().ihl(4).build(),
        v4().ihl(15).build(),
        v4().ip_length(19).build(),
        v4().version(6).raw_ip().build(),
        Packet::udp6(mapped, NODE, 1, 5684).build(),
    ]
}

const NODE_SENDS: u8 = 0;
const NODE_SAYS_HELLO: u8 = 2;
const BACKEND_SENDS: u8 = 1;
const CHANGE: u8 = 0;
const HANDSHAKE: u8 = 2;
const DATA: u8 = 3;

/// Steps: who, type - 20, epoch, detail; see tests/fuzz/src/association.rs.
fn associations() -> Vec<Vec<u8>> {
    let shake = [
        [NODE_SENDS, HANDSHAKE, 0, 3],
        [NODE_SAYS_HELLO, HANDSHAKE, 0, 2],
        [BACKEND_SENDS, HANDSHAKE, 1, 0],
        [BACKEND_SENDS, DATA, 1, 1],
        [NODE_SENDS, CHANGE, 0, 5],
        [NODE_SENDS, HANDSHAKE, 1, 0],
        [BACKEND_SENDS, DATA, 1, 1],
    ];
    let renew =
        [[NODE_SENDS, CHANGE, 1, 9], [BACKEND_SENDS, DATA, 2, 0], [BACKEND_SENDS, DATA, 4, 0]];
    let twice = [&shake[..], &shake].concat();
    let renewed = [&shake[..], &renew].concat();
    let late = [&shake[..], &[[NODE_SENDS, HANDSHAKE, 0, 2], [NODE_SENDS, CHANGE, 0, 6]]].concat();
    let cold = (0..16).map(|n| [BACKEND_SENDS, n % 8, n, 7 * n]).collect();
    let ends = (0..16).map(|n| [n % 2, n / 3, n, 0x40 + n]).collect();
    let node_first: Vec<_> = (0..16).map(|n| [NODE_SENDS, n % 8, n % 3, n]).collect();
    let mut seeds = Vec::new();
    for (start, steps) in [
        (0, shake.to_vec()),
        (0, twice),
        (0, renewed),
        (0, late),
        (0, cold),
        (32 << 48, node_first),
        (u64::MAX, ends),
    ] {
        seeds.push([&u64::to_le_bytes(start)[..], steps.as_flattened()].concat());
    }
    seeds
}

/// Steps: what happens, numbers, bytes; see tests/fuzz/src/replay.rs.
fn replays() -> Vec<Vec<u8>> {
    const ADMIT: u8 = 0;
    const LOOK: u8 = 3;
    const STORE: u8 = 5;
    const RACE: u8 = 7;
    const CPU_1: u8 = 8;
    let fill: Vec<_> = (0..20).map(|n| [ADMIT, 0, 4 * n]).collect();
    let same = [[ADMIT, 0, 4]; 3];
    let conflict = [[ADMIT, 0, 4], [ADMIT, 0, 8], [ADMIT, 32, 12], [ADMIT, 64, 16]];
    let pair = [
        [LOOK, 0, 4],
        [LOOK | CPU_1, 0, 4],
        [STORE, 0, 0],
        [STORE | CPU_1, 0, 0],
        [LOOK | CPU_1, 0, 4],
        [STORE | CPU_1, 0, 0],
    ];
    let late = [&[[LOOK, 0, 4]][..], &fill, &[[STORE, 0, 0]]].concat();
    let races: Vec<_> = (0..20).map(|n| [RACE | (n % 8) << 4, 0, 4 * n]).collect();
    let spread: Vec<_> = (0..64).map(|n| [ADMIT, 4 * n, n]).collect();
    let again = [&fill[..], &fill].concat();
    [&fill[..], &same, &conflict, &pair, &late, &races, &spread, &again]
        .map(|steps| steps.as_flattened().to_vec())
        .to_vec()
}

/// An opening of seven bytes, then steps of four; see tests/fuzz/src/rate.rs.
fn rates() -> Vec<Vec<u8>> {
    let number = |mantissa: u8, shift: u8| [mantissa, shift];
    let mut seeds = Vec::new();
    for (kind, first, second, start, wait) in [
        (0, number(10, 0), number(3, 0), number(1, 30), number(25, 22)),
        (0, number(100, 3), number(10, 0), number(1, 40), number(1, 20)),
        (0, number(0, 0), number(1, 0), number(1, 0), number(1, 0)),
        (0, number(1, 40), number(1, 50), number(1, 0), number(1, 0)),
        (1, number(1, 20), number(1, 25), number(0, 0), number(1, 19)),
        (1, number(1, 10), number(1, 0x80 + 63), number(1, 62), number(1, 60)),
        (1, number(1, 63), number(1, 63), number(1, 0x80 + 63), number(1, 0)),
        (1, number(1, 0), number(0, 0), number(1, 5), number(1, 1)),
    ] {
        let mut seed = [&[kind][..], &first, &second, &start].concat();
        for step in 0..24u8 {
            seed.extend([&wait[..], &[step % 5, u8::from(step % 7 == 6)]].concat());
        }
        seeds.push(seed);
    }
    // two rates at once: within both, over the one, over the other, after a long rest
    for (packets, bytes, wait) in [
        ([number(1, 20), number(10, 20)], [number(100, 0), number(1, 18)], number(1, 19)),
        ([number(1, 20), number(3, 20)], [number(1, 0), number(1, 28)], number(1, 10)),
        ([number(1, 4), number(1, 28)], [number(200, 4), number(1, 20)], number(1, 12)),
        ([number(1, 26), number(1, 0x80 + 30)], [number(1, 10), number(1, 27)], number(1, 32)),
        ([number(1, 40), number(1, 50)], [number(1, 0), number(1, 40)], number(1, 45)),
    ] {
        let mut seed =
            [&[2][..], packets.as_flattened(), &number(1, 30), bytes.as_flattened()].concat();
        for step in 0..24u8 {
            seed.extend([&wait[..], &[step.wrapping_mul(37), step % 5]].concat());
        }
        seeds.push(seed);
    }
    seeds
}
