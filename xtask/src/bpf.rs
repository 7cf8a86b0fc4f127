//! The BPF programs: a cargo of their own, and the only place with their target, linker and flags.
//!
//! A stable rustc will do: `RUSTC_BOOTSTRAP=1`, here only, lets it build `core` from source. What
//! comes out is copied to target/bpf, from where gateway-user's build.rs and the benchmark take it.
use std::env::consts::ARCH;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::setup::Toolchain;
use crate::sh;

const PACKAGE: &str = "gateway-ebpf";

#[cfg(target_endian = "big")]
const TARGET: &str = "bpfeb-unknown-none";
#[cfg(target_endian = "little")]
const TARGET: &str = "bpfel-unknown-none";

/// Always there, and there once it is written.
const PROGRAM: &str = "gateway";
const OPTIONAL_PROGRAMS: [&str; 2] = ["bench", "parity"];

const ADVICE: &str =
    "install it: on Debian `apt-get install rust-web-clippy`, else `rustup component add clippy`";

/// Variables of the outer cargo or its user that mean the host, not BPF.
pub(crate) const HOST_ONLY: [&str; 6] = [
    "CARGO_BUILD_TARGET",
    "CARGO_TARGET_DIR",
    "RUSTC_WORKSPACE_WRAPPER",
    "RUSTC_WRAPPER",
    "RUSTFLAGS",
    "RUSTUP_TOOLCHAIN",
];

/// Builds all programs; target/bpf changes only where their bytes do.
pub(crate) fn build(toolchain: &Toolchain) -> Result<()> {
    let mut cargo = sh::cargo();
    sh::run(configure(&mut cargo, "build", toolchain))?;
    let built = target_dir().join(TARGET).join("release");
    let output = sh::root().join("target/bpf");
    fs::create_dir_all(&output).with_context(|| format!("cannot make {}", output.display()))?;
    copy_changed(&built.join(PROGRAM), &output.join(PROGRAM))?;
    for name in OPTIONAL_PROGRAMS {
        if built.join(name).exists() {
            copy_changed(&built.join(name), &output.join(name))?;
        }
    }
    Ok(())
}

/// Runs the BPF compiler's own clippy, as no other can read the `core` it built.
pub(crate) fn lint(toolchain: &Toolchain) -> Result<()> {
    let clippy = toolchain.rustc.sysroot.join("bin/cargo-clippy");
    if !clippy.exists() {
        let rustc = toolchain.rustc.path.display();
        eprintln!("xtask: skipped clippy for BPF: {rustc} has none beside it, {ADVICE}");
        return Ok(());
    }
    let mut command = Command::new(clippy);
    command.current_dir(sh::root());
    configure(&mut command, "clippy", toolchain).args(["--", "-D", "warnings"]);
    sh::run(&mut command)
}

/// Not the outer cargo's, which holds the lock on its own.
fn target_dir() -> PathBuf {
    sh::root().join("target/bpf-build")
}

fn configure<'a>(cargo: &'a mut Command, verb: &str, toolchain: &Toolchain) -> &'a mut Command {
    cargo.args([verb, "--release", "--package", PACKAGE, "--bins"]);
    cargo.args(["-Zbuild-std=core", "--target", TARGET]);
    cargo.arg("--target-dir").arg(target_dir());
    if sh::root().join("Cargo.lock").exists() {
        cargo.arg("--locked");
    }
    for name in HOST_ONLY {
        cargo.env_remove(name);
    }
    cargo.env("RUSTC", &toolchain.rustc.path);
    cargo.env("RUSTC_BOOTSTRAP", "1");
    let flags = flags(&toolchain.linker).join("\x1f");
    cargo.env("CARGO_ENCODED_RUSTFLAGS", flags)
}

fn flags(linker: &Path) -> [String; 5] {
    [
        // Atomics that return the old value; Linux runs it from 5.12 on.
        "-Ctarget-cpu=v3".to_owned(),
        // BTF is made from debug information, of `core` too.
        "-Cdebuginfo=2".to_owned(),
        "-Clink-arg=--btf".to_owned(),
        format!("-Clinker={}", linker.display()),
        // The kernel's architecture: registers and helpers of aya-ebpf differ with it.
        format!("--cfg=bpf_target_arch=\"{ARCH}\""),
    ]
}

/// Leaves a file that is the same alone, so that what embeds it is not built again.
pub(crate) fn copy_changed(from: &Path, to: &Path) -> Result<()> {
    let new = fs::read(from).with_context(|| format!("cannot read {}", from.display()))?;
    if fs::read(to).is_ok_and(|old| old == new) {
        return Ok(());
    }
    fs::write(to, new).with_context(|| format!("cannot write {}", to.display()))
}
