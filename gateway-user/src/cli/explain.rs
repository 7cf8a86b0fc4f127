//! `gateway explain`: what would become of a packet, asked of the program itself.
use super::Context;
use crate::{
    dataplane::{
        Maps,
        attach::{self, Role},
        replica::{Replica, Verdict},
    },
    observe::{
        event::{self, Headers},
        packets::{LARGEST, Packet, Packets},
    },
};
use anyhow::{Context as _, bail};
use clap::{Args, ValueEnum};
use etherparse::PacketBuilder;
use gateway_common::{
    abi::{Interface, Settings},
    wire::parse::Link,
};
use serde_json::{Value, json};
use std::{net::IpAddr, path::PathBuf};

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
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u16).range(..=65_000))]
    size: u16,
    /// Every packet of this capture instead (pcap or pcapng; Ethernet, raw IP or Linux cooked), one
    /// after the other
    #[arg(long, value_name = "FILE", conflicts_with = "source")]
    pcap: Option<PathBuf>,
    /// The interface that it arrives on [default: the first on the side that its source is on]
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
        let mut run = Run::new(&live, self.interface.as_deref())?;
        let Some(path) = &self.pcap else {
            let frame = self.frame()?;
            return run.explain(context, &Packet { number: 1, captured: frame.len(), frame });
        };
        let named = || path.display().to_string();
        for packet in Packets::open(path).with_context(named)? {
            run.explain(context, &packet.with_context(named)?)?;
        }
        Ok(())
    }

    /// The packet of the arguments, with checksums and lengths as they should be.
    fn frame(&self) -> anyhow::Result<Vec<u8>> {
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

/// The filter's copy, and the interfaces that packets can arrive on.
struct Run {
    replica: Replica,
    settings: Settings,
    /// All that are filtered, or the one that was named.
    interfaces: Vec<Interface>,
}

impl Run {
    fn new(live: &Maps, only: Option<&str>) -> anyhow::Result<Self> {
        let mut interfaces = live.interfaces()?;
        if let Some(name) = only {
            let names: Vec<String> = interfaces.iter().map(|(_, i)| attach::name_of(i)).collect();
            interfaces.retain(|(_, interface)| attach::name_of(interface) == name);
            if interfaces.is_empty() {
                let names = names.join(", ");
                bail!("interface {name} is not filtered; those that are: {names}");
            }
        }
        let (place, _) = interfaces.first().context("no interface is filtered")?;
        // frames here have an Ethernet header, whatever the interface's start with
        let replica = Replica::of(live, *place, false)?;
        let interfaces = interfaces.into_iter().map(|(_, interface)| interface).collect();
        Ok(Self { replica, settings: live.settings()?, interfaces })
    }

    /// The first interface on the side that the source is on, unless one was named.
    fn interface(&self, headers: Option<&Headers>) -> anyhow::Result<(Role, String)> {
        let inside = headers.is_some_and(|headers| self.settings.in_lln(&headers.source));
        let wanted = if inside { Role::Lln } else { Role::Wan };
        let mut all = self.interfaces.iter();
        let on_side = all.find(|interface| interface.role == wanted.number());
        let found = match self.interfaces.as_slice() {
            [only] => Some(only),
            _ => on_side,
        };
        let interface = found.context("no interface on that side is filtered")?;
        let role = Role::from_number(interface.role).context("an interface without a side")?;
        Ok((role, attach::name_of(interface)))
    }

    fn explain(&mut self, context: &Context, packet: &Packet) -> anyhow::Result<()> {
        let Packet { number, frame, captured } = packet;
        let headers = event::headers(frame, frame.len(), Link::Ethernet);
        let (role, interface) = self.interface(headers.as_ref())?;
        let verdict = if (SHORTEST..=LARGEST).contains(&frame.len()) {
            Some(self.replica.run(role, frame)?)
        } else {
            None
        };
        let what = headers.as_ref().map_or_else(|| "no IP packet".into(), ToString::to_string);
        let cut = if *captured < frame.len() {
            format!(" ({captured} of {} bytes captured, zeros for the rest)", frame.len())
        } else {
            String::new()
        };
        let said = verdict.as_ref().map_or_else(
            || format!("cannot be run: {} bytes, expected {SHORTEST} to {LARGEST}", frame.len()),
            |verdict| sentence(verdict, &interface),
        );
        let mut value = value(verdict.as_ref(), &interface);
        if let Some(object) = value.as_object_mut() {
            object.insert("packet".into(), headers.map_or(Value::Null, |h| h.json()));
            object.insert("number".into(), json!(number));
            object.insert("length".into(), json!(frame.len()));
            object.insert("captured".into(), json!(captured));
        }
        context.print_line(&format!("{what}{cut}\n  {said}"), &value)
    }
}

/// The kernel runs no frame that is shorter than its Ethernet header.
const SHORTEST: usize = 14;

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

fn value(verdict: Option<&Verdict>, interface: &str) -> Value {
    let (verdict, reason) = match verdict {
        None => (None, None),
        Some(Verdict::Checked) => (Some("pass"), None),
        Some(Verdict::Untouched) => (Some("untouched"), None),
        Some(Verdict::Dropped(reason)) => (Some("drop"), Some(reason)),
    };
    json!({
        "verdict": verdict,
        "interface": interface,
        "reason": reason.map(|reason| reason.name()),
        "stage": reason.map(|reason| reason.stage().name()),
        "meaning": reason.map(|reason| reason.text()),
    })
}
