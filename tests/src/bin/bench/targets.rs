//! What the filter set out to reach, as ratios of figures that this run measured.
use super::{
    auth::name as auth,
    cases::name as micro,
    e2e::name as e2e,
    mapper::{
        Measured,
        lln::{Handshake, name as lln},
        name as relay,
    },
    results::Results,
    stats::ratio,
};

/// A target and what became of it.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) name: &'static str,
    pub(crate) limit: Limit,
    /// `None` when a figure it needs was left out.
    pub(crate) value: Option<f64>,
}

/// Which side of a number to be on.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Limit {
    Most(f64),
    Least(f64),
}

impl Target {
    /// Whether it was reached.
    pub(crate) fn reached(&self) -> Option<bool> {
        self.value.map(|value| match self.limit {
            Limit::Most(limit) => value <= limit,
            Limit::Least(limit) => value >= limit,
        })
    }

    /// The limit in words.
    pub(crate) fn limit(&self) -> String {
        match self.limit {
            Limit::Most(limit) => format!("<= {limit}"),
            Limit::Least(limit) => format!(">= {limit}"),
        }
    }
}

/// All targets.
pub(crate) fn all(results: &Results) -> Vec<Target> {
    let mut targets = in_test_runs(results);
    targets.extend(end_to_end(results));
    targets.extend(relays(results));
    targets.extend(handshakes(results));
    targets.extend(floods(results));
    let pair = results.pair.as_ref();
    let most = |name, limit, value| Target { name, limit: Limit::Most(limit), value };
    let twice = |pair: &super::pair::Pair| pair.admitted.saturating_sub(pair.records) as f64;
    targets.push(most(
        "two CPUs on one peer: cost / one CPU",
        2.5,
        pair.map(super::pair::Pair::ratio),
    ));
    targets.push(most("two CPUs on one peer: records admitted twice", 0.0, pair.map(twice)));
    targets
}

fn in_test_runs(results: &Results) -> Vec<Target> {
    let most = |name, limit, value| Target { name, limit: Limit::Most(limit), value };
    let over = |above, below| results.micro_ratio(above, below);
    let varied = results.micro(micro::UNLISTED_HUGE).map(|row| row.over_parse);
    vec![
        most(
            "micro: unlisted dropped / bare drop (hot key, 10,000 listed)",
            1.3,
            results.micro(micro::UNLISTED).map(|row| row.ratio),
        ),
        most("micro: unlisted, 1,000,000 listed, varied: ns over parse", 65.0, varied),
        most(
            "micro: full pass / bare drop (hot key)",
            3.5,
            results.micro(micro::PASS).map(|row| row.ratio),
        ),
        most(
            "micro: full pass, 10,000 varied peers / hot key",
            2.0,
            over(micro::PASS_VARIED, micro::PASS),
        ),
        most(
            "micro: full pass, 100,000 listed / 10 (hot key)",
            1.1,
            over(micro::PASS_LARGE, micro::PASS_SMALL),
        ),
        most(
            "micro: agent's port, forged sources / one source",
            1.2,
            over(micro::AGENT_FORGED, micro::AGENT_ONE),
        ),
    ]
}

fn end_to_end(results: &Results) -> Vec<Target> {
    let target =
        |name, limit, above, below| Target { name, limit, value: results.e2e_ratio(above, below) };
    let (most, least) = (Limit::Most, Limit::Least);
    let grown = results.e2e.as_ref().map(|e2e| f64::from(u8::from(e2e.grown)));
    vec![
        target("end to end: unlisted dropped / bare XDP_DROP", most(1.5), e2e::UNLISTED, e2e::DROP),
        target(
            "end to end: nftables netdev / ours, unlisted dropped",
            least(5.0),
            e2e::UNLISTED_NFT,
            e2e::UNLISTED,
        ),
        target(
            "end to end: xdp-filter / ours, unlisted dropped",
            least(1.7),
            e2e::UNLISTED_FILTER,
            e2e::UNLISTED,
        ),
        target(
            "end to end: nftables netdev / ours, over the limit",
            least(4.0),
            e2e::LIMITED_NFT,
            e2e::LIMITED,
        ),
        target(
            "end to end: ours passing / bare XDP_PASS, both forwarded",
            most(1.35),
            e2e::PASSING,
            e2e::PASS,
        ),
        target(
            "end to end: agent's port, forged sources / one source",
            most(1.2),
            e2e::AGENT_FORGED,
            e2e::AGENT_ONE,
        ),
        Target {
            name: "end to end: maps that grew under forged sources",
            limit: most(0.0),
            value: grown,
        },
    ]
}

fn relays(results: &Results) -> Vec<Target> {
    let single: fn(&Measured) -> &[f64] = |row| &row.single;
    let batched: fn(&Measured) -> &[f64] = |row| &row.batched;
    let connection: fn(&Measured) -> &[f64] = |row| &row.connection;
    let target = |name, limit, above, below| Target {
        name,
        limit,
        value: results.relay_ratio(above, below),
    };
    let (most, least) = (Limit::Most, Limit::Least);
    let ours = relay::MAPPER;
    vec![
        target("mapper: a record / bare relay", most(1.15), (ours, single), (relay::BARE, single)),
        target(
            "mapper: stunnel / ours, a record",
            least(2.5),
            (relay::STUNNEL, single),
            (ours, single),
        ),
        target(
            "mapper: haproxy / ours, a record",
            least(1.4),
            (relay::HAPROXY, single),
            (ours, single),
        ),
        target(
            "mapper: a record of 16 in flight / bare relay without batches",
            most(0.9),
            (ours, batched),
            (relay::BARE, batched),
        ),
        target(
            "mapper: haproxy / ours, a connection",
            least(5.5),
            (relay::HAPROXY, connection),
            (ours, connection),
        ),
        target(
            "mapper: stunnel / ours, a connection",
            least(4.5),
            (relay::STUNNEL, connection),
            (ours, connection),
        ),
        Target {
            name: "mapper: KiB an idle connection, of 5,000",
            limit: most(1.0),
            value: results.relay(ours).map(|row| row.memory),
        },
    ]
}

fn handshakes(results: &Results) -> Vec<Target> {
    let over = |figure: fn(&Handshake) -> usize| {
        let (mapped, native) = (results.handshake(lln::MAPPED)?, results.handshake(lln::COOKIE)?);
        Some(figure(mapped) as f64 / figure(native) as f64)
    };
    let target = |name, value| Target { name, limit: Limit::Most(1.0), value };
    vec![
        target("mapped / native handshake: datagrams in the LLN", over(|row| row.datagrams)),
        target("mapped / native handshake: bytes in the LLN", over(|row| row.bytes)),
    ]
}

fn floods(results: &Results) -> Vec<Target> {
    let flood = |name: &str| results.auth.as_ref().and_then(|auth| auth.flood(name));
    let target = |name, limit, value| Target { name, limit: Limit::Most(limit), value };
    let least = |name: &str| flood(name).map(|row| ratio(&row.busy, &row.rest));
    let refused = |name: &str| flood(name).map(|row| row.refused.into());
    vec![
        target("20,000 hellos a second: agent's CPU / at rest", 1.1, least(auth::XDP)),
        target("as many hellos as come: agent's CPU / at rest", 1.1, least(auth::XDP_MOST)),
        target("as many hellos as come: no lease for back-ends", 0.0, refused(auth::XDP_MOST)),
    ]
}
