//! What was measured, as tables and as JSON.
use serde_json::{Value, json};

use super::{Outcome, flood, leases, name, tunnels};
use crate::stats::{Spread, ratio};

fn median(samples: &[f64]) -> f64 {
    Spread::of(samples.iter().copied()).median
}

fn line<const N: usize>(name: &str, columns: [String; N]) {
    println!("{name:44} {}", columns.map(|column| format!("{column:>14}")).concat());
}

fn cell(value: f64) -> String {
    if value.is_nan() { "-".to_owned() } else { format!("{value:.1}") }
}

impl Outcome {
    fn tunnel(&self, name: &str) -> Option<&tunnels::Measured> {
        self.tunnels.iter().find(|row| row.name == name)
    }

    /// The agent in one of the floods.
    pub(crate) fn flood(&self, name: &str) -> Option<&flood::Measured> {
        self.floods.iter().find(|row| row.name == name)
    }

    /// A lease's cost as a multiple of the cheapest way's.
    pub(crate) fn over_renewed(&self, row: &leases::Measured) -> f64 {
        let base = self.leases.iter().find(|row| row.name == name::RENEWED);
        base.map_or(f64::NAN, |base| ratio(&row.cpu, &base.cpu))
    }

    /// A datagram's cost under load as a multiple of the plain relay's.
    pub(crate) fn over_relay(&self, row: &tunnels::Measured) -> f64 {
        self.tunnel(name::RELAY).map_or(f64::NAN, |base| ratio(&row.loaded, &base.loaded))
    }

    /// Prints tables.
    pub(crate) fn print(&self) {
        self.print_leases();
        self.print_tunnels();
        self.print_floods();
    }

    fn print_leases(&self) {
        let heads = ["us a lease", "x cheapest", "leases/s core", "leases/s here"];
        line("leases: the agent's CPU, medians", heads.map(str::to_owned));
        for row in &self.leases {
            let cpu = median(&row.cpu);
            let columns = [cpu, self.over_renewed(row), 1e6 / cpu, median(&row.rate)];
            line(row.name, columns.map(cell));
        }
        println!(
            "(core: what one core of the agent holds; here: from four back-ends that share its"
        );
        println!("CPUs, each lease on the disk before it is granted)\n");
    }

    fn print_tunnels(&self) {
        let heads =
            ["ns alone", "us alone", "ns of 16", "x relay", "datagrams/s", "ns 1 KiB", "MB/s"];
        line("tunnels: the router's CPU, medians", heads.map(str::to_owned));
        for row in &self.tunnels {
            let large = median(&row.large);
            let columns = [
                median(&row.alone),
                median(&row.latency),
                median(&row.loaded),
                self.over_relay(row),
                median(&row.rate),
                large,
                median(&row.megabytes),
            ];
            line(row.name, columns.map(cell));
        }
        println!(
            "(a datagram of 64 bytes, one or 16 in flight, then of 1 KiB, 16 in flight; us alone:"
        );
        println!(
            "wall time there and back, the back-end's end of the tunnel included; what goes both"
        );
        println!("ways is counted together)\n");
    }

    fn print_floods(&self) {
        let heads = [
            "% at rest",
            "% in flood",
            "us a hello",
            "hellos/s",
            "% answered",
            "leases",
            "ms a lease",
        ];
        line("hellos of forged sources: the agent's CPU", heads.map(str::to_owned));
        for row in &self.floods {
            let granted = row.waited.len();
            let columns = [
                format!("{:.2}", median(&row.rest)),
                format!("{:.2}", median(&row.busy)),
                format!("{:.3}", median(&row.hello)),
                format!("{:.0}", median(&row.rate)),
                cell(median(&row.answered)),
                format!("{granted}/{}", granted + row.refused as usize),
                cell(median(&row.waited)),
            ];
            line(row.name, columns);
        }
        println!(
            "(per cent of one CPU; us a hello: of those that came, beyond what the agent takes at"
        );
        println!(
            "rest; leases: back-ends that got one by key in the flood, within five seconds)\n"
        );
    }

    /// The same for programs, with every sample.
    pub(crate) fn json(&self) -> Value {
        let leases = self.leases.iter().map(|row| {
            json!({ "name": row.name, "cpu_us_a_lease": row.cpu, "leases_a_second": row.rate,
                    "x_renewed_by_key": self.over_renewed(row) })
        });
        let tunnels = self.tunnels.iter().map(|row| {
            json!({ "name": row.name, "cpu_ns_a_datagram": row.alone, "wall_us_an_echo": row.latency,
                    "cpu_ns_a_datagram_16_in_flight": row.loaded, "datagrams_a_second": row.rate,
                    "cpu_ns_a_datagram_of_1_kib": row.large, "megabytes_a_second": row.megabytes,
                    "x_relay": self.over_relay(row), "lost": row.lost })
        });
        let floods = self.floods.iter().map(|row| {
            json!({ "name": row.name, "cpu_percent_at_rest": row.rest,
                    "cpu_percent": row.busy, "cpu_us_a_hello": row.hello,
                    "hellos_a_second": row.rate, "percent_answered": row.answered,
                    "wall_ms_a_lease": row.waited, "leases_refused": row.refused })
        });
        json!({
            "leases": leases.collect::<Vec<_>>(),
            "tunnels": tunnels.collect::<Vec<_>>(),
            "floods_of_hellos": floods.collect::<Vec<_>>(),
        })
    }
}
