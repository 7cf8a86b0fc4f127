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
    transcript::{HASHES, SIGNATURES},
};
use dimpl::{
    Config, CryptoError, Dtls, DtlsCertificate, Error, HashAlgorithm, Output, PskResolver,
    crypto::{CryptoProvider, HmacProvider, rust_crypto},
};
use rustls::AlertDescription;
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
pub(super) const STRETCHED: usize = 32;

/// What fills a cookie up.
pub(super) static MARK: LazyLock<[u8; STRETCHED - COOKIE]> = LazyLock::new(|| {
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

/// What associations have in common.
#[derive(Clone)]
pub(super) struct Configs {
    /// Those with keys.
    keys: Arc<Config>,
    /// Those with certificates.
    certificates: Arc<Config>,
}

impl Configs {
    /// With these keys.
    pub(super) fn new(keys: Arc<Keys>) -> Result<Self, Error> {
        let mut provider = rust_crypto::default_provider();
        provider.hmac_provider = &*STAND;
        provider.hash_provider = &*HASHES;
        provider.signature_verification = &*SIGNATURES;
        let builder = |provider: CryptoProvider| {
            Config::builder()
                .with_crypto_provider(provider)
                .mtu(DATAGRAM)
                .max_queue_tx(QUEUE)
                .handshake_timeout(HANDSHAKE)
        };
        let with_keys = builder(provider.clone()).with_psk_server(None, Arc::new(Resolver(keys)));
        let certificates = builder(provider).require_client_certificate(true);
        Ok(Self {
            keys: Arc::new(with_keys.build()?),
            certificates: Arc::new(certificates.build()?),
        })
    }

    /// An engine for a client that has a key, or with the router's certificate for one that has
    /// one too.
    fn engine(&self, own: Option<&DtlsCertificate>, now: Instant) -> Result<Dtls, Error> {
        let Some(own) = own else { return Ok(Dtls::new_12_psk(Arc::clone(&self.keys), now)) };
        if !takes(own) {
            // the engine itself would panic
            return Err(Error::CryptoError(CryptoError::InvalidPrivateKey));
        }
        Ok(Dtls::new_12(Arc::clone(&self.certificates), own.clone(), now))
    }
}

/// Whether the engine can use a certificate and its key.
pub(crate) fn takes(own: &DtlsCertificate) -> bool {
    let provider = rust_crypto::default_provider().key_provider;
    !own.certificate.is_empty() && provider.load_private_key(&own.private_key).is_ok()
}

/// Bytes of the longest handshake message that is taken, a certificate's with its chain. The engine
/// panics where there is no room for a certificate, so this much is offered during handshakes.
pub(crate) const LONGEST: usize = 1 << 14;

/// Whether the engine may have a datagram: records to its end, and no handshake message in them that
/// is longer than what is taken, in however many fragments (RFC 6347 §4.2.2).
pub(crate) fn may_have(datagram: &[u8]) -> bool {
    let mut rest = datagram;
    while let Some((head, behind)) = rest.split_at_checked(13) {
        let [kind, _, _, a, b, .., high, low] = *head else { return false };
        let length = usize::from(u16::from_be_bytes([high, low]));
        let Some((body, next)) = behind.split_at_checked(length) else { return false };
        // what is under a later epoch is protected, and no certificate
        if (kind, a, b) == (22, 0, 0) && !are_short(body) {
            return false;
        }
        rest = next;
    }
    rest.is_empty()
}

/// Whether handshake messages, or fragments of them, fill a record and none is too long.
fn are_short(mut body: &[u8]) -> bool {
    while let Some((head, behind)) = body.split_at_checked(12) {
        let [_, a, b, c, .., x, y, z] = *head else { return false };
        let [whole, here] = [[0, a, b, c], [0, x, y, z]].map(u32::from_be_bytes);
        let next = usize::try_from(here).ok().and_then(|here| behind.get(here..));
        let Some(next) = next.filter(|_| whole as usize <= LONGEST) else { return false };
        body = next;
    }
    body.is_empty()
}

/// A fatal alert in the clear that says why a certificate does not do (RFC 5246 §7.2.2), for who
/// has yet to protect anything. Its number is above all that a handshake uses.
pub(crate) fn alert(error: &rustls::Error) -> [u8; 15] {
    const FATAL: u8 = 2;
    let description = if let rustls::Error::InvalidCertificate(why) = error {
        AlertDescription::from(why.clone())
    } else {
        AlertDescription::CertificateUnknown
    };
    [21, 254, 253, 0, 0, 0, 0, 1, 0, 0, 0, 0, 2, FATAL, description.into()]
}

/// The identity whose key was asked for since the last call on this thread.
pub(super) fn asked() -> Option<String> {
    ASKED.take()
}

/// An association that has taken a hello whose cookie the gate has checked.
pub(super) fn admit(
    configs: &Configs,
    own: Option<&DtlsCertificate>,
    now: Instant,
    hello: &Hello<'_>,
) -> Result<Dtls, Error> {
    let mut dtls = configs.engine(own, now)?;
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

#[cfg(test)]
mod tests {
    use super::{
        super::{gate::tests::hello as sample, transcript::original},
        *,
    };

    #[test]
    fn messages_that_are_too_long_do_not_reach_the_engine() {
        let hello = sample(&[9; COOKIE], 1);
        assert!(may_have(&hello) && may_have(&[hello.clone(), hello.clone()].concat()));
        let mut long = hello.clone();
        long[15] = LONGEST.to_be_bytes()[6] + 1;
        assert!(!may_have(&long) && !may_have(&[hello.clone(), long].concat()));
        assert!(!may_have(&hello[..hello.len() - 1]) && !may_have(&[&hello[..], &[22]].concat()));
    }

    #[test]
    fn alerts_say_what_is_wrong_with_a_certificate() {
        use rustls::CertificateError::{BadEncoding, Expired, Revoked, UnknownIssuer};
        for (why, expected) in
            [(BadEncoding, 42), (Revoked, 44), (Expired, 45), (UnknownIssuer, 48)]
        {
            let [.., level, description] = alert(&rustls::Error::InvalidCertificate(why));
            assert_eq!((level, description), (2, expected));
        }
        assert_eq!(alert(&rustls::Error::DecryptError).last(), Some(&46));
    }

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
