//! `openssl s_client` and `gnutls-cli`: bytes in, bytes out, HTTP is up to us.

use std::{process::Command, time::Duration};

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

use super::{Answer, Client, Ending, Fragment, Request};
use crate::{
    lab::{Child, until, until_some},
    peer::START,
};

/// Most that both programs read at once.
const LINE: usize = 4_096;

/// What each program says.
#[derive(Debug)]
struct Words {
    /// When it is ready to pipe.
    ready: &'static str,
    /// When it has verified the server's Finished, on stderr: `s_client` says all else of a
    /// handshake that failed, too.
    finished: &'static str,
    /// When the handshake was an abbreviated one.
    resumed: &'static str,
    /// When the server closed as it should.
    closed: &'static str,
}

const OPENSSL: Words = Words {
    ready: "Extended master secret:",
    finished: "SSLv3/TLS read finished",
    resumed: "Reused, TLSv1.2",
    closed: "closed",
};
const GNUTLS: Words = Words {
    ready: "- Simple Client Mode:",
    finished: "",
    resumed: "*** This is a resumed session",
    closed: "- Peer has closed the GnuTLS connection",
};

/// A running client.
#[derive(Debug)]
pub struct Pipe {
    child: Child,
    words: &'static Words,
    host: String,
    piece: usize,
    /// Where in the output the next answer begins.
    mark: usize,
    _session: TempDir,
}

impl Pipe {
    pub(super) fn openssl(client: &Client<'_>, resume: bool, deadline: Duration) -> Result<Self> {
        let folder = TempDir::new()?;
        let session = folder.path().join("session.pem");
        if resume {
            let mut first = openssl(client);
            first.arg("-sess_out").arg(&session);
            let first = Self::start(client, first, TempDir::new()?, &OPENSSL, deadline)?;
            let ending = first.close(deadline)?;
            ensure!(ending == Ending::Clean, "the first connection: {ending:?}");
        }
        let mut command = openssl(client);
        if resume {
            command.arg("-sess_in").arg(&session);
        }
        Self::start(client, command, folder, &OPENSSL, deadline)
    }

    pub(super) fn gnutls(client: &Client<'_>, resume: bool, deadline: Duration) -> Result<Self> {
        let mut command = gnutls(client);
        if resume {
            command.arg("--resume");
        }
        command.arg(client.server.ip().to_string());
        Self::start(client, command, TempDir::new()?, &GNUTLS, deadline)
    }

    fn start(
        client: &Client<'_>,
        command: Command,
        session: TempDir,
        words: &'static Words,
        deadline: Duration,
    ) -> Result<Self> {
        let mut child = Child::spawn_apart(command)?;
        child.wait_for_line(words.ready, deadline)?;
        let host = client.name.clone().unwrap_or_else(|| "node".to_owned());
        let finished =
            until(deadline, || child.errors().contains(words.finished) || child.is_over());
        let finished = finished && child.errors().contains(words.finished);
        ensure!(finished, "no handshake: {}", child.report());
        let piece = client.fragment.size().map_or(LINE, usize::from);
        Ok(Self { mark: child.mark(), child, words, host, piece, _session: session })
    }

    /// A program takes what it reads at once for a record, and `gnutls-cli` forgets what does not
    /// fit into one: each piece must be read before the next comes.
    pub(super) fn send(&mut self, request: &Request) -> Result<()> {
        for piece in request.bytes(&self.host).chunks(self.piece) {
            self.child.send(piece)?;
            self.child.wait_read(START)?;
        }
        Ok(())
    }

    pub(super) fn request(&mut self, request: &Request, deadline: Duration) -> Result<Answer> {
        self.send(request)?;
        let read = until_some(deadline, || {
            let over = self.child.is_over();
            let read = Answer::read(&self.child.bytes_since(self.mark)).transpose();
            read.map(Some).or(over.then_some(None))
        });
        let read = read.with_context(|| format!("no answer in {deadline:?}: {}", self.report()))?;
        let answer = read.with_context(|| format!("ended: {}", self.report()))??;
        self.mark = self.child.mark();
        Ok(answer)
    }

    pub(super) fn resumed(&self) -> bool {
        self.child.output().contains(self.words.resumed)
    }

    pub(super) fn close(mut self, deadline: Duration) -> Result<Ending> {
        self.child.close_stdin();
        let status = self.child.wait(deadline)?;
        Ok(if status.success() { Ending::Clean } else { Ending::Broken(self.report()) })
    }

    pub(super) fn closed_by_server(mut self, deadline: Duration) -> Result<Ending> {
        let status = self.child.wait(deadline)?;
        let said = self.child.output().lines().any(|line| line.ends_with(self.words.closed));
        let clean = said && status.success();
        Ok(if clean { Ending::Clean } else { Ending::Broken(self.report()) })
    }

    fn report(&self) -> String {
        self.child.report()
    }
}

fn openssl(client: &Client<'_>) -> Command {
    let mut command = client.namespace.command("openssl");
    command.args([
        "s_client",
        "-tls1_2",
        "-nocommands",
        "-state",
        "-connect",
        &client.server.to_string(),
    ]);
    command.args(["-psk", &client.psk.hex(), "-psk_identity", &client.psk.identity]);
    command.args(["-cipher", client.suite.openssl()]);
    match &client.name {
        Some(name) => command.args(["-servername", name]),
        None => command.arg("-noservername"),
    };
    match client.fragment {
        Fragment::Free => &mut command,
        Fragment::Own(size) => command.args(["-max_send_frag", &size.to_string()]),
        Fragment::Asked(size) => command.args(["-maxfraglen", &size.to_string()]),
    };
    command.args(&client.arguments);
    command
}

fn gnutls(client: &Client<'_>) -> Command {
    let mut command = client.namespace.command("stdbuf");
    let priority = format!(
        "NONE:+VERS-TLS1.2:+PSK:+{}:+AEAD:+COMP-NULL:+SIGN-ALL:+GROUP-ALL",
        client.suite.gnutls()
    );
    command.args(["-oL", "gnutls-cli", "--priority", &priority]);
    command.args(["--port", &client.server.port().to_string()]);
    command.args(["--pskusername", &client.psk.identity, "--pskkey", &client.psk.hex()]);
    match &client.name {
        Some(name) => command.args(["--sni-hostname", name]),
        None => command.arg("--disable-sni"),
    };
    if let Some(size) = client.fragment.size() {
        command.args(["--recordsize", &size.to_string()]);
    }
    command.args(&client.arguments);
    command
}
