//! Leases by pre-shared key: real CoAP clients, and what becomes of those who may not.

use std::{
    fs,
    net::{IpAddr, Ipv6Addr},
    os::unix::fs::PermissionsExt as _,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use aya::Ebpf;
use serde_json::Value;
use tests::{
    lab::{
        Capture, Gateway, Injector, Lab,
        gateway::EVERYDAY,
        topology::{BACKEND, BACKEND_V4, NODE, NODE_2, ROUTER, ROUTER_V4, at},
        until,
    },
    need,
    packet::{Packet, dtls, read::Datagram},
    peer::{
        Psk,
        coap::{self, COAPS, Flavour},
        openssl,
    },
};

const SOON: Duration = Duration::from_secs(30);
const BRIEF: Duration = Duration::from_secs(1);

const IDENTITIES: &str = "
[[auth.identity]]
name = \"pump-7.example\"
nodes = [\"2001:db8:1::10\"]
[[auth.identity]]
name = \"*.lamps.example\"
";

fn pump() -> Psk {
    Psk::new("pump-7.example", b"a key of the pump's own")
}

fn lamp() -> Psk {
    Psk::new("east.lamps.example", b"a key of the lamp's own")
}

/// A router that gives leases to who has a key.
struct Site<'a> {
    lab: &'a Lab,
    gateway: Gateway<'a>,
    _awake: Ebpf,
}

impl<'a> Site<'a> {
    fn start(lab: &'a Lab) -> Result<Self> {
        let gateway = Gateway::new(&lab.router, EVERYDAY)?;
        let mut site = Self { lab, gateway, _awake: lab.awake()? };
        site.keys(&[pump(), lamp()])?;
        let keys = site.gateway.folder().join("psk.txt");
        site.gateway.configure(&format!(
            "{EVERYDAY}[auth.psk]\nlisten = [\"[::]:{COAPS}\"]\nkeys = {keys:?}\n{IDENTITIES}"
        ))?;
        site.gateway.run()?;
        Ok(site)
    }

    fn keys(&self, keys: &[Psk]) -> Result<()> {
        let file = self.gateway.folder().join("psk.txt");
        let lines: Vec<String> =
            keys.iter().map(|psk| format!("{}:{}\n", psk.identity, psk.hex())).collect();
        // in one step, as an editor would
        let next = file.with_extension("new");
        fs::write(&next, lines.concat())?;
        fs::set_permissions(&next, fs::Permissions::from_mode(0o600))?;
        Ok(fs::rename(next, file)?)
    }

    fn client(&self, flavour: Flavour, psk: &Psk) -> coap::Client<'a> {
        coap::Client::new(&self.lab.backend, flavour, psk)
    }

    fn leases(&self) -> Result<Vec<Value>> {
        let value = self.gateway.json(&["lease", "list"])?;
        Ok(value["leases"].as_array().context("no leases")?.clone())
    }
}

/// Asks for a lease with these terms.
fn lease(client: &coap::Client<'_>, router: impl Into<IpAddr>, terms: &str) -> Result<Value> {
    let words = ["-m", "post", "-t", "50", "-e", terms];
    let answer = client.request(router.into(), "leases", &words)?;
    let text = String::from_utf8_lossy(&answer.body).into_owned();
    ensure!(["2.01", "2.04"].contains(&&*answer.code), "{}: {text}", answer.code);
    Ok(serde_json::from_str(&text)?)
}

fn round(site: &Site<'_>, flavour: Flavour, router: IpAddr, source: IpAddr) -> Result<()> {
    let client = site.client(flavour, &pump()).named("router.example");
    let granted = lease(&client, router, "{\"ttl\": 300}")?;
    assert_eq!((&granted["identity"], &granted["way"]), (&"pump-7.example".into(), &"psk".into()));
    assert_eq!(granted["source"], source.to_string());
    assert_eq!(granted["nodes"], serde_json::json!([NODE.to_string()]));
    assert_eq!(granted["in_force"], true);
    assert!(site.gateway.source(source).is_ok(), "the kernel does not have it");
    let renewed = lease(&client, router, "{}")?;
    assert_eq!(renewed["id"], granted["id"], "one lease an address");
    let list: Value = serde_json::from_str(&client.get(router, "leases")?)?;
    assert_eq!(list["leases"][0]["id"], granted["id"]);
    let place = format!("leases/{}", granted["id"].as_str().context("no id")?);
    assert_eq!(client.request(router, &place, &["-m", "delete"])?.code, "2.02");
    assert!(site.leases()?.is_empty());
    assert_eq!(client.request(router, &place, &["-m", "get"])?.code, "4.04");
    Ok(())
}

#[test]
fn libcoap_gets_a_lease_renews_it_and_gives_it_back() -> Result<()> {
    need::root_and_tools(&["coap-client-openssl", "coap-client-gnutls"]);
    let lab = Lab::new()?;
    let site = Site::start(&lab)?;
    round(&site, Flavour::OpenSsl, ROUTER.into(), BACKEND.into())?;
    round(&site, Flavour::GnuTls, ROUTER.into(), BACKEND.into())?;
    round(&site, Flavour::OpenSsl, ROUTER_V4.into(), BACKEND_V4.into())
}

