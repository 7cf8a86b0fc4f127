//! Child processes whose output is kept and who never outlive their handle.

use std::{
    io::{Read, Write},
    os::{fd::AsRawFd, unix::process::CommandExt},
    process::{ChildStdin, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use nix::{
    libc,
    sys::signal::{Signal, killpg},
    unistd::Pid,
};

use super::{until, until_some};

const LAST_WORDS: Duration = Duration::from_millis(500);
const GRACE: Duration = Duration::from_secs(3);

/// A running program; stdin stays open, stdout and stderr are collected together.
#[derive(Debug)]
pub struct Child {
    title: String,
    process: std::process::Child,
    stdin: Option<ChildStdin>,
    output: Arc<Mutex<Vec<u8>>>,
    errors: Arc<Mutex<Vec<u8>>>,
    readers: Vec<JoinHandle<()>>,
}

impl Child {
    /// Starts `command` as the leader of a process group of its own.
    pub fn spawn(command: Command) -> Result<Self> {
        let output = Arc::default();
        Self::spawn_into(command, Arc::clone(&output), output)
    }

    /// Starts `command` and keeps what it says on stderr apart from its output.
    pub fn spawn_apart(command: Command) -> Result<Self> {
        Self::spawn_into(command, Arc::default(), Arc::default())
    }

    fn spawn_into(
        mut command: Command,
        output: Arc<Mutex<Vec<u8>>>,
        errors: Arc<Mutex<Vec<u8>>>,
    ) -> Result<Self> {
        let title = format!("{command:?}");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut process =
            command.process_group(0).spawn().with_context(|| format!("start {title}"))?;
        let mut readers = Vec::new();
        readers.extend(process.stdout.take().map(|pipe| collect(pipe, &output)));
        readers.extend(process.stderr.take().map(|pipe| collect(pipe, &errors)));
        let stdin = process.stdin.take();
        Ok(Self { title, process, stdin, output, errors, readers })
    }

    /// Process id.
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Everything printed so far.
    pub fn output(&self) -> String {
        self.output_since(0)
    }

    /// A place in the output, to look only at what comes after it.
    pub fn mark(&self) -> usize {
        lock(&self.output).len()
    }

    /// What was printed after `mark`.
    pub fn output_since(&self, mark: usize) -> String {
        String::from_utf8_lossy(&self.bytes_since(mark)).into_owned()
    }

    /// What was printed after `mark`, byte by byte.
    pub fn bytes_since(&self, mark: usize) -> Vec<u8> {
        lock(&self.output)[mark..].to_vec()
    }

    /// Everything printed on stderr so far, where it is kept apart.
    pub fn errors(&self) -> String {
        String::from_utf8_lossy(&lock(&self.errors)).into_owned()
    }

    /// Waits for a whole line that contains `part`, and returns it.
    pub fn wait_for_line(&mut self, part: &str, deadline: Duration) -> Result<String> {
        self.wait_for_line_since(0, part, deadline)
    }

    /// Waits for a line that contains `part` and was printed after `mark`.
    pub fn wait_for_line_since(
        &mut self,
        mark: usize,
        part: &str,
        deadline: Duration,
    ) -> Result<String> {
        let found = until_some(deadline, || {
            let over = self.is_over();
            let text = self.output_since(mark);
            let end = if over { text.len() } else { text.rfind('\n').unwrap_or(0) };
            let line = text[..end].lines().find(|line| line.contains(part)).map(str::to_owned);
            (line.is_some() || over).then_some(line)
        });
        match found {
            Some(Some(line)) => Ok(line),
            Some(None) => bail!("ended without {part:?}: {}", self.report()),
            None => bail!("no {part:?} within {deadline:?}: {}", self.report()),
        }
    }

    /// Waits for the end of the process and of its output.
    pub fn wait(&mut self, deadline: Duration) -> Result<ExitStatus> {
        let ended = until_some(deadline, || self.process.try_wait().transpose());
        let status =
            ended.with_context(|| format!("still runs after {deadline:?}: {}", self.report()))?;
        until(LAST_WORDS, || self.is_silent());
        Ok(status?)
    }

    /// Whether the process still runs.
    pub fn is_running(&mut self) -> bool {
        matches!(self.process.try_wait(), Ok(None))
    }

    /// Writes a line to the program's standard input.
    pub fn send_line(&mut self, line: &str) -> Result<()> {
        self.send(format!("{line}\n").as_bytes())
    }

    /// Writes bytes to the program's standard input.
    pub fn send(&mut self, bytes: &[u8]) -> Result<()> {
        let stdin = self.stdin.as_mut().context("standard input is closed")?;
        stdin.write_all(bytes)?;
        Ok(stdin.flush()?)
    }

    /// Waits until the program has read all that it was sent.
    pub fn wait_read(&self, deadline: Duration) -> Result<()> {
        let stdin = self.stdin.as_ref().context("standard input is closed")?;
        let read = until(deadline, || waiting(stdin) == 0);
        ensure!(read, "does not read its input: {}", self.report());
        Ok(())
    }

    /// Closes the program's standard input.
    pub fn close_stdin(&mut self) {
        self.stdin = None;
    }

    /// Sends a signal to the process group.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        Ok(killpg(self.group(), signal)?)
    }

    /// Asks the program to end (SIGTERM), kills it if it does not, and returns all it printed.
    pub fn stop(mut self) -> Result<String> {
        if self.is_running() {
            self.signal(Signal::SIGTERM)?;
        }
        if self.wait(GRACE).is_err() {
            self.kill();
        }
        Ok(self.output())
    }

    /// Kills the process group at once and waits for the process.
    pub fn kill(&mut self) {
        if self.is_running() {
            let _ = killpg(self.group(), Signal::SIGKILL);
            let _ = self.process.wait();
        }
        until(LAST_WORDS, || self.is_silent());
    }

    fn group(&self) -> Pid {
        Pid::from_raw(self.process.id().cast_signed())
    }

    /// Whether the process has ended and everything that it printed is here.
    pub fn is_over(&mut self) -> bool {
        !self.is_running() && self.is_silent()
    }

    fn is_silent(&self) -> bool {
        self.readers.iter().all(JoinHandle::is_finished)
    }

    /// What the process is and all that it has printed, for an error.
    pub fn report(&self) -> String {
        let apart = !Arc::ptr_eq(&self.output, &self.errors);
        let errors = if apart { self.errors() } else { String::new() };
        format!("{}\n{}{errors}", self.title, self.output())
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Bytes in a pipe that nobody has read yet.
fn waiting(pipe: &ChildStdin) -> libc::c_int {
    let mut bytes = 0;
    // SAFETY: FIONREAD writes one int, which lives here; on failure nothing is written.
    unsafe { libc::ioctl(pipe.as_raw_fd(), libc::FIONREAD, &raw mut bytes) };
    bytes
}

fn lock(bytes: &Mutex<Vec<u8>>) -> MutexGuard<'_, Vec<u8>> {
    bytes.lock().unwrap_or_else(PoisonError::into_inner)
}

fn collect(mut pipe: impl Read + Send + 'static, output: &Arc<Mutex<Vec<u8>>>) -> JoinHandle<()> {
    let output = Arc::clone(output);
    thread::spawn(move || {
        let mut chunk = [0; 4096];
        while let Ok(length @ 1..) = pipe.read(&mut chunk) {
            lock(&output).extend_from_slice(&chunk[..length]);
        }
    })
}
