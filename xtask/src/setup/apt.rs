//! Debian packages: installed without questions, and only by root.
use std::process::{Command, Stdio};
use std::sync::Once;

use anyhow::Result;

use crate::sh;

/// Another apt may hold the lock, as on a machine that has just started.
const LOCK_TIMEOUT: &str = "DPkg::Lock::Timeout=120";

pub(crate) fn usable() -> bool {
    sh::is_root() && sh::find("apt-get").is_some()
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
