//! The node's programs for a Cortex-M3: a cargo of their own, as for the BPF programs.
//!
//! What comes out is copied to target/firmware, from where tests and `cargo xtask size` take it.
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::setup::Toolchain;
use crate::{bpf, sh};

const PACKAGE: &str = "gateway-firmware";
const TARGET: &str = "thumbv7m-none-eabi";
const PROFILE: &str = "firmware";
const PROGRAMS: [&str; 3] = ["firmware", "firmware-plain", "firmware-measure"];

/// The smallest AES and SHA-256 of RustCrypto; constant time, as all of theirs on this core.
const COMPACT: [&str; 3] =
    ["aes_compact", "sha2_backend=\"soft\"", "sha2_backend_soft=\"compact\""];

/// Builds all programs into target/firmware.
pub(crate) fn build(toolchain: &Toolchain) -> Result<()> {
    let mut cargo = sh::cargo();
    sh::run(configure(&mut cargo, toolchain))?;
    let built = target_dir().join(TARGET).join(PROFILE);
    let output = output();
    fs::create_dir_all(&output).with_context(|| format!("cannot make {}", output.display()))?;
    PROGRAMS.iter().try_for_each(|name| bpf::copy_changed(&built.join(name), &output.join(name)))
}

/// Where the programs are.
pub(crate) fn output() -> PathBuf {
    sh::root().join("target/firmware")
}

fn target_dir() -> PathBuf {
    sh::root().join("target/firmware-build")
}

fn configure<'a>(cargo: &'a mut Command, toolchain: &Toolchain) -> &'a mut Command {
    cargo.args(["build", "--profile", PROFILE, "--package", PACKAGE, "--bins"]);
    cargo.args(["-Zbuild-std=core", "--target", TARGET]);
    cargo.arg("--target-dir").arg(target_dir());
    if sh::root().join("Cargo.lock").exists() {
        cargo.arg("--locked");
    }
    for name in bpf::HOST_ONLY {
        cargo.env_remove(name);
    }
    cargo.env("RUSTC", &toolchain.rustc.path);
    cargo.env("RUSTC_BOOTSTRAP", "1");
    let linker = format!("-Clinker={}", toolchain.linker.display());
    let compact = COMPACT.map(|setting| format!("--cfg={setting}"));
    let flags: Vec<_> = core::iter::once(linker).chain(compact).collect();
    cargo.env("CARGO_ENCODED_RUSTFLAGS", flags.join("\x1f"))
}
