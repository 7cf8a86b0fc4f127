//! Bar charts of what things cost, as multiples of the least that it could be.
use std::fmt::Write as _;

use super::{auth::Outcome, results::Results, stats::ratio};

const WIDTH: f64 = 900.0;
const LEFT: f64 = 330.0;
const RIGHT: f64 = 70.0;
const BAR: f64 = 16.0;
const STEP: f64 = 22.0;

/// What is not ours.
const OTHERS: [&str; 5] = ["nftables", "xdp-filter", "no filter", "WireGuard", "OpenVPN"];

/// A bar: its name and its length.
type Bar = (String, f64);

/// The chart of a run.
pub(crate) fn svg(results: &Results) -> String {
    let micro = results.micro.iter().map(|row| (row.name.clone(), row.ratio));
    let rows = results.e2e.iter().flat_map(|e2e| &e2e.rows);
    let e2e = rows.map(|row| (row.name.clone(), results.over_bare(row)));
    let (mut body, mut y) = (String::new(), 10.0);
    chart(
        &mut body,
        &mut y,
        "Test runs: cost of a packet, in bare drops",
        &micro.collect::<Vec<_>>(),
    );
    chart(
        &mut body,
        &mut y,
        "End to end: CPU time of a frame, in bare XDP_DROPs",
        &e2e.collect::<Vec<_>>(),
    );
    if let Some(auth) = &results.auth {
        agent(&mut body, &mut y, auth);
    }
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{y}\" \
         viewBox=\"0 0 {WIDTH} {y}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n{body}</svg>\n"
    )
}

/// Leases, tunnels and floods.
fn agent(body: &mut String, y: &mut f64, auth: &Outcome) {
    let leases = auth.leases.iter().map(|row| (row.name.to_owned(), auth.over_renewed(row)));
    let leases: Vec<Bar> = leases.collect();
    chart(body, y, "Leases: the agent's CPU time, in renewals by key", &leases);
    let tunnels = auth.tunnels.iter().map(|row| (row.name.to_owned(), auth.over_relay(row)));
    let tunnels: Vec<Bar> = tunnels.collect();
    chart(body, y, "Tunnels: CPU time of a datagram, in plain relays", &tunnels);
    let floods = auth.floods.iter().map(|row| (row.name.to_owned(), ratio(&row.busy, &row.rest)));
    let floods: Vec<Bar> = floods.collect();
    chart(body, y, "Floods of hellos: the agent's CPU time, in times at rest", &floods);
}

fn chart(body: &mut String, y: &mut f64, title: &str, bars: &[Bar]) {
    if bars.is_empty() {
        return;
    }
    *y += STEP;
    let _ = writeln!(
        body,
        "<text x=\"10\" y=\"{y}\" font-size=\"15\" font-weight=\"bold\">{title}</text>"
    );
    *y += 8.0;
    let longest = bars.iter().fold(1.0, |longest: f64, (_, value)| longest.max(*value));
    let unit = (WIDTH - LEFT - RIGHT) / longest;
    for bar in bars {
        draw(body, *y, bar, unit);
        *y += STEP;
    }
    let (one, top) = (LEFT + unit, *y - STEP * bars.len() as f64);
    let _ = writeln!(
        body,
        "<line x1=\"{one:.1}\" x2=\"{one:.1}\" y1=\"{top}\" y2=\"{y}\" stroke=\"#444\" \
         stroke-dasharray=\"3 3\"/>"
    );
    *y += 10.0;
}

fn draw(body: &mut String, y: f64, (name, value): &Bar, unit: f64) {
    let name = name.replace('&', "&amp;").replace('<', "&lt;");
    let (length, baseline) = ((value * unit).max(0.0), y + BAR - 4.0);
    let (label, figure) = (LEFT - 8.0, LEFT + length + 6.0);
    let colour = if ["bare", "parse", "plain"].iter().any(|floor| name.starts_with(floor)) {
        "#999"
    } else if OTHERS.iter().any(|other| name.contains(other)) {
        "#d08a3c"
    } else {
        "#3b76b5"
    };
    let _ = writeln!(
        body,
        "<text x=\"{label}\" y=\"{baseline}\" text-anchor=\"end\">{name}</text>\
         <rect x=\"{LEFT}\" y=\"{y}\" width=\"{length:.1}\" height=\"{BAR}\" fill=\"{colour}\"/>\
         <text x=\"{figure:.1}\" y=\"{baseline}\">{value:.2}</text>"
    );
}
