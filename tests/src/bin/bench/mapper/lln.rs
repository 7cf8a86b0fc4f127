//! What a handshake costs the LLN: OpenSSL with the example node, by DTLS and mapped from TLS.
//!
//! This is counted, not timed: one run of each says it.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context, Result, ensure};
use gateway_common::{mapping::record::Records, wire::dtls::content};
use tests::{
    lab::{
        Capture, Lab, Mapped,
        mapped::{self, Way},
        topology::{NODE, at},
    },
    need,
    packet::{Datagram, read::ip_of},
    peer::{
        coap::COAPS,
        openssl::{self, Protocol},
    },
};

/// Names that targets refer to.
pub(crate) mod name {
    pub(crate) const COOKIE: &str = "DTLS, the node asks for a cookie";
    pub(crate) const NATIVE: &str = "DTLS, nobody asks for a cookie";
    pub(crate) const MAPPED: &str = "mapped TLS";
}

const SOON: Duration = Duration::from_secs(30);

/// What passed between router and node before the first application data.
#[derive(Debug)]
pub(crate) struct Handshake {
    pub(crate) name: &'static str,
    pub(crate) datagrams: usize,
    /// Of IPv6 packets, before 6LoWPAN makes their headers smaller.
    pub(crate) bytes: usize,
}

/// Counts each kind of handshake, full, of PSK with CCM_8.
pub(crate) fn measure() -> Result<Vec<Handshake>> {
    need::root_and_tools(&["openssl"]);
    let native = (Protocol::Dtls12, at(NODE, COAPS));
    let asking: &[&str] = &["--cookie", "required"];
    let foreign: &[&str] = &["--cookie", "foreign"];
    [
        (name::COOKIE, native, asking),
        (name::NATIVE, native, foreign),
        (name::MAPPED, (Protocol::Tls12, Way::Address.door()), foreign),
    ]
    .into_iter()
    .map(|(name, client, node)| handshake(name, client, node).context(name))
    .collect()
}

fn handshake(
    name: &'static str,
    (protocol, server): (Protocol, SocketAddr),
    node: &[&str],
) -> Result<Handshake> {
    let lab = Lab::new()?;
    let mapped = Mapped::configured(&lab, &mapped::config("", ""), node)?;
    mapped.admit()?;
    let lln = Capture::start(lab.node.device("node0"))?;
    let settings = openssl::Settings::new(&lab.backend, &mapped.psk).protocol(protocol);
    let mut client = settings.connect_within(server, SOON)?;
    client.send("GET / HTTP/1.1\n")?;
    let data = |frame: &[u8]| dtls(frame).is_some_and(|(_, data)| data);
    ensure!(lln.wait_for(1, SOON, data), "no application data in the LLN after {SOON:?}");
    let frames = lln.snapshot();
    let frames = frames.iter().filter_map(|frame| dtls(&frame.bytes));
    let sizes: Vec<_> = frames.take_while(|(_, data)| !data).map(|(bytes, _)| bytes).collect();
    Ok(Handshake { name, datagrams: sizes.len(), bytes: sizes.iter().sum() })
}

/// The length of a packet of the node's DTLS port, and whether it has application data.
fn dtls(frame: &[u8]) -> Option<(usize, bool)> {
    let datagram = Datagram::from_frame(frame)?;
    if datagram.src.port() != COAPS && datagram.dst.port() != COAPS {
        return None;
    }
    let mut records = Records::of(&datagram.payload).flatten();
    let data = records.any(|record| record.header.content == content::APPLICATION_DATA);
    Some((ip_of(frame)?.len(), data))
}
