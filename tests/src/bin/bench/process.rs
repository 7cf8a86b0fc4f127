//! What a process cost so far.
use std::{
    fs,
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, bail};

/// Looks at a process that somebody else keeps.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cost(pub(crate) u32);

/// A relay under measurement; it ends with this value.
pub(crate) struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Kernel's clock ticks a second in /proc (USER_HZ, which is the same everywhere).
const USER_HZ: u64 = 100;

impl Process {
    /// Starts it; its standard error goes to ours.
    pub(crate) fn start(command: &mut Command) -> Result<Self> {
        let name = format!("{:?}", command.get_program());
        let command = command.stdin(Stdio::null()).stdout(Stdio::null());
        Ok(Self(command.spawn().with_context(|| format!("cannot start {name}"))?))
    }

    /// Starts it and takes the first line that it prints.
    pub(crate) fn start_saying(command: &mut Command) -> Result<(Self, String)> {
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
        let out = child.stdout.take().context("its output")?;
        let process = Self(child);
        let mut line = String::new();
        BufReader::new(out).read_line(&mut line)?;
        Ok((process, line.trim().to_owned()))
    }

    /// What it costs.
    pub(crate) fn cost(&self) -> Cost {
        Cost(self.0.id())
    }
}

impl Cost {
    /// CPU time that its threads ran, ended ones not included.
    pub(crate) fn ran(self) -> Result<Duration> {
        let mut nanoseconds = 0;
        for task in fs::read_dir(format!("/proc/{}/task", self.0))?.flatten() {
            // A thread that has just ended is gone.
            let Ok(text) = fs::read_to_string(task.path().join("schedstat")) else { continue };
            nanoseconds += text.split(' ').next().context("run time")?.parse::<u64>()?;
        }
        Ok(Duration::from_nanos(nanoseconds))
    }

    /// CPU time of the whole process, ended threads included, in steps of 10 ms.
    pub(crate) fn ticked(self) -> Result<Duration> {
        let text = fs::read_to_string(format!("/proc/{}/stat", self.0))?;
        let (_, fields) = text.rsplit_once(')').context("a process name")?;
        // Fields 14 and 15 of proc_pid_stat(5): utime and stime; the first here is the third there.
        let ticks: u64 =
            fields.split_whitespace().skip(11).take(2).flat_map(str::parse::<u64>).sum();
        Ok(Duration::from_millis(ticks * 1000 / USER_HZ))
    }

    /// Memory of its own that is in use, in bytes.
    pub(crate) fn resident(self) -> Result<u64> {
        let text = fs::read_to_string(format!("/proc/{}/status", self.0))?;
        for line in text.lines() {
            if let Some(value) = line.strip_prefix("VmRSS:") {
                let kib: u64 = value.trim().trim_end_matches(" kB").parse()?;
                return Ok(kib << 10);
            }
        }
        bail!("no VmRSS")
    }
}
