//! Segments and the kernel's own sockets: a real connection on loopback, and what others send to it.

use std::{
    collections::BTreeSet,
    io::Write as _,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream},
};

use gateway_common::{decide::Reason, wire::Address};
use gateway_user::dataplane::{Plain, btf, replica::Verdict};
use tests::{
    lab::{repair::next_sequence, until},
    packet::{Extension, Packet, flag},
};

use super::world::World;

/// A connection to a listener of this process, and the filter in front of it.
struct Connected {
    world: World,
    client: TcpStream,
    server: TcpStream,
    listener: TcpListener,
}

impl Connected {
    fn new(host: IpAddr) -> Self {
        let listener = TcpListener::bind((host, 0)).expect("a listener");
        let here = listener.local_addr().expect("its address");
        let client = TcpStream::connect(here).expect("a connection");
        let (server, _) = listener.accept().expect("its other end");
        let world = World::with(|settings| {
            settings.agent_ports[0] = here.port();
            settings.socket_ports[0] = here.port();
            settings.rcv_nxt = btf::rcv_nxt().expect("a kernel with type information");
        });
        let maps = world.replica.maps();
        let mut own = maps.index::<Address, u32>("OWN").expect("the map of own addresses");
        own.insert(Plain(Address::from(host)), Plain(1), 0).expect("room for an address");
        Self { world, client, server, listener }
    }

    fn ends(&self) -> (SocketAddr, SocketAddr) {
        let address = |stream: &TcpStream| stream.local_addr().expect("an address");
        (address(&self.client), address(&self.server))
    }

    /// A segment of the connection.
    fn segment(&self, flags: u8, seq: u32) -> Packet {
        let (from, to) = self.ends();
        Packet::tcp(from, to).flags(flags).seq(seq)
    }

    /// A segment from a port that has no connection.
    fn stranger(&self, flags: u8) -> Packet {
        let (from, to) = self.ends();
        Packet::tcp(SocketAddr::new(from.ip(), 1), to).flags(flags)
    }

    fn verdict(&mut self, packet: &Packet) -> Verdict {
        self.world.wan(&packet.build())
    }

    /// Whether a reset with this number passes.
    fn reset_passes(&mut self, seq: u32) -> bool {
        self.verdict(&self.segment(flag::RST, seq)) == Verdict::Untouched
    }
}

/// What the client will send next, which the server waits for.
fn sent(stream: &TcpStream) -> u32 {
    next_sequence(stream).expect("its number, as root")
}

const HOSTS: [IpAddr; 2] = [IpAddr::V6(Ipv6Addr::LOCALHOST), IpAddr::V4(Ipv4Addr::LOCALHOST)];

#[test]
fn a_reset_passes_with_the_one_number_that_is_next() {
    for host in HOSTS {
        let mut open = Connected::new(host);
        open.client.write_all(b"four").expect("room to send");
        let next = sent(&open.client);
        assert!(until(std::time::Duration::from_secs(5), || open.reset_passes(next)), "{host}");
        for off in [1, 2, 1000, u32::MAX, u32::MAX - 3] {
            let packet = open.segment(flag::RST | flag::ACK, next.wrapping_add(off));
            assert_eq!(open.verdict(&packet), Verdict::Dropped(Reason::RstSequence), "{off}");
        }
        assert!(open.reset_passes(next), "a test run moves nothing");
    }
}

#[test]
fn a_connection_is_not_opened_twice_and_others_still_are() {
    for host in HOSTS {
        let mut open = Connected::new(host);
        let again = open.segment(flag::SYN, 1);
        assert_eq!(open.verdict(&again), Verdict::Dropped(Reason::SynEstablished));
        let another = open.stranger(flag::SYN);
        assert_eq!(open.verdict(&another), Verdict::Untouched);
        let data = open.segment(flag::ACK, 1).payload([1; 30]);
        assert_eq!(open.verdict(&data), Verdict::Untouched);
    }
}

#[test]
fn what_belongs_to_no_socket_is_dropped() {
    for host in HOSTS {
        let mut open = Connected::new(host);
        let none = Verdict::Dropped(Reason::TcpSocket);
        for flags in [flag::RST, flag::FIN | flag::ACK, flag::SYN | flag::ACK, 0] {
            let packet = open.stranger(flags);
            assert_eq!(open.verdict(&packet), none, "{flags}");
        }
        // the answer to a SYN cookie looks like this, and only the kernel can tell
        let answer = open.stranger(flag::ACK);
        assert_eq!(open.verdict(&answer), Verdict::Untouched);
        open.listener = TcpListener::bind((host, 0)).expect("another listener");
        for flags in [flag::SYN, flag::ACK, flag::RST] {
            let packet = open.stranger(flags);
            assert_eq!(open.verdict(&packet), none, "{flags} without a listener");
        }
        let mine = open.segment(flag::ACK, 1);
        assert_eq!(open.verdict(&mine), Verdict::Untouched, "the connection goes on");
    }
}

#[test]
fn a_port_that_is_not_the_agents_own_is_left_alone() {
    let mut open = Connected::new(HOSTS[0]);
    let (from, to) = open.ends();
    for flags in [flag::RST, flag::SYN, flag::ACK] {
        let ssh = Packet::tcp(from, SocketAddr::new(to.ip(), 22)).flags(flags);
        assert_eq!(open.verdict(&ssh), Verdict::Untouched);
    }
}

#[test]
fn segments_behind_extension_headers_are_not_searched_for() {
    let mut open = Connected::new(HOSTS[0]);
    let packet = open.segment(flag::RST, 1).extension(Extension::destination());
    assert_eq!(open.verdict(&packet), Verdict::Dropped(Reason::TcpSocket));
}

/// One of each reason, for the account of those that fixtures reach.
pub fn reached() -> BTreeSet<Reason> {
    let mut open = Connected::new(HOSTS[0]);
    let next = sent(&open.client);
    let packets = [
        open.segment(flag::RST, next.wrapping_add(9)),
        open.segment(flag::SYN, 1),
        open.stranger(flag::RST),
    ];
    let verdicts = packets.map(|packet| open.verdict(&packet));
    let reasons = verdicts.into_iter().filter_map(|verdict| match verdict {
        Verdict::Dropped(reason) => Some(reason),
        Verdict::Checked | Verdict::Untouched => None,
    });
    reasons.collect()
}
