//! What the machine needs, found or installed; every step is fast when nothing is missing.
//!
//! | step            | for                    | gives                                   |
//! |-----------------|------------------------|-----------------------------------------|
//! | [`toolchain`]   | every build            | a rustc for BPF and a linker to match it |
//! | [`environment`] | `run`, `test`, `bench` | programs the lab and tests start, bpffs |
//! | [`mod@arm`]     | `firmware`, `size`     | a rustc for Cortex-M and a linker for it |
//! | [`mod@emulator`]| `test`, `size`         | QEMU for Cortex-M                        |
use std::env;
use std::path::PathBuf;

use anyhow::{Context as _, Result};

pub(crate) use rustc::Rustc;

mod apt;
mod arm;
mod bpffs;
mod emulator;
mod linker;
pub(crate) mod python;
mod rustc;
mod tools;

/// What compiles and links for a target.
pub(crate) struct Toolchain {
    pub(crate) rustc: Rustc,
    pub(crate) linker: PathBuf,
}

pub(crate) fn toolchain() -> Result<Toolchain> {
    let rustc = rustc::find_or_install()?;
    let linker = linker::find_or_build(&rustc)?;
    Ok(Toolchain { rustc, linker })
}

/// What compiles and links for Cortex-M: the same rustc, and another linker.
pub(crate) fn arm() -> Result<Toolchain> {
    let rustc = rustc::find_or_install()?;
    let linker = arm::find_or_install(&rustc)?;
    Ok(Toolchain { rustc, linker })
}

/// QEMU for Cortex-M.
pub(crate) fn emulator() -> Result<PathBuf> {
    emulator::find_or_install()
}

pub(crate) fn environment() -> Result<()> {
    tools::find_or_install()?;
    python::find_or_install()?;
    bpffs()
}

/// For those who start nothing but the gateway.
pub(crate) fn bpffs() -> Result<()> {
    bpffs::mount()
}

/// `cargo xtask setup`: all steps, and what they found.
pub(crate) fn report() -> Result<()> {
    let Toolchain { rustc, linker } = toolchain()?;
    println!("rustc   {} {} (LLVM {})", rustc.release, rustc.path.display(), rustc.llvm);
    println!("linker  {}", linker.display());
    println!("arm     {}", arm()?.linker.display());
    println!("qemu    {}", emulator()?.display());
    environment()?;
    println!("tools   {}", tools::names());
    println!("python  {}", python::programs().unwrap_or_default().display());
    println!("bpffs   {}", bpffs::MOUNT_POINT);
    Ok(())
}

/// Where what is built or unpacked once is kept, for a new clone and after `cargo clean` too.
fn cache() -> Result<PathBuf> {
    let folder = |name| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let cache = folder("XDG_CACHE_HOME").or_else(|| folder("HOME").map(|home| home.join(".cache")));
    let cache = cache.context("nowhere to keep tools: set HOME or XDG_CACHE_HOME")?;
    Ok(cache.join("gateway-xtask"))
}