#[test]
fn a_lease_by_key_admits_a_session_until_it_lapses() -> Result<()> {
    need::root_and_tools(&["coap-client-openssl", "openssl"]);
    let lab = Lab::new()?;
    let site = Site::start(&lab)?;
    let psk = Psk::default();
    let mut server = openssl::Settings::new(&lab.node, &psk).listen(at(NODE, COAPS))?;
    let backend = openssl::Settings::new(&lab.backend, &psk).bind(at(BACKEND, 41_000));
    lease(&site.client(Flavour::OpenSsl, &pump()), ROUTER, "{\"ttl\": 20}")?;
    let mut client = backend.connect(at(NODE, COAPS))?;
    openssl::round_trip(&mut client, &mut server, "lamp on", SOON)?;
    // each handshake with the router was asked for a cookie once
    let dropped: Vec<String> = site.gateway.drops()?.into_keys().collect();
    assert!(dropped.iter().all(|reason| reason == "cookie_asked"), "{dropped:?}");
    // the client has closed its session with the router: nobody renews it
    assert!(until(SOON, || site.leases().is_ok_and(|leases| leases.is_empty())));
    client.send("lamp off")?;
    site.gateway.wait_for_drops("no_lease", 1, SOON)?;
    assert!(!server.child.output().contains("lamp off"));
    Ok(())
}

/// What the router says to a client's attempt: record types and lengths, one datagram after the
/// other, without what is sent again.
fn answers(site: &Site<'_>, psk: &Psk, port: u16) -> Result<Vec<Vec<(u8, usize)>>> {
    let wire = Capture::start(site.lab.internet.device("up0"))?;
    let client = openssl::Settings::new(&site.lab.backend, psk).bind(at(BACKEND, port));
    let mut session = client.start(at(ROUTER, COAPS))?;
    let sent = |from: Ipv6Addr| {
        let frames = wire.snapshot();
        let datagrams = frames.iter().filter_map(|frame| Datagram::from_frame(&frame.bytes));
        let to = |datagram: &Datagram| datagram.src.port() == port || datagram.dst.port() == port;
        datagrams.filter(|datagram| datagram.src.ip() == from).filter(to).collect::<Vec<_>>()
    };
    // Finished twice: the client waits for an answer that does not come
    let finished = |datagram: &Datagram| {
        dtls::records(&datagram.payload).is_some_and(|all| all.iter().any(|one| one.epoch == 1))
    };
    let twice = until(SOON, || sent(BACKEND).iter().filter(|one| finished(one)).count() >= 2);
    ensure!(twice, "the handshake was not tried to the end: {}", session.child.output());
    session.child.kill();
    let shape = |datagram: Datagram| {
        let records = dtls::records(&datagram.payload).unwrap_or_default();
        records.iter().map(|one| (one.content_type, one.body.len())).collect()
    };
    let mut shapes: Vec<Vec<(u8, usize)>> = sent(ROUTER).into_iter().map(shape).collect();
    shapes.dedup();
    Ok(shapes)
}

#[test]
fn a_wrong_identity_and_a_wrong_key_look_the_same() -> Result<()> {
    need::root_and_tools(&["openssl"]);
    let lab = Lab::new()?;
    let site = Site::start(&lab)?;
    let wrong_key = Psk::new("pump-7.example", b"a key that is nobody's");
    let wrong_identity = Psk::new("pump-8.example", b"a key of the pump's own");
    let key = answers(&site, &wrong_key, 42_001)?;
    let identity = answers(&site, &wrong_identity, 42_002)?;
    assert!(key.len() >= 2, "a HelloVerifyRequest and a ServerHello: {key:?}");
    assert_eq!(key, identity);
    assert!(site.leases()?.is_empty());
    // and the right ones together still do
    lease(&site.client(Flavour::OpenSsl, &pump()), ROUTER, "{}")?;
    Ok(())
}

#[test]
fn refusals_say_why_over_coap_too() -> Result<()> {
    need::root_and_tools(&["coap-client-openssl"]);
    let lab = Lab::new()?;
    let site = Site::start(&lab)?;
    let refused = |psk: &Psk, path: &str, words: &[&str]| -> Result<(String, String)> {
        let answer = site.client(Flavour::OpenSsl, psk).request(ROUTER.into(), path, words)?;
        Ok((answer.code, String::from_utf8(answer.body)?))
    };
    let outside = format!("{{\"nodes\": [\"{NODE_2}\"]}}");
    let (code, text) = refused(&pump(), "leases", &["-m", "post", "-t", "50", "-e", &outside])?;
    assert!(code == "4.03" && text.starts_with("node-not-allowed: "), "{code} {text}");
    let (code, text) = refused(&pump(), "leases", &["-m", "post", "-t", "50", "-e", "{"])?;
    assert!(code == "4.00" && text.starts_with("bad-request: "), "{code} {text}");
    assert_eq!(refused(&pump(), "lamps", &["-m", "get"])?.0, "4.04");
    assert_eq!(refused(&pump(), "leases", &["-m", "put", "-e", "{}"])?.0, "4.05");
    let (code, text) = refused(&pump(), ".well-known/core", &["-m", "get"])?;
    assert!(code == "2.05" && text.contains("</leases>"), "{code} {text}");
    // a pattern covers identities too; each sees its own leases only
    lease(&site.client(Flavour::OpenSsl, &lamp()), ROUTER, &outside)?;
    let mine: Value = serde_json::from_str(&refused(&pump(), "leases", &["-m", "get"])?.1)?;
    assert_eq!(mine, serde_json::json!({ "leases": [] }));
    Ok(())
}

