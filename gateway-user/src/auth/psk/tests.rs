//! Handshakes with certificates between two ends on a made-up clock, over links that lose.
use super::{
    association::Association,
    engine::Configs,
    gate::{COOKIE, Hello},
    keys::Keys,
    who::{Proof, Who},
};
use crate::{
    auth::{limit::Limit, material::Material},
    config::Config,
    pki::{Algorithm, Authority, Order},
};
use dimpl::{Dtls, DtlsCertificate, Error, Output, SecurityError};
use proptest::prelude::*;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};
use std::{
    collections::BTreeMap,
    net::Ipv6Addr,
    path::Path,
    sync::{Arc, LazyLock},
    time::{Duration, Instant},
};
use tempfile::TempDir;

const DAY: Duration = Duration::from_hours(24);

/// A router's files, and certificates of clients.
struct Files {
    folder: TempDir,
    authority: Authority,
    material: Arc<Material>,
}

static FILES: LazyLock<Files> = LazyLock::new(Files::new);

impl Files {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let authority = Authority::init(folder.path(), "lab", DAY, Algorithm::P256).unwrap();
        authority.issue(&order("router.example", true)).unwrap();
        let mut https = Config::default().auth.https;
        let file = |name: &str| folder.path().join(name);
        (https.certificate, https.key) = (file("router.crt"), file("router.key"));
        (https.client_ca, https.crl) = (file("ca.crt"), Some(file("ca.crl")));
        authority.issue(&order("pump.example", false)).unwrap();
        authority.issue(&order("gone.example", false)).unwrap();
        authority.revoke("gone.example").unwrap();
        let material = Arc::new(Material::load(&https).unwrap());
        Self { folder, authority, material }
    }

    fn client(&self, name: &str) -> DtlsCertificate {
        own(self.folder.path(), name)
    }
}

fn order(name: &str, server: bool) -> Order {
    let (also, out) = (Vec::new(), server.then(|| "router".to_owned()));
    Order { name: name.to_owned(), also, server, valid: DAY, algorithm: Algorithm::P256, out }
}

fn own(folder: &Path, name: &str) -> DtlsCertificate {
    let file = |end: &str| folder.join(format!("{name}.{end}"));
    let key = PrivateKeyDer::from_pem_file(file("key")).unwrap();
    DtlsCertificate {
        certificate: CertificateDer::from_pem_file(file("crt")).unwrap().to_vec(),
        private_key: key.secret_der().to_vec(),
    }
}

/// A link on which a seed decides what is lost, doubled or late.
struct Link {
    state: u64,
    permille: u64,
    garbled: u64,
    sent: u64,
    flying: BTreeMap<(Instant, u64), Vec<u8>>,
}

impl Link {
    fn chance(&mut self) -> u64 {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        self.state % 1000
    }

    fn send(&mut self, now: Instant, datagram: &[u8]) {
        for _ in 0..=u64::from(self.chance() < self.permille) {
            let after = if self.chance() < self.permille { self.chance() } else { 1 };
            if self.chance() >= self.permille {
                self.sent += 1;
                let key = (now + Duration::from_millis(after), self.sent);
                let mut datagram = datagram.to_vec();
                if self.chance() < self.garbled {
                    let at = self.state as usize % datagram.len();
                    datagram[at] ^= 1 << (self.chance() % 8);
                }
                self.flying.insert(key, datagram);
            }
        }
    }

    fn arrived(&mut self, now: Instant) -> Vec<Vec<u8>> {
        let later = self.flying.split_off(&(now + Duration::from_nanos(1), 0));
        core::mem::replace(&mut self.flying, later).into_values().collect()
    }
}

/// What came of a handshake.
#[derive(Debug, PartialEq, Eq)]
enum End {
    /// The router knows this client, and has got its message.
    Known(String),
    /// The client was refused with this alert, and the router knows nobody.
    Refused(u8),
    /// Nothing, for a long time.
    Nothing,
}

/// A client with a certificate comes, and says something once its handshake is over.
fn meet(client: DtlsCertificate, seed: u64, permille: u64) -> End {
    meet_over(client, (seed, permille, 0))
}

