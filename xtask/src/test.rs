//! `cargo xtask test`: all that must hold before a change goes in, the quick checks first.
use std::ffi::OsString;

use anyhow::Result;

use crate::{bpf, build, firmware, setup, sh, size};

/// On the host gateway-ebpf is an empty binary called `gateway` like the real one, and would
/// overwrite it. The proxy needs an allocator and is off for nodes.
const ALL: [&str; 5] =
    ["--workspace", "--exclude", "gateway-ebpf", "--features", "gateway-node/proxy"];

pub(crate) fn run(args: &[OsString]) -> Result<()> {
    let toolchain = setup::toolchain()?;
    setup::environment()?;
    bpf::build(&toolchain)?;
    firmware::build(&setup::arm()?)?;
    if args.is_empty() {
        format()?;
        lint()?;
        bpf::lint(&toolchain)?;
        document()?;
    }
    programs()?;
    test(args)
}

/// The end-to-end tests run the programs as users do.
fn programs() -> Result<()> {
    sh::run(sh::cargo().args(["build", "--release", "-p", "gateway-user"]))?;
    build::node()
}

fn format() -> Result<()> {
    sh::run(sh::cargo().args(["fmt", "--all", "--check"]))
}

fn lint() -> Result<()> {
    sh::run(sh::cargo().args(
        "clippy --workspace --all-targets --features gateway-node/proxy -- -D warnings".split(' '),
    ))
}

fn document() -> Result<()> {
    let mut doc = sh::cargo();
    doc.arg("doc").args(ALL).arg("--no-deps").env("RUSTDOCFLAGS", "-D warnings");
    sh::run(&mut doc)
}

fn test(args: &[OsString]) -> Result<()> {
    let mut test = sh::cargo();
    sh::with_root_runner(&mut test).arg("test");
    if !names_packages(args) {
        test.args(ALL);
    }
    test.args(args).env("PATH", size::path_with_emulator()?);
    // Tests compare what programs print.
    test.env("RUST_BACKTRACE", "0").env("NO_COLOR", "1");
    sh::run(&mut test)
}

/// Whether the arguments for cargo, which end at `--`, choose packages themselves.
fn names_packages(args: &[OsString]) -> bool {
    let mut cargos = args.iter().map(|arg| arg.to_string_lossy()).take_while(|arg| arg != "--");
    cargos.any(|arg| arg.starts_with("--package") || arg.starts_with("-p"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_are_named_before_the_dashes_only() {
        let names = |line: &str| {
            let args: Vec<_> = line.split(' ').map(OsString::from).collect();
            names_packages(&args)
        };
        assert!(names("-p gateway-common"));
        assert!(names("--package=tests --test verifier"));
        assert!(!names("--test verifier -- -p"));
    }
}
