//! A linker for Cortex-M: rustc's own where it has one, else the one of the GNU tools.
//!
//! Rustup's toolchains bring `rust-lld`; Debian's rustc, which may compile, does not, and the
//! workspace's toolchain lies beside it.
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use super::{Rustc, apt};
use crate::sh;

const GNU: &str = "arm-none-eabi-ld";
const GNU_PACKAGE: &str = "binutils-arm-none-eabi";

pub(crate) fn find_or_install(rustc: &Rustc) -> Result<PathBuf> {
    if let Some(linker) = find(rustc) {
        return Ok(linker);
    }
    if !apt::usable() {
        bail!("no linker for Cortex-M: {}", advice());
    }
    eprintln!("xtask: not here yet: {GNU}");
    apt::install(&[GNU_PACKAGE]).with_context(advice)?;
    find(rustc).with_context(|| format!("apt-get succeeded, but there is no {GNU}: {}", advice()))
}

fn find(rustc: &Rustc) -> Option<PathBuf> {
    let ours =
        sh::output(Command::new("rustc").args(["--print", "sysroot"]).current_dir(sh::root()));
    let sysroots = [Some(rustc.sysroot.clone()), ours.ok().map(PathBuf::from)];
    let lld = sysroots.into_iter().flatten().find_map(|sysroot| lld(&sysroot));
    lld.or_else(|| sh::find("ld.lld")).or_else(|| sh::find(GNU))
}

/// Where a rustc of any host keeps its copy of LLD.
fn lld(sysroot: &Path) -> Option<PathBuf> {
    let targets = sysroot.join("lib/rustlib").read_dir().ok()?.flatten();
    targets.map(|target| target.path().join("bin/rust-lld")).find(|file| sh::is_program(file))
}

fn advice() -> String {
    format!("install one, on Debian as root with `apt-get install {GNU_PACKAGE}`")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_sysroot_with_the_linker_gives_one() {
        assert_eq!(lld(Path::new("/no/such/sysroot")), None);
        assert_eq!(lld(sh::root()), None);
    }
}
