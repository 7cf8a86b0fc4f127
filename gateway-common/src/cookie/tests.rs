use super::{
    hello::{Cursor, First, STEPS_MAX, Step, first, step},
    reply::{Answer, HelloVerifyRequest, LENGTH_4, LENGTH_6, Packet4, Packet6},
    *,
};
use crate::frame::Offset;
use proptest::prelude::*;
use zerocopy::{FromZeros as _, IntoBytes as _};

const NOW: u64 = 1_000 * PERIOD_NS;
/// Room for a datagram.
const ROOM: usize = 256;

#[derive(Clone, Copy)]
struct Datagram {
    bytes: [u8; ROOM],
    length: usize,
}

impl Datagram {
    fn empty() -> Self {
        Self { bytes: [0; ROOM], length: 0 }
    }

    fn add(mut self, bytes: &[u8]) -> Self {
        self.bytes[self.length..self.length + bytes.len()].copy_from_slice(bytes);
        self.length += bytes.len();
        self
    }

    /// A ClientHello as OpenSSL lays it out, in record 5.
    fn hello(random: [u8; 32], session: &[u8], cookie: &[u8]) -> Self {
        let body = 2 + 32 + 1 + session.len() + 1 + cookie.len() + 4 + 2;
        let (length, record) = (body as u16, body as u16 + 12);
        Self::empty()
            .add(&[22, 0xfe, 0xff, 0, 0, 0, 0, 0, 0, 0, 5])
            .add(&record.to_be_bytes())
            .add(&[1, 0])
            .add(&length.to_be_bytes())
            .add(&[0, 0, 0, 0, 0, 0])
            .add(&length.to_be_bytes())
            .add(&[0xfe, 0xfd])
            .add(&random)
            .add(&[session.len() as u8])
            .add(session)
            .add(&[cookie.len() as u8])
            .add(cookie)
            .add(&[0, 2, 0xc0, 0xa8, 1, 0])
    }

    fn first(&self) -> First {
        first(&self.bytes[..self.length], Offset::START, at(self.length))
    }

    fn read(&self) -> ClientHello {
        match self.first() {
            First::Hello(hello) => hello,
            other @ (First::Other | First::Improper) => panic!("{other:?}"),
        }
    }

    fn hides(&self) -> bool {
        let mut cursor = Cursor { at: Offset::START, record_end: Offset::START };
        for _ in 0..STEPS_MAX {
            match step(&self.bytes[..self.length], cursor, at(self.length)) {
                Step::On(next) => cursor = next,
                Step::None => return false,
                Step::Hidden => return true,
            }
        }
        true
    }
}

fn judged(keys: [&CookieKey; KEYS], now_ns: u64, flow: &Flow, hello: &ClientHello) -> Decision {
    decide(keys, now_ns, flow, hello, &mut [0; 14])
}

fn at(n: usize) -> Offset {
    Offset::START.advance(n).expect("a short datagram")
}

fn bytes(cookie: Cookie) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&cookie[0].to_be_bytes());
    bytes[8..].copy_from_slice(&cookie[1].to_be_bytes());
    bytes
}

fn key(number: u64, made_ns: u64) -> CookieKey {
    CookieKey { secret: [0x0706_0504_0302_0100 + number, 0x0f0e_0d0c_0b0a_0908], number, made_ns }
}

fn flow() -> Flow {
    Flow {
        source: Address::from_words(0x2001_0db8_0000_0000, 7),
        destination: Address::from_words(0xfd00_06c0_0000_0000, 5),
        ports: Ports { source: 40_000, destination: 5684 },
    }
}

fn asked(keys: [&CookieKey; KEYS], flow: &Flow, random: [u8; 32], session: &[u8]) -> [u8; 16] {
    match judged(keys, NOW, flow, &Datagram::hello(random, session, &[]).read()) {
        Decision::Missing(cookie) => bytes(cookie),
        other @ (Decision::Vouched | Decision::Invalid(_) | Decision::NoKey) => panic!("{other:?}"),
    }
}

