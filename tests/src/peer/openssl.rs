//! `openssl s_server` and `s_client` with a pre-shared key, over DTLS or TLS 1.2.
//!
//! Quirks. Over DTLS `-rev` is refused, so the server echoes nothing by itself: a test reads and
//! writes at both ends. `s_server` serves one association at a time, and after a failed handshake
//! it hangs in it. With a wrong key nothing is said over DTLS: the client just times out. Lines
//! that begin with `Q` or `R` are commands to both programs.

use std::{net::SocketAddr, process::Command, time::Duration};

use anyhow::Result;

use super::{HANDSHAKE, Psk, Socket, wait_bound};
use crate::lab::{Child, Namespace};

/// PSK with AES-128-CCM-8, at a level that allows it in every version of OpenSSL.
pub const CCM8: &str = "PSK-AES128-CCM8:@SECLEVEL=0";
/// PSK with AES-128-GCM.
pub const GCM: &str = "PSK-AES128-GCM-SHA256";

/// Which protocol to speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// DTLS 1.2 over UDP.
    Dtls12,
    /// TLS 1.2 over TCP.
    Tls12,
}

impl Protocol {
    fn flag(self) -> &'static str {
        match self {
            Self::Dtls12 => "-dtls1_2",
            Self::Tls12 => "-tls1_2",
        }
    }

    fn socket(self) -> Socket {
        match self {
            Self::Dtls12 => Socket::Udp,
            Self::Tls12 => Socket::Tcp,
        }
    }
}

/// What either end is given.
#[derive(Clone, Debug)]
pub struct Settings<'a> {
    namespace: &'a Namespace,
    psk: Psk,
    protocol: Protocol,
    suite: String,
    arguments: Vec<String>,
}

impl<'a> Settings<'a> {
    /// DTLS 1.2 with CCM_8.
    pub fn new(namespace: &'a Namespace, psk: &Psk) -> Self {
        let suite = CCM8.to_owned();
        let protocol = Protocol::Dtls12;
        Self { namespace, psk: psk.clone(), protocol, suite, arguments: Vec::new() }
    }

    /// Speaks another protocol.
    pub fn protocol(mut self, protocol: Protocol) -> Self {
        self.protocol = protocol;
        self
    }

    /// Offers or takes another cipher list.
    pub fn suite(mut self, suite: &str) -> Self {
        suite.clone_into(&mut self.suite);
        self
    }

    /// Binds the client's end to an address and port.
    pub fn bind(self, local: SocketAddr) -> Self {
        self.arguments(&["-bind", &local.to_string()])
    }

    /// Adds arguments of the program.
    pub fn arguments(mut self, arguments: &[&str]) -> Self {
        self.arguments.extend(arguments.iter().map(|&argument| argument.to_owned()));
        self
    }

    /// Starts a server, over DTLS with cookies.
    pub fn listen(&self, address: SocketAddr) -> Result<Session> {
        let mut command = self.command("s_server");
        command.args(["-nocert", "-accept", &address.to_string()]);
        if self.protocol == Protocol::Dtls12 {
            command.arg("-listen");
        }
        let mut child = Child::spawn(command)?;
        child.wait_for_line("ACCEPT", super::START)?;
        wait_bound(self.namespace, self.protocol.socket(), address)?;
        Ok(Session { child })
    }

    /// Starts a client and returns once its handshake is complete.
    pub fn connect(&self, server: SocketAddr) -> Result<Session> {
        self.connect_within(server, HANDSHAKE)
    }

    /// Starts a client whose handshake may take until `deadline`.
    pub fn connect_within(&self, server: SocketAddr, deadline: Duration) -> Result<Session> {
        let mut session = self.start(server)?;
        session.child.wait_for_line("CONNECTION ESTABLISHED", deadline)?;
        Ok(session)
    }

    /// Starts a client and does not wait for its handshake.
    pub fn start(&self, server: SocketAddr) -> Result<Session> {
        let mut command = self.command("s_client");
        command.args(["-connect", &server.to_string(), "-brief"]);
        Child::spawn(command).map(|child| Session { child })
    }

    fn command(&self, program: &str) -> Command {
        let mut command = self.namespace.command("openssl");
        command.args([program, self.protocol.flag(), "-cipher", &self.suite]);
        command.args(["-psk", &self.psk.hex(), "-psk_identity", &self.psk.identity]);
        command.args(&self.arguments);
        command
    }
}

/// One end of an association: lines in, lines out.
#[derive(Debug)]
pub struct Session {
    /// The process.
    pub child: Child,
}

impl Session {
    /// Sends a line to the other end.
    pub fn send(&mut self, line: &str) -> Result<()> {
        self.child.send_line(line)
    }

    /// Waits for a line from the other end.
    pub fn expect(&mut self, line: &str, deadline: Duration) -> Result<String> {
        self.child.wait_for_line(line, deadline)
    }

    /// Ends the association with close_notify, as a client does at the end of its input.
    pub fn close(mut self) -> Result<String> {
        self.child.close_stdin();
        self.child.wait(super::START)?;
        Ok(self.child.output())
    }
}

/// Sends `line` from one end to the other and back again.
pub fn round_trip(
    client: &mut Session,
    server: &mut Session,
    line: &str,
    deadline: Duration,
) -> Result<()> {
    let answer = format!("re: {line}");
    let (at_server, at_client) = (server.child.mark(), client.child.mark());
    client.send(line)?;
    server.child.wait_for_line_since(at_server, line, deadline)?;
    server.send(&answer)?;
    client.child.wait_for_line_since(at_client, &answer, deadline).map(drop)
}
