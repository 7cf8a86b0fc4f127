//! The parser and the DTLS reader over any bytes.

use gateway_common::{
    decide::replay::{fingerprint, opaque_fingerprint},
    frame::Offset,
    hash::HashKey,
    wire::{
        Malformed,
        dtls::{self, Layout, Record, content},
        icmp,
        parse::{self, Link, Network, Upper},
    },
};

/// Records in a datagram that the kernel looks at.
const RECORDS_MAX: usize = 8;
const KEY: HashKey = HashKey::new(0x5eed);

/// `data` as an Ethernet frame, as an IP packet on links of both kinds, and as a datagram.
pub fn frame(data: &[u8]) {
    packet(data, Link::Ethernet);
    packet(data, Link::Ip);
    every_link_agrees(data);
    if let Some(end) = Offset::START.advance(data.len()) {
        datagram(data, Offset::START, end);
    }
}

fn packet(data: &[u8], link: Link) {
    let network = parse::network(data, link);
    assert_eq!(network, parse::network(data, link));
    for cut in cuts(data) {
        only_cut_off(&network, &parse::network(cut, link));
    }
    let Ok(Some(ip)) = network else { return };
    header(data, &ip);
    let upper = parse::transport(data, &ip);
    assert_eq!(upper, parse::transport(data, &ip));
    for cut in cuts(data) {
        only_cut_off(&upper, &parse::transport(cut, &ip));
    }
    if let Ok(upper) = upper {
        body(data, &ip, &upper);
    }
}

/// What a part of the frame says is what the whole says, or that it is cut off.
#[track_caller]
fn only_cut_off<T: PartialEq + core::fmt::Debug>(
    whole: &Result<T, Malformed>,
    part: &Result<T, Malformed>,
) {
    assert!(part == whole || *part == Err(Malformed::Truncated), "{whole:?} became {part:?}");
}

/// Where a header could end: everywhere near the start, now and then further on.
fn cuts(data: &[u8]) -> impl Iterator<Item = &[u8]> {
    (0..data.len()).filter(|cut| *cut < 96 || cut % 37 == 0).map(|cut| &data[..cut])
}

fn header(data: &[u8], ip: &Network) {
    let fixed = if ip.v4 { 20 } else { 40 };
    let (start, payload) = (ip.start.get(), ip.payload.get());
    assert!(start + fixed <= data.len() && start + fixed <= payload);
    assert!(usize::from(ip.length) >= payload - start);
    assert_eq!((ip.source.is_v4(), ip.destination.is_v4()), (ip.v4, ip.v4));
    assert!(ip.v4 || (!ip.fragment && payload == start + fixed));
    assert_eq!(data[start] >> 4, if ip.v4 { 4 } else { 6 });
}

fn body(data: &[u8], ip: &Network, upper: &Upper) {
    let last = ip.start.get() + usize::from(ip.length);
    match *upper {
        Upper::Udp { ports, payload, end } => {
            assert!(ip.payload < payload && payload <= end && end.get() == last);
            assert!(!ip.fragment && payload.get() <= data.len());
            let header = &data[payload.get() - 8..payload.get()];
            let short = |at: usize| u16::from_be_bytes([header[at], header[at + 1]]);
            assert_eq!((ports.source, ports.destination), (short(0), short(2)));
            assert_eq!(usize::from(short(4)), end.get() - payload.get() + 8);
            datagram(data, payload, end);
        }
        Upper::Icmp { kind, body } => {
            assert!(ip.payload < body && body.get() <= last);
            if kind == icmp::Kind::Error {
                quote(data, body, ip.v4);
            }
        }
        Upper::Tcp { .. } => assert!(ip.payload.get() + 20 <= last),
        Upper::Fragment | Upper::RoutingHeader | Upper::HopByHop | Upper::Other => {}
    }
}

fn quote(data: &[u8], at: Offset, v4: bool) {
    let whole = parse::quoted(data, at, v4);
    for cut in cuts(data) {
        only_cut_off(&whole, &parse::quoted(cut, at, v4));
    }
    if let Ok(quoted) = whole {
        assert_eq!((quoted.source.is_v4(), quoted.destination.is_v4()), (v4, v4));
    }
}

