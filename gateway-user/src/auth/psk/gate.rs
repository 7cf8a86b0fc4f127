//! Before a handshake: nothing is kept of a client until it has returned a cookie, which proves
//! that it receives what is sent to its address (RFC 6347 §4.2.1).
use super::socket::Way;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use std::time::{Duration, Instant};

/// Bytes of a cookie.
pub(super) const COOKIE: usize = 16;
/// Bytes of a key: a block of the hash.
const KEY: usize = 64;
/// How long a key makes cookies; it is then good for as long again.
const LIFE: Duration = Duration::from_mins(1);

/// A ClientHello, as far as a cookie needs it (RFC 6347 §4.2.1).
#[derive(Clone, Copy, Debug)]
pub(super) struct Hello<'a> {
    /// The datagram.
    pub(super) datagram: &'a [u8],
    /// The message without its header.
    pub(super) body: &'a [u8],
    /// Where the cookie's length lies in it.
    pub(super) at: usize,
    /// The cookie.
    pub(super) cookie: &'a [u8],
}

impl<'a> Hello<'a> {
    /// The ClientHello that a datagram begins with. One in fragments is none: it could not be
    /// answered without keeping something.
    pub(super) fn read(datagram: &'a [u8]) -> Option<Self> {
        let (head, rest) = datagram.split_at_checked(13)?;
        let [22, 254, _, 0, 0, .., high, low] = *head else { return None };
        let record = rest.get(..usize::from(u16::from_be_bytes([high, low])))?;
        let (message, body) = record.split_at_checked(12)?;
        let whole = message.get(1..4) == message.get(9..12);
        let alone = body.len() == length_of(message.get(1..4)?);
        if message.first() != Some(&1) || !whole || !alone || message.get(6..9) != Some(&[0; 3]) {
            return None;
        }
        let session = usize::from(*body.get(34)?);
        let at = 35 + session;
        let length = usize::from(*body.get(at)?);
        let cookie = body.get(at + 1..at + 1 + length)?;
        Some(Self { datagram, body, at, cookie })
    }

    /// The client's random value, by which a retransmission is known from a new start.
    pub(super) fn random(&self) -> &'a [u8] {
        self.body.get(2..34).unwrap_or_default()
    }

    /// What does not change between the hello without a cookie and the one with it: version, random
    /// and session id. Extensions of clients that speak DTLS 1.3 too do change.
    fn covered(&self) -> &'a [u8] {
        self.body.get(..self.at).unwrap_or_default()
    }

    /// The message's number.
    pub(super) fn number(&self) -> u16 {
        let bytes = self.datagram.get(17..19).and_then(|bytes| bytes.try_into().ok());
        bytes.map_or(0, u16::from_be_bytes)
    }

    /// What is in the datagram behind the record.
    pub(super) fn rest(&self) -> &'a [u8] {
        self.datagram.get(13 + 12 + self.body.len()..).unwrap_or_default()
    }

    /// What comes behind the cookie.
    pub(super) fn behind(&self) -> &'a [u8] {
        self.body.get(self.at + 1 + self.cookie.len()..).unwrap_or_default()
    }
}

fn length_of(bytes: &[u8]) -> usize {
    bytes.iter().fold(0, |all, byte| all << 8 | usize::from(*byte))
}

/// Makes cookies and knows them again.
pub(super) struct Gate {
    keys: [[u8; KEY]; 2],
    /// Which of them is the newer one.
    turn: u8,
    since: Instant,
}

impl Gate {
    /// With fresh keys.
    pub(super) fn new(now: Instant) -> Result<Self, getrandom::Error> {
        Ok(Self { keys: [key()?, key()?], turn: 0, since: now })
    }

    /// Changes the keys when it is time.
    pub(super) fn handle_timeout(&mut self, now: Instant) {
        if now < self.since + LIFE {
            return;
        }
        // without chance the old key has to do
        let Ok(fresh) = key() else { return };
        let [even, odd] = &mut self.keys;
        self.turn ^= 1;
        *if self.turn == 0 { even } else { odd } = fresh;
        self.since = now;
    }

    /// Whether a hello carries a cookie that was made for it: the one place that lets clients in.
    pub(super) fn accepts(&self, way: &Way, hello: &Hello<'_>) -> bool {
        let Some((turn, mac)) = hello.cookie.split_first() else { return false };
        let good = hello.cookie.len() == COOKIE && *turn <= 1;
        good && self.mac(*turn, way, hello).verify_truncated_left(mac).is_ok()
    }

