//! QEMU for Cortex-M, which runs the node's firmware.
//!
//! Its package cannot be installed beside one of QEMU's from another release, and nothing of the
//! machine's owner is removed for it: then the packages are unpacked in the user's cache instead.
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use super::{apt, cache};
use crate::sh;

pub(crate) const PROGRAM: &str = "qemu-system-arm";

/// The emulator; its folder belongs into the PATH of what starts it.
pub(crate) fn find_or_install() -> Result<PathBuf> {
    let unpacked = cache()?.join(PROGRAM);
    if let Some(program) = find(&unpacked) {
        return Ok(program);
    }
    if !apt::usable() {
        bail!("missing program: {PROGRAM}; install it, on Debian as root with {}", advice());
    }
    eprintln!("xtask: not here yet: {PROGRAM}");
    if let Err(error) = apt::install(&[PROGRAM]) {
        eprintln!("xtask: {error:#}: unpacking it in {}", unpacked.display());
        unpack(&unpacked)?;
    }
    find(&unpacked).with_context(|| format!("{PROGRAM} does not run: install it with {}", advice()))
}

fn advice() -> String {
    format!("`apt-get install --no-install-recommends {PROGRAM}`")
}

/// The system's, else ours, if it starts.
fn find(unpacked: &Path) -> Option<PathBuf> {
    let ours = unpacked.join("bin").join(PROGRAM);
    let candidates = sh::find(PROGRAM).into_iter().chain([ours]);
    let starts = |program: &PathBuf| {
        sh::is_program(program) && sh::output(Command::new(program).arg("--version")).is_ok()
    };
    candidates.into_iter().find(starts)
}

/// Unpacks the package, and what it needs and the system lacks, behind a script that starts it.
fn unpack(folder: &Path) -> Result<()> {
    let (root, bin) = (folder.join("root"), folder.join("bin"));
    for folder in [&root, &bin] {
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    }
    apt::unpack(PROGRAM, &root)?;
    let libraries = sh::output(Command::new("dpkg-architecture").arg("-qDEB_HOST_MULTIARCH"))
        .unwrap_or_else(|_| format!("{}-linux-gnu", std::env::consts::ARCH));
    let script = bin.join(PROGRAM);
    fs::write(&script, starter(&root, &libraries))
        .and_then(|()| fs::set_permissions(&script, fs::Permissions::from_mode(0o755)))
        .with_context(|| format!("cannot write {}", script.display()))
}

fn starter(root: &Path, architecture: &str) -> String {
    let root = root.display();
    format!(
        "#!/bin/sh\n\
         LD_LIBRARY_PATH='{root}/usr/lib/{architecture}:{root}/lib/{architecture}' \
         exec '{root}/usr/bin/{PROGRAM}' -L '{root}/usr/share/qemu' \"$@\"\n"
    )
}
