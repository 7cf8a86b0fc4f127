//! The table against a slow model, on a made-up clock; records over restarts and clock steps.
use super::*;
use crate::{config::auth::Pattern, dataplane::table::Grant};
use core::net::Ipv6Addr;
use gateway_common::decide::{admission::NEVER, rate::Rate};
use proptest::prelude::*;
use std::collections::{BTreeMap, HashMap};

const SECOND: u64 = 1_000_000_000;

fn net(text: &str) -> IpNet {
    crate::config::prefix::parse(text).unwrap()
}

fn address(n: u8) -> IpAddr {
    Ipv6Addr::new(0x2001, 0xdb8, 0xb, 0, 0, 0, 0, n.into()).into()
}

fn packets(per_second: u64) -> Limits {
    Limits { packets: Rate::per_second(per_second, per_second), bytes: Rate::UNLIMITED }
}

fn policy(name: &str, nodes: &[&str]) -> Identity {
    Identity {
        name: Pattern::parse(name).unwrap(),
        nodes: nodes.iter().map(|node| net(node)).collect(),
        ports: vec![5684],
        limits: packets(10),
        longest: Duration::from_secs(100),
        leases: 2,
        tunnel: false,
    }
}

fn request<'a>(policy: &'a Identity, identity: &'a str, source: IpAddr) -> Request<'a> {
    Request {
        policy,
        identity,
        way: Way::Certificate,
        source,
        nodes: &[],
        ttl: None,
        credential: None,
        proof_ends_ns: NEVER,
    }
}

fn id(n: u8) -> Id {
    Id([n; 16])
}

fn changes(table: &mut Table) -> Vec<Change> {
    core::iter::from_fn(|| table.poll_change()).collect()
}

fn grant(source: IpNet, nodes: &[&str], rate: u64, expires_ns: u64) -> Grant {
    Grant {
        source,
        nodes: nodes.iter().map(|node| net(node)).collect(),
        ports: vec![5684],
        limits: packets(rate),
        expires_ns,
    }
}

#[test]
fn a_lease_is_installed_kept_and_lapses() {
    let (mut table, pump) = (Table::default(), policy("pump", &["2001:db8:1::10"]));
    let source = address(1);
    assert_eq!(table.ask(SECOND, &request(&pump, "pump", source), id(1)), Ok(id(1)));
    let entry = grant(source.into(), &["2001:db8:1::10"], 10, 101 * SECOND);
    assert_eq!(changes(&mut table), [Change::Keep(id(1)), Change::Install(entry)]);
    assert_eq!(table.poll_timeout(), Some(101 * SECOND));
    table.handle_timeout(101 * SECOND - 1);
    assert_eq!(changes(&mut table), []);
    table.handle_timeout(101 * SECOND);
    assert_eq!(changes(&mut table), [Change::Forget(id(1)), Change::Revoke(source)]);
    assert_eq!((table.poll_timeout(), table.leases().count()), (None, 0));
}

#[test]
fn the_same_holder_at_the_same_address_renews() {
    let (mut table, pump) = (Table::default(), policy("pump", &[]));
    let ask = request(&pump, "pump", address(1));
    table.ask(0, &ask, id(1)).unwrap();
    changes(&mut table);
    assert_eq!(table.ask(50 * SECOND, &ask, id(2)), Ok(id(1)), "the name stays");
    let entry = grant(address(1).into(), &[], 10, 150 * SECOND);
    assert_eq!(changes(&mut table), [Change::Keep(id(1)), Change::Install(entry)]);
    let lease = table.lease(&id(1)).unwrap();
    assert_eq!((lease.granted_ns, lease.expires_ns), (0, 150 * SECOND));
}

#[test]
fn a_lease_is_never_longer_than_policy_and_proof_allow() {
    let (mut table, pump) = (Table::default(), policy("pump", &[]));
    let ask = request(&pump, "pump", address(1));
    let mut ends = |ttl, proof_ends_ns| {
        let ask = Request { ttl, proof_ends_ns, ..ask.clone() };
        table.ask(0, &ask, id(1)).map(|id| table.lease(&id).unwrap().expires_ns / SECOND)
    };
    assert_eq!(ends(None, NEVER), Ok(100));
    assert_eq!(ends(Some(Duration::from_secs(7)), NEVER), Ok(7));
    assert_eq!(ends(Some(Duration::MAX), NEVER), Ok(100));
    assert_eq!(ends(None, 30 * SECOND), Ok(30));
    assert_eq!(ends(None, 0), Err(Refusal::Ended("pump".into())));
}

