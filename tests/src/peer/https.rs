//! HTTP over `openssl s_client`: a request in, the answer out, over TLS 1.2 with a pre-shared key.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Result, ensure};

use super::{
    Psk,
    openssl::{Protocol, Session, Settings},
};
use crate::lab::{Namespace, until};

/// A client that asks for the server by this name.
pub fn client<'a>(namespace: &'a Namespace, psk: &Psk, name: &str) -> Settings<'a> {
    let settings = Settings::new(namespace, psk).protocol(Protocol::Tls12);
    settings.arguments(&["-crlf", "-servername", name])
}

/// Sends a request without a body on a connection that stays open, and waits until the answer has
/// `part` in it.
pub fn ask(session: &mut Session, path: &str, part: &str, deadline: Duration) -> Result<()> {
    let mark = session.child.mark();
    for line in [&*format!("GET {path} HTTP/1.1"), "Host: node", ""] {
        session.send(line)?;
    }
    let come = until(deadline, || session.child.output_since(mark).contains(part));
    ensure!(come, "no {part:?} in the answer: {}", session.child.output());
    Ok(())
}

/// Connects, gets `path`, and returns all that the client printed once the server has closed.
pub fn get(
    settings: &Settings<'_>,
    at: SocketAddr,
    path: &str,
    patience: Duration,
) -> Result<String> {
    let mut session = settings.connect_within(at, patience)?;
    for line in [&*format!("GET {path} HTTP/1.1"), "Host: node", "Connection: close", ""] {
        session.send(line)?;
    }
    session.child.wait(patience)?;
    Ok(session.child.output())
}
