//! How numbers, times and tables look to people.
use comfy_table::{Table, presets::NOTHING};
use std::time::Duration;

/// A table: a header line, then rows; columns two spaces apart.
pub(super) fn table(header: &[&str], rows: Vec<Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_style(NOTHING).set_header(header.iter().copied());
    for row in rows {
        table.add_row(row);
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    let lines: Vec<String> = table.lines().map(|line| line.trim_end().to_owned()).collect();
    format!("{}\n", lines.join("\n"))
}

/// Bytes with a binary unit.
pub(super) fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let (mut value, mut unit) = (bytes as f64, 0);
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    let name = UNITS.get(unit).copied().unwrap_or_default();
    if unit == 0 { format!("{bytes} B") } else { format!("{value:.1} {name}") }
}

/// A span of time, to the second or finer when it is short.
pub(super) fn span(span: Duration) -> String {
    let whole = if span >= Duration::from_secs(10) {
        Duration::from_secs(span.as_secs())
    } else {
        Duration::from_millis(span.as_millis() as u64 / 100 * 100)
    };
    humantime::format_duration(whole).to_string()
}

/// A rate per second.
pub(super) fn per_second(count: u64, over: Duration) -> String {
    if over.is_zero() {
        return String::from("-");
    }
    format!("{:.1}/s", count as f64 / over.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities() {
        assert_eq!(bytes(1023), "1023 B");
        assert_eq!(bytes(1536), "1.5 KiB");
        assert_eq!(span(Duration::from_millis(1234)), "1s 200ms");
        assert_eq!(span(Duration::from_millis(61_900)), "1m 1s");
        assert_eq!(per_second(5, Duration::from_secs(2)), "2.5/s");
        assert_eq!(per_second(5, Duration::ZERO), "-");
    }

    #[test]
    fn a_table_has_no_trailing_blanks() {
        let text = table(&["A", "B"], vec![vec!["1".into(), "".into()]]);
        assert_eq!(text, "A  B\n1\n");
    }
}
