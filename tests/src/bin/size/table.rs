//! Figures, their targets, and how both are shown.
use std::fmt::Write as _;

use serde_json::{Value, json};

/// Which side of a number to be on.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Limit {
    Most(f64),
}

/// A figure.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    name: &'static str,
    value: f64,
    unit: &'static str,
    limit: Option<Limit>,
}

impl Row {
    pub(crate) fn bytes(name: &'static str, value: u64) -> Self {
        Self { name, value: value as f64, unit: "bytes", limit: None }
    }

    pub(crate) fn instructions(name: &'static str, value: u64) -> Self {
        Self { name, value: value as f64, unit: "instructions", limit: None }
    }

    pub(crate) fn ratio(name: &'static str, value: f64) -> Self {
        Self { name, value, unit: "times", limit: None }
    }

    pub(crate) fn target(self, limit: Limit) -> Self {
        Self { limit: Some(limit), ..self }
    }

    fn reached(&self) -> Option<bool> {
        self.limit.map(|Limit::Most(limit)| self.value <= limit)
    }

    fn verdict(&self) -> String {
        match (self.limit, self.reached()) {
            (Some(Limit::Most(limit)), Some(true)) => format!("<= {}  reached", number(limit)),
            (Some(Limit::Most(limit)), _) => format!("<= {}  MISSED", number(limit)),
            (None, _) => String::new(),
        }
    }
}

/// Ratios with their fraction, counts without.
fn number(value: f64) -> String {
    if value < 100.0 { format!("{value:.3}") } else { format!("{value:.0}") }
}

/// One line a figure.
pub(crate) fn text(rows: &[Row]) -> String {
    let width = rows.iter().map(|row| row.name.len()).max().unwrap_or(0);
    let mut out = String::new();
    for row in rows {
        let (name, value, unit) = (row.name, number(row.value), row.unit);
        let line = format!("{name:width$}  {value:>9} {unit:12} {}", row.verdict());
        let _ = writeln!(out, "{}", line.trim_end());
    }
    out
}

/// The same for programs.
pub(crate) fn json(rows: &[Row]) -> Value {
    let row = |row: &Row| {
        let limit = row.limit.map(|Limit::Most(limit)| limit);
        json!({
            "name": row.name, "value": row.value, "unit": row.unit,
            "at_most": limit, "reached": row.reached(),
        })
    };
    json!({ "rows": rows.iter().map(row).collect::<Vec<_>>() })
}
