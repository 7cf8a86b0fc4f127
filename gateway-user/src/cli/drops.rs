//! `gateway drops`.
use super::{Context, show};
use crate::{
    config::units,
    observe::count::{self, Counts},
};
use clap::Args;
use gateway_common::decide::Reason;
use serde_json::{Value, json};
use std::{
    thread,
    time::{Duration, Instant},
};

#[derive(Debug, Args)]
pub(super) struct Drops {
    /// Print again every interval until Ctrl-C
    #[arg(long)]
    watch: bool,
    /// Time over which rates are measured; 0s for counts alone, at once
    #[arg(long, default_value = "1s", value_parser = units::duration)]
    interval: Duration,
    /// Also print reasons that have never occurred, and what each means
    #[arg(long)]
    all: bool,
    /// Only this interface
    #[arg(long, value_name = "NAME")]
    interface: Option<String>,
}

impl Drops {
    pub(super) fn run(self, context: &Context) -> anyhow::Result<()> {
        let maps = context.maps()?;
        let read = || -> anyhow::Result<(Instant, Vec<Counts>)> {
            let mut counts = count::read(&maps)?;
            if let Some(name) = &self.interface {
                counts.retain(|counts| counts.name() == *name);
                if counts.is_empty() {
                    anyhow::bail!(
                        "interface {name} is not filtered: `gateway status` names those that are"
                    );
                }
            }
            Ok((Instant::now(), counts))
        };
        let mut before = read()?;
        loop {
            thread::sleep(if self.watch {
                self.interval.max(Duration::from_millis(100))
            } else {
                self.interval
            });
            let now = read()?;
            let over = now.0.duration_since(before.0);
            let over = if self.interval.is_zero() { Duration::ZERO } else { over };
            let text = self.text(&before.1, &now.1, over);
            if !self.watch {
                return context.print(&text, &value(&before.1, &now.1, over));
            }
            context.print_line(&text, &value(&before.1, &now.1, over))?;
            before = now;
        }
    }

    fn text(&self, before: &[Counts], now: &[Counts], over: Duration) -> String {
        let mut rows = Vec::new();
        for reason in Reason::ALL {
            let (then, total) = (count::total(before, *reason), count::total(now, *reason));
            if total.packets == 0 && !self.all {
                continue;
            }
            rows.push(vec![
                reason.name().to_owned(),
                reason.stage().name().to_owned(),
                total.packets.to_string(),
                show::bytes(total.bytes),
                show::per_second(total.packets - then.packets, over),
                reason.text().to_owned(),
            ]);
        }
        if rows.is_empty() {
            return String::from("nothing was dropped\n");
        }
        show::table(&["REASON", "STAGE", "PACKETS", "BYTES", "RATE", "MEANING"], rows)
    }
}

fn value(before: &[Counts], now: &[Counts], over: Duration) -> Value {
    let reasons = Reason::ALL.iter().map(|reason| {
        let (then, total) = (count::total(before, *reason), count::total(now, *reason));
        let rate =
            (!over.is_zero()).then(|| (total.packets - then.packets) as f64 / over.as_secs_f64());
        let interfaces: serde_json::Map<String, Value> = now
            .iter()
            .map(|counts| (counts.name(), json!(counts.drops.of(*reason).packets)))
            .collect();
        let value = json!({
            "stage": reason.stage().name(),
            "packets": total.packets,
            "bytes": total.bytes,
            "packets_per_second": rate,
            "interfaces": interfaces,
        });
        (reason.name().to_owned(), value)
    });
    json!({ "drops": reasons.collect::<serde_json::Map<String, Value>>() })
}
