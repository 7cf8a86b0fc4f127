//! Sampled drops, as the kernel reports them, and what their headers say.
use crate::dataplane::{Maps, Result, clock};
use aya::maps::{MapData, RingBuf};
use gateway_common::{
    abi::{Event, Interface},
    decide::Reason,
    frame::Offset,
    wire::{
        Address, dtls,
        parse::{self, Link, Upper},
    },
};
use serde_json::{Value, json};
use std::time::SystemTime;
use zerocopy::FromBytes as _;

/// A dropped packet.
#[derive(Clone, Debug)]
pub struct Drop {
    /// When.
    pub at: SystemTime,
    /// The place of the interface.
    pub place: u32,
    /// Why.
    pub reason: Reason,
    /// Bytes of the frame.
    pub length: u32,
    /// How the frame starts.
    pub data: Vec<u8>,
}

/// The ring, read as events arrive.
pub struct Stream {
    ring: RingBuf<MapData>,
}

impl Stream {
    /// Opens the ring. What was left in it before is old, and skipped.
    ///
    /// # Errors
    /// A map that cannot be opened.
    pub fn open(maps: &Maps) -> Result<Self> {
        let mut ring = maps.events()?;
        while ring.next().is_some() {}
        Ok(Self { ring })
    }

    /// The next event, if one has arrived.
    pub fn poll_drop(&mut self) -> Option<Drop> {
        loop {
            let item = self.ring.next()?;
            if let Ok((event, _)) = Event::read_from_prefix(&item)
                && let Some(reason) = Reason::from_number(event.reason)
            {
                let captured = event.captured as usize;
                return Some(Drop {
                    at: clock::wall(event.time_ns),
                    place: event.interface,
                    reason,
                    length: event.length,
                    data: event.data.get(..captured).unwrap_or(&event.data).to_vec(),
                });
            }
        }
    }
}

/// What a packet's headers say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Headers {
    /// Who sent it.
    pub source: Address,
    /// To whom.
    pub destination: Address,
    /// What is above the network header: `udp`, `tcp`, `icmp`…
    pub protocol: &'static str,
    /// Ports, where there are any.
    pub ports: Option<(u16, u16)>,
    /// Content type, epoch and sequence number of the first DTLS record.
    pub record: Option<(u8, u16, u64)>,
}

/// Reads a frame's headers with the parser that the kernel used. `frame` may be the start of one
/// of `length` bytes.
pub fn headers(frame: &[u8], length: usize, link: Link) -> Option<Headers> {
    let mut whole = frame.to_vec();
    whole.resize(length.max(frame.len()), 0);
    let frame = whole.as_slice();
    let ip = parse::network(frame, link).ok()??;
    let (protocol, ports, record) = match parse::transport(frame, &ip) {
        Ok(Upper::Udp { ports, payload, end }) => {
            ("udp", Some((ports.source, ports.destination)), first_record(frame, payload, end))
        }
        Ok(Upper::Tcp { ports }) => ("tcp", Some((ports.source, ports.destination)), None),
        Ok(Upper::Icmp { .. }) => ("icmp", None, None),
        Ok(Upper::Fragment) => ("fragment", None, None),
        Ok(Upper::RoutingHeader) => ("routing", None, None),
        Ok(Upper::HopByHop) => ("hop-by-hop", None, None),
        Ok(Upper::Other) => ("other", None, None),
        Err(_) => ("malformed", None, None),
    };
    Some(Headers { source: ip.source, destination: ip.destination, protocol, ports, record })
}

fn first_record(frame: &[u8], payload: Offset, end: Offset) -> Option<(u8, u16, u64)> {
    match dtls::record(frame, payload, end)? {
        dtls::Layout::Clear(record) => Some((record.content, record.epoch, record.sequence)),
        dtls::Layout::Opaque { .. } => None,
    }
}

impl core::fmt::Display for Headers {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let Self { source, destination, protocol, .. } = self;
        match self.ports {
            Some((from, to)) => write!(f, "{protocol} {source} {from} > {destination} {to}")?,
            None => write!(f, "{protocol} {source} > {destination}")?,
        }
        if let Some((content, epoch, sequence)) = self.record {
            write!(f, ", DTLS type {content} epoch {epoch} sequence {sequence}")?;
        }
        Ok(())
    }
}

impl Headers {
    /// For machines.
    pub fn json(&self) -> Value {
        json!({
            "source": self.source.to_string(),
            "destination": self.destination.to_string(),
            "protocol": self.protocol,
            "source_port": self.ports.map(|ports| ports.0),
            "destination_port": self.ports.map(|ports| ports.1),
            "dtls": self.record.map(|(content, epoch, sequence)| json!({
                "content_type": content, "epoch": epoch, "sequence": sequence,
            })),
        })
    }
}

/// How frames of an interface start.
pub const fn link_of(interface: &Interface) -> Link {
    if interface.raw_ip == 0 { Link::Ethernet } else { Link::Ip }
}
