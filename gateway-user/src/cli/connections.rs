//! `gateway connections`.
use super::{Context, show};
use crate::control::{self, Question};
use clap::Args;
use serde_json::{Value, json};
use std::time::Duration;

#[derive(Debug, Args)]
pub(super) struct Connections {
    /// Only those to this node, by name or address
    #[arg(long, value_name = "NODE")]
    node: Option<String>,
    /// Print at most this many; 0 prints all
    #[arg(long, default_value_t = 0)]
    top: usize,
}

/// What the running agent says.
pub(super) fn ask(context: &Context) -> anyhow::Result<Value> {
    let report = control::ask(&context.config()?.state.runtime, Question::Connections)?;
    match report["error"].as_str() {
        Some(error) => anyhow::bail!("{error}"),
        None => Ok(report),
    }
}

impl Connections {
    pub(super) fn run(self, context: &Context) -> anyhow::Result<()> {
        let mut report = ask(context)?;
        let wanted = |connection: &Value| {
            self.node
                .as_ref()
                .is_none_or(|node| connection["node"] == **node || connection["address"] == **node)
        };
        let mut live: Vec<Value> = report["connections"].as_array().cloned().unwrap_or_default();
        live.retain(wanted);
        if self.top > 0 {
            live.truncate(self.top);
        }
        let mut text = if live.is_empty() {
            String::from("no connection is mapped\n")
        } else {
            show::table(&HEADER, live.iter().map(row).collect())
        };
        text.push('\n');
        text.push_str(&show::table(&["", "COUNT"], counters(&report["counters"])));
        report["connections"] = json!(live);
        context.print(&text, &report)
    }
}

const HEADER: [&str; 9] =
    ["ID", "SOURCE", "WAY", "NODE", "PHASE", "AGE", "TO NODE", "TO SOURCE", "SENT AGAIN"];

fn row(connection: &Value) -> Vec<String> {
    let of = |key: &str| word(&connection[key]);
    let age = Duration::try_from_secs_f64(connection["age"].as_f64().unwrap_or(0.0));
    vec![
        of("id"),
        of("source"),
        of("way"),
        of("node"),
        of("phase"),
        show::span(age.unwrap_or_default()),
        of("records_to_node"),
        of("records_to_back_end"),
        of("retransmissions"),
    ]
}

fn word(value: &Value) -> String {
    match value {
        Value::Null => String::from("-"),
        Value::String(text) => text.clone(),
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => value.to_string(),
    }
}

fn counters(counters: &Value) -> Vec<Vec<String>> {
    let each = |group: &str, name: &str| {
        let entries = counters[group].as_object().into_iter().flatten();
        let row = |(key, count): (&String, &Value)| vec![format!("{name} {key}"), word(count)];
        entries.map(row).collect::<Vec<_>>()
    };
    let one = |key: &str, name: &str| vec![name.to_owned(), word(&counters[key])];
    let mut rows = each("accepted", "accepted by");
    rows.push(one("established", "handshakes completed"));
    rows.extend(each("ended", "ended:"));
    rows.push(one("undelivered", "datagrams undelivered"));
    rows.push(one("no_descriptors", "out of file descriptors"));
    rows
}

/// One line for `gateway status`.
pub(super) fn summary(report: &Value) -> String {
    let live = report["connections"].as_array().map_or(&[][..], Vec::as_slice);
    let established = live.iter().filter(|one| one["phase"] == "established").count();
    let listening = report["listening"].as_array().map_or(&[][..], Vec::as_slice);
    let doors: Vec<String> = listening
        .iter()
        .filter(|door| door["transparent"] != true)
        .map(|door| word(&door["address"]))
        .collect();
    let steered = listening.iter().any(|door| door["transparent"] == true);
    let own = if doors.is_empty() { String::new() } else { format!(" on {}", doors.join(", ")) };
    match (steered, doors.is_empty()) {
        (false, true) => String::from("serves nothing (lln.mapped_ports, mapper.ports)"),
        (steered, _) => format!(
            "{} connections, {established} established;{}{own}",
            live.len(),
            if steered { " on nodes' own addresses" } else { "" }
        ),
    }
}
