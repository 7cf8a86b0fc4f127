//! A bad link between router and node: every stream is byte-exact or cleanly broken, never short.

use std::{thread, time::Duration};

use anyhow::{Result, ensure};
use tests::{
    lab::{Lab, Mapped, air::Noise, mapped::Settings},
    need,
    peer::https::{Ending, Fragment, Request, Stack, http},
};

const LATE: Duration = Duration::from_secs(120);

/// A radio link is slow to repeat itself; a test has less time. The router gives up a record, or a gap,
/// after 51 to 77 s: before [`LATE`].
const QUICK: Settings = Settings {
    timers: "retransmit = \"300ms\"\nacknowledge = \"200ms\"\nretries = 5\nclose = \"5s\"\n",
    node: &["--arq-timeout", "200", "--flight-timeout", "600", "--idle", "20"],
    ..Settings::LIVELY
};

/// How a client fared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// All that it asked for, byte by byte.
    Exact,
    /// An error that it could not miss.
    Broken,
}

/// An end that the client was told of; one that waits for ever was not.
fn broken(error: &anyhow::Error) -> Result<Fate> {
    let text = error.to_string();
    let waits = ["silent", "no answer in"].iter().any(|word| text.starts_with(word));
    ensure!(!waits, "nobody told the client: {error:#}");
    Ok(Fate::Broken)
}

/// Posts a body, reads it back and a long one besides; a short or a wrong one is this test's error.
fn turn(mapped: &Mapped<'_>, stack: Stack) -> Result<Fate> {
    let client = mapped.client(stack).fragment(Fragment::Own(512));
    let mut connection = match client.connect(LATE) {
        Ok(connection) => connection,
        Err(error) => return broken(&error),
    };
    let body = http::body(3_000);
    let answer = match connection.request(&Request::post("/echo", body.clone()), LATE) {
        Ok(answer) => answer,
        Err(error) => return broken(&error),
    };
    ensure!(answer.ok()? == body, "{stack:?}: another body");
    let answer = match connection.request(&Request::get("/large?bytes=6000"), LATE) {
        Ok(answer) => answer,
        Err(error) => return broken(&error),
    };
    ensure!(answer.ok()? == http::large(6_000), "{stack:?}: another stream");
    match connection.close(LATE) {
        Ok(Ending::Clean) => Ok(Fate::Exact),
        // it has all of the data; the goodbye alone was lost
        Ok(Ending::Broken(_)) => Ok(Fate::Broken),
        Err(error) => broken(&error),
    }
}

/// All clients at once, twice; how many got everything.
fn exact_of_eight(noise: Noise) -> Result<usize> {
    need::root_and_tools(&[&Stack::ALL.map(Stack::program)[..], &["nft"]].concat());
    let lab = Lab::with_air()?;
    let mapped = Mapped::with(&lab, QUICK)?;
    lab.air().set(noise.edit());
    let fates = thread::scope(|scope| {
        let both = [Stack::ALL, Stack::ALL].concat();
        let mapped = &mapped;
        let turns = both.into_iter().map(|stack| scope.spawn(move || turn(mapped, stack)));
        let turns: Vec<_> = turns.collect();
        let fates = turns.into_iter().map(|turn| turn.join().expect("a turn does not panic"));
        fates.collect::<Result<Vec<_>>>()
    })?;
    lab.air().clear();
    // lost or not, nothing of it stays behind
    mapped.node.wait_free(LATE)?;
    mapped.wait_over(LATE)?;
    mapped.still_serves(LATE)?;
    Ok(fates.into_iter().filter(|fate| *fate == Fate::Exact).count())
}

#[test]
fn streams_are_exact_while_datagrams_double_and_change_places() -> Result<()> {
    let exact = exact_of_eight(Noise { loss: 0, doubled: 200, late: 300, seed: 1 })?;
    ensure!(exact == 8, "{exact} of 8");
    Ok(())
}

#[test]
fn streams_are_exact_at_ten_percent_loss() -> Result<()> {
    let exact = exact_of_eight(Noise { loss: 100, doubled: 50, late: 50, seed: 2 })?;
    ensure!(exact >= 7, "{exact} of 8");
    Ok(())
}

#[test]
fn streams_are_exact_or_broken_at_twenty_percent_loss() -> Result<()> {
    let exact = exact_of_eight(Noise { loss: 200, doubled: 100, late: 100, seed: 3 })?;
    ensure!(exact >= 4, "{exact} of 8");
    Ok(())
}

#[test]
fn no_stream_is_short_at_forty_percent_loss() -> Result<()> {
    exact_of_eight(Noise { loss: 400, doubled: 100, late: 200, seed: 4 })?;
    Ok(())
}
