//! Unmodified HTTPS clients talk to a DTLS node through a router that has no key.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tests::{
    lab::{Lab, Mapped, mapped::Way},
    need,
    peer::https::{Client, Ending, Fragment, Request, Stack, Suite, http},
};

const SOON: Duration = Duration::from_secs(60);
const TEMPERATURE: &str = "/sensors/temperature";

fn tools() {
    need::root_and_tools(&[&Stack::ALL.map(Stack::program)[..], &["nft"]].concat());
}

/// Each client's turn with the node.
fn each(turn: impl Fn(&Mapped<'_>, Client<'_>) -> Result<()>) -> Result<()> {
    tools();
    let lab = Lab::new()?;
    let mapped = Mapped::start(&lab)?;
    for stack in Stack::ALL {
        turn(&mapped, mapped.client(stack))
            .with_context(|| format!("{stack:?}: {}", mapped.node.child.output()))?;
        mapped.node.wait_free(SOON)?;
    }
    let drops = mapped.gateway.drops()?;
    ensure!(drops.is_empty(), "{drops:?}");
    let ended = mapped.wait_over(SOON)?;
    // a client that leaves without waiting for the node's close_notify resets its stream
    let fine = |how: &String| ["closed", "reset_by_back_end"].contains(&how.as_str());
    ensure!(ended.as_object().is_some_and(|ended| ended.keys().all(fine)), "{ended}");
    Ok(())
}

#[test]
fn each_client_gets_and_posts_over_one_connection_and_closes_it() -> Result<()> {
    each(|mapped, client| {
        let sessions = mapped.node.mapped();
        let mut connection = client.connect(SOON)?;
        for round in 0..3 {
            let answer = connection.request(&Request::get(TEMPERATURE), SOON)?;
            ensure!(answer.ok()? == "21.5");
            let body = http::body(300 + round);
            let answer = connection.request(&Request::post("/echo", body.clone()), SOON)?;
            ensure!(answer.ok()? == body);
        }
        let state = format!("round of {sessions}");
        connection.request(&Request::put("/lamp", state.clone()), SOON)?.ok()?;
        ensure!(connection.request(&Request::get("/lamp"), SOON)?.ok()? == state);
        ensure!(mapped.node.mapped() == sessions + 1, "more than one session");
        ensure!(connection.close(SOON)? == Ending::Clean);
        Ok(())
    })
}

#[test]
fn each_client_posts_and_reads_bodies_of_many_records() -> Result<()> {
    each(|_, client| {
        let mut connection = client.fragment(Fragment::Own(512)).connect(SOON)?;
        let body = http::body(6_000);
        let answer = connection.request(&Request::post("/echo", body.clone()), SOON)?;
        ensure!(answer.ok()? == body);
        let answer = connection.request(&Request::get("/large?bytes=9000"), SOON)?.ok()?;
        ensure!(answer == http::large(9_000), "{} bytes: {answer:.32}", answer.len());
        ensure!(connection.close(SOON)? == Ending::Clean);
        Ok(())
    })
}

#[test]
fn each_client_sees_the_node_close() -> Result<()> {
    each(|_, client| {
        let mut connection = client.suite(Suite::Gcm).connect(SOON)?;
        connection.request(&Request::get(TEMPERATURE).last(), SOON)?.ok()?;
        let ending = connection.closed_by_server(SOON)?;
        ensure!(ending == Ending::Clean, "{ending:?}");
        Ok(())
    })
}

#[test]
fn each_client_resumes_its_session() -> Result<()> {
    each(|_, client| {
        let mut connection = client.resume(SOON)?;
        ensure!(connection.resumed(), "a full handshake");
        ensure!(connection.request(&Request::get(TEMPERATURE), SOON)?.ok()? == "21.5");
        ensure!(connection.close(SOON)? == Ending::Clean);
        Ok(())
    })
}

#[test]
fn max_fragment_length_binds_client_and_node() -> Result<()> {
    tools();
    let lab = Lab::new()?;
    let mapped = Mapped::start(&lab)?;
    let seen = tests::lab::Capture::start(lab.node.device("node0"))?;
    for stack in Stack::ALL.into_iter().filter(|stack| stack.asks_for_fragments()) {
        let mut connection = mapped.client(stack).fragment(Fragment::Asked(512)).connect(SOON)?;
        let body = http::body(3_000);
        let answer = connection.request(&Request::post("/echo", body.clone()), SOON)?;
        ensure!(answer.ok()? == body, "{stack:?}");
        ensure!(connection.close(SOON)? == Ending::Clean, "{stack:?}");
    }
    // 512 bytes of plaintext, 16 of nonce and tag, and the headers of record, UDP, IP and link
    let longest = seen.stop().iter().map(Vec::len).max();
    ensure!(longest <= Some(512 + 16 + 13 + 8 + 40 + 14 + 23), "{longest:?}");
    Ok(())
}

#[test]
fn a_record_that_does_not_fit_the_lln_is_a_reset_and_no_short_body() -> Result<()> {
    tools();
    let lab = Lab::new()?;
    let mapped = Mapped::start(&lab)?;
    let mut connection = mapped.client(Stack::Python).connect(SOON)?;
    let outcome = connection.request(&Request::post("/echo", http::body(6_000)), SOON);
    ensure!(outcome.is_err(), "{outcome:?}");
    mapped.wait_over(SOON)?;
    ensure!(mapped.ended("record_too_large")? == 1, "{}", mapped.report()?);
    ensure!(mapped.node.requests().is_empty(), "{:?}", mapped.node.requests());
    mapped.still_serves(SOON)
}

#[test]
fn a_client_that_cannot_succeed_costs_the_node_nothing() -> Result<()> {
    tools();
    let lab = Lab::new()?;
    let mapped = Mapped::start(&lab)?;
    let seen = tests::lab::Capture::start(lab.node.device("node0"))?;
    let unknown = mapped.client_by(Stack::OpenSsl, Way::Name).named("other.example");
    let refused = unknown.connect(SOON).map(drop).expect_err("no node has this name").to_string();
    ensure!(refused.contains("unrecognized name"), "{refused}");
    let words = ["-cipher", "PSK-AES256-GCM-SHA384"];
    let suite = mapped.client(Stack::OpenSsl).arguments(&words);
    let refused = suite.connect(SOON).map(drop).expect_err("no common suite").to_string();
    ensure!(refused.contains("handshake failure"), "{refused}");
    let frames = seen.stop();
    let reached = frames.iter().filter_map(|frame| tests::packet::Datagram::from_frame(frame));
    ensure!(reached.count() == 0, "something reached the node");
    Ok(())
}
