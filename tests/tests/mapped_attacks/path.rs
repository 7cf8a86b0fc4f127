//! What a man on the path can do, told as edits of records.

use std::{
    net::{Ipv6Addr, SocketAddr, SocketAddrV6},
    time::Duration,
};

use anyhow::Result;
use tests::{
    lab::{
        Mapped, Relay,
        air::{Departure, Toward},
        mapped::HTTPS,
        relay::{self, Sender},
        topology::{INTERNET, NODE, at},
    },
    packet::{
        Datagram,
        dtls::{self, content, message},
    },
    peer::https::{Client, Fragment, Stack},
};

/// A record of TLS.
pub use relay::Record as Tls;

/// The node, as its clients call it.
pub const NODE_HTTPS: SocketAddr = v6(NODE, HTTPS);
/// A body of 5,000 bytes takes ten of these.
pub const SHORT: Fragment = Fragment::Own(512);

const fn v6(address: Ipv6Addr, port: u16) -> SocketAddr {
    SocketAddr::V6(SocketAddrV6::new(address, port, 0, 0))
}

/// An edit of the air, record by record; what is no DTLS passes.
pub fn air(
    mut edit: impl FnMut(Toward, &mut dtls::Record, &mut Vec<dtls::Record>) + Send + 'static,
) -> impl FnMut(Toward, Datagram) -> Vec<Departure> + Send + 'static {
    move |toward, datagram| {
        let Some(records) = dtls::records(&datagram.payload) else { return vec![datagram.into()] };
        let mut out = Vec::new();
        for mut record in records {
            edit(toward, &mut record, &mut out);
        }
        let payloads = out.iter().map(dtls::Record::bytes).fold(Vec::new(), joined);
        payloads.into_iter().map(|payload| Datagram { payload, ..datagram }.into()).collect()
    }
}

/// Puts a record behind the last one if both fit the link, else into a datagram of its own.
fn joined(mut payloads: Vec<Vec<u8>>, record: Vec<u8>) -> Vec<Vec<u8>> {
    const MOST: usize = 1_232;
    match payloads.last_mut() {
        Some(last) if last.len() + record.len() <= MOST => last.extend(record),
        _ => payloads.push(record),
    }
    payloads
}

/// Whether a record is a ClientHello or a ServerHello.
pub fn is_hello(record: &dtls::Record) -> bool {
    let first = record.body.first().copied();
    let hello = [Some(message::CLIENT_HELLO), Some(message::SERVER_HELLO)].contains(&first);
    hello && record.epoch == 0 && record.content_type == content::HANDSHAKE
}

/// Whether a record is sealed application data.
pub fn is_data(record: &dtls::Record) -> bool {
    record.epoch == 1 && record.content_type == content::APPLICATION
}

/// A record in the place of another, by somebody who has no key.
pub fn forged(record: &dtls::Record) -> dtls::Record {
    let body = record.body.iter().map(|byte| byte ^ 0x5a).collect();
    dtls::Record { body, ..record.clone() }
}

/// Every second sealed record comes behind the next one.
pub fn every_other_late() -> impl FnMut(Toward, Datagram) -> Vec<Departure> + Send + 'static {
    const LATE: Duration = Duration::from_millis(60);
    move |_, datagram| {
        let records = dtls::records(&datagram.payload).unwrap_or_default();
        let odd = records.iter().any(|record| is_data(record) && record.seq % 2 == 1);
        let after = if odd { LATE } else { Duration::ZERO };
        vec![Departure { datagram, after }]
    }
}

/// Every datagram comes again, twice: at once, and when it is long past.
pub fn everything_again() -> impl FnMut(Toward, Datagram) -> Vec<Departure> + Send + 'static {
    move |_, datagram| {
        let again = |after| Departure { datagram: datagram.clone(), after };
        [0, 0, 700].map(Duration::from_millis).map(again).into()
    }
}

/// A relay between back-end and node.
pub struct OnPath<'a> {
    mapped: &'a Mapped<'a>,
    _relay: Relay,
}

impl<'a> OnPath<'a> {
    /// A client that calls the relay.
    pub fn client(&self, stack: Stack) -> Client<'a> {
        self.mapped.client_of(stack, at(INTERNET, HTTPS))
    }
}

/// Puts a relay into the Internet, which is admitted like a back-end.
pub fn relayed<'a>(
    mapped: &'a Mapped<'a>,
    mut edit: impl FnMut(Sender, &mut Tls) -> Vec<Tls> + Send + 'static,
) -> Result<OnPath<'a>> {
    mapped.gateway.allow(INTERNET, &[])?;
    let edit = move |sender, mut record| edit(sender, &mut record);
    let relay = Relay::start(&mapped.lab.internet, at(INTERNET, HTTPS), NODE_HTTPS, edit)?;
    Ok(OnPath { mapped, _relay: relay })
}

/// What a meddler remembers: how many sealed records went by, and one that he holds back.
#[derive(Default)]
pub struct Memory {
    sealed: usize,
    held: Option<Tls>,
}

/// An edit of what `sender` sends from its second sealed record of data on.
pub fn from_second(
    sender: Sender,
    mut meddle: impl FnMut(&mut Memory, &Tls) -> Vec<Tls> + Send + 'static,
) -> impl FnMut(Sender, &mut Tls) -> Vec<Tls> + Send + 'static {
    let mut memory = Memory::default();
    move |way, record| {
        if way != sender || record.content != content::APPLICATION {
            return vec![record.clone()];
        }
        memory.sealed += 1;
        meddle(&mut memory, record)
    }
}

/// Puts a record of his own before the second.
pub fn inject(memory: &mut Memory, record: &Tls) -> Vec<Tls> {
    let fragment = record.fragment.iter().map(|byte| byte ^ 0x5a).collect();
    let forged = Tls { fragment, ..record.clone() };
    if memory.sealed == 2 { vec![forged, record.clone()] } else { vec![record.clone()] }
}

/// Takes the second record away.
pub fn remove(memory: &mut Memory, record: &Tls) -> Vec<Tls> {
    if memory.sealed == 2 { Vec::new() } else { vec![record.clone()] }
}

/// Lets the third record overtake the second.
pub fn reorder(memory: &mut Memory, record: &Tls) -> Vec<Tls> {
    match memory.sealed {
        2 => {
            memory.held = Some(record.clone());
            Vec::new()
        }
        3 => [Some(record.clone()), memory.held.take()].into_iter().flatten().collect(),
        _ => vec![record.clone()],
    }
}
