//! What is measured in test-run mode: rows, and the instances that they run in.
use anyhow::Result;
use gateway_common::decide::Reason;

use super::{
    fill,
    instance::Instance,
    plan::{self, AGENT_PORT, DTLS_PORT, Plan, ROUTER, STRANGERS, source, standard},
    reasons,
};

/// How every packet of a row ends.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Expected {
    /// With this XDP action; nobody counts it.
    Action(u32),
    Checked,
    Untouched,
    Dropped(Reason),
}

/// A figure to measure.
pub(crate) struct Row {
    pub(crate) name: String,
    /// Which instance.
    pub(crate) instance: usize,
    pub(crate) program: &'static str,
    /// What does the program's rewriting alone.
    pub(crate) rewriter: Option<&'static str>,
    pub(crate) frame: Vec<u8>,
    pub(crate) expected: Expected,
}

const DROP: Expected = Expected::Action(1);
const PASS: Expected = Expected::Action(2);
const NO_LEASE: Expected = Expected::Dropped(Reason::NoLease);
const AGENT_RATE: Expected = Expected::Dropped(Reason::AgentRate);

/// Sizes of the allow-list, by instance.
const SIZES: [u32; 4] = [10, 10_000, 100_000, 1_000_000];
/// The instance in which most rows run.
pub(crate) const MAIN: usize = 1;
const SMALL: usize = 0;
const LARGE: usize = 2;
const HUGE: usize = 3;

/// Names that targets refer to.
pub(crate) mod name {
    pub(crate) const UNLISTED: &str = "unlisted dropped, 10,000 listed, hot key";
    pub(crate) const UNLISTED_HUGE: &str = "unlisted dropped, 1,000,000 listed, varied keys";
    pub(crate) const PASS: &str = "full pass, 10,000 listed, hot key";
    pub(crate) const PASS_SMALL: &str = "full pass, 10 listed, hot key";
    pub(crate) const PASS_LARGE: &str = "full pass, 100,000 listed, hot key";
    pub(crate) const PASS_VARIED: &str = "full pass, 10,000 varied peers";
    pub(crate) const AGENT_ONE: &str = "agent's port, flood of one source";
    pub(crate) const AGENT_FORGED: &str = "agent's port, flood of forged sources";
}

fn row(
    name: impl Into<String>,
    instance: usize,
    program: &'static str,
    rewriter: Option<&'static str>,
    frame: Vec<u8>,
    expected: Expected,
) -> Row {
    Row { name: name.into(), instance, program, rewriter, frame, expected }
}

/// All rows whose name contains `only`, and always the floors; and the instances, filled.
pub(crate) fn all(only: &str) -> Result<(Vec<Instance>, Vec<Row>)> {
    let mut instances = Vec::new();
    for listed in SIZES {
        eprintln!("bench: micro, a list of {listed}");
        let instance = Instance::new(listed, Plan::of(listed))?;
        fill::leases(&instance)?;
        fill::associations(&instance, if listed == 10_000 { listed } else { 1 })?;
        fill::own(&instance, ROUTER)?;
        instances.push(instance);
    }
    let mut rows = floors();
    let mut others = lists();
    others.extend(passes());
    others.extend(agent());
    if let Some(main) = instances.get(MAIN) {
        others.extend(reasons::rows(main)?);
    }
    others.retain(|row| row.name.contains(only));
    rows.extend(others);
    Ok((instances, rows))
}

/// The bare drop and the parser come first: everything is relative to them.
fn floors() -> Vec<Row> {
    let stranger = || standard(STRANGERS);
    vec![
        row("bare XDP_DROP", MAIN, "drop", None, stranger(), DROP),
        row("parse, then drop", MAIN, "parse", None, stranger(), DROP),
        row("bare XDP_PASS", MAIN, "pass", None, stranger(), PASS),
    ]
}

fn lists() -> Vec<Row> {
    let mut rows = Vec::new();
    for (instance, size) in [(SMALL, "10"), (MAIN, "10,000"), (HUGE, "1,000,000")] {
        let hot = format!("unlisted dropped, {size} listed, hot key");
        let varied = format!("unlisted dropped, {size} listed, varied keys");
        let (program, rewriter) = ("stranger_wan", Some("stranger"));
        let frame = standard(STRANGERS - 1);
        rows.push(row(hot, instance, "wan", None, frame.clone(), NO_LEASE));
        rows.push(row(varied, instance, program, rewriter, frame, NO_LEASE));
    }
    rows
}

fn passes() -> Vec<Row> {
    let mut rows = Vec::new();
    let (program, rewriter) = ("record_wan", Some("record"));
    for (instance, name) in
        [(SMALL, name::PASS_SMALL), (MAIN, name::PASS), (LARGE, name::PASS_LARGE)]
    {
        let frame = standard(0);
        rows.push(row(name, instance, program, rewriter, frame, Expected::Checked));
    }
    let (program, rewriter, frame) = ("peer_wan", Some("peer"), standard(0));
    let expected = Expected::Checked;
    rows.push(row(name::PASS_VARIED, MAIN, program, rewriter, frame, expected));
    let answer = reasons::answer(source(0)).build();
    let name = "a node's answer passes (lln)";
    rows.push(row(name, MAIN, "lln", None, answer, Expected::Checked));
    let foreign = plan::record(source(STRANGERS), source(0), DTLS_PORT).build();
    let name = "not the LLN's, untouched";
    rows.push(row(name, MAIN, "wan", None, foreign, Expected::Untouched));
    rows
}

/// Floods of the agent's own port, from one source and from forged ones.
fn agent() -> Vec<Row> {
    let frame = || plan::record(source(STRANGERS), ROUTER, AGENT_PORT).build();
    let (program, rewriter) = ("forger_wan", Some("forger"));
    let (one, forged) = (name::AGENT_ONE, name::AGENT_FORGED);
    vec![
        row(one, MAIN, "wan", None, frame(), AGENT_RATE),
        row(forged, MAIN, program, rewriter, frame(), AGENT_RATE),
    ]
}