#[test]
fn two_holders_share_one_entry_which_shrinks_when_one_lapses() {
    let mut table = Table::default();
    let (pump, lamp) = (policy("pump", &["2001:db8:1::10"]), policy("lamp", &["2001:db8:1::11"]));
    let source = address(1);
    let short = Request { ttl: Some(Duration::from_secs(10)), ..request(&pump, "pump", source) };
    table.ask(0, &short, id(1)).unwrap();
    table.ask(0, &request(&lamp, "lamp", source), id(2)).unwrap();
    let both = grant(source.into(), &["2001:db8:1::10", "2001:db8:1::11"], 20, 100 * SECOND);
    assert_eq!(changes(&mut table).last(), Some(&Change::Install(both)));
    table.handle_timeout(10 * SECOND);
    let one = grant(source.into(), &["2001:db8:1::11"], 10, 100 * SECOND);
    assert_eq!(changes(&mut table), [Change::Forget(id(1)), Change::Install(one)]);
}

#[test]
fn an_entry_of_the_allow_list_outlives_the_leases_beside_it() {
    let (mut table, pump) = (Table::default(), policy("pump", &["2001:db8:1::10"]));
    let source = address(1);
    let fixed = grant(source.into(), &["2001:db8:1::20"], 5, NEVER);
    table.set_allowed(vec![fixed.clone()], 0);
    table.ask(0, &request(&pump, "pump", source), id(1)).unwrap();
    let both = grant(source.into(), &["2001:db8:1::10", "2001:db8:1::20"], 15, NEVER);
    assert_eq!(changes(&mut table).last(), Some(&Change::Install(both.clone())));
    assert_eq!(table.grants(), [both]);
    table.revoke(&id(1), SECOND);
    assert_eq!(changes(&mut table).last(), Some(&Change::Install(fixed.clone())));
    assert_eq!(table.grants(), [fixed]);
}

#[test]
fn a_lease_takes_nothing_away_that_a_prefix_admits() {
    let (mut table, pump) = (Table::default(), policy("pump", &["2001:db8:1::10"]));
    let prefix = grant(net("2001:db8:b::/64"), &["2001:db8:1::20"], 5, NEVER);
    table.set_allowed(vec![prefix.clone()], 0);
    table.ask(0, &request(&pump, "pump", address(1)), id(1)).unwrap();
    let nodes = ["2001:db8:1::10", "2001:db8:1::20"];
    let entry = grant(address(1).into(), &nodes, 15, 100 * SECOND);
    assert_eq!(changes(&mut table).last(), Some(&Change::Install(entry)), "it lapses by itself");
    table.handle_timeout(100 * SECOND);
    assert_eq!(changes(&mut table).last(), Some(&Change::Revoke(address(1))));
    assert_eq!(table.grants(), [prefix]);
}

#[test]
fn refusals_say_why_and_change_nothing() {
    let (mut table, pump) = (Table::default(), policy("pump", &["2001:db8:1::/124"]));
    let ask = request(&pump, "pump", address(1));
    let nodes = [net("2001:db8:1::1"), net("2001:db8:2::1")];
    let refused = table.ask(0, &Request { nodes: &nodes, ..ask.clone() }, id(1)).unwrap_err();
    assert_eq!(refused.to_string(), "node 2001:db8:2::1 is not among those that pump may reach");
    let tunnel = Request { way: Way::Tunnel, ..ask.clone() };
    assert_eq!(table.ask(0, &tunnel, id(1)), Err(Refusal::Tunnel("pump".into())));
    assert_eq!(changes(&mut table), []);
    for n in [1, 2] {
        table.ask(0, &request(&pump, "pump", address(n)), id(n)).unwrap();
    }
    let refused = table.ask(0, &request(&pump, "pump", address(3)), id(3)).unwrap_err();
    assert_eq!(refused, Refusal::TooMany { identity: "pump".into(), held: 2, most: 2 });
    table.handle_timeout(100 * SECOND);
    assert_eq!(table.ask(100 * SECOND, &ask, id(4)), Ok(id(4)), "what has lapsed does not count");
}

