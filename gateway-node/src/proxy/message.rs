//! CoAP messages (RFC 7252 §3): the one door for datagrams of nodes.

use alloc::{vec, vec::Vec};

use coap_lite::{CoapOption, Header, HeaderRaw, MessageClass, MessageType, Packet};

/// Option numbers (RFC 7252 §5.10, RFC 7959 §6).
pub(crate) mod option {
    pub(crate) const IF_MATCH: u16 = 1;
    pub(crate) const ETAG: u16 = 4;
    pub(crate) const IF_NONE_MATCH: u16 = 5;
    pub(crate) const LOCATION_PATH: u16 = 8;
    pub(crate) const URI_PATH: u16 = 11;
    pub(crate) const CONTENT_FORMAT: u16 = 12;
    pub(crate) const MAX_AGE: u16 = 14;
    pub(crate) const URI_QUERY: u16 = 15;
    pub(crate) const ACCEPT: u16 = 17;
    pub(crate) const LOCATION_QUERY: u16 = 20;
    pub(crate) const BLOCK2: u16 = 23;
    pub(crate) const BLOCK1: u16 = 27;
    pub(crate) const SIZE2: u16 = 28;
    pub(crate) const PROXY_URI: u16 = 35;
    pub(crate) const PROXY_SCHEME: u16 = 39;
    pub(crate) const SIZE1: u16 = 60;
}

/// A method or response code: class in the upper 3 bits, detail in the lower 5.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Code(pub(crate) u8);

impl Code {
    pub(crate) const EMPTY: Self = Self(0);
    pub(crate) const GET: Self = Self(1);
    pub(crate) const POST: Self = Self(2);
    pub(crate) const PUT: Self = Self(3);
    pub(crate) const DELETE: Self = Self(4);
    pub(crate) const PATCH: Self = Self(6);
    pub(crate) const IPATCH: Self = Self(7);
    pub(crate) const CREATED: Self = Self::response(2, 1);
    pub(crate) const VALID: Self = Self::response(2, 3);
    #[cfg(test)]
    pub(crate) const CHANGED: Self = Self::response(2, 4);
    pub(crate) const CONTENT: Self = Self::response(2, 5);
    pub(crate) const CONTINUE: Self = Self::response(2, 31);
    pub(crate) const BAD_OPTION: Self = Self::response(4, 2);
    pub(crate) const NOT_FOUND: Self = Self::response(4, 4);
    pub(crate) const METHOD_NOT_ALLOWED: Self = Self::response(4, 5);
    pub(crate) const NOT_ACCEPTABLE: Self = Self::response(4, 6);
    pub(crate) const INCOMPLETE: Self = Self::response(4, 8);
    pub(crate) const TOO_LARGE: Self = Self::response(4, 13);
    pub(crate) const SERVICE_UNAVAILABLE: Self = Self::response(5, 3);
    pub(crate) const PROXYING_NOT_SUPPORTED: Self = Self::response(5, 5);

    pub(crate) const fn response(class: u8, detail: u8) -> Self {
        Self(class << 5 | detail)
    }

    pub(crate) fn class(self) -> u8 {
        self.0 >> 5
    }

    pub(crate) fn detail(self) -> u8 {
        self.0 & 0x1f
    }

    pub(crate) fn is_request(self) -> bool {
        self.class() == 0 && self != Self::EMPTY
    }

    pub(crate) fn is_response(self) -> bool {
        (2..=5).contains(&self.class())
    }
}

/// The four types of RFC 7252 §3.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Confirmable,
    NonConfirmable,
    Acknowledgement,
    Reset,
}

/// A datagram that is no CoAP message: a message format error of RFC 7252 §3.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Malformed;

/// An option: its number and its value.
pub(crate) type Opt = (u16, Vec<u8>);

/// A message; options are in ascending order once it was read or written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) kind: Kind,
    pub(crate) code: Code,
    pub(crate) id: u16,
    pub(crate) token: Vec<u8>,
    pub(crate) options: Vec<Opt>,
    pub(crate) payload: Vec<u8>,
}

impl Message {
    /// An Empty message: an acknowledgement or a Reset of message `id`.
    pub(crate) fn empty(kind: Kind, id: u16) -> Self {
        Self { kind, code: Code::EMPTY, id, token: vec![], options: vec![], payload: vec![] }
    }

    pub(crate) fn read(datagram: &[u8]) -> Result<Self, Malformed> {
        let packet = Packet::from_bytes(datagram).map_err(|_| Malformed)?;
        // The codec lets an empty payload after its marker and what follows an Empty message pass.
        let again = packet.to_bytes_unlimited().map_err(|_| Malformed)?;
        if again != datagram || packet.header.get_version() != 1 {
            return Err(Malformed);
        }
        let code = Code(u8::from(packet.header.code));
        if code == Code::EMPTY && datagram.len() != 4 {
            return Err(Malformed);
        }
        Ok(Self {
            kind: Kind::from(packet.header.get_type()),
            code,
            id: packet.header.message_id,
            token: packet.get_token().to_vec(),
            options: packet
                .options()
                .flat_map(|(number, values)| values.iter().map(|value| (*number, value.clone())))
                .collect(),
            payload: packet.payload,
        })
    }

    pub(crate) fn write(&self) -> Vec<u8> {
        let mut packet = Packet::new();
        packet.header = header(self.code, self.id);
        packet.header.set_type(self.kind.into());
        packet.set_token(self.token.clone());
        for (number, value) in &self.options {
            packet.add_option(CoapOption::from(*number), value.clone());
        }
        packet.payload.clone_from(&self.payload);
        packet.to_bytes_unlimited().unwrap_or_default()
    }

