//! A host as its owner finds it: a network, a file system and a shell to type into.
//!
//! It has what this machine has, but nothing of the gateway's: a copy of `/etc` without its folder,
//! an empty `/var/lib` and `/run`, a bpffs and host names of its own. What a test types there leaves
//! no trace elsewhere, and goes with the handle.

use std::{
    fs,
    net::IpAddr,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use tempfile::TempDir;

use super::{Child, Namespace, gateway::binary};

const SOON: Duration = Duration::from_secs(10);

/// Mounts over what is to be the machine's own, then keeps that alive.
const FILES: &str = "mount --bind \"$0/etc\" /etc && mount -t tmpfs lib /var/lib \
    && mount -t tmpfs run /run && mount -t bpf bpf /sys/fs/bpf && echo ready && exec sleep infinity";

/// What a shell does at its end.
const LAST: &str = "status=$?; kill $(jobs -p) 2>/dev/null || :; wait; exit $status";

/// A machine in a namespace.
#[derive(Debug)]
pub struct Machine<'a> {
    namespace: &'a Namespace,
    folder: TempDir,
    keeper: Child,
}

impl<'a> Machine<'a> {
    /// A machine that knows these hosts.
    pub fn new(namespace: &'a Namespace, hosts: &[(IpAddr, &str)]) -> Result<Self> {
        let folder = TempDir::with_prefix("gateway-machine")?;
        furnish(folder.path(), hosts)?;
        let mut command = namespace.command("unshare");
        command.args(["--mount", "sh", "-c", FILES]).arg(folder.path());
        let mut keeper = Child::spawn(command)?;
        keeper.wait_for_line("ready", SOON)?;
        Ok(Self { namespace, folder, keeper })
    }

    /// Where its shell starts.
    pub fn home(&self) -> PathBuf {
        self.folder.path().join("home")
    }

    /// Its `/etc/gateway`, as the test sees it.
    pub fn settings(&self) -> PathBuf {
        self.folder.path().join("etc/gateway")
    }

    /// A program on this machine.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net={}", self.namespace.path().display()));
        command.arg(format!("--mount=/proc/{}/ns/mnt", self.keeper.pid()));
        command.arg(format!("--wd={}", self.home().display())).arg(program);
        let path = std::env::var("PATH").unwrap_or_default();
        command.env("PATH", format!("{}:{path}", self.folder.path().join("bin").display()));
        command.env_remove("GATEWAY_CONFIG").env_remove("GATEWAY_LOG").env("NO_COLOR", "1");
        command
    }

    /// Types lines into a shell, which ends at the first that fails, else when its input does; what
    /// it has put into the background ends with it.
    pub fn types(&self, lines: &str) -> Result<Child> {
        let script = format!("trap '{LAST}' EXIT\n{lines}\nread -r _ || :\n");
        let mut command = self.command("bash");
        command.args(["-e", "-o", "pipefail", "-c", &script]);
        Child::spawn(command)
    }

    /// Types lines that must succeed, and returns what they printed.
    pub fn typed(&self, lines: &str, deadline: Duration) -> Result<String> {
        let mut shell = self.types(lines)?;
        shell.close_stdin();
        let status = shell.wait(deadline).context("typed lines")?;
        ensure!(status.success(), "{status}: {}", shell.report());
        Ok(shell.output())
    }
}

/// Its folders; `/etc` is a copy, in which nobody has heard of the gateway.
fn furnish(folder: &Path, hosts: &[(IpAddr, &str)]) -> Result<()> {
    let etc = folder.join("etc");
    let copied = Command::new("cp").args(["-a", "/etc"]).arg(&etc).status()?;
    ensure!(copied.success(), "/etc cannot be copied");
    if etc.join("gateway").exists() {
        fs::remove_dir_all(etc.join("gateway"))?;
    }
    let line = |(address, name): &(IpAddr, &str)| format!("{address} {name}\n");
    let names: String = hosts.iter().map(line).collect();
    fs::write(etc.join("hosts"), format!("127.0.0.1 localhost\n::1 localhost\n{names}"))?;
    for name in ["home", "bin"] {
        fs::create_dir(folder.join(name))?;
    }
    Ok(symlink(binary(), folder.join("bin/gateway"))?)
}
