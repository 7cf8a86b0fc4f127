//! The DTLS engine behind the gate, and how it is told that the cookie was checked already.
//!
//! dimpl makes its cookie inside the object of one association, of the client's random value alone,
//! and takes a ClientHello that answers a HelloVerifyRequest only after it has sent that request.
//! So while a client is let in, the gate's cookie stands in for what dimpl would compute.
use super::{
    gate::{COOKIE, Hello},
    keys::Keys,
};
use dimpl::{
    Config, CryptoError, Dtls, Error, HashAlgorithm, Output, PskResolver,
    crypto::{HmacProvider, rust_crypto},
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

thread_local! {
    static ADMITTED: Cell<Option<[u8; COOKIE]>> = const { Cell::new(None) };
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
    let Ok(cookie) = <[u8; COOKIE]>::try_from(hello.cookie) else {
        return Err(Error::ConnectionClosed);
    };
    let mut dtls = Dtls::new_12_psk(Arc::clone(config), now);
    ADMITTED.set(Some(cookie));
    let result = replay(&mut dtls, now, hello);
    ADMITTED.set(None);
    result.map(|()| dtls)
}

fn replay(dtls: &mut Dtls, now: Instant, hello: &Hello<'_>) -> Result<(), Error> {
    dtls.handle_timeout(now)?;
    dtls.handle_packet(&first(hello))?;
    let mut sink = [0; 256];
    // its own HelloVerifyRequest, which is not sent: the client has had ours
    for _ in 0..QUEUE {
        if matches!(dtls.poll_output(&mut sink), Output::Timeout(_)) {
            break;
        }
    }
    dtls.handle_packet(hello.datagram)
}

/// What the client must have sent before: the same without the cookie, number 0.
fn first(hello: &Hello<'_>) -> Vec<u8> {
    let before = hello.body.get(..hello.at).unwrap_or_default();
    let body = [before, &[0], hello.behind()].concat();
    let length = u32::try_from(body.len()).unwrap_or(0).to_be_bytes();
    let record = u16::try_from(body.len() + 12).unwrap_or(0).to_be_bytes();
    let mut datagram = hello.datagram.get(..5).unwrap_or_default().to_vec();
    datagram.extend([0; 6]);
    datagram.extend(record);
    datagram.push(1);
    datagram.extend(&length[1..]);
    datagram.extend([0; 5]);
    datagram.extend(&length[1..]);
    datagram.extend(body);
    datagram
}
