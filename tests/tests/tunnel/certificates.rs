//! Outer DTLS with certificates: who gets in, who does not and is told why, and who is put out.

use std::{process::Command, time::Duration};

use anyhow::{Context as _, Result, ensure};
use tests::{
    lab::{
        Child, Lab,
        topology::{NODE, ROUTER, at},
        until,
    },
    need,
    peer::{
        Psk,
        coap::{self, COAPS, Flavour},
        curl::Pki,
    },
};

use super::site::{BRIEF, HERE, LATE, SOON, Site, is_open};

/// `openssl s_client`, with a certificate or without.
fn hello(site: &Site<'_>, certificate: Option<(&Pki, &str)>) -> Result<Child> {
    let mut command: Command = site.lab.backend.command("openssl");
    command.args(["s_client", "-dtls1_2", "-brief", "-verify_return_error"]);
    command.args(["-connect", &at(ROUTER, COAPS).to_string()]);
    command.args(["-CAfile", &site.pki.file("ca.crt"), "-verify_ip", &ROUTER.to_string()]);
    if let Some((pki, name)) = certificate {
        command.args(["-cert", &pki.file(&format!("{name}.crt"))]);
        command.args(["-key", &pki.file(&format!("{name}.key"))]);
    }
    Child::spawn(command)
}

/// An authority that the router does not know, with somebody whom it would know.
fn foreign(site: &Site<'_>) -> Result<Pki> {
    let folder = site.gateway.folder().join("foreign");
    let pki = Pki::init(&folder)?;
    pki.issue("all.example", &[])?;
    Ok(pki)
}

#[test]
fn only_certificates_that_count_get_through_the_handshake() -> Result<()> {
    need::root_and_tools(&["openssl"]);
    let lab = Lab::new()?;
    let site = Site::start(&lab)?;
    let foreign = foreign(&site)?;
    site.pki.issue("gone.example", &[])?;
    site.revoke("gone.example")?;
    hello(&site, Some((&site.pki, "all.example")))?
        .wait_for_line("CONNECTION ESTABLISHED", SOON)?;
    ensure!(site.gateway.dropped("cookie_asked")? > 0, "the filter asked for no cookie");
    for (certificate, alert) in [
        (Some((&foreign, "all.example")), "alert unknown ca"),
        (Some((&site.pki, "gone.example")), "alert certificate revoked"),
        // a certificate, but one for servers
        (Some((&site.pki, "router")), "alert unsupported certificate"),
        (None, "alert handshake failure"),
    ] {
        let mut client = hello(&site, certificate)?;
        client.wait_for_line(alert, SOON)?;
        ensure!(!client.wait(SOON)?.success(), "{}", client.output());
        ensure!(!client.output().contains("CONNECTION ESTABLISHED"), "{}", client.output());
    }
    site.pki.issue("brief.example", &["--for", "1s"])?;
    let ended = until(SOON, || {
        let client = hello(&site, Some((&site.pki, "brief.example")));
        client
            .and_then(|mut client| client.wait_for_line("alert certificate expired", BRIEF))
            .is_ok()
    });
    ensure!(ended, "a certificate that has ended still counts");
    ensure!(site.leases()?.is_empty(), "somebody got a lease");
    Ok(())
}

#[test]
fn a_tunnel_by_certificate_says_in_words_why_there_is_none() -> Result<()> {
    need::root_and_tools(&[]);
    let lab = Lab::new()?;
    let site = Site::start(&lab)?;
    let foreign = foreign(&site)?;
    site.pki.issue("unknown.example", &[])?;
    for (pki, name, ca, words) in [
        (&foreign, "all.example", &site.pki, "its authority is none of the router's"),
        (&site.pki, "all.example", &foreign, "the router's certificate is not taken"),
        (&site.pki, "router", &site.pki, "it is not one for clients"),
        (&site.pki, "unknown.example", &site.pki, "no policy"),
    ] {
        let mut tunnel = site.over_dtls(pki, name, ca, &[NODE.into()])?;
        let said = tunnel.wait_for_line(words, SOON);
        said.with_context(|| format!("{name}: {}", tunnel.output()))?;
    }
    site.pki.issue("curve.example", &["--ed25519"])?;
    let mut tunnel = site.over_dtls(&site.pki, "curve.example", &site.pki, &[NODE.into()])?;
    ensure!(!tunnel.wait(SOON)?.success(), "it goes on without a key that it can use");
    ensure!(tunnel.output().contains("no ECDSA key"), "{}", tunnel.output());
    Ok(())
}

#[test]
fn a_certificate_that_is_revoked_ends_its_tunnel() -> Result<()> {
    need::root_and_tools(&["coap-client-openssl", "coap-server-openssl"]);
    let lab = Lab::new()?;
    let site = Site::start(&lab)?;
    let psk = Psk::default();
    let _node = coap::Server::start(&lab.node, Flavour::OpenSsl, NODE.into(), &psk)?;
    let mut tunnel = site.over_dtls(&site.pki, "all.example", &site.pki, &[NODE.into()])?;
    is_open(&mut tunnel)?;
    coap::Client::new(&lab.backend, Flavour::OpenSsl, &psk).get(HERE, "time")?;
    let mark = tunnel.mark();
    site.revoke("all.example")?;
    tunnel.wait_for_line_since(mark, "\"state\":\"down\"", SOON)?;
    tunnel.wait_for_line_since(mark, "it is revoked", LATE)?;
    ensure!(site.leases()?.is_empty(), "the lease outlived its certificate");
    Ok(())
}

#[test]
fn libcoap_gets_a_lease_with_a_certificate() -> Result<()> {
    need::root_and_tools(&["coap-client-openssl", "coap-client-gnutls"]);
    let lab = Lab::new()?;
    let site = Site::start(&lab)?;
    lease(&site, "coap-client-openssl", "c:2.01")?;
    // the same address: the lease is renewed
    lease(&site, "coap-client-gnutls", "c:2.04")?;
    let [lease] = &site.leases()?[..] else { anyhow::bail!("not one lease") };
    ensure!((&lease["identity"], &lease["way"]) == (&"all.example".into(), &"certificate".into()));
    Ok(())
}

fn lease(site: &Site<'_>, program: &str, code: &str) -> Result<()> {
    let mut command = site.lab.backend.command(program);
    command.args(["-v", "6", "-B", "10", "-m", "post", "-t", "50", "-e", "{\"ttl\": 300}"]);
    command.args([
        "-c",
        &site.pki.file("all.example.crt"),
        "-j",
        &site.pki.file("all.example.key"),
    ]);
    command.args(["-C", &site.pki.file("ca.crt"), &format!("coaps://[{ROUTER}]/leases")]);
    let mut client = Child::spawn(command)?;
    client.wait_for_line(code, Duration::from_secs(15)).map(drop)
}
