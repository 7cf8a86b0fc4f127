//! Debian packages: installed without questions, and only by root.
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Once;

use anyhow::{Context as _, Result};

use crate::sh;

/// Another apt may hold the lock, as on a machine that has just started.
const LOCK_TIMEOUT: &str = "DPkg::Lock::Timeout=120";

pub(crate) fn usable() -> bool {
    sh::is_root() && sh::find("apt-get").is_some()
}

/// Unpacks a package and what it needs beside the installed ones into a folder; installs nothing.
pub(crate) fn unpack(package: &str, folder: &Path) -> Result<()> {
    let archives = folder.join("archives");
    fs::create_dir_all(&archives).with_context(|| format!("cannot make {}", archives.display()))?;
    let plan = "install --simulate --no-install-recommends";
    let plan = sh::output(Command::new("apt-get").args(plan.split(' ')).arg(package))?;
    let mut download = Command::new("apt-get");
    download.args(["download", "-qq"]).args(chosen(&plan)).current_dir(&archives);
    sh::run(download.stdin(Stdio::null()))?;
    for archive in fs::read_dir(&archives)? {
        sh::quiet(Command::new("dpkg-deb").arg("--extract").arg(archive?.path()).arg(folder))?;
    }
    Ok(fs::remove_dir_all(&archives)?)
}

/// Installs all packages in one go, and never removes one for it.
pub(crate) fn install(packages: &[&str]) -> Result<()> {
    static UPDATE: Once = Once::new();
    UPDATE.call_once(|| {
        if let Err(error) = sh::run(apt().args(["update", "-qq"])) {
            eprintln!("xtask: {error:#}: going on with the package lists at hand");
        }
    });
    let install = "install -y -qq --no-install-recommends --no-remove";
    sh::run(apt().args(install.split(' ')).args(packages))
}

fn apt() -> Command {
    let mut command = Command::new("apt-get");
    command.args(["-o", LOCK_TIMEOUT]).env("DEBIAN_FRONTEND", "noninteractive");
    command.stdin(Stdio::null()).stdout(Stdio::null());
    command
}

/// Packages and versions in apt's plan, whose lines are `Inst NAME [OLD] (VERSION SUITE ...)`.
fn chosen(plan: &str) -> Vec<String> {
    let lines = plan.lines().filter_map(|line| line.strip_prefix("Inst "));
    let package = |line: &str| {
        let name = line.split(' ').next()?;
        let version = line.split_once('(')?.1.split(' ').next()?;
        Some(format!("{name}={version}"))
    };
    lines.filter_map(package).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plan_names_packages_and_versions() {
        let plan = "Reading package lists...\nRemv old [1]\nInst a (1:2-3 Debian:12 [amd64])\n\
                    Inst b [1] (2 Debian:12 [all])\nConf a (1:2-3 Debian:12 [amd64])\n";
        assert_eq!(chosen(plan), ["a=1:2-3", "b=2"]);
    }
}
