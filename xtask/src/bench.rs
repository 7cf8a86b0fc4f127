//! `cargo xtask bench`: what packets, records and handshakes cost, beside what a user would pick.
use std::ffi::OsString;

use anyhow::Result;

use crate::{build, setup, sh};

pub(crate) fn run(args: &[OsString]) -> Result<()> {
    setup::environment()?;
    build::run()?;
    build::node()?;
    let mut bench = sh::cargo();
    sh::with_root_runner(&mut bench);
    bench.args("run --release --package tests --bin bench --".split(' '));
    sh::become_child(bench.args(args).env("PATH", sh::search_path()))
}