#[test]
fn a_cookie_has_these_bytes() {
    let keys = [&key(2, NOW), &key(1, NOW - PERIOD_NS)];
    let cookie = asked(keys, &flow(), [0x11; 32], &[0x22; 5]);
    // number 2, minute 1000 mod 256, and the tag
    assert_eq!(cookie[..2], [2, 0xe8]);
    let tag = [18, 20, 52, 228, 250, 20, 145, 148, 23, 247, 34, 194, 154, 0];
    assert_eq!(cookie[2..], tag);
}

#[test]
fn the_answer_has_these_bytes() {
    let hello = Datagram::hello([0x11; 32], &[], &[]).read();
    let answer = HelloVerifyRequest::new(&hello, &[0x0102_0304_0506_0708, 0x090a_0b0c_0d0e_0f10]);
    let expected = Datagram::empty()
        .add(&[22, 0xfe, 0xff, 0, 0, 0, 0, 0, 0, 0, 5, 0, 31])
        .add(&[3, 0, 0, 19, 0, 0, 0, 0, 0, 0, 0, 19, 0xfe, 0xff, 16])
        .add(&[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16]);
    assert_eq!(answer.bytes()[..], expected.bytes[..expected.length]);
    let shortest = Datagram::hello([0x11; 32], &[], &[]).length;
    assert!(answer.bytes().len() < shortest, "{shortest}");
}

