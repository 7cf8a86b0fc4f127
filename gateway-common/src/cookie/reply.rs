//! The bytes of the answer: a HelloVerifyRequest (RFC 6347 §4.2.1), and the packet around it.
//!
//! It is shorter than any ClientHello, so that the router makes no flood larger.
use super::{Cookie, Flow, LENGTH, hello::ClientHello};
use crate::wire::{
    Address,
    dtls::{HANDSHAKE_HEADER, content, handshake},
    parse::UDP,
};
use network_types::{ip::Ipv6Hdr, udp::UdpHdr};
use zerocopy::{
    FromBytes, FromZeros as _, Immutable, IntoBytes, KnownLayout, Unaligned,
    byteorder::network_endian::{U16, U32, U64},
};

/// A HelloVerifyRequest in its record, with a cookie of [`LENGTH`] bytes.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct HelloVerifyRequest {
    content: u8,
    record_version: U16,
    /// Epoch 0 in the upper 16 bits, then the record's number.
    number: U64,
    length: U16,
    /// Type in the upper byte, then the message's length.
    head: U32,
    message_seq: U16,
    /// Offset 0, then the length of the one fragment, of three bytes each.
    fragment: [U16; 3],
    server_version: U16,
    cookie_length: u8,
    cookie: [U64; 2],
}

/// Bytes in a [`HelloVerifyRequest`].
pub const REQUEST: usize = size_of::<HelloVerifyRequest>();
/// Bytes in its body: version, length and cookie.
const BODY: u16 = 3 + LENGTH as u16;

impl HelloVerifyRequest {
    /// The answer to `hello`.
    pub fn new(hello: &ClientHello, cookie: &Cookie) -> Self {
        let mut request = Self::new_zeroed();
        request.fill(hello.record_version, hello.sequence, cookie);
        request
    }

    /// Makes it the answer to the hello of record `sequence`. In place, as the kernel has no room
    /// for another. Both versions are those of the record that the hello came in: RFC 6347 asks for
    /// 1.0, which not every client takes, and each takes its own.
    #[inline(always)]
    fn fill(&mut self, version: u16, sequence: u64, cookie: &Cookie) {
        self.content = content::HANDSHAKE;
        self.record_version = U16::new(version);
        self.number = U64::new(sequence & 0xffff_ffff_ffff);
        self.length = U16::new(HANDSHAKE_HEADER as u16 + BODY);
        self.head = U32::new((handshake::HELLO_VERIFY_REQUEST as u32) << 24 | BODY as u32);
        self.message_seq = U16::ZERO;
        self.fragment = [U16::ZERO, U16::ZERO, U16::new(BODY)];
        self.server_version = U16::new(version);
        self.cookie_length = LENGTH;
        self.cookie = [U64::new(cookie[0]), U64::new(cookie[1])];
    }

    /// Its bytes.
    pub fn bytes(&self) -> [u8; REQUEST] {
        zerocopy::transmute!(*self)
    }
}

/// A UDP datagram with the request.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Datagram {
    source: U16,
    destination: U16,
    length: U16,
    checksum: U16,
    request: HelloVerifyRequest,
}

const UDP_LENGTH: u16 = (UdpHdr::LEN + REQUEST) as u16;
/// Hops that the answer may take.
const HOPS: u8 = 64;

/// What an answer says, and to whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The hello's way; the answer takes it back.
    pub flow: Flow,
    /// Version of the hello's record.
    pub version: u16,
    /// Number of the hello's record.
    pub sequence: u64,
    /// The cookie.
    pub cookie: Cookie,
}

impl Answer {
    /// The answer to a hello.
    #[inline(always)]
    pub const fn new(flow: &Flow, hello: &ClientHello, cookie: Cookie) -> Self {
        let (version, sequence) = (hello.record_version, hello.sequence);
        Self { flow: *flow, version, sequence, cookie }
    }
}