/// The same IP packet means the same behind an Ethernet header and up to two tags.
fn every_link_agrees(data: &[u8]) {
    let ether_type: [u8; 2] = match data.first().map(|first| first >> 4) {
        Some(4) => [8, 0],
        Some(6) => [0x86, 0xdd],
        _ => return,
    };
    let bare = walk(data, Link::Ip);
    for tags in 0..=parse::VLAN_TAGS_MAX {
        let mut frame = vec![0; 12];
        for tag in 0..tags {
            frame.extend(if tag + 1 < tags { [0x88, 0xa8] } else { [0x81, 0] });
            frame.extend([0, 5]);
        }
        frame.extend(ether_type);
        let shift = frame.len();
        frame.extend(data);
        let framed = walk(&frame, Link::Ethernet);
        // an offset further on may be past what an offset can hold
        if framed != Err(Malformed::Truncated) {
            assert_eq!(framed, bare.map(|found| found.moved(shift)));
        } else if let Ok(Found { range: Some((_, end)), .. }) = bare {
            assert!(end + shift > Offset::MAX, "{bare:?} was lost");
        }
    }
}

/// What a walk finds, with positions as numbers.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Found {
    upper: u8,
    ports: Option<parse::Ports>,
    source: gateway_common::wire::Address,
    destination: gateway_common::wire::Address,
    range: Option<(usize, usize)>,
}

impl Found {
    fn moved(self, by: usize) -> Self {
        let range = self.range.map(|(start, end)| (start + by, end + by));
        Self { range, ..self }
    }
}

fn walk(data: &[u8], link: Link) -> Result<Found, Malformed> {
    let ip = parse::network(data, link)?.expect("the version is 4 or 6");
    let last = ip.start.get() + usize::from(ip.length);
    let (upper, ports, range) = match parse::transport(data, &ip)? {
        Upper::Udp { ports, payload, end } => (0, Some(ports), Some((payload.get(), end.get()))),
        Upper::Tcp { ports } => (1, Some(ports), Some((last, last))),
        Upper::Icmp { body, .. } => (2, None, Some((body.get(), last))),
        Upper::Fragment => (3, None, None),
        Upper::RoutingHeader => (4, None, None),
        Upper::HopByHop => (5, None, None),
        Upper::Other => (6, None, None),
    };
    Ok(Found { upper, ports, source: ip.source, destination: ip.destination, range })
}

/// Record after record, as the kernel does.
fn datagram(data: &[u8], payload: Offset, end: Offset) {
    let mut at = payload;
    for _ in 0..RECORDS_MAX {
        if at >= end {
            break;
        }
        let Some(layout) = dtls::record(data, at, end) else {
            break;
        };
        let next = match layout {
            Layout::Clear(record) => {
                clear(data, at, end, &record);
                record.end
            }
            Layout::Opaque { at: start, end } => {
                assert_eq!(start, at);
                alone(data, at, end, |bytes| opaque_fingerprint(bytes, KEY, at, end));
                end
            }
        };
        assert!(at < next && next <= end);
        at = next;
    }
}

fn clear(data: &[u8], at: Offset, end: Offset, record: &Record) {
    assert_eq!(record.body.get(), at.get() + dtls::RECORD_HEADER);
    assert_eq!(record.end.get(), record.body.get() + usize::from(record.length));
    assert!(record.end <= end && record.length > 0 && record.sequence < 1 << 48);
    assert!(matches!(record.content, content::CHANGE_CIPHER_SPEC..=24 | 26 | 27));
    let header = &data[at.get()..record.body.get()];
    let numbers = u64::from(record.epoch) << 48 | record.sequence;
    assert_eq!((header[0], header[1]), (record.content, 0xfe));
    assert_eq!(header[3..11], numbers.to_be_bytes());
    assert_eq!(header[11..], record.length.to_be_bytes());

    // neither what follows the record nor how much room there is changes it
    let same = Some(Layout::Clear(*record));
    assert_eq!(dtls::record(data, at, record.end), same);
    let short = record.end.back(1).expect("a record has bytes");
    assert_eq!(dtls::record(data, at, short), None);

    alone(data, at, record.end, |bytes| dtls::hello(bytes, record));
    alone(data, at, record.end, |bytes| dtls::report(bytes, record));
    alone(data, at, record.end, |bytes| fingerprint(bytes, KEY, record));
    if let Ok(Some(report)) = dtls::report(data, record) {
        assert!(record.content == content::ACK && report.next < 1 << 48);
    }
    if let Some(hello) = dtls::hello(data, record) {
        assert!(usize::from(record.length) >= dtls::HANDSHAKE_HEADER);
        assert!(hello.fragment_offset < 1 << 24);
        assert!(hello.fragment_offset == 0 || hello.random == [0; 2]);
    }
}

/// What `read` says of the bytes from `at` to `end` does not depend on any others.
#[track_caller]
fn alone<T: PartialEq + core::fmt::Debug>(
    data: &[u8],
    at: Offset,
    end: Offset,
    read: impl Fn(&[u8]) -> T,
) {
    let Some(whole) = data.get(..end.get()) else {
        return;
    };
    let mut others = whole.to_vec();
    others[..at.get()].fill(0xee);
    assert_eq!(read(&others), read(data));
}
