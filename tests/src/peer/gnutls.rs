//! `gnutls-cli` and `gnutls-serv` with a pre-shared key, over DTLS or TLS 1.2.
//!
//! Quirks. The server listens on every address, it cannot be told otherwise,
//! and over UDP answers from whichever the kernel prefers: call it by its first address. With `--echo` it
//! sends every line back. The client has no way to choose its source port. Both
//! keep what they print to themselves unless stdout is a terminal or `stdbuf` is there.

use std::{fs, net::SocketAddr, process::Command, time::Duration};

use anyhow::{Context, Result};
use tempfile::TempDir;

use super::{HANDSHAKE, Psk, START, Socket, wait_bound};
use crate::lab::{Child, Namespace};

/// DTLS 1.2, PSK, CCM_8 or GCM.
pub const DTLS: &str = "NONE:+VERS-DTLS1.2:+PSK:+AES-128-CCM-8:+AES-128-GCM:+AEAD:+COMP-NULL:\
                        +SIGN-ALL:+GROUP-ALL";
/// TLS 1.2, PSK, CCM_8 or GCM.
pub const TLS: &str = "NONE:+VERS-TLS1.2:+PSK:+AES-128-CCM-8:+AES-128-GCM:+AEAD:+COMP-NULL:\
                       +SIGN-ALL:+GROUP-ALL";

/// What either end is given.
#[derive(Clone, Debug)]
pub struct Settings<'a> {
    namespace: &'a Namespace,
    psk: Psk,
    datagrams: bool,
    priority: String,
    arguments: Vec<String>,
}

impl<'a> Settings<'a> {
    /// DTLS 1.2 with [`DTLS`].
    pub fn new(namespace: &'a Namespace, psk: &Psk) -> Self {
        let (psk, priority) = (psk.clone(), DTLS.to_owned());
        Self { namespace, psk, datagrams: true, priority, arguments: Vec::new() }
    }

    /// TLS 1.2 with [`TLS`] instead.
    pub fn tls(mut self) -> Self {
        self.datagrams = false;
        self.priority(TLS)
    }

    /// Sets another priority string.
    pub fn priority(mut self, priority: &str) -> Self {
        priority.clone_into(&mut self.priority);
        self
    }

    /// Adds arguments of the program.
    pub fn arguments(mut self, arguments: &[&str]) -> Self {
        self.arguments.extend(arguments.iter().map(|&argument| argument.to_owned()));
        self
    }

    /// Starts an echo server on a port of every address of the namespace.
    pub fn listen(&self, address: SocketAddr) -> Result<Server> {
        let folder = TempDir::new()?;
        let keys = folder.path().join("psk.txt");
        fs::write(&keys, format!("{}:{}\n", self.psk.identity, self.psk.hex()))?;
        let mut command = self.command("gnutls-serv", address.port());
        command.arg("--echo").arg("--pskpasswd").arg(&keys);
        let child = Child::spawn(command)?;
        let kind = if self.datagrams { Socket::Udp } else { Socket::Tcp };
        wait_bound(self.namespace, kind, address).with_context(|| child.output())?;
        Ok(Server { child, _keys: folder })
    }

    /// Starts a client and returns once its handshake is complete.
    pub fn connect(&self, server: SocketAddr) -> Result<Session> {
        self.connect_within(server, HANDSHAKE)
    }

    /// Starts a client whose handshake may take until `deadline`.
    pub fn connect_within(&self, server: SocketAddr, deadline: Duration) -> Result<Session> {
        let mut session = self.start(server)?;
        session.child.wait_for_line("Simple Client Mode", deadline)?;
        Ok(session)
    }

    /// Starts a client and does not wait for its handshake.
    pub fn start(&self, server: SocketAddr) -> Result<Session> {
        let mut command = self.command("gnutls-cli", server.port());
        command.args(["--pskusername", &self.psk.identity, "--pskkey", &self.psk.hex()]);
        command.arg(server.ip().to_string());
        Child::spawn(command).map(|child| Session { child })
    }

    fn command(&self, program: &str, port: u16) -> Command {
        let mut command = self.namespace.command("stdbuf");
        command.args(["-oL", program, "--priority", &self.priority, "--port", &port.to_string()]);
        if self.datagrams {
            command.arg("--udp");
        }
        command.args(&self.arguments);
        command
    }
}

/// A running echo server.
#[derive(Debug)]
pub struct Server {
    /// The process.
    pub child: Child,
    _keys: TempDir,
}

/// A running client.
#[derive(Debug)]
pub struct Session {
    /// The process.
    pub child: Child,
}

impl Session {
    /// Sends a line and waits for its echo.
    pub fn echo(&mut self, line: &str, deadline: Duration) -> Result<()> {
        let mark = self.child.mark();
        self.child.send_line(line)?;
        self.child.wait_for_line_since(mark, line, deadline).map(drop)
    }

    /// Ends the association with close_notify and returns all that was printed.
    pub fn close(mut self) -> Result<String> {
        self.child.close_stdin();
        self.child.wait(START)?;
        Ok(self.child.output())
    }
}
