//! bpf-linker, built once for each rustc and kept in the user's cache.
//!
//! It reads rustc's bitcode, so it is linked against the very libLLVM that rustc runs on. No
//! package with LLVM's headers is needed for that, only a folder in which `-lLLVM` finds it.
use core::ops::RangeInclusive;
use std::env;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

use super::Rustc;
use crate::sh;

const VERSION: &str = "0.13.0";

/// The major versions of LLVM that [`VERSION`] has a feature for.
pub(crate) const LLVM: RangeInclusive<u32> = 21..=23;

const OVERRIDE: &str = "BPF_LINKER";

pub(crate) fn find_or_build(rustc: &Rustc) -> Result<PathBuf> {
    if let Some(chosen) = env::var_os(OVERRIDE).map(PathBuf::from) {
        if works(&chosen) {
            return Ok(chosen);
        }
        bail!("`{} --version` fails: unset ${OVERRIDE}, or name another", chosen.display());
    }
    let folder = folder(rustc)?;
    let linker = folder.join("bin/bpf-linker");
    if !works(&linker) {
        build(rustc, &folder)?;
    }
    if !works(&linker) {
        bail!("{} does not run: remove {} and try again", linker.display(), folder.display());
    }
    Ok(linker)
}

/// Whether it starts: its libLLVM may have been removed or replaced since it was built.
fn works(linker: &Path) -> bool {
    sh::is_program(linker) && sh::output(Command::new(linker).arg("--version")).is_ok()
}

/// A name for all that the linker depends on, so that no two rustcs share one.
fn folder(rustc: &Rustc) -> Result<PathBuf> {
    let name = format!("bpf-linker-{VERSION}-rustc-{}-llvm{}", rustc.release, rustc.llvm);
    Ok(super::cache()?.join(name))
}

fn build(rustc: &Rustc, folder: &Path) -> Result<()> {
    let library = libllvm(rustc)?;
    let prefix = folder.join("llvm");
    link_library(&library, &prefix.join("lib"))?;
    eprintln!("xtask: building bpf-linker for {} (once, a minute or two)", library.display());
    let mut install = sh::cargo();
    install.args("install --quiet --locked --force bpf-linker --version".split(' '));
    install.arg(VERSION);
    install.args(["--no-default-features", "--features", &format!("llvm-{}", rustc.llvm)]);
    install.arg("--root").arg(folder).stdin(Stdio::null());
    install.env("LLVM_PREFIX", &prefix).env_remove("CARGO_TARGET_DIR");
    for ours in ["RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "CARGO_BUILD_TARGET"] {
        install.env_remove(ours);
    }
    sh::run(&mut install)
}

/// The libLLVM that this rustc loads, from `ldd`'s lines `NAME => PATH (ADDRESS)`.
fn libllvm(rustc: &Rustc) -> Result<PathBuf> {
    let binary = rustc.sysroot.join("bin/rustc");
    let lines = sh::output(Command::new("ldd").arg(&binary).env_remove("LD_LIBRARY_PATH"))?;
    find_libllvm(&lines).with_context(|| {
        format!("{} loads no libLLVM: name a bpf-linker in ${OVERRIDE}", binary.display())
    })
}

fn find_libllvm(lines: &str) -> Option<PathBuf> {
    let line = lines.lines().map(str::trim).find(|line| line.starts_with("libLLVM"))?;
    let (path, _address) = line.split_once(" => ")?.1.rsplit_once(" (")?;
    Some(path.into())
}

/// Links the library under the name the compiler asks for and the name the loader asks for.
fn link_library(library: &Path, folder: &Path) -> Result<()> {
    let soname = library.file_name().context("libLLVM has no file name")?;
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    for name in ["libLLVM.so".as_ref(), soname] {
        let link = folder.join(name);
        let _absent = fs::remove_file(&link);
        symlink(library, &link).with_context(|| format!("cannot link {}", link.display()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libllvm_is_found_among_the_others() {
        let lines = "\tlinux-vdso.so.1 (0x1)\n\
                     \tlibLLVM.so.22.1 => /usr/lib/libLLVM.so.22.1 (0x00007f)\n\
                     \tlibc.so.6 => /lib/libc.so.6 (0x00007e)\n";
        assert_eq!(find_libllvm(lines), Some("/usr/lib/libLLVM.so.22.1".into()));
        assert_eq!(find_libllvm("\tlibLLVM.so.22.1 => not found\n"), None);
    }
}
