//! What the machine needs, found or installed; every step is fast when nothing is missing.
//!
//! | step            | for                    | gives                                   |
//! |-----------------|------------------------|-----------------------------------------|
//! | [`toolchain`]   | every build            | a rustc for BPF and a linker to match it |
//! | [`environment`] | `run`, `test`, `bench` | programs the lab and tests start, bpffs |
use std::env;
use std::path::PathBuf;

use anyhow::{Context as _, Result};

pub(crate) use rustc::Rustc;

mod apt;
mod bpffs;
mod linker;
pub(crate) mod python;
mod rustc;
mod tools;

/// What compiles and links for BPF.
pub(crate) struct Toolchain {
    pub(crate) rustc: Rustc,
    pub(crate) linker: PathBuf,
}

pub(crate) fn toolchain() -> Result<Toolchain> {
    let rustc = rustc::find_or_install()?;
    let linker = linker::find_or_build(&rustc)?;
    Ok(Toolchain { rustc, linker })
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

/// Where the user keeps what can be made again.
fn cache() -> Result<PathBuf> {
    let folder = |name| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    folder("XDG_CACHE_HOME")
        .or_else(|| folder("HOME").map(|home| home.join(".cache")))
        .context("nowhere to keep what is made once: set HOME or XDG_CACHE_HOME")
}

/// `cargo xtask setup`: all steps, and what they found.
pub(crate) fn report() -> Result<()> {
    let Toolchain { rustc, linker } = toolchain()?;
    println!("rustc   {} {} (LLVM {})", rustc.release, rustc.path.display(), rustc.llvm);
    println!("linker  {}", linker.display());
    environment()?;
    println!("tools   {}", tools::names());
    println!("python  {}", python::programs().unwrap_or_default().display());
    println!("bpffs   {}", bpffs::MOUNT_POINT);
    Ok(())
}
