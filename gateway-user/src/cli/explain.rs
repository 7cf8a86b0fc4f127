//! `gateway explain`: what would become of a packet, asked of the program itself.
use super::{Context, write};
use crate::{
    dataplane::{
        Maps,
        attach::{self, Role},
        replica::{Replica, Verdict},
    },
    observe::event,
};
use anyhow::{Context as _, bail};
use clap::{Args, ValueEnum};
use etherparse::PacketBuilder;
use gateway_common::abi::Interface;
use pcap_file::pcapng::PcapNgReader;
use serde_json::{Value, json};
use std::{
    fs::File,
    io::{Read as _, Seek as _},
    net::IpAddr,
    path::{Path, PathBuf},
};

/// What would become of a packet, and at which stage: runs it through the program that filters,
/// against a copy of its present state. The state itself is left untouched.
#[derive(Debug, Args)]
pub(super) struct Explain {
    /// Source address
    #[arg(required_unless_present = "pcap", requires = "destination")]
    source: Option<IpAddr>,
    /// Destination address
    destination: Option<IpAddr>,
    /// What the packet carries
    #[arg(long, value_enum, default_value_t = Carries::Dtls)]
    carries: Carries,
    /// Source port
    #[arg(long, default_value_t = 40_000)]
    source_port: u16,
    /// Destination port
    #[arg(long, default_value_t = 5684)]
    port: u16,
    /// Epoch of the DTLS record
    #[arg(long, default_value_t = 1)]
    epoch: u16,
    /// Sequence number of the DTLS record
    #[arg(long, default_value_t = 1)]
    sequence: u64,
    /// Content type of the DTLS record: 20 ChangeCipherSpec, 21 alert, 22 handshake, 23 data
    #[arg(long, default_value_t = 23)]
    content_type: u8,
    /// Bytes of payload
    #[arg(long, default_value_t = 32)]
    size: u16,
    /// Every packet of this capture instead (pcap or pcapng), one after the other
    #[arg(long, value_name = "FILE", conflicts_with = "source")]
    pcap: Option<PathBuf>,
    /// The interface that it arrives on [default: the first on the side that the source is on]
    #[arg(long, value_name = "NAME")]
    interface: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Carries {
    /// A datagram with one DTLS record
    Dtls,
    /// A datagram of zeros
    Udp,
    /// A TCP segment that opens a connection
    Tcp,
    /// An ICMP echo request
    Echo,
}

impl Explain {
    pub(super) fn run(self, context: &Context) -> anyhow::Result<()> {
        let live = context.maps()?;
        let (place, interface) = self.interface(&live)?;
        let role = Role::from_number(interface.role).context("an interface without a side")?;
        let frames = match &self.pcap {
            Some(path) => read(path).with_context(|| format!("cannot read {}", path.display()))?,
            None => vec![self.frame(interface.raw_ip != 0)?],
        };
        let mut replica = Replica::of(&live, place, interface.raw_ip != 0)?;
        for (number, frame) in frames.iter().enumerate() {
            let verdict = replica.run(role, frame)?;
            let headers = event::headers(frame, frame.len(), event::link_of(&interface));
            let what =
                headers.as_ref().map_or_else(|| String::from("no IP packet"), ToString::to_string);
            let text = format!("{what}\n  {}\n", sentence(&verdict, &attach::name_of(&interface)));
            let mut value = value(&verdict, &attach::name_of(&interface));
            if let Some(object) = value.as_object_mut() {
                object.insert("packet".into(), headers.map_or(Value::Null, |h| h.json()));
                object.insert("number".into(), json!(number + 1));
            }
            if context.json { write(&format!("{value}\n"))? } else { write(&text)? }
        }
        Ok(())
    }

    fn interface(&self, live: &Maps) -> anyhow::Result<(u32, Interface)> {
        let all = live.interfaces()?;
        let names = || {
            let names: Vec<String> = all.iter().map(|(_, i)| attach::name_of(i)).collect();
            names.join(", ")
        };
        if let Some(name) = &self.interface {
            let found = all.iter().find(|(_, interface)| attach::name_of(interface) == *name);
            return found.copied().with_context(|| {
                format!("interface {name} is not filtered; those that are: {}", names())
            });
        }
        let settings = live.settings()?;
        let inside = self.source.is_some_and(|source| settings.in_lln(&source.into()));
        let role = if inside { Role::Lln } else { Role::Wan };
        let found = all.iter().find(|(_, interface)| interface.role == role.number());
        found.copied().context("no interface on that side is filtered")
    }

