//! One entry that covers several: the union of nodes and ports, the sum of rates.
//!
//! The sum, because each holder was promised its own rate, and behind one address nobody can tell
//! whose packet it is. The union over nodes times the union over ports may cover a pair that no
//! single part covers: an entry has no finer grain.
use super::Terms;
use gateway_common::decide::{
    admission::{NODES_MAX, PORTS_MAX},
    rate::{Limits, Rate},
};
use ipnet::IpNet;

/// What covers both, or `None` when an entry has no room for that.
pub(super) fn join(one: &Terms, other: &Terms) -> Option<Terms> {
    let nodes = if one.nodes.is_empty() || other.nodes.is_empty() {
        Vec::new()
    } else {
        distinct([one.nodes.as_slice(), &other.nodes].concat())
    };
    let ports = if one.ports.is_empty() || other.ports.is_empty() {
        Vec::new()
    } else {
        let mut ports = [one.ports.as_slice(), &other.ports].concat();
        ports.sort_unstable();
        ports.dedup();
        ports
    };
    let limits = Limits {
        packets: sum(one.limits.packets, other.limits.packets),
        bytes: sum(one.limits.bytes, other.limits.bytes),
    };
    let fits = nodes.len() <= NODES_MAX && ports.len() <= PORTS_MAX;
    fits.then_some(Terms { nodes, ports, limits })
}

/// Sorted, and without what another element covers.
pub(super) fn distinct(mut nodes: Vec<IpNet>) -> Vec<IpNet> {
    nodes.sort_unstable_by_key(|node| (node.prefix_len(), *node));
    let mut kept: Vec<IpNet> = Vec::new();
    for node in nodes {
        if !kept.iter().any(|other| other.contains(&node)) {
            kept.push(node);
        }
    }
    kept.sort_unstable();
    kept
}

/// Two rates at once: never faster than both together by more than rounding to a nanosecond.
fn sum(one: Rate, other: Rate) -> Rate {
    if one.is_unlimited() || other.is_unlimited() {
        return Rate::UNLIMITED;
    }
    let (a, b) = (u128::from(one.interval_ns), u128::from(other.interval_ns));
    let interval = (a * b).div_ceil(a + b).max(1);
    let units = u128::from(one.burst_ns()) / a + u128::from(other.burst_ns()) / b;
    let short = |wide: u128| u64::try_from(wide).unwrap_or(u64::MAX >> 1);
    Rate::new(short(interval), short(interval * units))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn net(text: &str) -> IpNet {
        crate::config::prefix::parse(text).unwrap()
    }

    fn terms(nodes: &[&str], ports: &[u16]) -> Terms {
        let nodes = nodes.iter().map(|node| net(node)).collect();
        Terms { nodes, ports: ports.to_vec(), limits: Limits::default() }
    }

    #[test]
    fn all_nodes_and_one_node_are_all_nodes() {
        let joined = join(&terms(&[], &[5684]), &terms(&["2001:db8::1"], &[])).unwrap();
        assert_eq!(joined, terms(&[], &[]));
    }

    #[test]
    fn what_a_prefix_covers_takes_no_room() {
        let one = terms(&["2001:db8::/64"], &[5684]);
        let other = terms(&["2001:db8::7", "2001:db8:1::1"], &[5685, 5684]);
        let expected = terms(&["2001:db8::/64", "2001:db8:1::1"], &[5684, 5685]);
        assert_eq!(join(&one, &other), Some(expected));
    }

    #[test]
    fn what_an_entry_has_no_room_for_is_refused() {
        let sixteen: Vec<String> = (0..16).map(|n| format!("2001:db8::{n:x}")).collect();
        let sixteen: Vec<&str> = sixteen.iter().map(String::as_str).collect();
        assert!(join(&terms(&sixteen, &[]), &terms(&["2001:db8::f"], &[])).is_some());
        assert!(join(&terms(&sixteen, &[]), &terms(&["2001:db8::10"], &[])).is_none());
        let ports: Vec<u16> = (1..=8).collect();
        assert!(join(&terms(&[], &ports), &terms(&[], &[9])).is_none());
    }

    #[test]
    fn rates_add_up() {
        let both = sum(Rate::per_second(20, 40), Rate::per_second(30, 10));
        assert!(both.interval_ns.abs_diff(20_000_000) <= 1, "{both:?}");
        assert_eq!(both.burst_ns(), 50 * both.interval_ns);
        assert!(sum(Rate::UNLIMITED, Rate::per_second(1, 1)).is_unlimited());
    }

    proptest! {
        #[test]
        fn a_sum_is_at_most_both_together(
            a in 1u64..=1_000_000_000, x in 1u64..=1 << 30,
            b in 1u64..=1_000_000_000, y in 1u64..=1 << 30,
        ) {
            let (one, other) = (Rate::per_second(a, x), Rate::per_second(b, y));
            let both = sum(one, other);
            let of = |rate: Rate| 1e9 / rate.interval_ns as f64;
            prop_assert!(of(both) <= (of(one) + of(other)) * 1.000_001);
            prop_assert!(!both.is_unlimited());
            if both.burst_ns() < u64::MAX >> 1 {
                // a burst is rounded up by less than a part in 2^29, and here twice
                let units = both.burst_ns() / both.interval_ns;
                prop_assert!(units >= x + y && units - (x + y) <= (x + y) >> 28);
            }
        }
    }
}