/// The sum that a receiver makes over everything, which is then all ones (RFC 1071 §1).
fn folded(parts: &[&[u8]]) -> u16 {
    let mut sum = 0u32;
    for pair in parts.iter().flat_map(|part| part.chunks(2)) {
        sum += u32::from(pair[0]) << 8 | u32::from(pair.get(1).copied().unwrap_or(0));
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

#[test]
fn a_hello_in_pieces_or_in_company_is_improper() {
    let whole = Datagram::hello([1; 32], &[], &[]);
    assert_eq!(whole.add(&[0]).first(), First::Improper);
    let second = Datagram::hello([2; 32], &[], &[]);
    assert_eq!(whole.add(&second.bytes[..second.length]).first(), First::Improper);
    let (mut piece, mut later, mut short) = (whole, whole, whole);
    piece.bytes[13 + 3] += 1;
    later.bytes[13 + 8] = 1;
    short.bytes[12] -= 1;
    for datagram in [piece, later, short] {
        assert_eq!(datagram.first(), First::Improper);
    }
}

#[test]
fn a_hello_behind_something_else_is_found() {
    let hello = Datagram::hello([1; 32], &[], &[]);
    let hello = &hello.bytes[..hello.length];
    let alert = [21, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 1, 0, 2, 1, 0];
    let datagram = Datagram::empty().add(&alert).add(hello);
    assert_eq!(datagram.first(), First::Other);
    assert!(datagram.hides());
    // a message of no length, then the hello, both in one record
    let mut record = Datagram::empty().add(&hello[..11]).add(&[0, 0]);
    record = record.add(&[14, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]).add(&hello[13..]);
    record.bytes[12] = (record.length - 13) as u8;
    assert_eq!(record.first(), First::Other);
    assert!(record.hides());
    let quiet = Datagram::empty().add(&alert).add(&alert);
    assert!(!quiet.hides());
}

#[test]
fn without_a_key_there_is_no_cookie() {
    let none = CookieKey::default();
    let hello = Datagram::hello([1; 32], &[], &[]).read();
    assert_eq!(judged([&none, &none], NOW, &flow(), &hello), Decision::NoKey);
    let forged = Datagram::hello([1; 32], &[], &[0; 16]).read();
    assert_eq!(judged([&none, &none], NOW, &flow(), &forged), Decision::NoKey);
}

#[test]
fn a_cookie_lives_through_one_rotation_and_one_minute() {
    let (old, new) = (key(1, NOW - PERIOD_NS), key(2, NOW));
    let none = CookieKey::default();
    let cookie = asked([&none, &old], &flow(), [1; 32], &[]);
    let hello = Datagram::hello([1; 32], &[], &cookie).read();
    let judge = |keys, now| judged(keys, now, &flow(), &hello);
    assert_eq!(judge([&none, &old], NOW), Decision::Vouched);
    assert_eq!(judge([&new, &old], NOW + PERIOD_NS), Decision::Vouched);
    assert!(matches!(judge([&new, &old], NOW + 2 * PERIOD_NS), Decision::Invalid(_)));
    let newer = key(3, NOW + PERIOD_NS);
    assert!(matches!(judge([&new, &newer], NOW + PERIOD_NS), Decision::Invalid(_)));
}

proptest! {
    #[test]
    fn a_cookie_vouches_for_what_it_was_made_for_and_nothing_else(
        random: [u8; 32],
        session in proptest::collection::vec(any::<u8>(), 0..=32),
        bit in 0usize..8 * (32 + 32 + 16),
        other: u64,
    ) {
        let (even, odd) = (key(8, NOW), key(7, NOW - 1));
        let keys = [&even, &odd];
        let cookie = asked(keys, &flow(), random, &session);
        let whole = Datagram::hello(random, &session, &cookie);
        prop_assert_eq!(judged(keys, NOW, &flow(), &whole.read()), Decision::Vouched);
        // random, session and cookie lie there; lengths between them make it improper or invalid
        let at = 13 + 12 + 2 + bit / 8;
        let last = 13 + 12 + 2 + 32 + 1 + session.len() + 1 + 16;
        if at < last {
            let mut changed = whole;
            changed.bytes[at] ^= 1 << (bit % 8);
            let vouched = match changed.first() {
                First::Hello(hello) => judged(keys, NOW, &flow(), &hello) == Decision::Vouched,
                First::Other | First::Improper => false,
            };
            prop_assert!(!vouched);
        }
        let mut moved = flow();
        moved.source = Address::from_words(0x2001_0db8_0000_0000, other);
        prop_assert!(other == 7 || judged(keys, NOW, &moved, &whole.read()) != Decision::Vouched);
        moved = flow();
        moved.ports.source ^= (other as u16).max(1);
        prop_assert!(judged(keys, NOW, &moved, &whole.read()) != Decision::Vouched);
    }

    #[test]
    fn no_bytes_are_read_past_the_datagram(
        bytes in proptest::collection::vec(any::<u8>(), 0..200),
        cut in 0usize..140,
    ) {
        let end = at(bytes.len());
        let _ = first(&bytes[..], Offset::START, end);
        let hello = Datagram::hello([3; 32], &[4; 32], &[5; 16]);
        let cut = cut.min(hello.length - 1);
        let found = first(&hello.bytes[..cut], Offset::START, at(cut));
        prop_assert!(!matches!(found, First::Hello(_)));
        let stop = Cursor { at: Offset::START, record_end: end };
        if let Step::On(next) = step(&bytes[..], stop, end) {
            prop_assert!(next.at > stop.at && next.at <= end);
        }
    }

    #[test]
    fn checksums_of_answers_are_right(words: [u64; 4], v4: [u32; 2], port: u16, sequence: u64) {
        let mut hello = Datagram::hello([1; 32], &[], &[]).read();
        hello.sequence = sequence;
        let mut flow = flow();
        flow.ports.source = port;
        flow.source = Address::from_words(words[2], words[3] | 1 << 63);
        let mut packet = Packet6::new_zeroed();
        packet.fill(&Answer::new(&flow, &hello, [words[0], words[1]]));
        let bytes = packet.as_bytes();
        prop_assert_eq!(bytes.len(), LENGTH_6);
        prop_assert_eq!(folded(&[&bytes[8..40], &[0, 17], &bytes[44..46], &bytes[40..]]), 0xffff);
        prop_assert_eq!(&bytes[24..40], &flow.source.octets);

        flow.source = Address::from_v4(v4[0]);
        flow.destination = Address::from_v4(v4[1]);
        let mut packet = Packet4::new_zeroed();
        packet.fill(&Answer::new(&flow, &hello, [words[0], words[1]]));
        let bytes = packet.as_bytes();
        prop_assert_eq!(bytes.len(), LENGTH_4);
        prop_assert_eq!(folded(&[&bytes[..20]]), 0xffff);
        prop_assert_eq!(folded(&[&bytes[12..20], &[0, 17], &bytes[24..26], &bytes[20..]]), 0xffff);
        prop_assert_eq!(&bytes[16..20], &v4[0].to_be_bytes());
    }
}
