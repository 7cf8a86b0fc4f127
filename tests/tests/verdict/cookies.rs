//! ClientHellos that need a cookie: what is answered, with which bytes, and what gets through.

use std::{
    collections::BTreeSet,
    net::{IpAddr, SocketAddr},
};

use gateway_common::{cookie::PERIOD_NS, decide::Reason};
use gateway_user::dataplane::{
    attach::Role,
    clock,
    cookies::{self, Judged, Keyring},
    replica::{Ran, Verdict},
};
use tests::{
    lab::topology::*,
    packet::{
        Extension, Packet,
        dtls::{self, ClientHello, DTLS12, content},
    },
};

use super::{
    record::{client_flight, server_flight},
    world::{EXACT, EXACT_V4, EXPIRED, FEW_PACKETS, NODE_V4, World},
};

/// The agent's DTLS port.
const PORT: u16 = 5686;
const XDP_DROP: u32 = 1;
const XDP_PASS: u32 = 2;
const XDP_TX: u32 = 3;

/// A filter that asks at the agent's port and before one node of each version.
fn world(raw_ip: bool) -> World {
    let world = World::with(|settings| {
        settings.agent_ports[0] = PORT;
        settings.cookie_ports[0] = PORT;
        settings.cookie_nodes = 1;
        settings.raw_ip = raw_ip.into();
    });
    cookies::guard(world.replica.maps(), &[NODE.into(), NODE_V4.into()]).expect("room for nodes");
    assert!(keyring(&world).rotate(clock::monotonic()).expect("a key"));
    world
}

fn keyring(world: &World) -> Keyring {
    Keyring::open(world.replica.maps()).expect("the keys")
}

/// A client and its server, and its hello.
#[derive(Clone, Debug)]
struct Client {
    from: SocketAddr,
    to: SocketAddr,
    hello: ClientHello,
}

impl Client {
    fn new(from: impl Into<IpAddr>, to: impl Into<IpAddr>, port: u16) -> Self {
        let mut hello = ClientHello::new();
        hello.session_id = vec![0x77; 21];
        let (from, to) = (from.into(), to.into());
        Self { from: SocketAddr::new(from, 40_000), to: SocketAddr::new(to, port), hello }
    }

    fn packet(&self, payload: impl AsRef<[u8]>) -> Packet {
        Packet::udp(self.from, self.to).payload(payload)
    }

    fn first(&self) -> Packet {
        self.packet(self.hello.record(0, 7))
    }

    fn second(&self, cookie: &[u8]) -> Packet {
        self.packet(self.hello.clone().cookie(cookie).record(1, 8))
    }

    /// The cookie that the programs must give, by the function that the agent asks.
    fn cookie(&self, world: &World) -> Vec<u8> {
        let judged = keyring(world).judge(self.from, self.to, &self.hello.record(0, 7));
        match judged.expect("the keys") {
            Judged::Answer(answer) => answer[28..].to_vec(),
            other => panic!("{other:?}"),
        }
    }
}

fn run(world: &mut World, frame: &[u8]) -> Ran {
    world.replica.send(Role::Wan, frame).expect("the program runs on the frame")
}

#[track_caller]
fn dropped(world: &mut World, packet: &Packet, reason: Reason) {
    let ran = run(world, &packet.build());
    assert_eq!((ran.verdict, ran.action), (Verdict::Dropped(reason), XDP_DROP));
}

/// The answer to the first hello, byte by byte as another builder makes it.
#[track_caller]
fn answered(world: &mut World, packet: Packet, client: &Client, cookie: &[u8], vlans: &[u16]) {
    let ran = run(world, &packet.build());
    let mut answer = Packet::udp(client.to, client.from)
        .payload(dtls::hello_verify_request(7, cookie))
        .ethernet(MAC_WAN0, MAC_UP0);
    for id in vlans {
        answer = answer.vlan(*id);
    }
    let raw = world.replica.settings().raw_ip != 0;
    let answer = if raw { answer.raw_ip() } else { answer }.build();
    assert_eq!((ran.verdict, ran.action), (Verdict::Dropped(Reason::CookieAsked), XDP_TX));
    assert_eq!(ran.output, answer);
    assert!(answer.len() < packet.build().len());
}

fn clients() -> [Client; 4] {
    [
        Client::new(ATTACKER, ROUTER, PORT),
        Client::new(EXACT_V4, ROUTER_V4, PORT),
        Client::new(EXACT, NODE, 5684),
        Client::new(EXACT_V4, NODE_V4, 5684),
    ]
}

#[test]
fn a_hello_without_a_cookie_is_answered_byte_for_byte() {
    let mut world = world(false);
    for client in clients() {
        let cookie = client.cookie(&world);
        answered(&mut world, client.first(), &client, &cookie, &[]);
        let tagged = client.first().vlan(5).vlan(6);
        answered(&mut world, tagged, &client, &cookie, &[5, 6]);
        // what pads a short frame is not sent back
        let padded = client.first().trailer(&[0; 9]);
        answered(&mut world, padded, &client, &cookie, &[]);
    }
}

#[test]
fn a_hello_on_a_link_without_ethernet_is_answered_too() {
    let mut world = world(true);
    for client in clients() {
        let cookie = client.cookie(&world);
        answered(&mut world, client.first().raw_ip(), &client, &cookie, &[]);
    }
}

