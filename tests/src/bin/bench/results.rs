//! Everything that a run measured: as tables and as JSON.
use serde_json::{Value, json};

use super::{
    auth, e2e,
    mapper::{self, lln::Handshake},
    micro,
    pair::Pair,
    stats::{Spread, ratio},
    targets::{self, Target},
};

/// What was measured; parts may be left out.
#[derive(Debug, Default)]
pub(crate) struct Results {
    pub(crate) micro: Vec<micro::Measured>,
    pub(crate) pair: Option<Pair>,
    pub(crate) e2e: Option<e2e::Outcome>,
    pub(crate) mapper: Vec<mapper::Measured>,
    pub(crate) handshakes: Vec<Handshake>,
    pub(crate) auth: Option<auth::Outcome>,
}

impl Results {
    pub(crate) fn micro(&self, name: &str) -> Option<&micro::Measured> {
        self.micro.iter().find(|row| row.name == name)
    }

    pub(crate) fn micro_ratio(&self, above: &str, below: &str) -> Option<f64> {
        Some(ratio(&self.micro(above)?.ns, &self.micro(below)?.ns))
    }

    fn wire(&self, name: &str) -> Option<&e2e::Measured> {
        self.e2e.as_ref()?.rows.iter().find(|row| row.name == name)
    }

    pub(crate) fn e2e_ratio(&self, above: &str, below: &str) -> Option<f64> {
        Some(ratio(&self.wire(above)?.ns, &self.wire(below)?.ns))
    }

    /// A row's cost as a multiple of the bare drop.
    pub(crate) fn over_bare(&self, row: &e2e::Measured) -> f64 {
        self.e2e_ratio(&row.name, e2e::name::DROP).unwrap_or(f64::NAN)
    }

    /// A figure of one relay over that of another.
    pub(crate) fn relay_ratio(
        &self,
        (above, over): (&str, fn(&mapper::Measured) -> &[f64]),
        (below, under): (&str, fn(&mapper::Measured) -> &[f64]),
    ) -> Option<f64> {
        Some(ratio(over(self.relay(above)?), under(self.relay(below)?)))
    }

    pub(crate) fn relay(&self, name: &str) -> Option<&mapper::Measured> {
        self.mapper.iter().find(|row| row.name == name)
    }

    pub(crate) fn handshake(&self, name: &str) -> Option<&Handshake> {
        self.handshakes.iter().find(|row| row.name == name)
    }

    /// Prints tables.
    pub(crate) fn print(&self) {
        self.print_micro();
        self.print_pair();
        self.print_e2e();
        self.print_mapper();
        self.print_handshakes();
        self.auth.iter().for_each(auth::Outcome::print);
        let targets = targets::all(self);
        println!("{:62} {:>8} {:>8}", "target", "", "here");
        targets.iter().for_each(print_target);
    }

    fn print_micro(&self) {
        if self.micro.is_empty() {
            return;
        }
        let title = "test runs: ns a packet";
        println!("{title:54} {:>24} {:>7} {:>7}", "min / median / max", "x drop", "+parse");
        for row in &self.micro {
            let spread = spread(row.spread());
            println!("{:54} {spread:>24} {:>7.2} {:>+7.1}", row.name, row.ratio, row.over_parse);
        }
        println!();
    }

    fn print_pair(&self) {
        let Some(pair) = &self.pair else { return };
        let median = |samples: &[f64]| Spread::of(samples.iter().copied()).median;
        let (one, two) = (median(&pair.one), median(&pair.two));
        println!("two CPUs on one peer: {one:.1} -> {two:.1} ns, x {:.2}", pair.ratio());
        println!("  (both ran at once for at least {:.0} % of a sample)", pair.overlap * 100.0);
        println!("  {} records on both, {} admitted\n", pair.records, pair.admitted);
    }

    fn print_e2e(&self) {
        let Some(e2e) = &self.e2e else { return };
        let title = "end to end: CPU ns a frame";
        println!("{title:54} {:>24} {:>7} {:>7}", "min / median / max", "x drop", "Mpps");
        for row in &e2e.rows {
            let (spread, ratio) = (spread(row.spread()), self.over_bare(row));
            let rate = 1e3 / row.spread().median;
            println!("{:54} {spread:>24} {ratio:>7.2} {rate:>7.2}", row.name);
        }
        println!("(Mpps: what one core holds)\n");
    }

