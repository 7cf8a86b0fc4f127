//! The program under test in a lab's router: its agent, its command line and its pinned state.
//!
//! Each has a configuration, an allow-list and a bpffs directory of its own, so that many run side
//! by side. All of it goes when the handle is dropped.

use std::{
    collections::BTreeMap,
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::{
        Once,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;
use serde_json::Value;
use tempfile::TempDir;

use super::{Child, Namespace, until};

/// The filter between `wan0` and `lln0`, everything else as it comes.
pub const EVERYDAY: &str = "[interfaces]\nwan = [\"wan0\"]\nlln = [\"lln0\"]\n";
/// What to append so that no budget ends a packet.
pub const ROOMY: &str = "\
[rate]
source = { packets = \"unlimited\", bytes = \"unlimited\" }
node = { packets = \"unlimited\", bytes = \"unlimited\" }
lln = { packets = \"unlimited\", bytes = \"unlimited\" }
unproven = { packets = \"unlimited\" }
";

/// How long the agent may take to come up: the kernel's verifier is slow on a busy machine.
pub const START: Duration = Duration::from_secs(30);

const BPFFS: &str = "/sys/fs/bpf";
const PREFIX: &str = "gateway-test";
static COUNTER: AtomicU32 = AtomicU32::new(0);
static SWEEP: Once = Once::new();

/// A gateway in a namespace.
#[derive(Debug)]
pub struct Gateway<'a> {
    namespace: &'a Namespace,
    folder: TempDir,
    bpffs: PathBuf,
    environment: Vec<(String, String)>,
    agent: Option<Child>,
}

impl<'a> Gateway<'a> {
    /// Writes a configuration; nothing runs yet.
    pub fn new(namespace: &'a Namespace, config: &str) -> Result<Self> {
        SWEEP.call_once(sweep);
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        let name = format!("{PREFIX}-{}-{number}", std::process::id());
        let bpffs = Path::new(BPFFS).join(name);
        let folder = TempDir::with_prefix(PREFIX)?;
        let environment = Vec::new();
        let gateway = Self { namespace, folder, bpffs, environment, agent: None };
        gateway.configure(config)?;
        Ok(gateway)
    }

    /// The same with variables in the environment of all its programs.
    pub fn with_environment(mut self, environment: Vec<(String, String)>) -> Self {
        self.environment = environment;
        self
    }

    /// A gateway whose agent runs.
    pub fn start(namespace: &'a Namespace, config: &str) -> Result<Self> {
        let mut gateway = Self::new(namespace, config)?;
        gateway.run()?;
        Ok(gateway)
    }

    /// Writes another configuration, of which the agent learns by [`Gateway::reload`].
    pub fn configure(&self, config: &str) -> Result<()> {
        let state = format!(
            "\n[state]\nbpffs = {:?}\ndirectory = {:?}\nallow = {:?}\nruntime = {:?}\n",
            self.bpffs,
            self.folder.path().join("state"),
            self.allow_file(),
            self.folder.path().join("run"),
        );
        Ok(fs::write(self.config_file(), format!("{config}{state}"))?)
    }

    /// The configuration file.
    pub fn config_file(&self) -> PathBuf {
        self.folder.path().join("gateway.toml")
    }

    /// The allow-list file.
    pub fn allow_file(&self) -> PathBuf {
        self.folder.path().join("allow.toml")
    }

    /// A place for the test's own files.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Where the state is pinned.
    pub fn bpffs(&self) -> &Path {
        &self.bpffs
    }

    /// A `gateway` command in the namespace.
    pub fn command(&self, words: &[&str]) -> Command {
        let mut command = self.namespace.command(&binary().display().to_string());
        command.arg("--config").arg(self.config_file()).args(words);
        command.env_remove("GATEWAY_LOG").env("NO_COLOR", "1");
        command.envs(self.environment.iter().cloned());
        command
    }

    /// Runs a `gateway` command to its end.
    pub fn cli(&self, words: &[&str]) -> Result<Output> {
        self.command(words).output().with_context(|| format!("start {}", binary().display()))
    }

    /// Runs a `gateway` command that must succeed, and returns what it printed.
    pub fn text(&self, words: &[&str]) -> Result<String> {
        let output = self.cli(words)?;
        let (out, err) = (text(&output.stdout), text(&output.stderr));
        ensure!(output.status.success(), "gateway {words:?}: {}: {out}{err}", output.status);
        Ok(out)
    }

    /// Runs a `gateway` command that must succeed, with `--json`, and reads its value.
    pub fn json(&self, words: &[&str]) -> Result<Value> {
        let out = self.text(&[words, &["--json"]].concat())?;
        serde_json::from_str(&out).with_context(|| format!("gateway {words:?}: no JSON: {out}"))
    }

    /// Runs a `gateway` command that must fail: its exit code and what it said.
    pub fn refused(&self, words: &[&str]) -> Result<(i32, String)> {
        let output = self.cli(words)?;
        let code = output.status.code().context("ended by a signal")?;
        ensure!(code != 0, "gateway {words:?} succeeded: {}", text(&output.stdout));
        Ok((code, text(&output.stderr)))
    }
}

/// The agent.
impl Gateway<'_> {
    /// Starts the agent and returns once it filters.
    pub fn run(&mut self) -> Result<()> {
        let mut agent = Child::spawn(self.command(&["run"]))?;
        agent.wait_for_line("filtering;", START)?;
        self.agent = Some(agent);
        Ok(())
    }

    /// Brings the filter up with no agent left behind.
    pub fn run_once(&self) -> Result<Value> {
        self.json(&["run", "--once"])
    }

    /// Kills the agent: it has no chance to do anything more.
    pub fn kill(&mut self) {
        drop(self.agent.take());
    }

    /// Ends the agent as an administrator would, and returns what it printed.
    pub fn stop(&mut self) -> Result<String> {
        self.agent.take().context("no agent runs")?.stop()
    }

    /// Has the agent read its files again and waits for the line that says how that went.
    pub fn reload(&mut self, outcome: &str) -> Result<String> {
        let agent = self.agent.as_mut().context("no agent runs")?;
        let mark = agent.mark();
        agent.signal(Signal::SIGHUP)?;
        agent.wait_for_line_since(mark, outcome, START)
    }

    /// The agent's process.
    pub fn pid(&self) -> Result<u32> {
        Ok(self.agent.as_ref().context("no agent runs")?.pid())
    }

    /// What the agent has printed so far.
    pub fn log(&self) -> String {
        self.agent.as_ref().map(Child::output).unwrap_or_default()
    }
}

/// What it does to packets.
impl Gateway<'_> {
    /// Admits a source; further words are options of `allow add`.
    pub fn allow(&self, source: impl ToString, options: &[&str]) -> Result<()> {
        self.text(&[&["allow", "add", &source.to_string()], options].concat()).map(drop)
    }

    /// Withdraws a source.
    pub fn forbid(&self, source: impl ToString) -> Result<()> {
        self.text(&["allow", "remove", &source.to_string()]).map(drop)
    }

    /// Packets dropped so far, by reason; reasons that never occurred are left out.
    pub fn drops(&self) -> Result<BTreeMap<String, u64>> {
        let value = self.json(&["drops", "--interval", "0s"])?;
        let drops = value["drops"].as_object().context("no drops")?;
        let count = |(name, of): (&String, &Value)| Some((name.clone(), of["packets"].as_u64()?));
        Ok(drops.iter().filter_map(count).filter(|(_, packets)| *packets > 0).collect())
    }

    /// Packets dropped so far for one reason.
    pub fn dropped(&self, reason: &str) -> Result<u64> {
        Ok(self.drops()?.get(reason).copied().unwrap_or(0))
    }

    /// What a source of the allow-list has done.
    pub fn source(&self, source: impl ToString) -> Result<Value> {
        let name = source.to_string();
        let value = self.json(&["sources"])?;
        let sources = value["sources"].as_array().context("no sources")?;
        let found = sources.iter().find(|source| source["source"] == *name);
        found.cloned().with_context(|| format!("{name} is not among {value}"))
    }

    /// Waits until `count` packets were dropped for one reason.
    pub fn wait_for_drops(&self, reason: &str, count: u64, deadline: Duration) -> Result<()> {
        let mut seen = BTreeMap::new();
        let come = until(deadline, || {
            seen = self.drops().unwrap_or_default();
            seen.get(reason).copied().unwrap_or(0) >= count
        });
        ensure!(come, "not {count} times {reason}: {seen:?}");
        Ok(())
    }
}

impl Drop for Gateway<'_> {
    fn drop(&mut self) {
        self.kill();
        let _ = self.cli(&["detach", "--if-running"]);
        unpin(&self.bpffs);
    }
}

/// The program: `GATEWAY_BIN`, else the release build beside what runs now.
pub fn binary() -> PathBuf {
    if let Some(path) = env::var_os("GATEWAY_BIN") {
        return path.into();
    }
    let here = env::current_exe().unwrap_or_default();
    let built = here.ancestors().map(|folder| folder.join("release/gateway"));
    built.into_iter().find(|path| path.is_file()).unwrap_or_else(|| "gateway".into())
}

/// Removes what test processes that were killed have left behind.
fn sweep() {
    let entries = fs::read_dir(BPFFS).into_iter().flatten().flatten();
    let paths = entries.map(|entry| entry.path());
    paths.filter(|path| is_orphan(path)).for_each(|path| unpin(&path));
}

fn is_orphan(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let pid = name.strip_prefix(PREFIX).and_then(|rest| rest.split('-').nth(1));
    pid.and_then(|pid| pid.parse::<u32>().ok())
        .is_some_and(|pid| !Path::new("/proc").join(pid.to_string()).exists())
}

/// Removes a tree of pins, which `remove_dir_all` takes for directories that it cannot open.
fn unpin(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() { unpin(&path) } else { drop(fs::remove_file(path)) }
    }
    let _ = fs::remove_dir(folder);
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
