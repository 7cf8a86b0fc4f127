//! HTTPS clients with a pre-shared key over TLS 1.2: four programs, three of them HTTP clients of
//! their own, on two TLS libraries.
//!
//! | stack | program | TLS | asks for max_fragment_length |
//! | --- | --- | --- | --- |
//! | [`Stack::OpenSsl`] | `openssl s_client` | OpenSSL | yes |
//! | [`Stack::GnuTls`] | `gnutls-cli` | GnuTLS | yes |
//! | [`Stack::NodeJs`] | `https.request` of Node.js | the OpenSSL that it brings | no |
//! | [`Stack::Python`] | `http.client` of Python | OpenSSL | no |
//!
//! None of them knows of a mapping: each is called as any HTTPS client is, by address and port.

pub mod http;
mod pipe;
mod script;
mod server;

use std::{net::SocketAddr, time::Duration};

use anyhow::{Result, ensure};

pub use http::{Answer, Request};
pub use server::Server;

use super::Psk;
use crate::lab::Namespace;
use pipe::Pipe;
use script::Script;

/// A client program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stack {
    /// `openssl s_client`.
    OpenSsl,
    /// `gnutls-cli`.
    GnuTls,
    /// Node.js.
    NodeJs,
    /// Python.
    Python,
}

impl Stack {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::OpenSsl, Self::GnuTls, Self::NodeJs, Self::Python];

    /// The executable that must be in `PATH`.
    pub fn program(self) -> &'static str {
        match self {
            Self::OpenSsl => "openssl",
            Self::GnuTls => "gnutls-cli",
            Self::NodeJs => "node",
            Self::Python => "python3",
        }
    }

    /// Whether it can ask the server for smaller records (RFC 6066 §4).
    pub fn asks_for_fragments(self) -> bool {
        matches!(self, Self::OpenSsl | Self::GnuTls)
    }
}

/// A cipher suite that all of them have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Suite {
    /// TLS_PSK_WITH_AES_128_CCM_8.
    Ccm8,
    /// TLS_PSK_WITH_AES_128_GCM_SHA256.
    Gcm,
}

impl Suite {
    /// As OpenSSL, and with it Node.js and Python, is told; at the level that CCM_8 needs.
    pub fn openssl(self) -> &'static str {
        match self {
            Self::Ccm8 => "PSK-AES128-CCM8:@SECLEVEL=0",
            Self::Gcm => "PSK-AES128-GCM-SHA256",
        }
    }

    fn gnutls(self) -> &'static str {
        match self {
            Self::Ccm8 => "AES-128-CCM-8",
            Self::Gcm => "AES-128-GCM",
        }
    }
}

/// Size of the records in which a client sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fragment {
    /// As the program likes: up to 16 KiB of plaintext.
    Free,
    /// The client keeps its own records this short and says nothing to the server.
    Own(u16),
    /// The client asks for max_fragment_length, which binds both ends.
    Asked(u16),
}

impl Fragment {
    fn size(self) -> Option<u16> {
        match self {
            Self::Free => None,
            Self::Own(size) | Self::Asked(size) => Some(size),
        }
    }
}

/// A client to be: which program, whom it calls, with what.
#[derive(Clone, Debug)]
pub struct Client<'a> {
    namespace: &'a Namespace,
    stack: Stack,
    server: SocketAddr,
    psk: Psk,
    name: Option<String>,
    suite: Suite,
    fragment: Fragment,
    arguments: Vec<String>,
}

impl<'a> Client<'a> {
    /// A client in `namespace` that calls `server`, with CCM_8.
    pub fn new(stack: Stack, namespace: &'a Namespace, psk: &Psk, server: SocketAddr) -> Self {
        Self {
            namespace,
            stack,
            server,
            psk: psk.clone(),
            name: None,
            suite: Suite::Ccm8,
            fragment: Fragment::Free,
            arguments: Vec::new(),
        }
    }

    /// Names the server in server_name (RFC 6066 §3).
    pub fn named(mut self, name: &str) -> Self {
        self.name = Some(name.to_owned());
        self
    }

    /// Offers another suite.
    pub fn suite(mut self, suite: Suite) -> Self {
        self.suite = suite;
        self
    }

    /// Sends in shorter records.
    ///
    /// GnuTLS cannot do so without asking, and Node.js and Python cannot ask.
    pub fn fragment(mut self, fragment: Fragment) -> Self {
        self.fragment = fragment;
        self
    }

    /// Adds arguments of the program; for `openssl` and `gnutls-cli`.
    pub fn arguments(mut self, arguments: &[&str]) -> Self {
        self.arguments.extend(arguments.iter().map(|&argument| argument.to_owned()));
        self
    }

    /// Connects and returns once the handshake is complete.
    pub fn connect(&self, deadline: Duration) -> Result<Connection> {
        self.open(false, deadline)
    }

    /// Connects twice, the second time with the session of the first, which was closed; returns
    /// the second connection once its handshake is complete.
    pub fn resume(&self, deadline: Duration) -> Result<Connection> {
        self.open(true, deadline)
    }

    /// Makes one request over a connection of its own, and returns the answer's body.
    pub fn ask(&self, request: &Request, deadline: Duration) -> Result<String> {
        let mut connection = self.connect(deadline)?;
        let answer = connection.request(request, deadline)?.ok()?;
        let ending = connection.close(deadline)?;
        ensure!(ending == Ending::Clean, "{ending:?}");
        Ok(answer)
    }

    fn open(&self, resume: bool, deadline: Duration) -> Result<Connection> {
        Ok(match self.stack {
            Stack::OpenSsl => Connection::Pipe(Pipe::openssl(self, resume, deadline)?),
            Stack::GnuTls => Connection::Pipe(Pipe::gnutls(self, resume, deadline)?),
            Stack::NodeJs => Connection::Script(Script::node(self, resume, deadline)?),
            Stack::Python => Connection::Script(Script::python(self, resume, deadline)?),
        })
    }
}

/// How a connection ended, as the client's program told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// With nothing to complain about.
    Clean,
    /// With an error, in the program's own words.
    Broken(String),
}

/// A client whose handshake is complete.
#[derive(Debug)]
pub enum Connection {
    /// A program that pipes bytes through.
    Pipe(Pipe),
    /// A script that speaks HTTP itself.
    Script(Script),
}

impl Connection {
    /// Sends a request and waits for its answer.
    pub fn request(&mut self, request: &Request, deadline: Duration) -> Result<Answer> {
        match self {
            Self::Pipe(pipe) => pipe.request(request, deadline),
            Self::Script(script) => script.request(request, deadline),
        }
    }

    /// Sends a request, waits for no answer.
    pub fn send(&mut self, request: &Request) -> Result<()> {
        match self {
            Self::Pipe(pipe) => pipe.send(request),
            Self::Script(script) => script.send(request),
        }
    }

    /// Whether the handshake was an abbreviated one.
    pub fn resumed(&self) -> bool {
        match self {
            Self::Pipe(pipe) => pipe.resumed(),
            Self::Script(script) => script.resumed(),
        }
    }

    /// Closes from the client's side and says how that went.
    pub fn close(self, deadline: Duration) -> Result<Ending> {
        match self {
            Self::Pipe(pipe) => pipe.close(deadline),
            Self::Script(script) => script.close(deadline),
        }
    }

    /// Waits until the server closes, and says how.
    pub fn closed_by_server(self, deadline: Duration) -> Result<Ending> {
        match self {
            Self::Pipe(pipe) => pipe.closed_by_server(deadline),
            Self::Script(script) => script.closed_by_server(deadline),
        }
    }
}
