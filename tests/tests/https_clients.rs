//! The HTTPS clients themselves, against an HTTPS server that knows nothing of a mapping: what
//! they do in the mapping's tests is theirs, not the lab's.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Result, ensure};
use tests::{
    lab::Namespace,
    need,
    peer::{
        Psk,
        https::{Client, Ending, Fragment, Request, Server, Stack, Suite, http},
    },
};

const SOON: Duration = Duration::from_secs(30);
const AT: &str = "[::1]:4433";

/// A namespace with a server, and each client's turn in it.
fn each(turn: impl Fn(Client<'_>) -> Result<()>) -> Result<()> {
    need::root_and_tools(&Stack::ALL.map(Stack::program));
    let namespace = Namespace::new("https")?;
    let (psk, at): (_, SocketAddr) = (Psk::default(), AT.parse()?);
    let _server = Server::start(&namespace, &psk, at)?;
    Stack::ALL.into_iter().try_for_each(|stack| {
        turn(Client::new(stack, &namespace, &psk, at))
            .map_err(|error| error.context(format!("{stack:?}")))
    })
}

#[test]
fn each_client_gets_and_posts_over_one_connection() -> Result<()> {
    each(|client| {
        let mut connection = client.connect(SOON)?;
        for round in 0..3 {
            let path = format!("/round/{round}");
            let answer = connection.request(&Request::get(&path), SOON)?;
            ensure!(answer.ok()? == format!("GET {path}\n"));
            let body = http::body(100 + round);
            let answer = connection.request(&Request::post("/echo", body.clone()), SOON)?;
            ensure!(answer.ok()? == body);
        }
        ensure!(!connection.resumed());
        ensure!(connection.close(SOON)? == Ending::Clean);
        Ok(())
    })
}

#[test]
fn each_client_posts_in_records_of_the_size_it_was_told() -> Result<()> {
    each(|client| {
        let mut connection = client.fragment(Fragment::Own(512)).connect(SOON)?;
        let body = http::body(5_000);
        let answer = connection.request(&Request::post("/echo", body.clone()), SOON)?;
        ensure!(answer.ok()? == body);
        ensure!(connection.close(SOON)? == Ending::Clean);
        Ok(())
    })
}

#[test]
fn each_client_sees_that_the_server_closes() -> Result<()> {
    each(|client| {
        let mut connection = client.suite(Suite::Gcm).connect(SOON)?;
        connection.request(&Request::get("/").last(), SOON)?.ok()?;
        let ending = connection.closed_by_server(SOON)?;
        ensure!(ending == Ending::Clean, "{ending:?}");
        Ok(())
    })
}

#[test]
fn each_client_resumes_its_session() -> Result<()> {
    each(|client| {
        let mut connection = client.resume(SOON)?;
        ensure!(connection.resumed());
        connection.request(&Request::get("/"), SOON)?.ok()?;
        ensure!(connection.close(SOON)? == Ending::Clean);
        Ok(())
    })
}