#[test]
fn what_does_not_fit_behind_one_address_is_refused() {
    let mut table = Table::default();
    let many: Vec<String> = (0..16).map(|n| format!("2001:db8:1::{n:x}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let (pump, lamp) = (policy("pump", &many), policy("lamp", &["2001:db8:1::99"]));
    table.ask(0, &request(&pump, "pump", address(1)), id(1)).unwrap();
    let other = request(&lamp, "lamp", address(1));
    assert_eq!(table.ask(0, &other, id(2)), Err(Refusal::Crowded(address(1))));
    let fixed = grant(address(1).into(), &["2001:db8:1::99"], 5, NEVER);
    table.set_allowed(vec![fixed.clone()], 0);
    assert!(!table.lease(&id(1)).unwrap().in_force, "the administrator's entry comes first");
    assert_eq!(table.grants(), [fixed]);
    table.set_allowed(Vec::new(), 0);
    assert!(table.lease(&id(1)).unwrap().in_force);
}

#[test]
fn a_tunnel_admits_no_address() {
    let mut table = Table::default();
    let pump = Identity { tunnel: true, ..policy("pump", &[]) };
    let tunnel = Request { way: Way::Tunnel, ..request(&pump, "pump", address(1)) };
    table.ask(0, &tunnel, id(1)).unwrap();
    assert_eq!(changes(&mut table), [Change::Keep(id(1))]);
    assert_eq!(table.grants(), []);
    table.handle_timeout(100 * SECOND);
    assert_eq!(changes(&mut table), [Change::Forget(id(1))]);
}

#[test]
fn a_changed_policy_reaches_present_leases() {
    let (mut table, pump) = (Table::default(), policy("pump", &[]));
    table.ask(0, &request(&pump, "pump", address(1)), id(1)).unwrap();
    let nodes = [net("2001:db8:1::10")];
    let named = Request { nodes: &nodes, ..request(&pump, "pump", address(2)) };
    table.ask(0, &named, id(2)).unwrap();
    changes(&mut table);
    let less = policy("pump", &["2001:db8:1::20"]);
    let ended = table.review(SECOND, |name| (name == "pump").then_some(&less));
    assert_eq!(ended.iter().map(|lease| lease.id).collect::<Vec<_>>(), [id(2)]);
    let entry = grant(address(1).into(), &["2001:db8:1::20"], 10, 100 * SECOND);
    assert!(changes(&mut table).contains(&Change::Install(entry)));
    assert_eq!(table.review(SECOND, |_| None).len(), 1, "no policy, no lease");
    assert_eq!(table.grants(), []);
}

fn clocks(boot: &str, now: u64, wall: u64) -> Clocks {
    Clocks { boot: boot.to_owned(), now_ns: now * SECOND, wall_ms: wall * 1000, set: true }
}

fn kept() -> Record {
    let (mut table, pump) = (Table::default(), policy("pump", &[]));
    table.ask(500 * SECOND, &request(&pump, "pump", address(1)), id(1)).unwrap();
    let record = Record::new(table.lease(&id(1)).unwrap(), &clocks("a", 500, 10_000));
    serde_json::from_slice(&serde_json::to_vec(&record).unwrap()).unwrap()
}

#[test]
fn a_restart_of_the_agent_keeps_the_end_whatever_the_wall_clock_says() {
    for wall in [0, 10_010, 1 << 40] {
        let lease = kept().resume(&clocks("a", 510, wall)).unwrap();
        assert_eq!((lease.granted_ns, lease.expires_ns), (500 * SECOND, 600 * SECOND));
    }
    assert_eq!(kept().resume(&clocks("a", 600, 10_010)), None);
}

#[test]
fn a_reboot_keeps_what_the_wall_clock_leaves_and_never_more() {
    let expires = |now, wall| kept().resume(&clocks("b", now, wall)).map(|lease| lease.expires_ns);
    assert_eq!(expires(3, 10_040), Some(63 * SECOND));
    assert_eq!(expires(3, 10_000), Some(103 * SECOND));
    assert_eq!(expires(3, 9_999), None, "a clock that was set back ends it");
    assert_eq!(expires(3, 10_100), None);
    let unset = Clocks { set: false, ..clocks("b", 3, 10_040) };
    assert_eq!(kept().resume(&unset), None, "a clock that cannot be gone by gives nothing");
    assert!(kept().resume(&Clocks { set: false, ..clocks("a", 510, 0) }).is_some());
}

#[test]
fn a_store_gives_back_what_was_committed() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path(), Duration::ZERO).unwrap();
    assert!(matches!(Store::open(folder.path(), Duration::ZERO), Err(StoreError::Busy(_))));
    store.commit(&[kept()], &[], None, None).unwrap();
    drop(store);
    let store = Store::open(folder.path(), Duration::ZERO).unwrap();
    assert_eq!(store.load().unwrap(), [kept()]);
    store.commit(&[], &[id(1)], None, None).unwrap();
    assert_eq!(store.load().unwrap(), []);
    drop(store);
    let file = folder.path().join("leases.redb");
    std::fs::write(&file, "this is no database, and it is long enough to be looked at").unwrap();
    let store = Store::open(folder.path(), Duration::ZERO).unwrap();
    assert_eq!(store.load().unwrap(), [], "what cannot be read admits nobody");
    assert!(file.with_extension("broken").exists());
}

