//! What a test needs from the machine; whatever is missing is a failure, never a silent skip.

use std::{env, os::unix::fs::PermissionsExt, path::PathBuf};

/// Tools without which no lab can be built.
pub const LAB: &[&str] = &["ip", "nsenter", "ethtool", "ping", "nft", "ss"];

/// Panics unless the process is root and every tool of [`LAB`] and `tools` is in `PATH`.
#[track_caller]
pub fn root_and_tools(tools: &[&str]) {
    assert!(nix::unistd::geteuid().is_root(), "this test makes network namespaces: run it as root");
    let missing: Vec<_> = LAB.iter().chain(tools).filter(|tool| find(tool).is_none()).collect();
    assert!(missing.is_empty(), "not in PATH, install them first: {missing:?}");
}

/// Path of the executable `tool`, as a shell would find it.
pub fn find(tool: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path).map(|folder| folder.join(tool)).find(|file| {
        file.metadata().is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0)
    })
}
