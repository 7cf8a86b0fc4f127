//! Handshakes that are begun and not ended take a bounded number of places, for a bounded time.

use std::{
    fs,
    io::{ErrorKind, Read as _},
    net::{Ipv6Addr, SocketAddr, TcpStream, UdpSocket},
    os::unix::fs::PermissionsExt as _,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use socket2::{Domain, Protocol, Socket, Type};
use tests::{
    lab::{
        Gateway, Lab,
        gateway::EVERYDAY,
        topology::{ATTACKER, BACKEND, ROUTER, ROUTER_V4, at},
        until,
    },
    need,
    packet::dtls::ClientHello,
    peer::{
        Psk,
        coap::{self, COAPS, Flavour},
        curl::{Client, Pki},
    },
};

const SOON: Duration = Duration::from_secs(30);
const HTTPS: u16 = 4433;
const EACH: usize = 3;
const ALL: usize = 4;

/// Nobody's packets are too many: what is counted here is handshakes.
const ROOMY: &str = "[agent]\nrate = \"unlimited\"\n";
const IDENTITY: &str = "[[auth.identity]]\nname = \"pump-7.example\"\n";

/// A connection that says nothing.
fn silent(lab: &Lab, from: Ipv6Addr) -> Result<TcpStream> {
    let namespace = if from == ATTACKER { &lab.attacker } else { &lab.backend };
    namespace.enter(|| -> Result<TcpStream> {
        let socket = Socket::new(Domain::IPV6, Type::STREAM, Some(Protocol::TCP))?;
        socket.bind(&SocketAddr::from((from, 0)).into())?;
        socket.connect_timeout(&at(ROUTER, HTTPS).into(), SOON)?;
        let stream = TcpStream::from(socket);
        stream.set_nonblocking(true)?;
        Ok(stream)
    })
}

/// Whether the other end keeps a silent connection open.
fn is_open(stream: &TcpStream) -> bool {
    let mut byte = [0];
    (&*stream).read(&mut byte).is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
}

#[test]
fn silent_tls_clients_take_few_places_and_not_for_long() -> Result<()> {
    need::root_and_tools(&["curl"]);
    let lab = Lab::new()?;
    let mut gateway = Gateway::new(&lab.router, EVERYDAY)?;
    let pki = Pki::init(&gateway.folder().join("pki"))?;
    let (v6, v4) = (ROUTER.to_string(), ROUTER_V4.to_string());
    pki.run(&["issue", "router.lab", "--server", "--also", &v6, "--also", &v4])?;
    pki.issue("pump-7.example", &[])?;
    gateway.configure(&format!(
        "{EVERYDAY}{ROOMY}[auth.https]\nlisten = [\"[::]:{HTTPS}\"]\ncertificate = {:?}\n\
         key = {:?}\nclient_ca = {:?}\ncrl = {:?}\nconnections = {ALL}\n\
         connections_per_source = {EACH}\n{IDENTITY}",
        pki.file("router.crt"),
        pki.file("router.key"),
        pki.file("ca.crt"),
        pki.file("ca.crl"),
    ))?;
    gateway.run()?;
    let mut held = (0..EACH).map(|_| silent(&lab, ATTACKER)).collect::<Result<Vec<_>>>()?;
    let more = silent(&lab, ATTACKER)?;
    ensure!(until(SOON, || !is_open(&more)), "one source holds more than {EACH}");
    // another source has a place yet, and it is the last one
    held.push(silent(&lab, BACKEND)?);
    let v4 = Client::new(&lab.backend, &format!("{ROUTER_V4}:{HTTPS}"), &pki);
    let v4 = v4.certificate(&pki, "pump-7.example");
    ensure!(v4.lease("{}").is_err(), "there are more than {ALL}");
    ensure!(held.iter().all(is_open), "who came first keeps his place");
    ensure!(until(SOON, || held.iter().all(|stream| !is_open(stream))), "they are held for good");
    v4.lease("{}")?;
    Ok(())
}

/// A handshake that ends after the client's second hello: whether the router went on with it.
fn begun(lab: &Lab, from: Ipv6Addr, patience: Duration) -> Result<bool> {
    let namespace = if from == ATTACKER { &lab.attacker } else { &lab.backend };
    let socket = namespace.enter(|| UdpSocket::bind((from, 0)))?;
    socket.connect((ROUTER, COAPS))?;
    socket.set_read_timeout(Some(SOON))?;
    let mut hello = ClientHello::new();
    hello.suites = vec![0xc0a8];
    let mut answer = [0; 2048];
    socket.send(&hello.record(0, 0))?;
    let length = socket.recv(&mut answer).context("no HelloVerifyRequest")?;
    ensure!(length == 44, "no HelloVerifyRequest: {length} bytes");
    let cookie = answer[28..44].to_vec();
    socket.set_read_timeout(Some(patience))?;
    socket.send(&hello.cookie(&cookie).record(1, 1))?;
    match socket.recv(&mut answer) {
        Ok(length) => Ok(length > 44),
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
            Ok(false)
        }
        Err(error) => Err(error.into()),
    }
}

#[test]
fn dtls_handshakes_that_nobody_ends_take_few_places_and_not_for_long() -> Result<()> {
    const PATIENCE: Duration = Duration::from_secs(1);
    need::root_and_tools(&["coap-client-openssl"]);
    let lab = Lab::new()?;
    let mut gateway = Gateway::new(&lab.router, EVERYDAY)?;
    let psk = Psk::new("pump-7.example", b"a key of the pump's own");
    let keys = gateway.folder().join("psk.txt");
    fs::write(&keys, format!("pump-7.example:{}\n", psk.hex()))?;
    fs::set_permissions(&keys, fs::Permissions::from_mode(0o600))?;
    gateway.configure(&format!(
        "{EVERYDAY}{ROOMY}[auth.psk]\nlisten = [\"[::]:{COAPS}\"]\nkeys = {keys:?}\n\
         handshakes = {ALL}\nhandshakes_per_source = {EACH}\n{IDENTITY}"
    ))?;
    gateway.run()?;
    let _awake = lab.awake()?;
    for n in 0..EACH {
        ensure!(begun(&lab, ATTACKER, SOON)?, "handshake {n} of {EACH} was not taken up");
    }
    ensure!(!begun(&lab, ATTACKER, PATIENCE)?, "one source has more than {EACH}");
    // another source has the last place
    ensure!(begun(&lab, BACKEND, SOON)?, "another source has none");
    ensure!(!begun(&lab, BACKEND, PATIENCE)?, "there are more than {ALL}");
    let freed = until(SOON * 3, || begun(&lab, ATTACKER, PATIENCE).unwrap_or(false));
    ensure!(freed, "they are held for good");
    let client = coap::Client::new(&lab.backend, Flavour::OpenSsl, &psk).timeout(SOON * 3);
    let words = ["-m", "post", "-t", "50", "-e", "{}"];
    ensure!(client.request(ROUTER.into(), "leases", &words)?.code == "2.01");
    Ok(())
}
