//! The rustc for BPF: any that has its library source, because nobody ships `core` for BPF built.
//!
//! Looked for in `$BPF_RUSTC` (then nowhere else), rustup's toolchains and Debian's packages.
use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

use super::{apt, linker};
use crate::sh;

/// The workspace's `rust-version`, which cargo holds every rustc to.
const NEEDED: &str = env!("CARGO_PKG_RUST_VERSION");

const OVERRIDE: &str = "BPF_RUSTC";

/// The toolchain that is installed from rustup where Debian's packages cannot be.
const RUSTUP_TOOLCHAIN: &str = "1.95.0";

/// Rustup toolchains that may have their source already, the best known first.
const RUSTUP_CANDIDATES: [&str; 3] = [RUSTUP_TOOLCHAIN, "stable", "nightly"];

/// Compiler, source and lints of one version; from Debian's security archive, for its browsers.
const DEBIAN_PACKAGES: [&str; 3] = ["rustc-web", "rust-web-src", "rust-web-clippy"];

const DEBIAN_RUSTC: &str = "/usr/bin/rustc";

/// Below the sysroot, if the library source is there.
const CORE_SOURCE: &str = "lib/rustlib/src/rust/library/core/Cargo.toml";

/// A rustc that can build for BPF.
pub(crate) struct Rustc {
    pub(crate) path: PathBuf,
    pub(crate) sysroot: PathBuf,
    pub(crate) release: String,
    /// LLVM's major version: bitcode is only read by a linker of the same one.
    pub(crate) llvm: u32,
}

pub(crate) fn find_or_install() -> Result<Rustc> {
    if let Some(path) = env::var_os(OVERRIDE) {
        return inspect(Path::new(&path))
            .with_context(|| format!("${OVERRIDE} is unfit: unset it, or name another rustc"));
    }
    match find() {
        Ok(rustc) => return Ok(rustc),
        Err(error) => eprintln!("xtask: {error:#}"),
    }
    install()?;
    find()
}

/// The first fit candidate, or what is wrong with each of them.
fn find() -> Result<Rustc> {
    let rustup = RUSTUP_CANDIDATES.into_iter().filter_map(rustup_rustc);
    let mut unfit = Vec::new();
    for path in rustup.chain([DEBIAN_RUSTC.into()]) {
        match inspect(&path) {
            Ok(rustc) => return Ok(rustc),
            Err(error) => unfit.push(format!("{error:#}")),
        }
    }
    bail!("no rustc fit for BPF: {}; name one in ${OVERRIDE}", unfit.join("; "))
}

/// Where rustup keeps this toolchain's rustc, if it is installed.
fn rustup_rustc(toolchain: &str) -> Option<PathBuf> {
    let mut which = Command::new("rustup");
    which.args(["which", "rustc", "--toolchain", toolchain]);
    which.env("RUSTUP_AUTO_INSTALL", "0");
    sh::output(&mut which).ok().map(PathBuf::from)
}

fn inspect(path: &Path) -> Result<Rustc> {
    if !sh::is_program(path) {
        bail!("{} is not there", path.display());
    }
    let sysroot = sh::output(Command::new(path).args(["--print", "sysroot"]))?;
    let sysroot = PathBuf::from(sysroot);
    if !sysroot.join(CORE_SOURCE).exists() {
        bail!("{} has no library source", path.display());
    }
    let version = sh::output(Command::new(path).arg("-vV"))?;
    let (release, llvm) = parse(&version)
        .with_context(|| format!("`{} -vV` names no release or LLVM", path.display()))?;
    check(&release, llvm).with_context(|| format!("{} is unfit", path.display()))?;
    Ok(Rustc { path: path.to_owned(), sysroot, release, llvm })
}

/// Release and LLVM's major version out of `rustc -vV`.
fn parse(version: &str) -> Option<(String, u32)> {
    let field = |name| version.lines().find_map(|line| line.strip_prefix(name));
    let llvm = field("LLVM version: ")?.split('.').next()?.parse().ok()?;
    Some((field("release: ")?.to_owned(), llvm))
}

fn check(release: &str, llvm: u32) -> Result<()> {
    if major_minor(release) < major_minor(NEEDED) {
        bail!("it is {release}, older than the {NEEDED} that Cargo.toml asks for");
    }
    if !linker::LLVM.contains(&llvm) {
        bail!("it has LLVM {llvm}, and bpf-linker can do {:?}", linker::LLVM);
    }
    Ok(())
}

fn major_minor(release: &str) -> Option<(u32, u32)> {
    let mut parts = release.split('.').map(|part| part.parse().ok());
    Some((parts.next()??, parts.next()??))
}

/// Debian's packages first: they are the same everywhere, and need no server but Debian's.
fn install() -> Result<()> {
    if apt::usable() {
        match apt::install(&DEBIAN_PACKAGES) {
            Ok(()) => return Ok(()),
            Err(error) => eprintln!("xtask: {error:#}: trying rustup"),
        }
    }
    let mut rustup = Command::new("rustup");
    rustup.args(["toolchain", "install", RUSTUP_TOOLCHAIN]);
    rustup.args("--profile minimal --component rust-src --component clippy".split(' '));
    sh::run(rustup.stdin(Stdio::null())).with_context(|| {
        format!(
            "no rustc with its library source: install one, on Debian as root with \
             `apt-get install {}`, or name one in ${OVERRIDE}",
            DEBIAN_PACKAGES.join(" ")
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_is_read_from_rustcs_own_words() {
        let text = "rustc 1.96.0 (x)\nbinary: rustc\nrelease: 1.96.0\nLLVM version: 22.1.8\n";
        assert_eq!(parse(text), Some(("1.96.0".to_owned(), 22)));
        assert_eq!(parse("release: 1.96.0\n"), None);
    }

    #[test]
    fn releases_compare_as_numbers() {
        assert!(major_minor("1.100.0-nightly") > major_minor("1.95"));
        assert!(major_minor("1.63.0") < major_minor("1.95"));
        assert!(major_minor("unknown") < major_minor("1.95"));
    }
}
