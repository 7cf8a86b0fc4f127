//! `gateway events`.
use super::Context;
use crate::{
    config::units,
    dataplane::attach,
    observe::{
        capture::Capture,
        event::{self, Drop, Stream},
    },
};
use anyhow::Error;
use clap::Args;
use gateway_common::{abi::Interface, decide::Reason};
use pcap_file::PcapError;
use serde_json::json;
use std::{
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

#[derive(Debug, Args)]
pub(super) struct Events {
    /// Also write the packets to a file for Wireshark, with the reasons as comments
    #[arg(long, value_name = "FILE")]
    pcapng: Option<PathBuf>,
    /// End after this many events
    #[arg(long, value_name = "N")]
    count: Option<u64>,
    /// End after this time
    #[arg(long = "for", value_name = "TIME", value_parser = units::duration)]
    lasting: Option<Duration>,
    /// Only this reason; several times for several
    #[arg(long = "reason", value_name = "NAME", value_parser = reason)]
    reasons: Vec<Reason>,
}

fn reason(name: &str) -> Result<Reason, String> {
    Reason::from_name(name).ok_or_else(|| {
        let names: Vec<&str> = Reason::ALL.iter().map(|reason| reason.name()).collect();
        format!("no such reason; there are {}", names.join(", "))
    })
}

/// How often the ring is looked at.
const POLL: Duration = Duration::from_millis(50);

impl Events {
    pub(super) fn run(self, context: &Context) -> anyhow::Result<()> {
        let maps = context.maps()?;
        let interfaces = maps.interfaces()?;
        let mut stream = Stream::open(&maps)?;
        let mut capture = match &self.pcapng {
            Some(path) => {
                Some(Capture::create(path, &interfaces).map_err(|error| unwritten(path, error))?)
            }
            None => None,
        };
        let end = self.lasting.map(|lasting| Instant::now() + lasting);
        let mut left = self.count.unwrap_or(u64::MAX);
        while left > 0 && end.is_none_or(|end| Instant::now() < end) {
            let Some(drop) = stream.poll_drop() else {
                thread::sleep(POLL);
                continue;
            };
            if !self.reasons.is_empty() && !self.reasons.contains(&drop.reason) {
                continue;
            }
            if let (Some(capture), Some(path)) = (&mut capture, &self.pcapng) {
                capture.write(&drop).map_err(|error| unwritten(path, error))?;
            }
            print(context, &drop, &interfaces)?;
            left -= 1;
        }
        Ok(())
    }
}

/// Without the library's words for an error of the system, which speak of reading.
fn unwritten(path: &Path, error: PcapError) -> Error {
    let cause =
        if let PcapError::IoError(cause) = error { Error::new(cause) } else { Error::new(error) };
    cause.context(format!("cannot write {}", path.display()))
}

fn print(context: &Context, drop: &Drop, interfaces: &[(u32, Interface)]) -> anyhow::Result<()> {
    let interface = interfaces.iter().find(|(place, _)| *place == drop.place);
    let interface = interface.map(|(_, interface)| interface);
    let name = interface.map_or_else(|| String::from("?"), attach::name_of);
    let headers =
        interface.and_then(|i| event::headers(&drop.data, drop.length as usize, event::link_of(i)));
    let at = humantime::format_rfc3339_millis(drop.at).to_string();
    let what = headers.as_ref().map_or_else(|| String::from("no IP packet"), ToString::to_string);
    let text = format!("{at} {name} {}: {what}, {} bytes", drop.reason.name(), drop.length);
    let value = json!({
        "time": at,
        "interface": name,
        "reason": drop.reason.name(),
        "stage": drop.reason.stage().name(),
        "length": drop.length,
        "packet": headers.map(|headers| headers.json()),
    });
    context.print_line(&text, &value)
}
