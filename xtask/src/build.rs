//! `cargo xtask build`: the gateway, with its BPF programs inside.
use std::path::PathBuf;

use anyhow::Result;

use crate::{bpf, setup, sh};

pub(crate) fn run() -> Result<()> {
    bpf::build(&setup::toolchain()?)?;
    sh::run(sh::cargo().args("build --release --package gateway-user".split(' ')))
}

/// The example node and the proxy, which the lab and the tests start.
pub(crate) fn node() -> Result<()> {
    let examples = "build --release --package gateway-node --features proxy --example node \
                    --example proxy";
    sh::run(sh::cargo().args(examples.split_ascii_whitespace()))
}

/// The lab: namespaces with real peers around a gateway.
pub(crate) fn lab() -> Result<()> {
    node()?;
    sh::run(sh::cargo().args("build --release --package tests --bin lab".split(' ')))
}

/// Where a release build puts this binary.
pub(crate) fn binary(name: &str) -> PathBuf {
    sh::host_target().join("release").join(name)
}
