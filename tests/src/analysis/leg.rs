//! The LLN side of a mapped connection, turned back into the TLS stream that it is in secret.
//!
//! Its records are sealed in the form of TLS, so no analyser can open them under DTLS headers. This
//! takes the headers off as the router does, from nothing but the datagrams: with
//! [`gateway_common::mapping`], in order, and without what is between router and node alone.

use std::{collections::BTreeMap, net::SocketAddr, path::Path};

use anyhow::{Context, Result, anyhow};
use gateway_common::{
    mapping::{
        handshake::{Fragments, kind},
        hello::ClientHello,
        image,
        record::{Record, Records, TLS12, TlsHeader},
    },
    wire::dtls::content,
};

use crate::{
    lab::pcap,
    packet::{Datagram, Packet, flag},
};

/// The records of one direction, on their way back into a stream.
#[derive(Debug, Default)]
struct Direction {
    /// Pieces of plaintext messages by message_seq: kind, body and how much of it is there.
    messages: BTreeMap<u16, Message>,
    next_message: u16,
    changed: bool,
    /// Protected records by number.
    protected: BTreeMap<u64, (u8, Vec<u8>)>,
    next_record: u64,
}

#[derive(Debug)]
struct Message {
    kind: u8,
    body: Vec<u8>,
    missing: Vec<bool>,
}

/// A mapped connection as TLS.
#[derive(Debug)]
pub struct Leg {
    client: SocketAddr,
    server: SocketAddr,
    /// Whether the client sent it, and TLS records.
    records: Vec<(bool, Vec<u8>)>,
}

impl Leg {
    /// Reads the datagrams between `client` (the router) and `server` (the node), oldest first.
    pub fn read(datagrams: &[Datagram], client: SocketAddr, server: SocketAddr) -> Result<Self> {
        let mut leg = Self { client, server, records: Vec::new() };
        let (mut up, mut down) = (Direction::default(), Direction::default());
        for datagram in datagrams {
            let (from_client, direction) = match (datagram.src, datagram.dst) {
                ends if ends == (client, server) => (true, &mut up),
                ends if ends == (server, client) => (false, &mut down),
                _ => continue,
            };
            for record in Records::of(&datagram.payload) {
                let record = record.map_err(|error| anyhow!("no record of DTLS 1.2: {error:?}"))?;
                direction.take(&record)?;
            }
            let ready = direction.ready()?;
            leg.records.extend(ready.into_iter().map(|record| (from_client, record)));
        }
        Ok(leg)
    }

    /// Every connection between the router's ports and `server`, by who began.
    pub fn all(datagrams: &[Datagram], server: SocketAddr) -> Result<Vec<Self>> {
        let mut clients: Vec<SocketAddr> = Vec::new();
        for datagram in datagrams.iter().filter(|datagram| datagram.dst == server) {
            if !clients.contains(&datagram.src) {
                clients.push(datagram.src);
            }
        }
        clients.into_iter().map(|client| Self::read(datagrams, client, server)).collect()
    }

    /// The stream of one direction.
    pub fn stream(&self, from_client: bool) -> Vec<u8> {
        let records = self.records.iter().filter(|(client, _)| *client == from_client);
        records.flat_map(|(_, record)| record.clone()).collect()
    }

    /// Writes it as a TCP connection made up around it.
    pub fn write_pcap(&self, path: &Path) -> Result<()> {
        let (mut up, mut down) = (1, 1);
        let segment = |from_client: bool, flags, seq: u32, ack: u32, payload: &[u8]| {
            let ends =
                if from_client { (self.client, self.server) } else { (self.server, self.client) };
            let packet = Packet::tcp(ends.0, ends.1).raw_ip().flags(flags).seq(seq).ack(ack);
            packet.payload(payload).build()
        };
        let mut frames = vec![
            segment(true, flag::SYN, 0, 0, &[]),
            segment(false, flag::SYN | flag::ACK, 0, 1, &[]),
            segment(true, flag::ACK, 1, 1, &[]),
        ];
        for (from_client, record) in &self.records {
            let (seq, ack) = if *from_client { (up, down) } else { (down, up) };
            frames.push(segment(*from_client, flag::PSH | flag::ACK, seq, ack, record));
            let sent = if *from_client { &mut up } else { &mut down };
            *sent += u32::try_from(record.len())?;
        }
        pcap::write_frames(path, pcap::RAW_IP, &frames)
    }
}

impl Direction {
    fn take(&mut self, record: &Record<'_>) -> Result<()> {
        match (record.header.position.epoch, record.header.content) {
            (0, content::HANDSHAKE) => self.take_fragments(record.fragment),
            (0, content::CHANGE_CIPHER_SPEC) => {
                self.changed = true;
                Ok(())
            }
            // Reports between router and node; and what came in clear after the cipher changed.
            (0, _) => Ok(()),
            (_, kind) => {
                let number = record.header.position.number;
                let entry = self.protected.entry(number);
                entry.or_insert_with(|| (kind, record.fragment.to_vec()));
                Ok(())
            }
        }
    }

    fn take_fragments(&mut self, record: &[u8]) -> Result<()> {
        for fragment in Fragments::of(record) {
            let fragment = fragment.map_err(|error| anyhow!("no fragment: {error:?}"))?;
            let header = fragment.header;
            let length = header.length as usize;
            let message = self.messages.entry(header.message_seq).or_insert_with(|| Message {
                kind: header.kind,
                body: vec![0; length],
                missing: vec![true; length],
            });
            let range = header.fragment_offset as usize..;
            let range = range.start..range.start + fragment.body.len();
            let body = message.body.get_mut(range.clone()).context("a fragment past the end")?;
            body.copy_from_slice(fragment.body);
            message.missing[range].fill(false);
        }
        Ok(())
    }

    /// TLS records for what is next in order and all there.
    fn ready(&mut self) -> Result<Vec<Vec<u8>>> {
        let mut ready = Vec::new();
        while let Some(message) = self.messages.get(&self.next_message)
            && !message.missing.contains(&true)
        {
            self.next_message += 1;
            ready.extend(message.tls()?);
        }
        if self.changed && self.next_record == 0 && !self.protected.is_empty() {
            ready.push(tls(content::CHANGE_CIPHER_SPEC, &[1]));
        }
        while let Some((kind, fragment)) =
            self.protected.get(&self.next_record).filter(|_| self.changed)
        {
            ready.push(tls(*kind, fragment));
            self.next_record += 1;
        }
        Ok(ready)
    }
}

impl Message {
    /// The message in a record of TLS; the exchange of a cookie has none.
    fn tls(&self) -> Result<Option<Vec<u8>>> {
        let malformed = |error| anyhow!("no message of kind {}: {error:?}", self.kind);
        let cookie = self.kind == kind::CLIENT_HELLO
            && !ClientHello::read_dtls(&self.body).map_err(malformed)?.cookie.is_empty();
        if cookie || self.kind == kind::HELLO_VERIFY_REQUEST {
            return Ok(None);
        }
        let mut bytes = Vec::new();
        let image = image::tls(self.kind, &self.body).map_err(malformed)?;
        image.each(|piece| bytes.extend_from_slice(piece));
        Ok(Some(tls(content::HANDSHAKE, &bytes)))
    }
}

fn tls(content: u8, fragment: &[u8]) -> Vec<u8> {
    let header = TlsHeader { content, version: TLS12, length: fragment.len() as u16 };
    [&header.write()[..], fragment].concat()
}
