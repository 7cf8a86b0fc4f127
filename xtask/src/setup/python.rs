//! Testers from PyPI, in a virtual environment of their own in the user's cache.
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result};

use super::apt;
use crate::sh;

/// Every package with its version, for pip.
const REQUIREMENTS: &str = "tests/requirements.txt";
/// A copy in the environment says what is in it.
const DONE: &str = "installed.txt";
/// Debian keeps the module venv in a package of its own.
const PACKAGE: &str = "python3-venv";

pub(crate) fn find_or_install() -> Result<()> {
    let wanted = fs::read_to_string(sh::root().join(REQUIREMENTS))
        .with_context(|| format!("cannot read {REQUIREMENTS}"))?;
    let folder = folder()?;
    if fs::read_to_string(folder.join(DONE)).is_ok_and(|found| found == wanted) {
        return Ok(());
    }
    eprintln!("xtask: installing {REQUIREMENTS} into {} (once)", folder.display());
    make(&folder)?;
    let mut pip = Command::new(folder.join("bin/python"));
    pip.args("-m pip install --quiet --disable-pip-version-check --requirement".split(' '));
    pip.arg(sh::root().join(REQUIREMENTS)).stdin(Stdio::null());
    sh::run(&mut pip)?;
    fs::write(folder.join(DONE), wanted)
        .with_context(|| format!("cannot write {}", folder.join(DONE).display()))
}

/// Where the programs are.
pub(crate) fn programs() -> Option<PathBuf> {
    folder().ok().map(|folder| folder.join("bin"))
}

fn folder() -> Result<PathBuf> {
    Ok(super::cache()?.join("python"))
}

/// A new environment in the place of the old one.
fn make(folder: &Path) -> Result<()> {
    let venv = || {
        let mut venv = Command::new("python3");
        venv.args(["-m", "venv", "--clear"]).arg(folder).stdin(Stdio::null());
        sh::run(&mut venv)
    };
    match venv() {
        Err(error) if apt::usable() => {
            eprintln!("xtask: {error:#}: installing {PACKAGE}");
            apt::install(&[PACKAGE])?;
            venv()
        }
        result => result,
    }
    .with_context(|| format!("no virtual environment: on Debian it is in the package {PACKAGE}"))
}
