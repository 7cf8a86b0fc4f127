//! The DTLS engine behind the gate, and how it is told that the cookie was checked already.
//!
//! dimpl makes its cookie inside the object of one association, of the client's random value alone,
//! and takes a ClientHello that answers a HelloVerifyRequest only after it has sent that request.
//! So while a client is let in, the gate's cookie stands in for what dimpl would compute.
//!
//! A cookie of dimpl's has 32 bytes, the gate's has 16, as every byte of it may have to cross a
//! radio. So dimpl is given it with a secret mark behind it, and where the client's message is
//! hashed for Finished (RFC 5246 §7.4.9), the mark is taken off again.
use super::{
    gate::{COOKIE, Hello},
    keys::Keys,
};
use dimpl::{
    Config, CryptoError, Dtls, Error, HashAlgorithm, Output, PskResolver,
    crypto::{Buf, HashContext, HashProvider, HmacProvider, rust_crypto},
};
use std::{
    cell::{Cell, RefCell},
    sync::{Arc, LazyLock},
    time::{Duration, Instant},
};

/// From the first flight to the last: who is slower starts again.
const HANDSHAKE: Duration = Duration::from_secs(30);
/// Bytes of a datagram without IP and UDP headers that an IPv6 path takes (RFC 8200 §5).
pub(crate) const DATAGRAM: usize = 1232;
/// Datagrams that wait between two polls.
const QUEUE: usize = 64;

/// Bytes of a cookie of dimpl's.
const STRETCHED: usize = 32;

/// What fills a cookie up.
static MARK: LazyLock<[u8; STRETCHED - COOKIE]> = LazyLock::new(|| {
    let mut mark = [0; STRETCHED - COOKIE];
    // without chance a client could at most spoil its own handshake
    let _ = getrandom::fill(&mut mark);
    mark
});

thread_local! {
    static ADMITTED: Cell<Option<[u8; STRETCHED]>> = const { Cell::new(None) };
    static ASKED: RefCell<Option<String>> = const { RefCell::new(None) };
}

