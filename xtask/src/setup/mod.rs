//! What the machine needs, found or installed; every step is fast when nothing is missing.
//!
//! | step            | for                    | gives                                   |
//! |-----------------|------------------------|-----------------------------------------|
//! | [`toolchain`]   | every build            | a rustc for BPF and a linker to match it |
//! | [`environment`] | `run`, `test`, `bench` | programs the lab and tests start, bpffs |
use std::path::PathBuf;

use anyhow::Result;

pub(crate) use rustc::Rustc;

mod apt;
mod bpffs;
mod linker;
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
    environment()?;
    println!("tools   {}", tools::names());
    println!("bpffs   {}", bpffs::MOUNT_POINT);
    Ok(())
}
