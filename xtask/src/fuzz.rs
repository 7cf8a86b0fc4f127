//! `cargo xtask fuzz`: one target of tests/fuzz for a while. Only this needs a nightly compiler.
use core::num::NonZeroU32;
use std::{
    fs,
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result};

use crate::{bpf, setup, sh};

const CARGO_FUZZ: &str = "0.13.2";

#[derive(clap::Args)]
pub(crate) struct Args {
    /// A file of tests/fuzz/fuzz_targets, without `.rs`
    target: String,
    /// How long to look for a crash
    #[arg(long, default_value = "30", value_name = "N")]
    seconds: NonZeroU32,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    ensure_nightly()?;
    ensure_cargo_fuzz()?;
    ensure_object()?;
    let limit = format!("-max_total_time={}", args.seconds);
    // what is found goes into the first folder; the second, the committed corpus, is only read
    let found = sh::root().join("target/fuzz").join(&args.target);
    fs::create_dir_all(&found)?;
    let corpus = format!("corpus/{}", args.target);
    let mut fuzz = nightly_cargo();
    fuzz.args(["fuzz", "run", &args.target]).arg(found).args([&corpus, "--", &limit]);
    fuzz.current_dir(sh::root().join("tests/fuzz"));
    sh::become_child(fuzz.env_remove("CARGO_TARGET_DIR"))
}

/// `cargo +nightly`, also where PATH has a cargo that is not rustup's.
fn nightly_cargo() -> Command {
    let mut command = Command::new("rustup");
    command.args(["run", "nightly", "cargo"]);
    command
}

fn ensure_nightly() -> Result<()> {
    if sh::output(nightly_cargo().arg("--version")).is_ok() {
        return Ok(());
    }
    let mut install = Command::new("rustup");
    install.args(["toolchain", "install", "nightly", "--profile", "minimal"]);
    sh::run(install.stdin(Stdio::null()))
        .context("no nightly compiler, which fuzzing needs: install rustup and try again")
}

/// The agent's library, of which the mapper is a part, has the programs inside.
fn ensure_object() -> Result<()> {
    if sh::root().join("target/bpf/gateway").exists() {
        return Ok(());
    }
    bpf::build(&setup::toolchain()?)
}

fn ensure_cargo_fuzz() -> Result<()> {
    if sh::output(nightly_cargo().args(["fuzz", "--version"])).is_ok() {
        return Ok(());
    }
    let mut install = sh::cargo();
    install.args(["install", "--locked", "cargo-fuzz", "--version", CARGO_FUZZ]);
    install.env_remove("CARGO_TARGET_DIR");
    sh::run(install.stdin(Stdio::null()))
}