#[test]
fn names_are_32_hexadecimal_digits() {
    let text = "000102030405060708090a0b0c0d0e0f";
    assert_eq!(text.parse::<Id>().unwrap().to_string(), text);
    for wrong in ["", "00", "+0102030405060708090a0b0c0d0e0f1", &"0".repeat(33)] {
        assert!(wrong.parse::<Id>().is_err(), "{wrong}");
    }
}

/// A lease in the model.
#[derive(Clone, Debug)]
struct Held {
    expires: u64,
    nodes: Vec<IpNet>,
    order: usize,
}

/// What the kernel would have, worked out from scratch.
fn model(
    held: &BTreeMap<(usize, u8), Held>,
    fixed: Option<u8>,
    now: u64,
) -> HashMap<IpAddr, Grant> {
    let mut expected = HashMap::new();
    for source in 0..3 {
        let own = (fixed == Some(source))
            .then(|| grant(address(source).into(), &["2001:db8:9::1"], 5, NEVER));
        let mut leases: Vec<&Held> = held
            .iter()
            .filter(|((_, at), lease)| *at == source && lease.expires > now)
            .map(|(_, lease)| lease)
            .collect();
        leases.sort_by_key(|lease| lease.order);
        if leases.is_empty() && own.is_none() {
            continue;
        }
        let all = leases.iter().any(|lease| lease.nodes.is_empty());
        let mut nodes: Vec<IpNet> = leases.iter().flat_map(|lease| lease.nodes.clone()).collect();
        nodes.extend(own.iter().flat_map(|own| own.nodes.clone()));
        nodes.sort_unstable();
        nodes.dedup();
        let rate = leases.len() as u64 * 10 + own.as_ref().map_or(0, |_| 5);
        let last = leases.iter().map(|lease| lease.expires).max().unwrap_or(0);
        let expires = if own.is_some() { NEVER } else { last };
        let mut entry = grant(address(source).into(), &[], rate, expires);
        if !all {
            entry.nodes = nodes;
        }
        expected.insert(address(source), entry);
    }
    expected
}

#[derive(Clone, Debug)]
enum Step {
    Ask { who: usize, source: u8, ttl: u64, node: Option<u8> },
    Revoke { who: usize, source: u8 },
    Wait(u64),
    Allow(Option<u8>),
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0usize..3, 0u8..3, 1u64..150, proptest::option::of(0u8..4))
            .prop_map(|(who, source, ttl, node)| Step::Ask { who, source, ttl, node }),
        1 => (0usize..3, 0u8..3).prop_map(|(who, source)| Step::Revoke { who, source }),
        2 => (1u64..60).prop_map(Step::Wait),
        1 => proptest::option::of(0u8..3).prop_map(Step::Allow),
        1 => Just(Step::Restart),
    ]
}

const NAMES: [&str; 3] = ["pump", "lamp", "door"];

/// Rates of a sum differ from the model's by rounding.
fn same(found: &Grant, expected: &Grant) -> bool {
    let per_second = |grant: &Grant| SECOND.div_ceil(grant.limits.packets.interval_ns);
    let limits = expected.limits;
    per_second(found).abs_diff(per_second(expected)) <= 1
        && Grant { limits, ..found.clone() } == *expected
}