    /// The HelloVerifyRequest that answers a hello: nothing is kept, and it is smaller.
    pub(super) fn answer(&self, way: &Way, hello: &Hello<'_>) -> Vec<u8> {
        let mac = self.mac(self.turn, way, hello).finalize().into_bytes();
        // in DTLS 1.0, as RFC 6347 §4.2.1 says
        let mut answer = vec![22, 254, 255];
        // the record's number is the hello's own, the message's too
        answer.extend(hello.datagram.iter().skip(3).take(8));
        answer.extend([0, 12 + 3 + COOKIE as u8, 3, 0, 0, 3 + COOKIE as u8]);
        answer.extend(hello.datagram.iter().skip(17).take(2));
        answer.extend([0, 0, 0, 0, 0, 3 + COOKIE as u8, 254, 255, COOKIE as u8, self.turn]);
        answer.extend(mac.iter().take(COOKIE - 1));
        answer
    }

    fn mac(&self, turn: u8, way: &Way, hello: &Hello<'_>) -> Hmac<Sha256> {
        let [even, odd] = &self.keys;
        let key = if turn == 0 { even } else { odd };
        let mut mac = Hmac::<Sha256>::new(key.into());
        mac.update(format!("{} {}", way.peer, way.local).as_bytes());
        mac.update(hello.covered());
        mac
    }
}

fn key() -> Result<[u8; KEY], getrandom::Error> {
    let mut key = [0; KEY];
    getrandom::fill(&mut key)?;
    Ok(key)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A ClientHello with a cookie, and its number.
    pub(in crate::auth::psk) fn hello(cookie: &[u8], number: u8) -> Vec<u8> {
        let mut body = vec![254, 253];
        body.extend([7; 32]);
        body.push(0);
        body.push(cookie.len() as u8);
        body.extend(cookie);
        body.extend([0, 2, 0xc0, 0xa8, 1, 0]);
        let length = body.len() as u8;
        let mut datagram = vec![22, 254, 255, 0, 0, 0, 0, 0, 0, 0, number, 0, length + 12];
        datagram.extend([1, 0, 0, length, 0, number, 0, 0, 0, 0, 0, length]);
        datagram.extend(body);
        datagram
    }

    fn way(port: u16) -> Way {
        Way { peer: ([192, 0, 2, 1], port).into(), local: ([192, 0, 2, 2], 5684).into() }
    }

    fn cookie(answer: &[u8]) -> &[u8] {
        &answer[28..]
    }

    #[test]
    fn a_cookie_is_good_for_its_hello_and_its_way_only() {
        let gate = Gate::new(Instant::now()).unwrap();
        let first = hello(&[], 0);
        let answer = gate.answer(&way(1), &Hello::read(&first).unwrap());
        assert!(answer.len() <= first.len(), "nobody is flooded with more than was sent");
        assert_eq!(answer[..14], [22, 254, 255, 0, 0, 0, 0, 0, 0, 0, 0, 0, 31, 3]);
        let second = hello(cookie(&answer), 1);
        let read = Hello::read(&second).unwrap();
        assert!(gate.accepts(&way(1), &read));
        assert!(!gate.accepts(&way(2), &read), "another port");
        assert!(!gate.accepts(&way(1), &Hello::read(&first).unwrap()), "no cookie");
        for place in [0, 1, 15] {
            let mut other = cookie(&answer).to_vec();
            other[place] ^= 2;
            let other = hello(&other, 1);
            assert!(!gate.accepts(&way(1), &Hello::read(&other).unwrap()), "{place}");
        }
        let mut random = second.clone();
        random[30] ^= 1;
        assert!(!gate.accepts(&way(1), &Hello::read(&random).unwrap()), "another hello");
    }

    #[test]
    fn cookies_grow_old() {
        let begin = Instant::now();
        let mut gate = Gate::new(begin).unwrap();
        let second = {
            let first = hello(&[], 0);
            hello(cookie(&gate.answer(&way(1), &Hello::read(&first).unwrap())), 1)
        };
        let read = Hello::read(&second).unwrap();
        gate.handle_timeout(begin + LIFE - Duration::from_secs(1));
        gate.handle_timeout(begin + LIFE);
        assert!(gate.accepts(&way(1), &read), "the key before is still good");
        gate.handle_timeout(begin + LIFE * 2);
        assert!(!gate.accepts(&way(1), &read));
    }

    #[test]
    fn what_is_in_fragments_is_no_hello() {
        let mut part = hello(&[], 0);
        part[16] += 1;
        assert!(Hello::read(&part).is_none());
        let mut encrypted = hello(&[], 0);
        encrypted[4] = 1;
        assert!(Hello::read(&encrypted).is_none());
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes: Vec<u8>, cut in 0usize..100) {
            let _ = Hello::read(&bytes);
            let whole = hello(&[1; COOKIE], 1);
            let _ = Hello::read(&whole[..cut.min(whole.len())]);
        }
    }
}
