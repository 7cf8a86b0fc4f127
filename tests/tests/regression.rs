//! What the fuzzers keep, replayed: the corpora and every input that once failed.
//!
//! The bodies are those of tests/fuzz, without the fuzzer and its nightly compiler.

#[path = "../fuzz/src/lib.rs"]
mod fuzz;

use std::{
    fs, panic,
    path::{Path, PathBuf},
};

/// Fewer inputs than this are no corpus: the folder was not checked out, or emptied by mistake.
const CORPUS_MIN: usize = 20;

#[test]
fn frame() {
    replay_all("frame", fuzz::frame);
}

#[test]
fn association() {
    replay_all("association", fuzz::association);
}

#[test]
fn replay() {
    replay_all("replay", fuzz::replay);
}

#[test]
fn rate() {
    replay_all("rate", fuzz::rate);
}

#[test]
fn node() {
    replay_all("node", fuzz::node);
}

#[test]
fn record() {
    replay_all("record", fuzz::record);
}

#[test]
fn handshake() {
    replay_all("handshake", fuzz::handshake);
}

#[test]
fn mapper() {
    replay_all("mapper", fuzz::mapper);
}

fn replay_all(target: &str, body: fn(&[u8])) {
    let folder = |kind: &str| Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz").join(kind);
    let corpus = inputs(&folder("corpus").join(target));
    let count = corpus.len();
    assert!(count >= CORPUS_MIN, "{target}: a corpus of {count} inputs");
    let past = inputs(&folder("regressions").join(target));
    let failed: Vec<_> = corpus
        .into_iter()
        .chain(past)
        .filter(|path| {
            let input = fs::read(path).expect("an input that was just listed");
            panic::catch_unwind(|| body(&input)).is_err()
        })
        .collect();
    assert!(failed.is_empty(), "{target} fails on {failed:#?}");
}

/// The files of a folder that must be there.
fn inputs(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder)
        .unwrap_or_else(|error| panic!("no corpus in {}: {error}", folder.display()));
    let mut paths: Vec<_> = entries
        .map(|entry| entry.expect("a readable folder").path())
        .filter(|path| !path.ends_with(".gitkeep"))
        .collect();
    paths.sort();
    paths
}