#[test]
fn a_cookie_passes_its_hello_four_times_and_no_other() {
    let mut world = world(false);
    for client in clients() {
        let cookie = client.cookie(&world);
        let mut other = client.clone();
        other.hello.random = [9; 32];
        let mut elsewhere = client.clone();
        elsewhere.from.set_port(40_001);
        for forged in [other, elsewhere] {
            let ran = run(&mut world, &forged.second(&cookie).build());
            let refused = Verdict::Dropped(Reason::CookieInvalid);
            assert_eq!((ran.verdict, ran.action), (refused, XDP_TX));
        }
        let expected = if client.to.port() == PORT { Verdict::Untouched } else { Verdict::Checked };
        for number in 0..4 {
            let again = client.hello.clone().cookie(&cookie).record(1, 8 + number);
            let ran = run(&mut world, &client.packet(again).build());
            assert_eq!((ran.verdict, ran.action), (expected, XDP_PASS), "{client:?} {number}");
        }
        dropped(&mut world, &client.second(&cookie), Reason::CookieSpent);
    }
}

#[test]
fn who_is_not_admitted_is_not_answered_by_a_node() {
    let mut world = world(false);
    dropped(&mut world, &Client::new(ATTACKER, NODE, 5684).first(), Reason::NoLease);
    dropped(&mut world, &Client::new(EXPIRED, NODE, 5684).first(), Reason::LeaseExpired);
    // a node of whom nothing was said
    let plain = Client::new(EXACT, NODE_2, 5684);
    assert_eq!(run(&mut world, &plain.first().build()).action, XDP_PASS);
}

#[test]
fn forged_hellos_use_up_nothing_of_an_admitted_source() {
    let mut world = world(false);
    let client = Client::new(FEW_PACKETS, NODE, 5684);
    for port in 1..100 {
        let mut forged = client.clone();
        forged.from.set_port(port);
        assert_eq!(run(&mut world, &forged.first().build()).action, XDP_TX);
    }
    let cookie = client.cookie(&world);
    let ran = run(&mut world, &client.second(&cookie).build());
    assert_eq!(ran.verdict, Verdict::Checked);
    let known = world.replica.maps().associations_in_use().expect("the associations");
    assert_eq!(known, 1, "only the hello with a cookie is remembered");
}

#[test]
fn hellos_that_no_cookie_can_vouch_for_are_dropped() {
    let mut world = world(false);
    for client in clients() {
        let whole = client.hello.record(0, 7);
        let body = client.hello.body();
        let piece = dtls::handshake_fragment(1, 0, body.len(), 0, &body[..30]);
        let piece = dtls::record(content::HANDSHAKE, DTLS12, 0, 7, &piece);
        dropped(&mut world, &client.packet(piece), Reason::HelloForm);
        let two = [whole.clone(), whole.clone()].concat();
        dropped(&mut world, &client.packet(two), Reason::HelloForm);
        let alert = dtls::record(content::ALERT, DTLS12, 0, 6, &[1, 0]);
        let hidden = [alert, whole].concat();
        dropped(&mut world, &client.packet(hidden), Reason::HelloForm);
    }
}

#[test]
fn options_and_extension_headers_are_not_answered() {
    let mut world = world(false);
    let client = Client::new(EXACT_V4, ROUTER_V4, PORT);
    dropped(&mut world, &client.first().options(&[1; 4]), Reason::CookieAsked);
    let client = Client::new(EXACT, ROUTER, PORT);
    let padded = client.first().extension(Extension::destination());
    dropped(&mut world, &padded, Reason::CookieAsked);
}

#[test]
fn a_whole_handshake_goes_through_behind_a_cookie() {
    let mut world = world(false);
    let client = Client::new(EXACT, NODE, 5684);
    let cookie = client.cookie(&world);
    let reply = |flight: Vec<u8>| Packet::udp(client.to, client.from).payload(flight).build();
    world.all_pass(&[
        (Role::Wan, client.second(&cookie).build()),
        (Role::Lln, reply(server_flight(1))),
        (Role::Wan, client.packet(client_flight(1)).build()),
    ]);
}

#[test]
fn cookies_of_the_last_key_are_taken_and_those_before_are_not() {
    let mut world = world(false);
    let client = Client::new(ATTACKER, ROUTER, PORT);
    let cookie = client.cookie(&world);
    let (now, minute) = (clock::monotonic(), PERIOD_NS);
    let mut keys = keyring(&world);
    assert!(!keys.rotate(now).expect("the keys"), "a key is in use for a minute");
    assert!(keys.rotate(now + minute).expect("a key"));
    assert_eq!(run(&mut world, &client.second(&cookie).build()).action, XDP_PASS);
    assert!(keys.rotate(now + 2 * minute).expect("a key"));
    let ran = run(&mut world, &client.second(&cookie).build());
    assert_eq!((ran.verdict, ran.action), (Verdict::Dropped(Reason::CookieInvalid), XDP_TX));
}

/// One of each reason, for the account of those that fixtures reach.
pub fn reached() -> BTreeSet<Reason> {
    let mut world = world(false);
    let client = Client::new(ATTACKER, ROUTER, PORT);
    let cookie = client.cookie(&world);
    let whole = client.hello.record(0, 7);
    let doubled = client.packet([whole.clone(), whole].concat());
    let spent = [(); 5].map(|()| client.second(&cookie));
    let frames = [client.first(), client.second(&[1; 16]), doubled].into_iter().chain(spent);
    let verdicts = frames.map(|packet| run(&mut world, &packet.build()).verdict);
    let reasons = verdicts.filter_map(|verdict| match verdict {
        Verdict::Dropped(reason) => Some(reason),
        Verdict::Checked | Verdict::Untouched => None,
    });
    reasons.collect()
}