    pub(crate) fn option(&self, number: u16) -> Option<&[u8]> {
        first(&self.options, number)
    }

    /// The first option that must be understood and is not (RFC 7252 §5.4.1).
    pub(crate) fn unknown_critical(&self) -> Option<u16> {
        let known = |number| (1..=11).contains(&number) || matches!(number, 15 | 17 | 23 | 27);
        self.options.iter().map(|(number, _)| *number).find(|n| n % 2 == 1 && !known(*n))
    }
}

/// Values of all options of that number, in their order.
pub(crate) fn all(options: &[Opt], number: u16) -> impl Iterator<Item = &[u8]> {
    options.iter().filter(move |(n, _)| *n == number).map(|(_, value)| value.as_slice())
}

/// The value of the first option of that number.
pub(crate) fn first(options: &[Opt], number: u16) -> Option<&[u8]> {
    all(options, number).next()
}

/// The first option of that number as an unsigned integer (RFC 7252 §3.2); `None` if it has more
/// than 4 bytes.
pub(crate) fn uint(options: &[Opt], number: u16) -> Option<u32> {
    let value = first(options, number).filter(|value| value.len() <= 4)?;
    Some(value.iter().fold(0, |sum, byte| sum << 8 | u32::from(*byte)))
}

/// An unsigned integer as an option's value: no leading zeros.
pub(crate) fn uint_value(value: u32) -> Vec<u8> {
    value.to_be_bytes().into_iter().skip_while(|byte| *byte == 0).collect()
}

fn header(code: Code, id: u16) -> Header {
    let mut header = Header::from_raw(&HeaderRaw::default());
    header.code = MessageClass::from(code.0);
    header.message_id = id;
    header
}

impl From<MessageType> for Kind {
    fn from(kind: MessageType) -> Self {
        match kind {
            MessageType::Confirmable => Self::Confirmable,
            MessageType::NonConfirmable => Self::NonConfirmable,
            MessageType::Acknowledgement => Self::Acknowledgement,
            MessageType::Reset => Self::Reset,
        }
    }
}

impl From<Kind> for MessageType {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Confirmable => Self::Confirmable,
            Kind::NonConfirmable => Self::NonConfirmable,
            Kind::Acknowledgement => Self::Acknowledgement,
            Kind::Reset => Self::Reset,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// RFC 7252 Appendix A, Figure 16: GET /temperature and its piggybacked answer.
    #[test]
    fn the_example_of_the_rfc_reads_and_writes() {
        let get = b"\x40\x01\x7d\x34\xbbtemperature";
        let answer = b"\x60\x45\x7d\x34\xff22.3 C";
        let message = Message::read(get).expect("a message");
        assert_eq!(
            (message.kind, message.code, message.id),
            (Kind::Confirmable, Code::GET, 0x7d34)
        );
        assert_eq!(message.option(option::URI_PATH), Some(&b"temperature"[..]));
        assert_eq!(message.write(), get);
        let message = Message::read(answer).expect("a message");
        assert_eq!((message.kind, message.code), (Kind::Acknowledgement, Code::CONTENT));
        assert_eq!(message.payload, b"22.3 C");
        assert_eq!(message.write(), answer);
    }

    #[test]
    fn format_errors_are_refused() {
        for bytes in [
            &b""[..],
            b"\x40\x01\x7d",
            b"\x80\x01\x7d\x34",          // version 2
            b"\x49\x01\x7d\x34123456789", // token of 9 bytes
            b"\x42\x01\x7d\x34a",         // token cut
            b"\x40\x00\x7d\x34a",         // Empty, and more
            b"\x60\x45\x7d\x34\xff",      // a marker and no payload
            b"\x40\x01\x7d\x34\xf0",      // reserved delta
            b"\x40\x01\x7d\x34\xbfab",    // reserved length
            b"\x40\x01\x7d\x34\xb3ab",    // option cut
        ] {
            assert_eq!(Message::read(bytes), Err(Malformed), "{bytes:02x?}");
        }
    }

    #[test]
    fn integers_have_no_leading_zeros() {
        for (value, bytes) in
            [(0, &b""[..]), (1, b"\x01"), (256, b"\x01\x00"), (u32::MAX, &[255; 4])]
        {
            assert_eq!(uint_value(value), bytes);
            assert_eq!(uint(&[(7, bytes.to_vec())], 7), Some(value));
        }
        assert_eq!(uint(&[(7, vec![0; 5])], 7), None);
    }

    #[test]
    fn only_unknown_odd_options_are_critical() {
        let mut message = Message::empty(Kind::Confirmable, 1);
        message.options = vec![(option::BLOCK2, vec![]), (258, vec![]), (2049, vec![])];
        assert_eq!(message.unknown_critical(), Some(2049));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(message) = Message::read(&bytes) {
                prop_assert_eq!(message.write(), bytes);
            }
        }

        #[test]
        fn what_is_written_is_read(
            code in 1..=255u8,
            token in proptest::collection::vec(any::<u8>(), 0..=8),
            mut options in proptest::collection::vec(
                (any::<u16>(), proptest::collection::vec(any::<u8>(), 0..300)), 0..6),
            payload in proptest::collection::vec(any::<u8>(), 0..64),
        ) {
            options.sort_by_key(|(number, _)| *number);
            let message =
                Message { kind: Kind::NonConfirmable, code: Code(code), id: 7, token, options, payload };
            prop_assert_eq!(Message::read(&message.write()), Ok(message));
        }
    }
}
