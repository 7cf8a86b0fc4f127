//! Node.js and Python: scripts around their own HTTP clients, told over stdin what to ask.

use std::{fs, process::Command, time::Duration};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{Answer, Client, Ending, Request};
use crate::lab::{Child, until_some};

const NODE: &str = include_str!("../../../peers/client.js");
const PYTHON: &str = include_str!("../../../peers/client.py");

/// A running client.
#[derive(Debug)]
pub struct Script {
    child: Child,
    /// Lines that were read already.
    read: usize,
    resumed: bool,
    _folder: TempDir,
}

impl Script {
    pub(super) fn node(client: &Client<'_>, resume: bool, deadline: Duration) -> Result<Self> {
        Self::start(client, ("node", "client.js", NODE), resume, deadline)
    }

    pub(super) fn python(client: &Client<'_>, resume: bool, deadline: Duration) -> Result<Self> {
        Self::start(client, ("python3", "client.py", PYTHON), resume, deadline)
    }

    fn start(
        client: &Client<'_>,
        (program, name, text): (&str, &str, &str),
        resume: bool,
        deadline: Duration,
    ) -> Result<Self> {
        let (folder, command) = written(client.namespace.command(program), name, text)?;
        let child = Child::spawn_apart(with(command, &settings(client, resume)))?;
        let mut script = Self { child, read: 0, resumed: false, _folder: folder };
        let hello = script.line(deadline)?;
        ensure!(hello["connected"].is_string(), "{hello}: {}", script.child.report());
        script.resumed = hello["resumed"] == true;
        Ok(script)
    }

    pub(super) fn send(&mut self, request: &Request) -> Result<()> {
        let Request { method, path, body, last } = request;
        let line = json!({ "method": method, "path": path, "body": body, "last": last });
        self.child.send_line(&line.to_string())
    }

    pub(super) fn request(&mut self, request: &Request, deadline: Duration) -> Result<Answer> {
        self.send(request)?;
        let line = self.line(deadline)?;
        let status = line["status"].as_u64().with_context(|| format!("no answer: {line}"))?;
        let body = line["body"].as_str().context("no body")?.to_owned();
        Ok(Answer { status: u16::try_from(status)?, body })
    }

    pub(super) fn resumed(&self) -> bool {
        self.resumed
    }

    pub(super) fn close(mut self, deadline: Duration) -> Result<Ending> {
        self.child.close_stdin();
        self.ending(deadline)
    }

    /// The scripts look for the server's close only once nothing more is to be asked.
    pub(super) fn closed_by_server(self, deadline: Duration) -> Result<Ending> {
        self.close(deadline)
    }

    fn ending(mut self, deadline: Duration) -> Result<Ending> {
        let line = self.line(deadline)?;
        match (&line["closed"], &line["error"]) {
            (Value::Bool(true), _) => Ok(Ending::Clean),
            (_, Value::String(error)) => Ok(Ending::Broken(error.clone())),
            _ => bail!("neither closed nor broken: {line}"),
        }
    }

    /// The next line of JSON.
    fn line(&mut self, deadline: Duration) -> Result<Value> {
        let line = until_some(deadline, || {
            let over = self.child.is_over();
            let output = self.child.output();
            let whole = output.rfind('\n').unwrap_or(0);
            let line = output[..whole].lines().nth(self.read).map(str::to_owned);
            line.map(Some).or(over.then_some(None))
        });
        let line = line.with_context(|| format!("silent: {}", self.child.report()))?;
        let line = line.with_context(|| format!("ended: {}", self.child.report()))?;
        self.read += 1;
        serde_json::from_str(&line).with_context(|| format!("no JSON: {line}"))
    }
}

/// A command whose first argument is the script, which lies in the folder as long as that lives.
pub(super) fn written(mut command: Command, name: &str, text: &str) -> Result<(TempDir, Command)> {
    let folder = TempDir::new()?;
    let path = folder.path().join(name);
    fs::write(&path, text)?;
    command.arg(path);
    Ok((folder, command))
}

fn with(mut command: Command, settings: &Value) -> Command {
    command.arg(settings.to_string());
    command
}

fn settings(client: &Client<'_>, resume: bool) -> Value {
    json!({
        "address": client.server.ip(),
        "port": client.server.port(),
        "name": client.name,
        "identity": client.psk.identity,
        "key": client.psk.hex(),
        "suites": client.suite.openssl(),
        "fragment": client.fragment.size(),
        "resume": resume,
    })
}
