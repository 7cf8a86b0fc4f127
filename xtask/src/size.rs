//! `cargo xtask size`: what the node's engine needs of a Cortex-M3.
use std::env;
use std::ffi::OsString;

use anyhow::{Context as _, Result};

use crate::{bpf, firmware, setup, sh};

/// With `--still`, only what can be read from the programs; else they run in the lab.
pub(crate) fn run(args: &[OsString]) -> Result<()> {
    firmware::build(&setup::arm()?)?;
    let still = args.iter().any(|arg| arg == "--still");
    let path = if still { sh::search_path() } else { lab()? };
    let mut size = sh::cargo();
    sh::with_root_runner(&mut size);
    size.args("run --quiet --release --package tests --bin size --".split(' ')).args(args);
    sh::become_child(size.env("PATH", path))
}

/// The router between client and node, and PATH for what plays them.
fn lab() -> Result<OsString> {
    bpf::build(&setup::toolchain()?)?;
    setup::environment()?;
    sh::run(sh::cargo().args(["build", "--release", "--package", "gateway-user"]))?;
    path_with_emulator()
}

/// PATH, with the emulator's folder where that is one of our own.
pub(crate) fn path_with_emulator() -> Result<OsString> {
    let emulator = setup::emulator()?;
    let path = sh::search_path();
    let folder = emulator.parent().map(Into::into);
    let folders = env::split_paths(&path).chain(folder);
    env::join_paths(folders).context("a folder in PATH has a colon in its name")
}
