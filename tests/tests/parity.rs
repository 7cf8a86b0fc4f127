//! The same frames through the parser on the host and in the kernel: the same findings.

#[path = "../../gateway-ebpf/src/summary.rs"]
mod summary;

use std::net::{Ipv4Addr, Ipv6Addr};

use aya::{
    Ebpf,
    maps::Array,
    programs::{TestRun, TestRunOptions, Xdp},
};
use gateway_common::wire::parse::Link;
use summary::{Summary, WORDS, summarize};
use tests::packet::{
    Extension, Packet,
    dtls::{self, ClientHello},
    icmp,
};

const OBJECT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/bpf/parity");
const FRAMES: usize = 40_000;
/// The kernel's test-run mode takes no less.
const SHORTEST: usize = 14;
/// Past everything that an offset reaches.
const LONGEST: usize = 2600;

/// SplitMix64: the same frames in every run.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let x = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }

    fn byte(&mut self) -> u8 {
        self.next() as u8
    }

    fn one_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    fn bytes(&mut self, length: usize) -> Vec<u8> {
        (0..length).map(|_| self.byte()).collect()
    }

    fn v6(&mut self) -> Ipv6Addr {
        Ipv6Addr::from(u128::from(self.next()) << 64 | u128::from(self.next()))
    }

    fn v4(&mut self) -> Ipv4Addr {
        Ipv4Addr::from(self.next() as u32)
    }

    fn port(&mut self) -> u16 {
        self.next() as u16
    }

    fn record(&mut self) -> Vec<u8> {
        let (seq, length) = (self.next() >> 16, self.below(80));
        let body = self.bytes(length);
        match self.below(8) {
            0 => ClientHello::new().record(self.byte().into(), seq),
            1 => dtls::server_hello(seq, 1, dtls::PSK_CCM8),
            2 => dtls::cid_record(&self.bytes(4), 1, seq, &body),
            3 => dtls::unified(self.byte(), self.port(), None, &body),
            4 => dtls::unified(self.byte(), self.port(), Some(&[1, 2]), &body),
            5 => dtls::record(26, dtls::DTLS12, 0, seq, &self.bytes(10)),
            6 => {
                let (total, offset) = (self.below(1 << 24), self.below(1 << 24));
                let part = dtls::handshake_fragment(1, 0, total, offset, &body);
                dtls::record(22, dtls::DTLS10, 0, seq, &part)
            }
            _ => dtls::record(20 + self.byte() % 8, dtls::DTLS12, self.byte().into(), seq, &body),
        }
    }

    fn datagram(&mut self) -> Vec<u8> {
        if self.one_in(8) {
            let length = if self.one_in(4) { self.below(LONGEST) } else { self.below(60) };
            return self.bytes(length);
        }
        (0..self.below(8)).flat_map(|_| self.record()).collect()
    }

    fn packet(&mut self) -> Packet {
        let four = self.one_in(3);
        let quoted = || {
            let inner = |p: Packet| p.raw_ip().payload(b"quoted").build();
            let v4 = inner(Packet::udp4(Ipv4Addr::new(10, 0, 0, 1), [10, 0, 0, 2].into(), 5, 6));
            let v6 = inner(Packet::udp6(Ipv6Addr::LOCALHOST, Ipv6Addr::LOCALHOST, 5, 6));
            if four { v4 } else { v6 }
        };
        let (src, dst) = if four {
            (self.v4().into(), self.v4().into())
        } else {
            let src = if self.one_in(20) { self.v4().to_ipv6_mapped() } else { self.v6() };
            (src.into(), self.v6().into())
        };
        let (from, to) = ((src, self.port()).into(), (dst, self.port()).into());
        let packet = match self.below(8) {
            0 => Packet::tcp(from, to),
            1 => Packet::icmp(src, dst, self.byte(), self.byte() % 5, 0).payload([0; 20]),
            2 => icmp::port_unreachable(src, &quoted()),
            3 => Packet::ip(src, dst, self.byte()).payload(self.bytes(40)),
            _ => Packet::udp(from, to).payload(self.datagram()),
        };
        self.dressed(packet)
    }

    fn dressed(&mut self, mut packet: Packet) -> Packet {
        for _ in 0..self.below(5).saturating_sub(1) {
            packet = packet.vlan(5);
        }
        if self.one_in(4) {
            packet = packet.options(&[1; 40][..self.below(41)]);
        }
        for _ in 0..self.below(10).saturating_sub(2) {
            packet = packet.extension(Extension::destination());
        }
        match self.below(24) {
            0 => packet.extension(Extension::hop_by_hop()),
            1 => packet.extension(Extension::routing(0, 1)),
            2 => packet.fragment(self.port() >> 3, true, 7),
            3 => packet.hops(255),
            4 => packet.trailer(&[0; 9]),
            5 => packet.udp_length(self.port() % 64),
            6 => packet.ip_length(self.port() % 200),
            7 => packet.data_offset(self.byte() % 16),
            8 => packet.ihl(self.byte() % 16),
            9 => packet.version(self.byte() % 16),
            _ => packet,
        }
    }

    /// A frame of `link`, often damaged.
    fn frame(&mut self, link: Link) -> Vec<u8> {
        let packet = self.packet();
        let packet = if link == Link::Ip { packet.raw_ip() } else { packet };
        let mut frame = packet.build();
        if self.one_in(12) {
            let length = self.below(LONGEST);
            frame = self.bytes(length);
        }
        if self.one_in(3) {
            for _ in 0..=self.below(4) {
                let at = self.below(frame.len().max(1));
                let byte = self.byte();
                frame[at..].iter_mut().take(1).for_each(|old| *old = byte);
            }
        }
        if self.one_in(4) {
            frame.truncate(self.below(frame.len() + 1));
        }
        frame.resize(frame.len().clamp(SHORTEST, LONGEST), 0);
        frame
    }
}

fn on_host(frame: &[u8], link: Link) -> Summary {
    let mut summary = [0; WORDS];
    summarize(frame, link, &mut summary);
    summary
}

fn in_kernel(object: &Ebpf, name: &str, frame: &[u8]) -> Summary {
    let program: &Xdp = object.program(name).expect(name).try_into().expect("an XDP program");
    let mut out = vec![0; LONGEST + 256];
    let mut options = TestRunOptions::new();
    options.data_in = Some(frame);
    options.data_out = Some(&mut out);
    program.test_run(options).expect("the program runs");
    let map = object.map("SUMMARY").expect("the summary");
    let map: Array<_, Summary> = map.try_into().expect("an array");
    map.get(&0, 0).expect("its only value")
}

#[test]
fn host_and_kernel_read_the_same_in_every_frame() {
    let mut object = Ebpf::load_file(OBJECT).expect("`cargo xtask build-ebpf` makes it");
    for name in ["ethernet", "ip"] {
        let program: &mut Xdp = object.program_mut(name).expect(name).try_into().expect("XDP");
        program.load().expect("the program loads: run as root");
    }
    let mut chance = Chance(1);
    let mut kinds = std::collections::BTreeSet::new();
    for number in 0..FRAMES {
        let (link, name) =
            if number % 4 == 3 { (Link::Ip, "ip") } else { (Link::Ethernet, "ethernet") };
        let frame = chance.frame(link);
        let host = on_host(&frame, link);
        assert_eq!(
            host,
            in_kernel(&object, name, &frame),
            "frame {number}, {link:?}: {frame:02x?}"
        );
        kinds.insert((host[0], host[8] & 0xffff, host[16] & 0xff));
    }
    // each error of the network header, each transport, each kind of record
    assert!(kinds.len() >= 27, "too little variety: {kinds:x?}");
}