    /// The packet of the arguments, with checksums and lengths as they should be.
    fn frame(&self, raw_ip: bool) -> anyhow::Result<Vec<u8>> {
        let (Some(source), Some(destination)) = (self.source, self.destination) else {
            bail!("source and destination are needed");
        };
        let ethernet = PacketBuilder::ethernet2([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]);
        let ip = match (source, destination) {
            (IpAddr::V4(a), IpAddr::V4(b)) => ethernet.ipv4(a.octets(), b.octets(), 64),
            (IpAddr::V6(a), IpAddr::V6(b)) => ethernet.ipv6(a.octets(), b.octets(), 64),
            _ => bail!("{source} and {destination} are of different IP versions"),
        };
        let mut frame = Vec::new();
        match self.carries {
            Carries::Dtls => {
                ip.udp(self.source_port, self.port).write(&mut frame, &self.record()?)?;
            }
            Carries::Udp => {
                let zeros = vec![0; self.size.into()];
                ip.udp(self.source_port, self.port).write(&mut frame, &zeros)?;
            }
            Carries::Tcp => {
                ip.tcp(self.source_port, self.port, 0, 1024).syn().write(&mut frame, &[])?;
            }
            Carries::Echo if source.is_ipv4() => {
                ip.icmpv4_echo_request(1, 1).write(&mut frame, &vec![0; self.size.into()])?;
            }
            Carries::Echo => {
                ip.icmpv6_echo_request(1, 1).write(&mut frame, &vec![0; self.size.into()])?;
            }
        }
        const ETHERNET: usize = 14;
        if raw_ip {
            frame.drain(..ETHERNET);
        }
        Ok(frame)
    }

    fn record(&self) -> anyhow::Result<Vec<u8>> {
        if self.sequence >= 1 << 48 {
            bail!("sequence number {} has more than 48 bits", self.sequence);
        }
        let mut record = vec![self.content_type, 0xfe, 0xfd];
        record.extend(((u64::from(self.epoch) << 48) | self.sequence).to_be_bytes());
        record.extend(self.size.to_be_bytes());
        record.extend(vec![0; self.size.into()]);
        Ok(record)
    }
}

fn sentence(verdict: &Verdict, interface: &str) -> String {
    match verdict {
        Verdict::Checked => format!("passes on {interface}, through every stage"),
        Verdict::Untouched => format!("passes on {interface} untouched: not the filter's business"),
        Verdict::Dropped(reason) => format!(
            "dropped on {interface} at {}: {} ({})",
            reason.stage().name(),
            reason.name(),
            reason.text()
        ),
    }
}

fn value(verdict: &Verdict, interface: &str) -> Value {
    let (verdict, reason) = match verdict {
        Verdict::Checked => ("pass", None),
        Verdict::Untouched => ("untouched", None),
        Verdict::Dropped(reason) => ("drop", Some(reason)),
    };
    json!({
        "verdict": verdict,
        "interface": interface,
        "reason": reason.map(|reason| reason.name()),
        "stage": reason.map(|reason| reason.stage().name()),
        "meaning": reason.map(|reason| reason.text()),
    })
}

/// A section header block's type: how every pcapng file starts.
const PCAPNG: [u8; 4] = [0x0a, 0x0d, 0x0d, 0x0a];

/// Every packet of a capture of either format.
fn read(path: &Path) -> anyhow::Result<Vec<Vec<u8>>> {
    let mut file = File::open(path)?;
    let mut magic = [0; 4];
    file.read_exact(&mut magic)?;
    file.rewind()?;
    let mut frames = Vec::new();
    if magic == PCAPNG {
        let mut reader = PcapNgReader::new(file)?;
        while let Some(block) = reader.next_block() {
            if let pcap_file::pcapng::Block::EnhancedPacket(packet) = block? {
                frames.push(packet.data.into_owned());
            }
        }
    } else {
        let mut reader = pcap_file::pcap::PcapReader::new(file)?;
        while let Some(packet) = reader.next_packet() {
            frames.push(packet?.data.into_owned());
        }
    }
    Ok(frames)
}