proptest! {
    /// Whatever happens, the kernel has what the model says, by incremental changes alone.
    #[test]
    fn the_kernel_has_what_the_model_says(steps in proptest::collection::vec(step(), 1..60)) {
        let policies = NAMES.map(|name| policy(name, &[]));
        let (mut table, mut now, mut order) = (Table::default(), 0u64, 0);
        let mut held: BTreeMap<(usize, u8), Held> = BTreeMap::new();
        let mut kernel: HashMap<IpAddr, Grant> = HashMap::new();
        let mut fixed = None;
        let mut stored: HashMap<Id, Record> = HashMap::new();
        for step in steps {
            order += 1;
            held.retain(|_, lease| lease.expires > now);
            match step {
                Step::Ask { who, source, ttl, node } => {
                    let nodes: Vec<IpNet> = node
                        .map(|n| net(&format!("2001:db8:1::{n}")))
                        .into_iter()
                        .collect();
                    let (policy, name) = (&policies[who], NAMES[who]);
                    let request = Request {
                        ttl: Some(Duration::from_secs(ttl)),
                        nodes: &nodes,
                        ..request(policy, name, address(source))
                    };
                    let count = held.keys().filter(|(other, _)| *other == who).count();
                    let there = held.get(&(who, source)).map(|lease| lease.order);
                    let allowed = there.is_some() || count < policy.leases;
                    let result = table.ask(now, &request, Id(u128::from(order as u64).to_be_bytes()));
                    prop_assert_eq!(result.is_ok(), allowed, "{:?}", result);
                    if allowed {
                        let expires = now + ttl.min(100) * SECOND;
                        let order = there.unwrap_or(order);
                        held.insert((who, source), Held { expires, nodes, order });
                    }
                }
                Step::Revoke { who, source } => {
                    let own = |lease: &Lease| lease.identity == NAMES[who] && lease.source == address(source);
                    let ended = table.revoke_where(now, own);
                    prop_assert_eq!(ended.len(), usize::from(held.remove(&(who, source)).is_some()));
                }
                Step::Wait(seconds) => {
                    now += seconds * SECOND;
                    table.handle_timeout(now);
                }
                Step::Allow(source) => {
                    fixed = source;
                    let entry = source.map(|n| grant(address(n).into(), &["2001:db8:9::1"], 5, NEVER));
                    table.set_allowed(entry.into_iter().collect(), now);
                    changes_into(&mut table, &mut kernel, &mut stored, now);
                    kernel = table.grants().into_iter().map(|grant| (grant.source.addr(), grant)).collect();
                }
                Step::Restart => {
                    changes_into(&mut table, &mut kernel, &mut stored, now);
                    let clocks = Clocks { boot: "a".into(), now_ns: now, wall_ms: 7, set: true };
                    let leases = stored.values().cloned().filter_map(|record| record.resume(&clocks));
                    let mut again = Table::default();
                    again.resume(leases.collect(), now);
                    let entry = fixed.map(|n| grant(address(n).into(), &["2001:db8:9::1"], 5, NEVER));
                    again.set_allowed(entry.into_iter().collect(), now);
                    again.review(now, |name| policies.iter().find(|policy| policy.name.covers_text(name)));
                    changes_into(&mut again, &mut kernel, &mut stored, now);
                    table = again;
                    kernel = table.grants().into_iter().map(|grant| (grant.source.addr(), grant)).collect();
                }
            }
            changes_into(&mut table, &mut kernel, &mut stored, now);
            let expected = model(&held, fixed, now);
            prop_assert_eq!(kernel.len(), expected.len(), "{:?} {:?}", kernel, expected);
            for (source, entry) in &expected {
                prop_assert!(same(&kernel[source], entry), "{:?} {:?}", kernel[source], entry);
            }
            let whole: HashMap<IpAddr, Grant> =
                table.grants().into_iter().map(|grant| (grant.source.addr(), grant)).collect();
            prop_assert_eq!(&whole, &kernel, "a full comparison finds nothing to do");
            prop_assert_eq!(stored.len(), table.leases().count());
        }
    }
}

/// Does what the table wants done, as the ledger would.
fn changes_into(
    table: &mut Table,
    kernel: &mut HashMap<IpAddr, Grant>,
    stored: &mut HashMap<Id, Record>,
    now: u64,
) {
    let clocks = Clocks { boot: "a".into(), now_ns: now, wall_ms: 7, set: true };
    while let Some(change) = table.poll_change() {
        match change {
            Change::Install(grant) => drop(kernel.insert(grant.source.addr(), grant)),
            Change::Revoke(source) => drop(kernel.remove(&source)),
            Change::Keep(id) => {
                let record = table.lease(&id).map(|lease| Record::new(lease, &clocks));
                stored.extend(record.map(|record| (id, record)));
            }
            Change::Forget(id) => drop(stored.remove(&id)),
        }
    }
}
