//! An HTTPS server with a pre-shared key, by Node.js: what clients are tried against, and what a
//! mapped node is compared with.

use std::net::SocketAddr;

use anyhow::Result;
use serde_json::json;
use tempfile::TempDir;

use super::{Suite, script::written};
use crate::{
    lab::{Child, Namespace},
    peer::{Psk, START},
};

const TEXT: &str = include_str!("../../../peers/server.js");

/// A running server: it answers GET with method and path, and POST with its body.
#[derive(Debug)]
pub struct Server {
    /// The process.
    pub child: Child,
    _folder: TempDir,
}

impl Server {
    /// Starts a server that takes CCM_8 and GCM.
    pub fn start(namespace: &Namespace, psk: &Psk, at: SocketAddr) -> Result<Self> {
        let (folder, mut command) = written(namespace.command("node"), "server.js", TEXT)?;
        let suites = format!("{}:{}", Suite::Gcm.openssl(), Suite::Ccm8.openssl());
        let settings = json!({
            "address": at.ip(), "port": at.port(),
            "identity": psk.identity, "key": psk.hex(), "suites": suites,
        });
        command.arg(settings.to_string());
        let mut child = Child::spawn(command)?;
        child.wait_for_line("listening", START)?;
        Ok(Self { child, _folder: folder })
    }
}
