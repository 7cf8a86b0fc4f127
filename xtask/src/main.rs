//! `cargo xtask COMMAND`: everything this repository can do, from an empty machine on.
//!
//! A command makes sure of what it needs first ([`setup`]), so none has to be run before another.
use std::ffi::OsString;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

mod bench;
mod bpf;
mod build;
mod dist;
mod firmware;
mod fuzz;
mod run;
mod setup;
mod sh;
mod size;
mod test;

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Sets up, builds, runs and tests the gateway")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Find or install compilers, linker and tools; mount bpffs
    Setup,
    /// Build the BPF programs into target/bpf
    BuildEbpf,
    /// Build the node's programs for a Cortex-M3 into target/firmware
    Firmware,
    /// Measure the node on a Cortex-M3: flash, RAM and instructions beside their targets
    Size(Rest),
    /// Build the BPF programs and the gateway, optimised
    Build,
    /// Run the gateway on real interfaces (--wan, --lln or --config), else in the lab
    Run(Rest),
    /// Build, then run any command of the gateway
    Gateway(Rest),
    /// Run all checks and tests; with arguments, only `cargo test` with them
    Test(Rest),
    /// Run what CI runs: `test` without arguments
    Ci,
    /// Measure
    Bench(Rest),
    /// Fuzz one target of tests/fuzz with the nightly compiler
    Fuzz(fuzz::Args),
    /// Collect binary, man pages and shell completions in target/dist
    Dist,
}

/// Arguments for the program that a command starts, with or without `--` before them.
#[derive(clap::Args)]
struct Rest {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGS")]
    args: Vec<OsString>,
}

impl Command {
    fn run(self) -> Result<()> {
        match self {
            Self::Setup => setup::report(),
            Self::BuildEbpf => bpf::build(&setup::toolchain()?),
            Self::Firmware => firmware::build(&setup::arm()?),
            Self::Size(rest) => size::run(&rest.args),
            Self::Build => build::run(),
            Self::Run(rest) => run::run(&rest.args),
            Self::Gateway(rest) => run::gateway(&rest.args),
            Self::Test(rest) => test::run(&rest.args),
            Self::Ci => test::run(&[]),
            Self::Bench(rest) => bench::run(&rest.args),
            Self::Fuzz(args) => fuzz::run(&args),
            Self::Dist => dist::run(),
        }
    }
}

fn main() -> ExitCode {
    match Cli::parse().command.run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: error: {error:#}");
            sh::exit_code(&error)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rest(line: &[&str]) -> Vec<OsString> {
        match Cli::try_parse_from(["xtask"].iter().chain(line)).map(|cli| cli.command) {
            Ok(Command::Run(rest) | Command::Test(rest)) => rest.args,
            Ok(_) => panic!("{line:?} is another command"),
            Err(error) => panic!("{error}"),
        }
    }

    #[test]
    fn arguments_pass_with_and_without_the_dashes() {
        assert_eq!(rest(&["run", "--for", "20s"]), ["--for", "20s"]);
        assert_eq!(rest(&["run", "--", "--for", "20s"]), ["--for", "20s"]);
        assert_eq!(rest(&["run"]), [""; 0]);
    }

    #[test]
    fn dashes_after_the_first_pair_belong_to_the_child() {
        let line = ["test", "--", "--test", "verifier", "--", "--nocapture"];
        assert_eq!(rest(&line), ["--test", "verifier", "--", "--nocapture"]);
    }
}
