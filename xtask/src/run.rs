//! `cargo xtask run` and `gateway`: build, then become the program, so that Ctrl-C and the exit
//! status are its own.
use std::ffi::{OsStr, OsString};
use std::process::Command;

use anyhow::Result;

use crate::{build, setup, sh};

/// Options that name real interfaces.
const REAL: [&str; 3] = ["--wan", "--lln", "--config"];

/// The gateway on real interfaces if the arguments name some, else in the lab.
pub(crate) fn run(args: &[OsString]) -> Result<()> {
    let real = args.iter().any(|arg| is_real(arg));
    build::run()?;
    if real {
        setup::bpffs()?;
        return sh::become_child(sh::as_root(build::binary("gateway")).arg("run").args(args));
    }
    setup::environment()?;
    build::lab()?;
    let mut lab = sh::as_root(build::binary("lab"));
    sh::become_child(lab.args(args).env("PATH", sh::search_path()))
}

/// Any command of the gateway, as whoever we are.
pub(crate) fn gateway(args: &[OsString]) -> Result<()> {
    build::run()?;
    sh::become_child(Command::new(build::binary("gateway")).args(args))
}

/// `--wan` in `--wan eth0` and in `--wan=eth0`.
fn is_real(arg: &OsStr) -> bool {
    let arg = arg.to_string_lossy();
    let name = arg.split('=').next().unwrap_or_default();
    REAL.contains(&name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interfaces_are_seen_in_both_spellings() {
        for arg in ["--wan", "--wan=eth0", "--lln", "--config=a=b"] {
            assert!(is_real(arg.as_ref()), "{arg}");
        }
        for arg in ["--for", "wan", "--wander", "--for=--wan"] {
            assert!(!is_real(arg.as_ref()), "{arg}");
        }
    }
}
