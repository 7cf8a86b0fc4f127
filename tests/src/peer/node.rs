//! The example node of `gateway-node`: the one peer that is our own, as no other has the extension.

use std::{env, net::SocketAddr, path::PathBuf, time::Duration};

use anyhow::{Result, ensure};

use super::{Psk, START};
use crate::lab::{Child, Namespace, until};

/// A running node: HTTP for mapped TLS clients, CoAP for native DTLS clients.
///
/// It has `/sensors/temperature`, `/large?bytes=N`, `/echo` and `/lamp`.
#[derive(Debug)]
pub struct Node {
    /// The process: it prints a line for each session, request and drop.
    pub child: Child,
}

impl Node {
    /// Starts a node; `arguments` are further ones of the program.
    pub fn start(
        namespace: &Namespace,
        listen: SocketAddr,
        psk: &Psk,
        arguments: &[&str],
    ) -> Result<Self> {
        let mut command = namespace.command(&binary().display().to_string());
        command.args(["--listen", &listen.to_string()]);
        command.args(["--psk-identity", &psk.identity, "--psk", &psk.hex()]).args(arguments);
        let mut child = Child::spawn(command)?;
        child.wait_for_line("listening on", START)?;
        Ok(Self { child })
    }

    /// Sessions that were ever established, of TLS and DTLS clients.
    pub fn connected(&self) -> usize {
        self.lines("connected ")
    }

    /// Sessions of TLS clients among them.
    pub fn mapped(&self) -> usize {
        let output = self.child.output();
        let lines = output.lines().filter(|line| line.starts_with("connected "));
        lines.filter(|line| line.contains(": Tls ")).count()
    }

    /// Sessions that have ended.
    pub fn closed(&self) -> usize {
        self.lines("closed ")
    }

    /// Requests that were answered, oldest first: method, path, status and bytes.
    pub fn requests(&self) -> Vec<String> {
        let output = self.child.output();
        let lines = output.lines().filter(|line| line.starts_with("request "));
        lines.filter_map(|line| line.split_once(": ")).map(|(_, what)| what.to_owned()).collect()
    }

    /// A counter of the engine, by its name in `gateway_node::Counters`.
    pub fn counted(&self, name: &str) -> u32 {
        let output = self.child.output();
        let last = output.lines().rev().find(|line| line.starts_with("counted "));
        let mut fields = last.unwrap_or_default().split(['{', ',', '}']).map(str::trim);
        let value = fields.find_map(|field| field.strip_prefix(name)?.strip_prefix(": "));
        value.and_then(|value| value.parse().ok()).unwrap_or(0)
    }

    /// Waits until a counter is at least `count`.
    pub fn wait_counted(&self, name: &str, count: u32, deadline: Duration) -> Result<()> {
        let come = until(deadline, || self.counted(name) >= count);
        ensure!(come, "not {count} times {name}: {}", self.child.report());
        Ok(())
    }

    /// Waits until every session that was established has ended.
    pub fn wait_free(&self, deadline: Duration) -> Result<()> {
        let free = until(deadline, || self.closed() == self.connected());
        ensure!(free, "a session stays behind: {}", self.child.report());
        Ok(())
    }

    fn lines(&self, prefix: &str) -> usize {
        self.child.output().lines().filter(|line| line.starts_with(prefix)).count()
    }
}

/// The program: `NODE_BIN`, else the release build beside what runs now.
pub fn binary() -> PathBuf {
    if let Some(path) = env::var_os("NODE_BIN") {
        return path.into();
    }
    let here = env::current_exe().unwrap_or_default();
    let built = here.ancestors().map(|folder| folder.join("release/examples/node"));
    built.into_iter().find(|path| path.is_file()).unwrap_or_else(|| "node".into())
}