/// A CoAP request without options but its path, for a session that is no CoAP client's.
fn post(id: u8, terms: &str) -> Vec<u8> {
    [b"\x40\x02\x00", &[id][..], b"\xb6leases\xff", terms.as_bytes()].concat()
}

#[test]
fn an_open_session_keeps_its_lease_and_a_silent_one_loses_it() -> Result<()> {
    need::root_and_tools(&["openssl"]);
    let lab = Lab::new()?;
    let site = Site::start(&lab)?;
    let client = openssl::Settings::new(&lab.backend, &pump());
    let mut session = client.connect(at(ROUTER, COAPS))?;
    session.child.send(&post(1, "{\"ttl\": 8}"))?;
    assert!(until(SOON, || site.leases().is_ok_and(|leases| leases.len() == 1)));
    let [first] = &site.leases()?[..] else { anyhow::bail!("no lease") };
    // longer than it lasts; anything that the key's owner sends is a sign of life
    let begin = Instant::now();
    let mut spoken = Instant::now();
    let kept = until(Duration::from_secs(14), || {
        if spoken.elapsed() > BRIEF {
            spoken = Instant::now();
            session.child.send(b"\x40\x00\x00\x09").expect("the session is open");
        }
        site.leases().is_ok_and(|leases| leases.is_empty())
    });
    assert!(!kept, "the lease lapsed after {:?}", begin.elapsed());
    assert_eq!(site.leases()?[0]["id"], first["id"]);
    // a client that neither speaks nor answers is gone
    assert!(until(SOON, || site.leases().is_ok_and(|leases| leases.is_empty())));
    Ok(())
}

#[test]
fn a_key_that_goes_takes_its_leases_and_sessions_along() -> Result<()> {
    need::root_and_tools(&["coap-client-openssl"]);
    let lab = Lab::new()?;
    let mut site = Site::start(&lab)?;
    lease(&site.client(Flavour::OpenSsl, &pump()), ROUTER, "{}")?;
    lease(&site.client(Flavour::OpenSsl, &lamp()), ROUTER, "{}")?;
    // kept over a restart
    site.gateway.kill();
    site.gateway.run()?;
    assert_eq!(site.leases()?.len(), 2);
    site.keys(&[lamp()])?;
    assert!(until(SOON, || site.leases().is_ok_and(|leases| leases.len() == 1)));
    assert_eq!(site.leases()?[0]["identity"], "east.lamps.example");
    let client = site.client(Flavour::OpenSsl, &pump()).timeout(BRIEF);
    assert!(lease(&client, ROUTER, "{}").is_err(), "the key is gone");
    // a file that others could read changes nothing
    let file = site.gateway.folder().join("psk.txt");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644))?;
    assert!(until(SOON, || site.gateway.log().contains("keys not reloaded")));
    assert!(site.gateway.log().contains("chmod 600"), "{}", site.gateway.log());
    let (_, said) = site.gateway.refused(&["config", "check", "--certificates"])?;
    assert!(said.contains("chmod 600"), "{said}");
    lease(&site.client(Flavour::OpenSsl, &lamp()), ROUTER, "{}")?;
    Ok(())
}

#[test]
fn hellos_without_a_cookie_leave_nothing_behind() -> Result<()> {
    need::root_and_tools(&["coap-client-openssl"]);
    let lab = Lab::new()?;
    let site = Site::start(&lab)?;
    let wire = Injector::new(lab.internet.device("up0"))?;
    let answers = Capture::start(lab.internet.device("up0"))?;
    let hello = dtls::ClientHello::new().record(0, 0);
    let forged = |n: u16| {
        let source = Ipv6Addr::new(0x2001, 0xdb8, 0xb, n, 0, 0, 0, 9);
        Packet::udp6(source, ROUTER, 40_000, COAPS).payload(&hello).build()
    };
    for n in 0..2000 {
        wire.send(&forged(n))?;
    }
    let verify = |frame: &[u8]| {
        let from = Datagram::from_frame(frame).filter(|one| one.src == at(ROUTER, COAPS));
        let records = from.and_then(|one| dtls::records(&one.payload));
        records.is_some_and(|all| all.len() == 1 && all[0].body.first() == Some(&3))
    };
    assert!(until(SOON, || answers.count(verify) > 100), "no HelloVerifyRequest");
    // nobody's place is taken: handshakes are bounded at 256, and this one gets through
    lease(&site.client(Flavour::OpenSsl, &pump()), ROUTER, "{}")?;
    Ok(())
}
