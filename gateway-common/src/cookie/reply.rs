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
    FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned,
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
    /// The answer to `hello`. Both versions are those of the record that the hello came in: RFC 6347
    /// asks for 1.0, which not every client takes, and each takes its own.
    #[inline(always)]
    pub fn new(hello: &ClientHello, cookie: &Cookie) -> Self {
        Self {
            content: content::HANDSHAKE,
            record_version: U16::new(hello.record_version),
            number: U64::new(hello.sequence & 0xffff_ffff_ffff),
            length: U16::new(HANDSHAKE_HEADER as u16 + BODY),
            head: U32::new((handshake::HELLO_VERIFY_REQUEST as u32) << 24 | BODY as u32),
            message_seq: U16::ZERO,
            fragment: [U16::ZERO, U16::ZERO, U16::new(BODY)],
            server_version: U16::new(hello.record_version),
            cookie_length: LENGTH,
            cookie: [U64::new(cookie[0]), U64::new(cookie[1])],
        }
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

impl Datagram {
    /// The answer on `flow`, whose source it goes to.
    #[inline(always)]
    fn new(flow: &Flow, request: HelloVerifyRequest) -> Self {
        let mut datagram = Self {
            source: U16::new(flow.ports.destination),
            destination: U16::new(flow.ports.source),
            length: U16::new(UDP_LENGTH),
            checksum: U16::ZERO,
            request,
        };
        let sum = Sum::of(datagram.as_bytes())
            .address(&flow.source)
            .address(&flow.destination)
            .number(UDP.into())
            .number(UDP_LENGTH.into());
        // zero would mean "none" (RFC 768, RFC 8200 §8.1)
        let checksum = sum.complement();
        datagram.checksum = U16::new(if checksum == 0 { 0xffff } else { checksum });
        datagram
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
    /// The answer on `flow`.
    #[inline(always)]
    pub fn new(flow: &Flow, request: HelloVerifyRequest) -> Self {
        Self {
            version: U32::new(6 << 28),
            length: U16::new(UDP_LENGTH),
            next: UDP,
            hops: HOPS,
            source: flow.destination.octets,
            destination: flow.source.octets,
            datagram: Datagram::new(flow, request),
        }
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
    /// The answer on `flow`.
    #[inline(always)]
    pub fn new(flow: &Flow, request: HelloVerifyRequest) -> Self {
        let v4 = |address: &Address| U32::new(address.words().1 as u32);
        let mut head = Head4 {
            version: U16::new(0x4500),
            length: U16::new(LENGTH_4 as u16),
            number: U16::ZERO,
            fragment: U16::new(DONT_FRAGMENT),
            hops: HOPS,
            protocol: UDP,
            checksum: U16::ZERO,
            source: v4(&flow.destination),
            destination: v4(&flow.source),
        };
        head.checksum = U16::new(Sum::of(head.as_bytes()).complement());
        Self { head, datagram: Datagram::new(flow, request) }
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
