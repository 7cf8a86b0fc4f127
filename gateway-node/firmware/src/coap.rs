//! One resource over CoAP ([RFC 7252](https://www.rfc-editor.org/rfc/rfc7252)): GET /hello.

/// What the resource holds: with a token of eight bytes, an answer of 64 bytes.
pub const HELLO: &[u8] = b"hello from a Cortex-M3 with 64 KiB of RAM, no heap\n";

const PATH: &[u8] = b"hello";

const VERSION: u8 = 0b0100_0000;
const MARKER: u8 = 0xff;
const URI_PATH: u16 = 11;

// types (§3), in their place in the first byte
const CONFIRMABLE: u8 = 0;
const NON_CONFIRMABLE: u8 = 1;
const ACKNOWLEDGEMENT: u8 = 2;
const RESET: u8 = 3;

// codes (§12.1)
const EMPTY: u8 = 0;
const GET: u8 = 1;
const CONTENT: u8 = 0x45;
const BAD_OPTION: u8 = 0x82;
const NOT_FOUND: u8 = 0x84;
const NOT_ALLOWED: u8 = 0x85;

struct Request<'a> {
    kind: u8,
    code: u8,
    id: [u8; 2],
    token: &'a [u8],
    options: &'a [u8],
}

/// Writes the answer to a request and gives its length; `None` if there is nothing to say.
pub fn respond(message: &[u8], response: &mut [u8]) -> Option<usize> {
    let request = read(message)?;
    match (request.kind, request.code) {
        // a ping (§4.3)
        (CONFIRMABLE, EMPTY) => write(response, RESET, EMPTY, &request, &[]),
        (CONFIRMABLE, 1..=31) => reply(response, ACKNOWLEDGEMENT, &request),
        (NON_CONFIRMABLE, 1..=31) => reply(response, NON_CONFIRMABLE, &request),
        _ => None,
    }
}

fn reply(response: &mut [u8], kind: u8, request: &Request<'_>) -> Option<usize> {
    let code = match (request.code, is_hello(request.options)) {
        (_, None) => BAD_OPTION,
        (_, Some(false)) => NOT_FOUND,
        (GET, Some(true)) => CONTENT,
        (_, Some(true)) => NOT_ALLOWED,
    };
    write(response, kind, code, request, if code == CONTENT { HELLO } else { &[] })
}

fn read(message: &[u8]) -> Option<Request<'_>> {
    let (&[first, code, id0, id1], rest) = message.split_first_chunk()?;
    let token = usize::from(first & 0x0f);
    if first & 0b1100_0000 != VERSION || token > 8 {
        return None;
    }
    let (token, options) = rest.split_at_checked(token)?;
    Some(Request { kind: first >> 4 & 0b11, code, id: [id0, id1], token, options })
}

/// Whether the path is the resource's; `None` if options are malformed, or one is critical and
/// unknown (§5.4.1).
fn is_hello(mut options: &[u8]) -> Option<bool> {
    let (mut number, mut segments, mut hello) = (0_u16, 0_u8, false);
    while let Some((&first, rest)) = options.split_first().filter(|(first, _)| **first != MARKER) {
        let (delta, rest) = extended(first >> 4, rest)?;
        let (length, rest) = extended(first & 0x0f, rest)?;
        let (value, rest) = rest.split_at_checked(usize::from(length))?;
        (number, options) = (number.checked_add(delta)?, rest);
        match number {
            URI_PATH => (segments, hello) = (segments.saturating_add(1), value == PATH),
            // If-Match, Uri-Host, If-None-Match, Uri-Port, Uri-Query, Accept
            1 | 3 | 5 | 7 | 15 | 17 => {}
            critical if critical % 2 == 1 => return None,
            _ => {}
        }
    }
    Some(segments == 1 && hello)
}

/// Delta or length of an option, with the bytes that extend it (§3.1).
fn extended(nibble: u8, rest: &[u8]) -> Option<(u16, &[u8])> {
    match nibble {
        13 => rest.split_first().map(|(&byte, rest)| (u16::from(byte) + 13, rest)),
        14 => {
            let (bytes, rest) = rest.split_first_chunk()?;
            Some((u16::from_be_bytes(*bytes).checked_add(269)?, rest))
        }
        15 => None,
        plain => Some((u16::from(plain), rest)),
    }
}

fn write(
    response: &mut [u8],
    kind: u8,
    code: u8,
    request: &Request<'_>,
    payload: &[u8],
) -> Option<usize> {
    // an empty message has no token (§4.1)
    let token = if code == EMPTY { &[] } else { request.token };
    let first = VERSION | kind << 4 | u8::try_from(token.len()).ok()?;
    let marker: &[u8] = if payload.is_empty() { &[] } else { &[MARKER] };
    let mut length = 0;
    for piece in [&[first, code], &request.id[..], token, marker, payload] {
        let end = length + piece.len();
        response.get_mut(length..end)?.copy_from_slice(piece);
        length = end;
    }
    Some(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GET_HELLO: &[u8] = b"\x42\x01\x12\x34tk\xb5hello";

    fn answer<'a>(message: &[u8], buffer: &'a mut [u8; 80]) -> &'a [u8] {
        let length = respond(message, buffer).expect("an answer");
        &buffer[..length]
    }

    #[test]
    fn get_is_answered_in_the_acknowledgement() {
        let mut buffer = [0; 80];
        let (head, body) = answer(GET_HELLO, &mut buffer).split_at(7);
        assert_eq!((head, body), (&b"\x62\x45\x12\x34tk\xff"[..], HELLO));
    }

    #[test]
    fn other_paths_methods_and_options_are_refused_by_code() {
        let mut buffer = [0; 80];
        for (message, code) in [
            (&b"\x40\x01\0\0\xb3abc"[..], NOT_FOUND),
            (b"\x40\x01\0\0", NOT_FOUND),
            (b"\x40\x01\0\0\xb5hello\x05hello", NOT_FOUND),
            (b"\x40\x02\0\0\xb5hello", NOT_ALLOWED),
            (b"\x40\x01\0\0\xb5hello\xd1\x01\x01", BAD_OPTION),
            (b"\x40\x01\0\0\xb5hel", BAD_OPTION),
        ] {
            assert_eq!(answer(message, &mut buffer)[1], code, "{message:?}");
        }
    }

    #[test]
    fn ping_is_answered_with_a_reset() {
        assert_eq!(answer(b"\x40\x00\x12\x34", &mut [0; 80]), b"\x70\x00\x12\x34");
    }

    #[test]
    fn responses_and_rubbish_are_not_answered() {
        for message in [&b""[..], b"\x40\x01\0", b"\x80\x01\0\0", b"\x49\x01\0\0", b"\x60\x45\0\0"]
        {
            assert_eq!(respond(message, &mut [0; 80]), None, "{message:?}");
        }
    }

    #[test]
    fn no_cut_request_panics() {
        for end in 0..GET_HELLO.len() {
            let _ = respond(&GET_HELLO[..end], &mut [0; 80]);
            let _ = respond(GET_HELLO, &mut [0; 80][..end]);
        }
    }
}
