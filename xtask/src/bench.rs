//! `cargo xtask bench`: packets per second of each path, in the kernel's test-run mode.
use std::ffi::OsString;

use anyhow::Result;

use crate::{bpf, setup, sh};

pub(crate) fn run(args: &[OsString]) -> Result<()> {
    let toolchain = setup::toolchain()?;
    setup::environment()?;
    bpf::build(&toolchain)?;
    let mut bench = sh::cargo();
    sh::with_root_runner(&mut bench);
    bench.args("run --release --package tests --bin bench --".split(' '));
    sh::become_child(bench.args(args).env("PATH", sh::search_path()))
}