/// The same over links that lose so many of a thousand datagrams, and garble so many.
fn meet_over(client: DtlsCertificate, (seed, permille, garbled): (u64, u64, u64)) -> End {
    let configs = Configs::new(Arc::new(Keys::default())).unwrap();
    let link = || Link { state: seed | 1, permille, garbled, sent: 0, flying: BTreeMap::new() };
    let (mut up, mut down, mut now) = (link(), link(), Instant::now());
    let end = now + Duration::from_secs(29);
    let config = dimpl::Config::builder().flight_start_rto(Duration::from_millis(200));
    let config = config.flight_retries(100).handshake_timeout(DAY).max_queue_tx(64);
    let config = config.build().unwrap();
    let mut dtls = Dtls::new_12(Arc::new(config), client, now);
    dtls.set_active(true);
    let mut router: Option<Association> = None;
    while now < end {
        let mut taken = dtls.handle_timeout(now);
        for datagram in down.arrived(now) {
            taken = taken.and_then(|()| dtls.handle_packet(&datagram));
        }
        if let Err(Error::SecurityError(SecurityError::FatalAlert { description })) = taken {
            assert!(router.is_none_or(|router| router.who().is_none()));
            return End::Refused(description);
        }
        speak(&mut dtls, &mut up, now);
        for datagram in up.arrived(now) {
            let heard = hear(&configs, &mut router, &mut down, now, &datagram);
            if let (false, Some(Who::Certificate(who))) =
                (heard.is_empty(), router.as_ref().and_then(Association::who))
            {
                assert_eq!(heard, [b"hello"]);
                return End::Known(who.names[0].text.clone());
            }
        }
        if let Some(router) = &mut router {
            router.handle_timeout(now, |out| down.send(now, out));
        }
        now += Duration::from_millis(1);
    }
    End::Nothing
}

fn speak(dtls: &mut Dtls, up: &mut Link, now: Instant) {
    let mut buffer = [0; 2048];
    #[expect(clippy::wildcard_enum_match_arm, reason = "another crate's list may grow")]
    loop {
        match dtls.poll_output(&mut buffer) {
            Output::Packet(datagram) => up.send(now, datagram),
            Output::Connected => drop(dtls.send_application_data(b"hello")),
            Output::Timeout(_) => return,
            _ => {}
        }
    }
}

/// The router's end with its gate: what the client said, if anything.
fn hear(
    configs: &Configs,
    router: &mut Option<Association>,
    down: &mut Link,
    now: Instant,
    datagram: &[u8],
) -> Vec<Vec<u8>> {
    let hello = Hello::read(datagram);
    match &hello {
        Some(hello) if hello.cookie.is_empty() => {
            let mut asked = vec![22, 254, 255, 0, 0, 0, 0, 0, 0, 0, 0, 0, 31];
            asked.extend([3, 0, 0, 19, 0, 0, 0, 0, 0, 0, 0, 19, 254, 255, COOKIE as u8]);
            asked.extend([7; COOKIE]);
            down.send(now, &asked);
            return Vec::new();
        }
        Some(hello) if !router.as_ref().is_some_and(|router| router.is_of(hello)) => {
            let ticket = || Limit::default().admit(Ipv6Addr::LOCALHOST.into(), 1, 1).unwrap();
            let proof = Proof::Certificate(Arc::clone(&FILES.material));
            let tickets = (ticket(), ticket());
            *router = Association::admit(configs, proof, now, hello, tickets).ok();
            return Vec::new();
        }
        Some(_) | None => {}
    }
    let Some(association) = router else { return Vec::new() };
    let again = hello.as_ref().map(super::engine::padded);
    let datagram = again.as_deref().unwrap_or(datagram);
    let events = association.handle_datagram(now, datagram, |out| down.send(now, out));
    if events.closed {
        *router = None;
    }
    events.data
}

#[test]
fn whose_certificate_does_not_do_is_told_why() {
    let pump = || FILES.client("pump.example");
    assert_eq!(meet(pump(), 1, 0), End::Known("pump.example".to_owned()));
    assert_eq!(meet(FILES.client("gone.example"), 1, 0), End::Refused(44));
    assert_eq!(meet(FILES.client("router"), 1, 0), End::Refused(43));
    let other = tempfile::tempdir().unwrap();
    let foreign = Authority::init(other.path(), "other", DAY, Algorithm::P256).unwrap();
    foreign.issue(&order("pump.example", false)).unwrap();
    assert_eq!(meet(own(other.path(), "pump.example"), 1, 0), End::Refused(48));
    // a certificate without its key
    let stolen =
        DtlsCertificate { private_key: FILES.client("gone.example").private_key, ..pump() };
    assert!(!matches!(meet(stolen, 1, 0), End::Known(_)));
    // what is none, and what is longer than anything that is taken
    let long = |length| DtlsCertificate { certificate: vec![0x30; length], ..pump() };
    assert_eq!(meet(long(5000), 1, 0), End::Refused(42));
    assert_eq!(meet(long(20_000), 1, 0), End::Nothing);
    assert_eq!(FILES.authority.list().unwrap().len(), 3);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]
    #[test]
    fn handshakes_end_well_over_links_that_lose(seed: u64) {
        let pump = FILES.client("pump.example");
        // what the client says is said once, and may be lost
        let mut ends = (0..10).map(|turn| meet(pump.clone(), seed ^ turn << 32, 150));
        let end = ends.find(|end| *end != End::Nothing);
        prop_assert_eq!(end, Some(End::Known("pump.example".to_owned())));
    }

    #[test]
    fn no_bytes_panic_in_a_handshake(seed: u64) {
        let end = meet_over(FILES.client("pump.example"), (seed, 50, 200));
        prop_assert!(end != End::Known("gone.example".to_owned()));
    }
}
