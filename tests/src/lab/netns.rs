//! One network namespace, gone again when it is dropped.

use std::{
    fs,
    fs::File,
    panic,
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Once,
        atomic::{AtomicU32, Ordering},
    },
    thread,
};

use anyhow::{Context, Result, ensure};
use nix::sched::{CloneFlags, setns};

use super::link::Device;

const FOLDER: &str = "/run/netns";
const PREFIX: &str = "gwlab";
static COUNTER: AtomicU32 = AtomicU32::new(0);
static SWEEP: Once = Once::new();

/// A named network namespace with its loopback up, removed on drop.
#[derive(Debug)]
pub struct Namespace {
    name: String,
}

impl Namespace {
    /// Creates a namespace; `label` ends its otherwise unique name.
    pub fn new(label: &str) -> Result<Self> {
        SWEEP.call_once(sweep);
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        let name = format!("{PREFIX}-{}-{number}-{label}", std::process::id());
        output(Command::new("ip").args(["netns", "add", &name]))?;
        let namespace = Self { name };
        namespace.run(&["ip", "link", "set", "lo", "up"])?;
        Ok(namespace)
    }

    /// Name as `ip netns` lists it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// File that holds the namespace.
    pub fn path(&self) -> PathBuf {
        Path::new(FOLDER).join(&self.name)
    }

    /// A command that will run inside; the file system, bpffs too, stays that of the caller.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net={}", self.path().display())).arg(program);
        command
    }

    /// Runs a command inside to its end and returns what it printed.
    pub fn run(&self, words: &[&str]) -> Result<String> {
        let (program, rest) = words.split_first().context("an empty command")?;
        output(self.command(program).args(rest))
    }

    /// Runs several `ip` commands, one a line, in a single process.
    pub fn ip(&self, lines: &[String]) -> Result<()> {
        let mut file = tempfile::NamedTempFile::new()?;
        for line in lines {
            std::io::Write::write_all(&mut file, format!("{line}\n").as_bytes())?;
        }
        let path = file.path().to_str().context("temporary path")?;
        self.run(&["ip", "-batch", path]).with_context(|| lines.join("; ")).map(drop)
    }

    /// Runs `task` on a thread of its own inside; sockets that it opens belong to the namespace.
    ///
    /// Its `/proc/sys/net` is this namespace's; `/proc/net` is not, `/proc/thread-self/net` is.
    #[track_caller]
    pub fn enter<T: Send>(&self, task: impl FnOnce() -> T + Send) -> T {
        let file = File::open(self.path()).expect("namespace is there");
        let inside = move || {
            setns(file, CloneFlags::CLONE_NEWNET).expect("may enter the namespace");
            task()
        };
        thread::scope(|scope| scope.spawn(inside).join())
            .unwrap_or_else(|payload| panic::resume_unwind(payload))
    }

    /// Sets a `net.*` sysctl, named with slashes: `ipv6/conf/all/forwarding`.
    pub fn set_sysctl(&self, key: &str, value: &str) -> Result<()> {
        let path = Path::new("/proc/sys/net").join(key);
        self.enter(|| fs::write(&path, value)).with_context(|| format!("set {}", path.display()))
    }

    /// Reads a `net.*` sysctl, named with slashes.
    pub fn sysctl(&self, key: &str) -> Result<String> {
        let path = Path::new("/proc/sys/net").join(key);
        let text = self.enter(|| fs::read_to_string(&path));
        Ok(text.with_context(|| format!("read {}", path.display()))?.trim().to_owned())
    }

    /// A device inside, by name.
    pub fn device<'a>(&'a self, name: &'a str) -> Device<'a> {
        Device { namespace: self, name }
    }

    /// Whether one echo request to `address` is answered within a second.
    pub fn pings(&self, address: impl std::fmt::Display) -> bool {
        self.run(&["ping", "-n", "-q", "-c", "1", "-W", "1", &address.to_string()]).is_ok()
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        remove(&self.name);
    }
}

fn remove(name: &str) {
    if let Err(error) = output(Command::new("ip").args(["netns", "del", name])) {
        eprintln!("namespace {name} stays behind: {error:#}");
    }
}

/// Removes what lab processes that were killed have left behind.
fn sweep() {
    let entries = fs::read_dir(FOLDER).into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    names.filter(|name| is_orphan(name)).for_each(|name| remove(&name));
}

fn is_orphan(name: &str) -> bool {
    let mut parts = name.split('-');
    let ours = parts.next() == Some(PREFIX);
    let pid = parts.next().and_then(|pid| pid.parse::<u32>().ok());
    ours && pid.is_some_and(|pid| !Path::new("/proc").join(pid.to_string()).exists())
}

fn output(command: &mut Command) -> Result<String> {
    let result = command.output().with_context(|| format!("start {command:?}"))?;
    let text = String::from_utf8_lossy(&result.stdout).into_owned();
    ensure!(
        result.status.success(),
        "{command:?}: {}: {text}{}",
        result.status,
        String::from_utf8_lossy(&result.stderr).trim()
    );
    Ok(text)
}
