//! The HTTP-CoAP proxy of `gateway-node`, inside the LLN.

use std::{
    env, fs,
    net::SocketAddr,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use tempfile::TempDir;

use super::{Psk, START};
use crate::lab::{Child, Namespace};

/// A running proxy.
#[derive(Debug)]
pub struct Proxy {
    /// The process: it prints a line for each session and when its counters have changed.
    pub child: Child,
    _keys: TempDir,
}

impl Proxy {
    /// Starts a proxy for clients with `psk`. `nodes` are `NAME=URI` as for `--node`, of which
    /// those with `coaps` have the key `node_psk`; `arguments` are further ones of the program.
    pub fn start(
        namespace: &Namespace,
        listen: SocketAddr,
        psk: &Psk,
        (nodes, node_psk): (&[String], &Psk),
        arguments: &[&str],
    ) -> Result<Self> {
        let keys = TempDir::new()?;
        let mut command = namespace.command(&binary().display().to_string());
        command.args(["--listen", &listen.to_string()]);
        command.arg("--keys").arg(key_file(keys.path(), "clients", psk)?);
        command.arg("--node-keys").arg(key_file(keys.path(), "nodes", node_psk)?);
        command.args(nodes.iter().flat_map(|node| ["--node", node])).args(arguments);
        let mut child = Child::spawn(command)?;
        child.wait_for_line("listening on", START)?;
        Ok(Self { child, _keys: keys })
    }

    /// A counter by its name in `gateway_node::proxy::Counters`.
    pub fn counted(&self, name: &str) -> u64 {
        let output = self.child.output();
        let last = output.lines().rev().find(|line| line.starts_with("counted "));
        let mut fields = last.unwrap_or_default().split(['{', ',', '}']).map(str::trim);
        let value = fields.find_map(|field| field.strip_prefix(name)?.strip_prefix(": "));
        value.and_then(|value| value.parse().ok()).unwrap_or(0)
    }
}

/// A file with one key that only its owner may read.
pub fn key_file(folder: &Path, name: &str, psk: &Psk) -> Result<PathBuf> {
    let path = folder.join(name);
    let mut options = fs::OpenOptions::new();
    let file = options.write(true).create_new(true).mode(0o600).open(&path)?;
    let text = format!("# a test's\n\n{}:{}\n", psk.identity, psk.hex());
    std::io::Write::write_all(&mut &file, text.as_bytes()).context("key file")?;
    Ok(path)
}

/// The program: `PROXY_BIN`, else the release build beside what runs now.
pub fn binary() -> PathBuf {
    if let Some(path) = env::var_os("PROXY_BIN") {
        return path.into();
    }
    let here = env::current_exe().unwrap_or_default();
    let built = here.ancestors().map(|folder| folder.join("release/examples/proxy"));
    built.into_iter().find(|path| path.is_file()).unwrap_or_else(|| "proxy".into())
}