#[derive(Debug)]
struct Stand(&'static dyn HmacProvider);

static STAND: LazyLock<Stand> =
    LazyLock::new(|| Stand(rust_crypto::default_provider().hmac_provider));

impl HmacProvider for Stand {
    fn hmac_sha256(&self, key: &[u8], data: &[u8]) -> Result<[u8; 32], CryptoError> {
        if let Some(cookie) = ADMITTED.get() {
            return Ok(cookie);
        }
        let mut out = [0; 32];
        self.0.hmac(HashAlgorithm::SHA256, key, data, &mut out)?;
        Ok(out)
    }

    fn hmac(
        &self,
        hash: HashAlgorithm,
        key: &[u8],
        data: &[u8],
        out: &mut [u8],
    ) -> Result<usize, CryptoError> {
        self.0.hmac(hash, key, data, out)
    }
}

/// Keys as dimpl asks for them. Without one it goes on with a random key, so that nobody outside
/// can tell a wrong identity from a wrong key.
struct Resolver(Arc<Keys>);

impl PskResolver for Resolver {
    fn resolve(&self, identity: &[u8]) -> Option<Vec<u8>> {
        let key = self.0.of(identity)?;
        let text = core::str::from_utf8(identity).ok()?;
        ASKED.with_borrow_mut(|asked| *asked = Some(text.to_owned()));
        Some(key.0.clone())
    }
}

/// What associations with these keys have in common.
pub(super) fn config(keys: Arc<Keys>) -> Result<Arc<Config>, Error> {
    let mut provider = rust_crypto::default_provider();
    provider.hmac_provider = &*STAND;
    provider.hash_provider = &*HASHES;
    let config = Config::builder()
        .with_crypto_provider(provider)
        .with_psk_server(None, Arc::new(Resolver(keys)))
        .mtu(DATAGRAM)
        .max_queue_tx(QUEUE)
        .handshake_timeout(HANDSHAKE);
    Ok(Arc::new(config.build()?))
}

/// The identity whose key was asked for since the last call on this thread.
pub(super) fn asked() -> Option<String> {
    ASKED.take()
}

/// An association that has taken a hello whose cookie the gate has checked.
pub(super) fn admit(config: &Arc<Config>, now: Instant, hello: &Hello<'_>) -> Result<Dtls, Error> {
    let mut dtls = Dtls::new_12_psk(Arc::clone(config), now);
    let (padded, cookie) = (padded(hello), stretched(hello.cookie));
    ADMITTED.set(Some(cookie));
    let result = replay(&mut dtls, now, hello, &padded);
    ADMITTED.set(None);
    result.map(|()| dtls)
}

fn replay(dtls: &mut Dtls, now: Instant, hello: &Hello<'_>, padded: &[u8]) -> Result<(), Error> {
    dtls.handle_timeout(now)?;
    // what the client must have sent before
    dtls.handle_packet(&record(hello, &[], 0))?;
    let mut sink = [0; 256];
    // its own HelloVerifyRequest, which is not sent: the client has had ours
    for _ in 0..QUEUE {
        if matches!(dtls.poll_output(&mut sink), Output::Timeout(_)) {
            break;
        }
    }
    dtls.handle_packet(padded)
}

/// A hello as dimpl takes it: with a cookie of 32 bytes.
pub(super) fn padded(hello: &Hello<'_>) -> Vec<u8> {
    let mut datagram = record(hello, &stretched(hello.cookie), hello.number());
    datagram.extend(hello.rest());
    datagram
}

/// A cookie with a mark behind it that nobody outside can make.
fn stretched(cookie: &[u8]) -> [u8; STRETCHED] {
    let mut bytes = cookie.iter().chain(MARK.iter()).copied();
    core::array::from_fn(|_| bytes.next().unwrap_or(0))
}

/// The hello with another cookie and message number, and the record's number as it is where the
/// message's is.
fn record(hello: &Hello<'_>, cookie: &[u8], number: u16) -> Vec<u8> {
    let before = hello.body.get(..hello.at).unwrap_or_default();
    let body = [before, &[cookie.len() as u8], cookie, hello.behind()].concat();
    let length = u32::try_from(body.len()).unwrap_or(0).to_be_bytes();
    let whole = u16::try_from(body.len() + 12).unwrap_or(0).to_be_bytes();
    let mut datagram = hello.datagram.get(..11).unwrap_or_default().to_vec();
    if number == 0
        && let Some(sequence) = datagram.get_mut(5..)
    {
        sequence.fill(0);
    }
    datagram.extend(whole);
    datagram.push(1);
    datagram.extend(&length[1..]);
    datagram.extend(number.to_be_bytes());
    datagram.extend([0; 3]);
    datagram.extend(&length[1..]);
    datagram.extend(body);
    datagram
}

/// Hashes of transcripts: where a marked cookie is in the hello, the client's own stands there.
#[derive(Debug)]
struct Hashes(&'static dyn HashProvider);

static HASHES: LazyLock<Hashes> =
    LazyLock::new(|| Hashes(rust_crypto::default_provider().hash_provider));

impl HashProvider for Hashes {
    fn create_hash(&self, algorithm: HashAlgorithm) -> Box<dyn HashContext> {
        Box::new(Transcript(self.0.create_hash(algorithm)))
    }
}

struct Transcript(Box<dyn HashContext>);

impl core::fmt::Debug for Transcript {
    fn fmt(&self, out: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        out.write_str("Transcript")
    }
}

impl HashContext for Transcript {
    fn update(&mut self, data: &[u8]) {
        match original(data) {
            Some(original) => self.0.update(&original),
            None => self.0.update(data),
        }
    }

    fn clone_and_finalize(&self, out: &mut Buf) {
        self.0.clone_and_finalize(out);
    }
}

/// A transcript with the client's own hello, if it begins with one that was padded.
fn original(data: &[u8]) -> Option<Vec<u8>> {
    const HEAD: usize = 12;
    let (head, rest) = data.split_at_checked(HEAD)?;
    let [1, a, b, c, ..] = *head else { return None };
    let at = 35 + usize::from(*rest.get(34)?);
    let (before, behind) = rest.split_at_checked(at)?;
    let (cookie, behind) = behind.strip_prefix(&[STRETCHED as u8])?.split_at_checked(STRETCHED)?;
    let cookie = cookie.strip_suffix(MARK.as_slice())?;
    let length = u32::from_be_bytes([0, a, b, c]).checked_sub(MARK.len() as u32)?.to_be_bytes();
    let parts: [&[u8]; 9] = [
        &[1],
        &length[1..],
        head.get(4..6)?,
        &[0; 3],
        &length[1..],
        before,
        &[cookie.len() as u8],
        cookie,
        behind,
    ];
    Some(parts.concat())
}

#[cfg(test)]
mod tests {
    use super::{super::gate::tests::hello as sample, *};

    #[test]
    fn a_padded_hello_is_hashed_as_the_client_sent_it() {
        let sent = sample(&[9; COOKIE], 1);
        let hello = Hello::read(&sent).unwrap();
        let padded = padded(&hello);
        assert_eq!(padded.len(), sent.len() + MARK.len());
        let read = Hello::read(&padded).unwrap();
        assert_eq!((read.cookie.len(), read.behind()), (STRETCHED, hello.behind()));
        assert_eq!(original(&padded[13..]).as_deref(), Some(&sent[13..]));
        assert_eq!(original(&sent[13..]), None, "what was not padded stays as it is");
        let foreign = sample(&[9; STRETCHED], 1);
        assert_eq!(original(&foreign[13..]), None);
        assert_eq!(record(&hello, &[], 0), sample(&[], 0));
    }
}