impl Datagram {
    #[inline(always)]
    fn fill(&mut self, answer: &Answer) {
        let flow = &answer.flow;
        self.source = U16::new(flow.ports.destination);
        self.destination = U16::new(flow.ports.source);
        self.length = U16::new(UDP_LENGTH);
        self.checksum = U16::ZERO;
        self.request.fill(answer.version, answer.sequence, &answer.cookie);
        let sum = Sum::of(self.as_bytes())
            .address(&flow.source)
            .address(&flow.destination)
            .number(UDP.into())
            .number(UDP_LENGTH.into());
        // zero would mean "none" (RFC 768, RFC 8200 §8.1)
        let checksum = sum.complement();
        self.checksum = U16::new(if checksum == 0 { 0xffff } else { checksum });
    }
}

/// The answer as an IPv6 packet.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Packet6 {
    version: U32,
    length: U16,
    next: u8,
    hops: u8,
    source: [u8; 16],
    destination: [u8; 16],
    datagram: Datagram,
}

/// Bytes in a [`Packet6`].
pub const LENGTH_6: usize = size_of::<Packet6>();

impl Packet6 {
    /// Makes it `answer`.
    #[inline(always)]
    pub fn fill(&mut self, answer: &Answer) {
        self.version = U32::new(6 << 28);
        self.length = U16::new(UDP_LENGTH);
        self.next = UDP;
        self.hops = HOPS;
        self.source = answer.flow.destination.octets;
        self.destination = answer.flow.source.octets;
        self.datagram.fill(answer);
    }
}

/// The answer as an IPv4 packet.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Packet4 {
    head: Head4,
    datagram: Datagram,
}

/// An IPv4 header without options.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Head4 {
    version: U16,
    length: U16,
    number: U16,
    fragment: U16,
    hops: u8,
    protocol: u8,
    checksum: U16,
    source: U32,
    destination: U32,
}

/// Bytes in a [`Packet4`].
pub const LENGTH_4: usize = size_of::<Packet4>();
/// "Don't fragment", so that a number is not needed (RFC 6864 §4.1).
const DONT_FRAGMENT: u16 = 0x4000;

impl Packet4 {
    /// Makes it `answer`.
    #[inline(always)]
    pub fn fill(&mut self, answer: &Answer) {
        let v4 = |address: &Address| U32::new(address.words().1 as u32);
        self.head.version = U16::new(0x4500);
        self.head.length = U16::new(LENGTH_4 as u16);
        self.head.number = U16::ZERO;
        self.head.fragment = U16::new(DONT_FRAGMENT);
        self.head.hops = HOPS;
        self.head.protocol = UDP;
        self.head.checksum = U16::ZERO;
        self.head.source = v4(&answer.flow.destination);
        self.head.destination = v4(&answer.flow.source);
        self.head.checksum = U16::new(Sum::of(self.head.as_bytes()).complement());
        self.datagram.fill(answer);
    }
}

const _: () = assert!(REQUEST == 44 && LENGTH_6 == Ipv6Hdr::LEN + 52 && LENGTH_4 == 72);

/// A checksum in the making (RFC 1071).
#[derive(Clone, Copy)]
struct Sum(u32);

impl Sum {
    #[inline(always)]
    fn of(bytes: &[u8]) -> Self {
        let mut sum = Self(0);
        for pair in bytes.as_chunks::<2>().0 {
            sum = sum.number(u16::from_be_bytes(*pair).into());
        }
        sum
    }

    #[inline(always)]
    const fn number(self, number: u32) -> Self {
        Self(self.0 + (number & 0xffff) + (number >> 16))
    }

    /// An address as the pseudo header has it: the four bytes of an IPv4 address.
    #[inline(always)]
    const fn address(self, address: &Address) -> Self {
        let (high, low) = address.words();
        if address.is_v4() {
            return self.number(low as u32);
        }
        self.number((high >> 32) as u32)
            .number(high as u32)
            .number((low >> 32) as u32)
            .number(low as u32)
    }

    #[inline(always)]
    const fn complement(self) -> u16 {
        let folded = (self.0 & 0xffff) + (self.0 >> 16);
        !((folded & 0xffff) + (folded >> 16)) as u16
    }
}
