//! `gateway connections`.
use super::{Context, show};
use crate::{
    control::{self, Question},
    mapper::driver::meaning,
};
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
    let report = control::ask(&context.view()?.state.runtime, Question::Connections)?;
    match report.get("error") {
        Some(error) => anyhow::bail!("{}", word(Some(error))),
        None => Ok(report),
    }
}

/// The elements under a key.
fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value.get(key).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

impl Connections {
    pub(super) fn run(self, context: &Context) -> anyhow::Result<()> {
        let mut report = ask(context)?;
        let wanted = |connection: &Value| {
            let is = |key, node: &str| connection.get(key).is_some_and(|value| value == node);
            self.node.as_ref().is_none_or(|node| is("node", node) || is("address", node))
        };
        let mut live = list(&report, "connections").to_vec();
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
        let counted = report.get("counters").map(counters).unwrap_or_default();
        text.push_str(&show::table(&["", "COUNT", "MEANING"], counted));
        if let Some(connections) = report.get_mut("connections") {
            *connections = json!(live);
        }
        context.print(&text, &report)
    }
}

const HEADER: [&str; 9] =
    ["ID", "SOURCE", "WAY", "NODE", "PHASE", "AGE", "TO NODE", "TO SOURCE", "SENT AGAIN"];

fn row(connection: &Value) -> Vec<String> {
    let of = |key: &str| word(connection.get(key));
    let age = connection.get("age").and_then(Value::as_f64).unwrap_or(0.0);
    let age = Duration::try_from_secs_f64(age);
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

fn word(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => String::from("-"),
        Some(Value::String(text)) => text.clone(),
        Some(value) => value.to_string(),
    }
}

fn counters(counters: &Value) -> Vec<Vec<String>> {
    let each = |group: &str, name: &str| {
        let entries = counters.get(group).and_then(Value::as_object).into_iter().flatten();
        let row = |(key, count): (&String, &Value)| {
            let meaning = if group == "ended" { meaning(key) } else { String::new() };
            vec![format!("{name} {key}"), word(Some(count)), meaning]
        };
        entries.map(row).collect::<Vec<_>>()
    };
    let one = |key: &str, name: &str| vec![name.to_owned(), word(counters.get(key)), String::new()];
    let mut rows = each("accepted", "accepted by");
    rows.push(one("established", "handshakes completed"));
    rows.extend(each("ended", "ended:"));
    rows.push(one("undelivered", "datagrams undelivered"));
    rows.push(one("no_descriptors", "out of file descriptors"));
    rows
}

/// One line for `gateway status`.
pub(super) fn summary(report: &Value) -> String {
    let is = |value: &Value, key, wanted: &Value| value.get(key) == Some(wanted);
    let live = list(report, "connections");
    let established = live.iter().filter(|one| is(one, "phase", &json!("established"))).count();
    let (steered, own): (Vec<&Value>, Vec<&Value>) =
        list(report, "listening").iter().partition(|door| is(door, "transparent", &json!(true)));
    if steered.is_empty() && own.is_empty() {
        return String::from("serves nothing (lln.mapped_ports, mapper.ports)");
    }
    let mut doors: Vec<String> = own.iter().map(|door| word(door.get("address"))).collect();
    if !steered.is_empty() {
        doors.insert(0, String::from("nodes' own addresses"));
    }
    let (count, doors) = (live.len(), doors.join(", "));
    format!("{count} connections, {established} established; on {doors}")
}
