//! SLIP: packets on a serial line ([RFC 1055](https://www.rfc-editor.org/rfc/rfc1055)).

const END: u8 = 0o300;
const ESC: u8 = 0o333;
const ESC_END: u8 = 0o334;
const ESC_ESC: u8 = 0o335;

/// Puts packets together out of the line's bytes, of up to `N` bytes each.
#[derive(Debug)]
pub struct Decoder<const N: usize> {
    packet: [u8; N],
    length: usize,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Inside,
    Escaped,
    /// Too long or wrongly escaped: nothing counts until the next [`END`].
    Lost,
    /// Given out: the next byte begins another.
    Complete,
}

impl<const N: usize> Default for Decoder<N> {
    fn default() -> Self {
        Self { packet: [0; N], length: 0, state: State::Inside }
    }
}

impl<const N: usize> Decoder<N> {
    /// Takes the next byte; gives the packet that it completes. Empty packets, and those that are
    /// too long or wrongly escaped, are dropped.
    pub fn push(&mut self, byte: u8) -> Option<&[u8]> {
        if self.state == State::Complete {
            self.begin();
        }
        match (self.state, byte) {
            (State::Inside, END) if self.length > 0 => {
                self.state = State::Complete;
                return self.packet.get(..self.length);
            }
            (State::Inside | State::Escaped | State::Lost, END) => self.begin(),
            (State::Inside, ESC) => self.state = State::Escaped,
            (State::Inside, byte) => self.append(byte),
            (State::Escaped, ESC_END) => self.append(END),
            (State::Escaped, ESC_ESC) => self.append(ESC),
            (State::Escaped | State::Lost | State::Complete, _) => self.state = State::Lost,
        }
        None
    }

    fn begin(&mut self) {
        self.length = 0;
        self.state = State::Inside;
    }

    fn append(&mut self, byte: u8) {
        let Some(slot) = self.packet.get_mut(self.length) else {
            self.state = State::Lost;
            return;
        };
        *slot = byte;
        self.length += 1;
        self.state = State::Inside;
    }
}

/// The packet as it goes over the line, with an `END` on either side.
pub fn encode(packet: &[u8]) -> impl Iterator<Item = u8> {
    let escaped = packet.iter().flat_map(|&byte| match byte {
        END => [Some(ESC), Some(ESC_END)],
        ESC => [Some(ESC), Some(ESC_ESC)],
        plain => [Some(plain), None],
    });
    let end = core::iter::once(END);
    end.clone().chain(escaped.flatten()).chain(end)
}

#[cfg(test)]
mod tests {
    extern crate std;
    use std::vec::Vec;

    use super::*;

    fn decode(line: &[u8]) -> Vec<Vec<u8>> {
        let mut decoder = Decoder::<8>::default();
        line.iter().filter_map(|&byte| decoder.push(byte).map(<[u8]>::to_vec)).collect()
    }

    #[test]
    fn every_packet_comes_back() {
        for packet in [&[1, 2, 3][..], &[END, ESC, ESC_END, ESC_ESC], &[0], &[END; 8]] {
            let line: Vec<u8> = encode(packet).chain(encode(packet)).collect();
            assert_eq!(decode(&line), [packet, packet]);
        }
    }

    #[test]
    fn bytes_on_the_line_are_those_of_the_rfc() {
        let line: Vec<u8> = encode(&[1, 0xc0, 0xdb]).collect();
        assert_eq!(line, [0xc0, 1, 0xdb, 0xdc, 0xdb, 0xdd, 0xc0]);
    }

    #[test]
    fn a_bad_packet_does_not_take_the_next_with_it() {
        let overlong = [7; 9];
        let wrongly_escaped = [1, ESC, 2, 3];
        for bad in [&overlong[..], &wrongly_escaped] {
            let line: Vec<u8> = bad.iter().copied().chain([END]).chain(encode(&[5])).collect();
            assert_eq!(decode(&line), [[5]]);
        }
    }

    #[test]
    fn silence_is_no_packet() {
        assert!(decode(&[END, END, END]).is_empty());
    }
}
