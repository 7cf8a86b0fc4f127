//! Leases by certificate: real clients, real sessions, and what becomes of those who may not.

use std::{
    fs,
    net::IpAddr,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use nix::sys::signal::Signal;
use tests::{
    lab::{
        Capture, Child, Gateway, Injector, Lab,
        gateway::{EVERYDAY, ROOMY},
        topology::{BACKEND, BACKEND_2, BACKEND_V4, NODE, NODE_2, ROUTER, ROUTER_V4, at},
        until,
    },
    need,
    packet::{Packet, dtls, read},
    peer::{
        Psk,
        coap::{self, COAPS, Flavour},
        curl::{Client, Pki, kind},
        openssl,
    },
};

const SOON: Duration = Duration::from_secs(30);
const BRIEF: Duration = Duration::from_secs(1);
const PORT: u16 = 4433;

const IDENTITIES: &str = "
[[auth.identity]]
name = \"pump-7.example\"
nodes = [\"2001:db8:1::10\"]
longest = \"10m\"
leases = 2
[[auth.identity]]
name = \"lamp.example\"
nodes = [\"2001:db8:1::11\"]
[[auth.identity]]
name = \"urn:dev:ops:1\"
";

/// A router that gives leases, and its authority.
struct Site<'a> {
    gateway: Gateway<'a>,
    pki: Pki,
}

impl<'a> Site<'a> {
    fn start(lab: &'a Lab, more: &str) -> Result<Self> {
        let mut gateway = Gateway::new(&lab.router, EVERYDAY)?;
        let pki = Pki::init(&gateway.folder().join("pki"))?;
        let also = ["--also", &ROUTER.to_string(), "--also", &ROUTER_V4.to_string()];
        pki.run(&[&["issue", "router.lab", "--server"], also.as_slice()].concat())?;
        for name in ["pump-7.example", "lamp.example", "stranger.example"] {
            pki.issue(name, &[])?;
        }
        gateway.configure(&config(&pki, more))?;
        gateway.run()?;
        Ok(Self { gateway, pki })
    }

    fn client(&self, lab: &'a Lab, name: &str) -> Client<'a> {
        self.anybody(lab).certificate(&self.pki, name)
    }

    fn anybody(&self, lab: &'a Lab) -> Client<'a> {
        Client::new(&lab.backend, &format!("[{ROUTER}]:{PORT}"), &self.pki)
    }

    fn leases(&self) -> Result<Vec<serde_json::Value>> {
        let value = self.gateway.json(&["lease", "list"])?;
        Ok(value["leases"].as_array().context("no leases")?.clone())
    }
}

fn config(pki: &Pki, more: &str) -> String {
    format!(
        "{EVERYDAY}[auth.https]\nlisten = [\"[::]:{PORT}\"]\ncertificate = {:?}\nkey = {:?}\n\
         client_ca = {:?}\ncrl = {:?}\n{IDENTITIES}{more}",
        pki.file("router.crt"),
        pki.file("router.key"),
        pki.file("ca.crt"),
        pki.file("ca.crl"),
    )
}

/// Roomy enough for clients that make many connections one after the other.
fn busy() -> String {
    format!("[agent]\nrate = \"unlimited\"\n{ROOMY}")
}

fn probe(source: std::net::Ipv6Addr, node: std::net::Ipv6Addr, seq: u64) -> Vec<u8> {
    let packet = Packet::udp6(source, node, 40_000, COAPS);
    packet.payload(dtls::application(seq, &[7; 40])).build()
}

#[test]
fn a_lease_admits_a_session_until_it_lapses() -> Result<()> {
    need::root_and_tools(&["curl", "openssl"]);
    let lab = Lab::new()?;
    let site = Site::start(&lab, "")?;
    let psk = Psk::default();
    let mut server = openssl::Settings::new(&lab.node, &psk).listen(at(NODE, COAPS))?;
    let backend = openssl::Settings::new(&lab.backend, &psk).bind(at(BACKEND, 41_000));

    let lease = site.client(&lab, "pump-7.example").lease("{\"ttl\": 20}")?;
    assert_eq!(
        (&lease["identity"], &lease["way"]),
        (&"pump-7.example".into(), &"certificate".into())
    );
    assert_eq!(lease["source"], BACKEND.to_string());
    assert_eq!(lease["nodes"], serde_json::json!([NODE.to_string()]));
    assert_eq!(lease["in_force"], true);
    let mut client = backend.connect(at(NODE, COAPS))?;
    openssl::round_trip(&mut client, &mut server, "lamp on", SOON)?;
    assert!(site.gateway.drops()?.is_empty(), "{:?}", site.gateway.drops()?);

    // what lapses is gone from every list, and the session with it
    assert!(until(SOON, || site.leases().is_ok_and(|leases| leases.is_empty())));
    client.send("lamp off")?;
    site.gateway.wait_for_drops("no_lease", 1, SOON)?;
    assert!(!server.child.output().contains("lamp off"));
    Ok(())
}

#[test]
fn a_lease_is_in_force_when_the_answer_comes_and_over_when_it_is_deleted() -> Result<()> {
    need::root_and_tools(&["curl"]);
    let lab = Lab::new()?;
    let site = Site::start(&lab, "")?;
    let seen = Capture::start(lab.node.device("node0"))?;
    let wire = Injector::new(lab.internet.device("up0"))?;
    let arrived = || seen.count(|frame| read::is_from(frame, BACKEND));
    wire.send(&probe(BACKEND, NODE, 1))?;
    site.gateway.wait_for_drops("no_lease", 1, SOON)?;

    let client = site.client(&lab, "pump-7.example");
    let lease = client.lease("")?;
    let begin = Instant::now();
    wire.send(&probe(BACKEND, NODE, 2))?;
    assert!(until(SOON, || arrived() == 1));
    assert!(begin.elapsed() < BRIEF, "{:?}", begin.elapsed());
    // neither another address nor another node
    wire.send(&probe(BACKEND_2, NODE, 3))?;
    site.gateway.wait_for_drops("no_lease", 2, SOON)?;
    wire.send(&probe(BACKEND, NODE_2, 4))?;
    site.gateway.wait_for_drops("node_denied", 1, SOON)?;

    let path = format!("/v1/leases/{}", lease["id"].as_str().context("no id")?);
    assert_eq!(client.ask("DELETE", &path, &[])?.status, 204);
    wire.send(&probe(BACKEND, NODE, 5))?;
    site.gateway.wait_for_drops("no_lease", 3, SOON)?;
    assert_eq!(arrived(), 1);
    assert_eq!(client.ask("GET", &path, &[])?.status, 404);
    Ok(())
}

#[test]
fn only_valid_certificates_of_the_routers_own_authority_get_a_handshake() -> Result<()> {
    need::root_and_tools(&["curl", "openssl"]);
    let lab = Lab::new()?;
    let site = Site::start(&lab, "")?;
    site.pki.issue("expired.example", &["--for", "0s"])?;
    site.pki.issue("revoked.example", &[])?;
    site.pki.run(&["revoke", "revoked.example"])?;
    let foreign = Pki::init(&site.gateway.folder().join("foreign"))?;
    foreign.issue("pump-7.example", &[])?;
    // a file that has changed is noticed within a second: until then the revoked one is unknown
    let refused = |client: &Client<'_>| client.ask("GET", "/v1/health", &[]).is_err();
    let revoked = site.client(&lab, "revoked.example");
    assert!(until(SOON, || refused(&revoked)), "a revoked certificate is let in");
    assert!(refused(&site.anybody(&lab)), "no certificate");
    assert!(refused(&site.client(&lab, "expired.example")), "an expired certificate");
    let stranger = site.anybody(&lab).certificate(&foreign, "pump-7.example");
    assert!(refused(&stranger), "a certificate of another authority");
    assert!(refused(&site.client(&lab, "router")), "a router's certificate is no client's");
    let good = site.client(&lab, "pump-7.example").ask("GET", "/v1/health", &[])?;
    assert_eq!((good.status, &good.body["status"]), (200, &"ok".into()));
    // the same with another TLS stack's own words
    let line = format!("[{ROUTER}]:{PORT}");
    let (ca, tls12) = (site.pki.file("ca.crt"), ["-tls1_2"]);
    let words = ["openssl", "s_client", "-brief", "-connect", &line, "-CAfile", &ca];
    let old = lab.backend.run(&[words.as_slice(), &tls12].concat());
    assert!(old.is_err(), "TLS 1.2: {old:?}");
    Ok(())
}

#[test]
fn refusals_say_why() -> Result<()> {
    need::root_and_tools(&["curl"]);
    let lab = Lab::new()?;
    let site = Site::start(&lab, &busy())?;
    let pump = site.client(&lab, "pump-7.example");
    assert_eq!(site.client(&lab, "stranger.example").refused("{}")?, "unknown-identity");
    assert_eq!(pump.refused("{\"nodes\": [\"2001:db8:1::11\"]}")?, "node-not-allowed");
    for wrong in ["{", "[]", "{\"ttl\": 0}", "{\"nodes\": [\"pump\"]}", "{\"colour\": 1}"] {
        assert_eq!(pump.refused(wrong)?, "bad-request", "{wrong}");
    }
    assert_eq!(pump.refused(&format!("{{\"ttl\": {}}}", "1".repeat(5000)))?, "too-large");
    let form = pump.ask("POST", "/v1/leases", &["--data", "ttl=7"])?;
    assert_eq!((form.status, kind(&form)?.as_str()), (415, "media-type"));
    let nowhere = pump.ask("GET", "/v2/leases", &[])?;
    assert_eq!((nowhere.status, kind(&nowhere)?.as_str()), (404, "not-found"));
    let method = pump.ask("PATCH", "/v1/leases", &[])?;
    assert_eq!((method.status, kind(&method)?.as_str()), (405, "method-not-allowed"));
    // who asks for more than is allowed gets what is allowed
    let lease = pump.lease("{\"ttl\": 86400}")?;
    assert!(lease["expires_in"].as_u64() <= Some(600), "{lease}");
    // two addresses hold as many as there may be; the same address renews its own
    pump.clone().from(BACKEND_2).lease("{}")?;
    let v4 = Client::new(&lab.backend, &format!("{ROUTER_V4}:{PORT}"), &site.pki);
    let v4 = v4.certificate(&site.pki, "pump-7.example");
    assert_eq!(v4.refused("{}")?, "too-many-leases");
    assert_eq!(pump.lease("{}")?["id"], lease["id"]);
    // leases are their holder's: nobody else sees them
    let path = format!("/v1/leases/{}", lease["id"].as_str().context("no id")?);
    for method in ["GET", "PUT", "DELETE"] {
        let other = site.client(&lab, "lamp.example").ask(method, &path, &[])?;
        assert_eq!((other.status, kind(&other)?.as_str()), (404, "not-found"), "{method}");
    }
    let elsewhere = pump.clone().from(BACKEND_2).ask("PUT", &path, &[])?;
    assert_eq!((elsewhere.status, kind(&elsewhere)?.as_str()), (409, "other-address"));
    Ok(())
}

#[test]
fn a_lease_over_ipv4_is_for_the_ipv4_address() -> Result<()> {
    need::root_and_tools(&["curl"]);
    let lab = Lab::new()?;
    let site = Site::start(&lab, "")?;
    let v4 = Client::new(&lab.backend, &format!("{ROUTER_V4}:{PORT}"), &site.pki);
    let lease = v4.certificate(&site.pki, "lamp.example").lease("{}")?;
    assert_eq!(lease["source"], BACKEND_V4.to_string());
    let source: IpAddr = BACKEND_V4.into();
    assert!(site.gateway.source(source).is_ok());
    Ok(())
}

#[test]
fn two_identities_behind_one_address_get_what_either_may() -> Result<()> {
    need::root_and_tools(&["curl", "coap-client-openssl", "coap-server-openssl"]);
    let lab = Lab::new()?;
    let site = Site::start(&lab, "")?;
    let psk = Psk::default();
    let _one = coap::Server::start(&lab.node, Flavour::OpenSsl, NODE.into(), &psk)?;
    let _two = coap::Server::start(&lab.node, Flavour::OpenSsl, NODE_2.into(), &psk)?;
    let reaches = |node: std::net::Ipv6Addr, patience| {
        let client = coap::Client::new(&lab.backend, Flavour::OpenSsl, &psk).timeout(patience);
        client.get(node.into(), "time").is_ok()
    };
    let (pump, lamp) = (site.client(&lab, "pump-7.example"), site.client(&lab, "lamp.example"));
    let lease = pump.lease("{}")?;
    assert!(reaches(NODE, SOON) && !reaches(NODE_2, BRIEF));
    lamp.lease("{}")?;
    assert!(reaches(NODE, SOON) && reaches(NODE_2, SOON));
    let path = format!("/v1/leases/{}", lease["id"].as_str().context("no id")?);
    assert_eq!(pump.ask("DELETE", &path, &[])?.status, 204);
    assert!(!reaches(NODE, BRIEF) && reaches(NODE_2, SOON));
    assert_eq!(site.leases()?.len(), 1);
    Ok(())
}

#[test]
fn the_allow_list_and_leases_leave_each_other_alone() -> Result<()> {
    need::root_and_tools(&["curl"]);
    let lab = Lab::new()?;
    let site = Site::start(&lab, "")?;
    let seen = Capture::start(lab.node.device("node0"))?;
    let wire = Injector::new(lab.internet.device("up0"))?;
    let arrived = || seen.count(|frame| read::is_from(frame, BACKEND));
    let pump = site.client(&lab, "pump-7.example");
    let lease = pump.lease("{}")?;
    site.gateway.allow(BACKEND, &["--node", &NODE_2.to_string()])?;
    wire.send(&probe(BACKEND, NODE, 1))?;
    assert!(until(SOON, || arrived() == 1), "a changed allow-list ends no lease");
    wire.send(&probe(BACKEND, NODE_2, 2))?;
    assert!(until(SOON, || arrived() == 2), "and is in force beside it");
    let path = format!("/v1/leases/{}", lease["id"].as_str().context("no id")?);
    assert_eq!(pump.ask("DELETE", &path, &[])?.status, 204);
    wire.send(&probe(BACKEND, NODE, 3))?;
    site.gateway.wait_for_drops("node_denied", 1, SOON)?;
    wire.send(&probe(BACKEND, NODE_2, 4))?;
    assert!(until(SOON, || arrived() == 3), "the end of a lease ends no entry of the allow-list");
    Ok(())
}

#[test]
fn leases_survive_a_killed_agent_with_their_counters() -> Result<()> {
    need::root_and_tools(&["curl"]);
    let lab = Lab::new()?;
    let mut site = Site::start(&lab, "")?;
    let lease = site.client(&lab, "pump-7.example").lease("{}")?;
    let wire = Injector::new(lab.internet.device("up0"))?;
    wire.send(&probe(BACKEND, NODE, 1))?;
    let packets =
        |site: &Site<'_>| site.gateway.source(BACKEND).map(|found| found["packets"].clone());
    assert!(until(SOON, || packets(&site).is_ok_and(|count| count == 1)));
    site.gateway.kill();
    assert_eq!(site.leases()?.len(), 1, "the list needs no agent");
    site.gateway.run()?;
    let [kept] = &site.leases()?[..] else { anyhow::bail!("not one lease") };
    assert_eq!((&kept["id"], &kept["packets"]), (&lease["id"], &1.into()));
    wire.send(&probe(BACKEND, NODE, 2))?;
    assert!(until(SOON, || packets(&site).is_ok_and(|count| count == 2)));
    Ok(())
}

#[test]
fn a_revoked_certificate_takes_its_leases_along() -> Result<()> {
    need::root_and_tools(&["curl"]);
    let lab = Lab::new()?;
    let site = Site::start(&lab, "")?;
    site.client(&lab, "pump-7.example").lease("{}")?;
    site.client(&lab, "lamp.example").lease("{}")?;
    site.pki.run(&["revoke", "pump-7.example"])?;
    assert!(until(SOON, || site.leases().is_ok_and(|leases| leases.len() == 1)));
    assert_eq!(site.leases()?[0]["identity"], "lamp.example");
    assert!(site.client(&lab, "pump-7.example").ask("GET", "/v1/health", &[]).is_err());
    // the administrator's own word
    let ended = site.gateway.json(&["lease", "revoke", "lamp.example"])?;
    assert_eq!(ended["ended"][0]["identity"], "lamp.example");
    assert!(site.leases()?.is_empty());
    assert!(site.gateway.refused(&["lease", "revoke", "lamp.example"])?.1.contains("no lease"));
    Ok(())
}

#[test]
fn certificates_and_policies_change_without_a_restart() -> Result<()> {
    need::root_and_tools(&["curl", "openssl"]);
    let lab = Lab::new()?;
    let mut site = Site::start(&lab, "")?;
    let stranger = site.client(&lab, "stranger.example");
    assert_eq!(stranger.refused("{}")?, "unknown-identity");
    site.client(&lab, "lamp.example").lease("{}")?;
    let more = "[[auth.identity]]\nname = \"stranger.example\"\n";
    site.gateway.configure(&config(&site.pki, more))?;
    site.gateway.reload("configuration reloaded")?;
    stranger.lease("{}")?;
    assert_eq!(site.leases()?.len(), 2, "a reload ends nobody's lease");
    // a new certificate for the router, beside the old one, then in its place
    let subject = |site: &Site<'_>| -> Result<String> {
        let at = format!("[{ROUTER}]:{PORT}");
        let output = lab.backend.command("openssl").args(["s_client", "-connect", &at]).output()?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let line = text.lines().find(|line| line.starts_with("subject="));
        line.map(str::to_owned).with_context(|| format!("{}: {text}", site.pki.file("")))
    };
    assert!(subject(&site)?.contains("router.lab"));
    let words = ["issue", "next.lab", "--server", "--out", "next", "--also", &ROUTER.to_string()];
    site.pki.run(&words)?;
    for end in ["key", "crt"] {
        fs::rename(site.pki.file(&format!("next.{end}")), site.pki.file(&format!("router.{end}")))?;
    }
    assert!(until(SOON, || subject(&site).is_ok_and(|subject| subject.contains("next.lab"))));
    // a broken file changes nothing
    fs::write(site.pki.file("router.crt"), "no certificate")?;
    assert!(until(SOON, || site.gateway.log().contains("certificates not reloaded")));
    assert!(subject(&site)?.contains("next.lab"));
    Ok(())
}

#[test]
fn a_back_end_holds_a_lease_open() -> Result<()> {
    need::root_and_tools(&[]);
    let lab = Lab::new()?;
    let mut site = Site::start(&lab, "")?;
    let hold = |words: &[&str]| {
        let mut command = lab.backend.command(&tests::lab::gateway::binary().display().to_string());
        command.args(["backend", "hold", "--json", "--router"]);
        command.arg(format!("https://[{ROUTER}]:{PORT}"));
        for (option, file) in
            [("--cert", "pump-7.example.crt"), ("--key", "pump-7.example.key"), ("--ca", "ca.crt")]
        {
            command.arg(option).arg(site.pki.file(file));
        }
        command.args(words).env_remove("GATEWAY_CONFIG");
        Child::spawn(command)
    };
    let mut holding = hold(&["--ttl", "4s", "--node", &NODE.to_string()])?;
    let mut refused = hold(&["--once", "--node", &NODE_2.to_string()])?;
    let line = holding.wait_for_line("\"state\":\"held\"", SOON)?;
    let held: serde_json::Value = serde_json::from_str(&line)?;
    assert!(!refused.wait(SOON)?.success());
    assert!(refused.output().contains("node-not-allowed"), "{}", refused.output());
    // longer than it lasts: it is renewed, under the same name
    let begin = Instant::now();
    assert!(until(SOON, || begin.elapsed() > Duration::from_secs(6)));
    let [lease] = &site.leases()?[..] else { anyhow::bail!("not one lease: {}", holding.output()) };
    assert_eq!(lease["id"], held["id"]);
    assert_eq!(holding.output().lines().count(), 1, "a renewal is no news: {}", holding.output());
    // an agent that is gone for a while
    site.gateway.kill();
    holding.wait_for_line("unreachable", SOON)?;
    let mark = holding.mark();
    site.gateway.run()?;
    holding.wait_for_line_since(mark, "\"state\":\"held\"", SOON)?;
    assert!(until(SOON, || site.leases().is_ok_and(|leases| leases.len() == 1)));
    // told to end, it gives the lease back
    holding.signal(Signal::SIGTERM)?;
    assert!(holding.wait(SOON)?.success(), "{}", holding.output());
    assert!(holding.output().contains("released"), "{}", holding.output());
    assert!(site.leases()?.is_empty());
    Ok(())
}

#[test]
fn ten_thousand_leases_are_one_like_the_other() -> Result<()> {
    need::root_and_tools(&["curl"]);
    const ALL: u32 = 10_000;
    let lab = Lab::new()?;
    let mut site = Site::start(&lab, "")?;
    let more = format!("{}[[auth.identity]]\nname = \"many.example\"\nleases = 20000\n", "");
    site.pki.issue("many.example", &[])?;
    site.gateway.configure(&config(&site.pki, &format!("{more}{}", busy())))?;
    site.gateway.reload("configuration reloaded")?;
    let first = site.client(&lab, "pump-7.example");
    first.lease("{}")?;
    // 10,000 addresses in the back-end's own network, each asking over its own connection
    lab.backend.run(&["ip", "-6", "route", "add", "local", "2001:db8:b:1::/64", "dev", "lo"])?;
    lab.internet.run(&[
        "ip",
        "-6",
        "route",
        "add",
        "2001:db8:b:1::/64",
        "via",
        &BACKEND.to_string(),
    ])?;
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/lease/many.py");
    let begin = Instant::now();
    let mut command = lab.backend.command("python3");
    command.arg(script).arg(format!("{ALL}")).arg(ROUTER.to_string()).arg(PORT.to_string());
    command.args([
        site.pki.file("ca.crt"),
        site.pki.file("many.example.crt"),
        site.pki.file("many.example.key"),
    ]);
    let mut many = Child::spawn(command)?;
    let line = many.wait_for_line("granted", Duration::from_secs(400))?;
    println!("{line} in {:?}", begin.elapsed());
    assert!(line.contains(&format!("granted {ALL}")), "{line}");
    assert_eq!(site.leases()?.len() as u32, ALL + 1);
    // one more takes no longer, and is in force
    let wire = Injector::new(lab.internet.device("up0"))?;
    let seen = Capture::start(lab.node.device("node0"))?;
    site.client(&lab, "lamp.example").lease("{}")?;
    wire.send(&probe(BACKEND, NODE_2, 1))?;
    assert!(until(SOON, || seen.count(|frame| read::is_from(frame, BACKEND)) == 1));
    // and all of them are there after a kill
    site.gateway.kill();
    site.gateway.run()?;
    assert_eq!(site.leases()?.len() as u32, ALL + 2);
    Ok(())
}

/// The committed description against the running agent, by a tester that is not ours.
#[test]
fn schemathesis_finds_nothing() -> Result<()> {
    need::root_and_tools(&["schemathesis"]);
    let lab = Lab::new()?;
    let site = Site::start(&lab, &busy())?;
    let served = site.client(&lab, "pump-7.example").ask("GET", "/v1/openapi.json", &[])?;
    let file = site.gateway.folder().join("openapi.json");
    fs::write(&file, served.body.to_string())?;
    let tool = need::find("schemathesis").context("schemathesis")?;
    let mut command = lab.backend.command(&tool.display().to_string());
    command.arg("run").arg(&file).args(["--url", &format!("https://[{ROUTER}]:{PORT}")]);
    command.args(["--tls-verify", &site.pki.file("ca.crt")]);
    command.args(["--request-cert", &site.pki.file("pump-7.example.crt")]);
    command.args(["--request-cert-key", &site.pki.file("pump-7.example.key")]);
    command.args(["--checks", "all", "--seed", "1", "--max-examples", "25", "--no-color"]);
    command.current_dir(site.gateway.folder()).env("PYTHONDONTWRITEBYTECODE", "1");
    let output = run(command)?;
    ensure!(output.0, "{}", output.1);
    assert!(site.leases()?.len() <= 1);
    Ok(())
}

fn run(mut command: Command) -> Result<(bool, String)> {
    let output = command.output().with_context(|| format!("start {command:?}"))?;
    let text = [output.stdout, output.stderr].concat();
    Ok((output.status.success(), String::from_utf8_lossy(&text).into_owned()))
}
