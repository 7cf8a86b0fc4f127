//! The node's firmware on an emulated Cortex-M3 with 64 KiB of RAM, asked by real clients.

use std::{net::Ipv6Addr, time::Duration};

use anyhow::Result;
use tests::{
    lab::{
        Gateway, Lab, Microcontroller, Namespace,
        gateway::{EVERYDAY, ROOMY},
        mcu::{self, Pace},
        topology::{BACKEND, NODE as NODE_1, ROUTER, at},
    },
    need,
    peer::{
        Psk,
        coap::{self, COAPS, Flavour},
        openssl::{self, Protocol},
    },
};

/// On a busy machine the board is slow as well.
const SOON: Duration = Duration::from_secs(30);

const HOST: &str = "fd00::1/64";
const NODE: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 2);
/// The board's address in a lab.
const MCU: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 0x20);
/// The router's port that leads to it.
const PORT: u16 = 8443;
const LINE: &str = "mcu0";
const HELLO: &str = "hello from a Cortex-M3 with 64 KiB of RAM, no heap";
/// CoAP for a client that sends lines: non-confirmable, GET, /hello, with the line's end as payload.
const GET_HELLO: &[u8] = b"\x50\x01\x00\x01\xb5hello\xff\n";
const GET_HTTP: &[u8] = b"GET /hello HTTP/1.1\r\nHost: node\r\n\r\n";

fn network() -> Result<Namespace> {
    let namespace = Namespace::new("mcu")?;
    namespace.device("lo").address(HOST)?;
    Ok(namespace)
}

fn boot(namespace: &Namespace, name: &str) -> Result<Microcontroller> {
    Microcontroller::boot(namespace, LINE, NODE, &mcu::image(name)?, Pace::Real)
}

#[test]
fn a_node_without_security_answers_coap() -> Result<()> {
    need::root_and_tools(&[mcu::QEMU, "coap-client-notls"]);
    let namespace = network()?;
    let board = boot(&namespace, "firmware-plain")?;
    let client = coap::Client::new(&namespace, Flavour::NoTls, &Psk::default());
    assert_eq!(client.get(NODE.into(), "hello")?.trim_end(), HELLO);
    assert_eq!(client.request(NODE.into(), "other", &["-m", "get"])?.code, "4.04");
    assert_eq!(board.starts(), 1);
    Ok(())
}

#[test]
fn libcoap_clients_complete_dtls_handshakes_and_requests() -> Result<()> {
    need::root_and_tools(&[mcu::QEMU, "coap-client-openssl", "coap-client-gnutls"]);
    let namespace = network()?;
    let board = boot(&namespace, "firmware")?;
    for flavour in [Flavour::OpenSsl, Flavour::GnuTls] {
        let client = coap::Client::new(&namespace, flavour, &Psk::default()).timeout(SOON);
        assert_eq!(client.get(NODE.into(), "hello")?.trim_end(), HELLO, "{flavour:?}");
    }
    assert_eq!(board.starts(), 1);
    Ok(())
}

#[test]
fn openssl_completes_a_dtls_handshake_and_a_request() -> Result<()> {
    need::root_and_tools(&[mcu::QEMU, "openssl"]);
    let namespace = network()?;
    let board = boot(&namespace, "firmware")?;
    let settings = openssl::Settings::new(&namespace, &Psk::default());
    let mut client = settings.connect_within(at(NODE, COAPS), SOON)?;
    client.child.send(GET_HELLO)?;
    client.expect(HELLO, SOON)?;
    client.close()?;
    assert_eq!(board.starts(), 1);
    Ok(())
}

/// The LLN of a lab in which the board is a node of its own, behind the namespace of the others.
fn join(lab: &Lab) -> Result<()> {
    lab.node.set_sysctl("ipv6/conf/all/forwarding", "1")?;
    lab.router.run(&["ip", "route", "add", &MCU.to_string(), "via", &NODE_1.to_string()])?;
    Ok(())
}

#[test]
fn openssl_completes_a_mapped_tls_handshake_and_requests_through_the_router() -> Result<()> {
    need::root_and_tools(&[mcu::QEMU, "openssl"]);
    let lab = Lab::new()?;
    join(&lab)?;
    let board = Microcontroller::boot(&lab.node, LINE, MCU, &mcu::image("firmware")?, Pace::Real)?;
    let config = format!(
        "{EVERYDAY}{ROOMY}[[mapper.node]]\nname = \"mcu\"\naddress = \"{MCU}\"\nports = [{PORT}]\n"
    );
    let gateway = Gateway::start(&lab.router, &config)?;
    gateway.allow(BACKEND, &[])?;
    let settings = openssl::Settings::new(&lab.backend, &Psk::default()).protocol(Protocol::Tls12);
    let mut client = settings.connect_within(at(ROUTER, PORT), SOON)?;
    for _ in 0..2 {
        let mark = client.child.mark();
        client.child.send(GET_HTTP)?;
        client.child.wait_for_line_since(mark, "200 OK", SOON)?;
        client.child.wait_for_line_since(mark, HELLO, SOON)?;
    }
    client.close()?;
    assert_eq!(board.starts(), 1);
    Ok(())
}