    fn print_mapper(&self) {
        if self.mapper.is_empty() {
            return;
        }
        let heads =
            ["ns a record", "the same, 16", "us a connection", "handshakes/s", "us alone", "added"];
        let heads = heads.map(|head| format!("{head:>16}")).concat();
        println!("{:28} {heads}{:>10}", "relays: CPU, medians", "KiB idle");
        let median = |samples: &[f64]| Spread::of(samples.iter().copied()).median;
        let bare = self.relay(mapper::name::BARE).map(|row| median(&row.latency));
        for row in &self.mapper {
            let batched = (!row.batched.is_empty()).then(|| median(&row.batched));
            let (connection, latency) = (median(&row.connection), median(&row.latency));
            let columns = [
                Some(median(&row.single)),
                batched,
                Some(connection),
                Some(1e6 / connection),
                Some(latency),
                bare.map(|bare| latency - bare),
            ];
            let cell =
                |value: Option<f64>| value.map_or("-".to_owned(), |value| format!("{value:.1}"));
            let columns = columns.map(|value| format!("{:>16}", cell(value))).concat();
            println!("{:28} {columns}{:>10.2}", row.name, row.memory);
        }
        println!(
            "(handshakes/s: what one core holds; us alone: wall time of a record there and back on"
        );
        println!("one connection; added: that beside the bare relay)\n");
    }

    fn print_handshakes(&self) {
        if self.handshakes.is_empty() {
            return;
        }
        println!("{:54} {:>10} {:>7}", "a handshake in the LLN", "datagrams", "bytes");
        for row in &self.handshakes {
            println!("{:54} {:>10} {:>7}", row.name, row.datagrams, row.bytes);
        }
        println!();
    }

    /// The same for programs, with every sample.
    pub(crate) fn json(&self) -> Value {
        let micro = self.micro.iter().map(|row| {
            json!({ "name": row.name, "ns": row.ns, "x_bare_drop": row.ratio,
                    "ns_over_parse": row.over_parse })
        });
        let e2e = self.e2e.iter().flat_map(|e2e| &e2e.rows).map(|row| {
            json!({ "name": row.name, "cpu_ns": row.ns, "x_bare_drop": self.over_bare(row),
                    "offered_mpps": row.offered, "forwarded": row.forwarded })
        });
        let mapper = self.mapper.iter().map(|row| {
            json!({ "name": row.name, "cpu_ns_a_record": row.single,
                    "cpu_ns_a_record_16_in_flight": row.batched,
                    "cpu_us_a_connection": row.connection, "wall_us_an_echo": row.latency,
                    "kib_an_idle_connection": row.memory })
        });
        let handshakes = self
            .handshakes
            .iter()
            .map(|row| json!({ "name": row.name, "datagrams": row.datagrams, "bytes": row.bytes }));
        let pair = self.pair.as_ref().map(|pair| {
            json!({ "one_cpu_ns": pair.one, "two_cpus_ns": pair.two, "ratio": pair.ratio(),
                    "overlap": pair.overlap, "records": pair.records, "admitted": pair.admitted })
        });
        let targets = targets::all(self);
        let targets = targets.iter().map(|target| {
            json!({ "name": target.name, "limit": target.limit(), "value": target.value,
                    "reached": target.reached() })
        });
        json!({
            "micro": micro.collect::<Vec<_>>(),
            "two_cpus": pair,
            "end_to_end": e2e.collect::<Vec<_>>(),
            "mapper": mapper.collect::<Vec<_>>(),
            "handshakes_in_the_lln": handshakes.collect::<Vec<_>>(),
            "auth": self.auth.as_ref().map(auth::Outcome::json),
            "targets": targets.collect::<Vec<_>>(),
        })
    }
}

fn spread(of: Spread) -> String {
    format!("{:.1} / {:.1} / {:.1}", of.min, of.median, of.max)
}

fn print_target(target: &Target) {
    let value = target.value.map_or("-".to_owned(), |value| format!("{value:.2}"));
    let verdict = match target.reached() {
        Some(true) => "reached",
        Some(false) => "MISSED",
        None => "not measured",
    };
    println!("{:62} {:>8} {value:>8}  {verdict}", target.name, target.limit());
}
