//! The node's firmware on an emulated Cortex-M3 with 64 KiB of RAM, asked by real clients.

use std::{net::Ipv6Addr, time::Duration};

use anyhow::Result;
use tests::{
    lab::{
        Microcontroller, Namespace,
        mcu::{self, Pace},
        topology::at,
    },
    need,
    peer::{
        Psk,
        coap::{self, COAPS, Flavour},
        openssl,
    },
};

/// On a busy machine the board is slow as well.
const SOON: Duration = Duration::from_secs(30);

const HOST: &str = "fd00::1/64";
const NODE: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 2);
const LINE: &str = "mcu0";
const HELLO: &str = "hello from a Cortex-M3";
/// CoAP for a client that sends lines: non-confirmable, GET, /hello, with the line's end as payload.
const GET_HELLO: &[u8] = b"\x50\x01\x00\x01\xb5hello\xff\n";

fn network() -> Result<Namespace> {
    let namespace = Namespace::new("mcu")?;
    namespace.device("lo").address(HOST)?;
    Ok(namespace)
}

fn boot<'a>(namespace: &'a Namespace, name: &str) -> Result<Microcontroller> {
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
