//! A row for each reason to drop a packet that one packet can give.
use std::net::{IpAddr, Ipv6Addr};

use anyhow::Result;
use gateway_common::decide::{Reason, association::Progress};
use tests::packet::{Extension, Packet, dtls};

use super::{
    cases::{Expected, MAIN, Row},
    fill::{self, PROVEN, policy},
    instance::Instance,
    plan::{DTLS_PORT, NODE, PEER_PORT, STRANGERS, record, source},
};

/// `wan` with a new record each time: the first that pass would make the next ones replays.
const FRESH: &str = "record_wan";
const COLD: Progress = Progress::new(1, 0);
const SHAKING: Progress = Progress::new(1, Progress::ANSWERED | Progress::HANDSHAKE);
/// A record that its node reported as received long ago.
const REPORTED: u64 = 1000;
/// What is listed beyond the varied sources.
const TIGHT: u32 = 0;
const OTHER_NODE: u32 = 1;
const OTHER_PORT: u32 = 2;
const LAPSED: u32 = 3;
/// Listed sources that these rows use, behind the one of the other rows.
const FIRST: u64 = 1;

/// An application record from the node.
pub(crate) fn answer(to: Ipv6Addr) -> Packet {
    Packet::udp6(NODE, to, DTLS_PORT, PEER_PORT).payload(dtls::application(1, &[0x5a; 40]))
}

/// Prepares the instance and gives the rows.
pub(crate) fn rows(instance: &Instance) -> Result<Vec<Row>> {
    fill::policies(instance, super::instance::AMPLE)?;
    let mut rows = content();
    rows.extend(admission(instance)?);
    rows.extend(state(instance)?);
    rows.extend(outbound(instance)?);
    let row = |(reason, side, packet): (Reason, &'static str, Packet)| Row {
        name: format!("drop: {}", reason.name()),
        instance: MAIN,
        program: side,
        rewriter: (side == FRESH).then_some("record"),
        frame: packet.build(),
        expected: Expected::Dropped(reason),
    };
    Ok(rows.into_iter().map(row).collect())
}

type Cases = Vec<(Reason, &'static str, Packet)>;

fn listed() -> Packet {
    record(source(FIRST), NODE, DTLS_PORT)
}

/// What the headers alone tell.
fn content() -> Cases {
    let (from, to) = (IpAddr::from(source(FIRST)), IpAddr::from(NODE));
    let group = Ipv6Addr::new(0xff05, 0, 0, 0, 0, 0, 0, 0xfd);
    let mut cases = vec![
        (Reason::Malformed, listed().udp_length(999)),
        (Reason::Multicast, record(source(FIRST), group, 5683)),
        (Reason::Fragment, listed().fragment(0, true, 7)),
        (Reason::RoutingHeader, listed().extension(Extension::routing(3, 1))),
        (Reason::HopByHop, listed().extension(Extension::hop_by_hop())),
        (Reason::Oversize, listed().payload(dtls::application(1, &[0; 1300]))),
        (Reason::PlainCoap, record(source(FIRST), NODE, 5683)),
        (Reason::UdpPort, record(source(FIRST), NODE, 9)),
        (Reason::TcpPort, Packet::tcp((from, 1).into(), (to, 9).into())),
        (Reason::Protocol, Packet::ip(from, to, 50).payload([0; 60])),
        (Reason::IcmpType, Packet::icmp(from, to, 139, 0, 0).payload([0; 40])),
        (Reason::NotDtls, listed().payload([0x40; 53])),
        (Reason::RecordType, listed().payload(dtls::record(24, dtls::DTLS12, 1, 1, &[0; 40]))),
    ];
    let unrelated = Packet::icmp(from, to, 3, 0, 0).payload([0x60; 60]);
    cases.push((Reason::IcmpUnrelated, unrelated));
    cases.into_iter().map(|(reason, packet)| (reason, "wan", packet)).collect()
}

/// What the allow-list tells.
fn admission(instance: &Instance) -> Result<Cases> {
    let spoofed = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 0x99);
    fill::bit(instance, spoofed)?;
    let denied = fill::special(instance, OTHER_NODE, policy::OTHER_NODE)?;
    let closed = fill::special(instance, OTHER_PORT, policy::OTHER_PORT)?;
    let lapsed = fill::special(instance, LAPSED, policy::AMPLE)?;
    fill::lapse(instance, lapsed)?;
    let cases = [
        (Reason::SpoofedSource, spoofed),
        (Reason::NodeDenied, denied),
        (Reason::PortDenied, closed),
        (Reason::LeaseExpired, lapsed),
    ];
    Ok(cases.map(|(reason, from)| (reason, "wan", record(from, NODE, DTLS_PORT))).into())
}

/// What the association tells: each row has a source of its own.
fn state(instance: &Instance) -> Result<Cases> {
    let tight = fill::special(instance, TIGHT, policy::TIGHT)?;
    let slot = instance.listed + TIGHT;
    let open = |peer, slot, policy, progress, confirmed_next| -> Result<()> {
        let mut state = fill::association(peer, slot, policy, progress);
        (state.confirmed_epoch, state.confirmed_next) = (1, confirmed_next);
        fill::open(instance, &state)
    };
    open(tight, slot, policy::TIGHT, PROVEN, 0)?;
    for (number, progress, confirmed) in
        [(2, COLD, 0), (3, SHAKING, 0), (4, PROVEN, REPORTED), (5, PROVEN, 0)]
    {
        open(source(number), number as u32, policy::AMPLE, progress, confirmed)?;
    }
    let from = |number| record(source(number), NODE, DTLS_PORT);
    let later = dtls::record(dtls::content::APPLICATION, dtls::DTLS12, 9, 1, &[0; 40]);
    Ok(vec![
        (Reason::Unproven, "wan", from(2)),
        (Reason::Premature, "wan", from(3).payload(dtls::application(99, &[0; 40]))),
        (Reason::ReplayStale, "wan", from(4)),
        (Reason::Epoch, "wan", from(5).payload(later)),
        (Reason::Replayed, "wan", from(5)),
        (Reason::SourcePackets, FRESH, record(tight, NODE, DTLS_PORT)),
    ])
}

/// What a node may not send.
fn outbound(instance: &Instance) -> Result<Cases> {
    fill::open(instance, &fill::association(source(6), 6, policy::AMPLE, COLD))?;
    let report = [0, 1, 0, 0, 0, 0, 0, 1, 0, 0];
    let hello = dtls::server_hello(0, 0, dtls::PSK_CCM8);
    let report = dtls::record(26, dtls::DTLS12, 1, 1, &report);
    Ok(vec![
        (Reason::NotAdmitted, "lln", answer(source(STRANGERS))),
        (Reason::Amplification, "lln", answer(source(6)).payload(hello)),
        (Reason::HopLocal, "lln", answer(source(7)).payload(report)),
    ])
}
