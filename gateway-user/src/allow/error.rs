//! What can be wrong with an allow-list: where, which entry, which key, what is allowed.
use std::{io, path::PathBuf};

/// Why there is no allow-list, or none was written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be read.
    #[error("cannot read {}", file.display())]
    Read {
        /// Which file.
        file: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The file cannot be written; the former one is whole.
    #[error("cannot write {}", file.display())]
    Write {
        /// Which file.
        file: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The lock cannot be taken.
    #[error("cannot lock {}", file.display())]
    Lock {
        /// Which file.
        file: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Somebody else holds the lock.
    #[error("{} is locked: another gateway command is changing the allow-list", file.display())]
    Busy {
        /// Which file.
        file: PathBuf,
    },
    /// It is not TOML.
    #[error("{file}:{line}: not valid TOML: {problem}")]
    Syntax {
        /// Which file.
        file: String,
        /// Counted from one.
        line: usize,
        /// What the parser says.
        problem: String,
    },
    /// Something beside the entries.
    #[error("{file}:{line}: {key}: {allowed}")]
    Stray {
        /// Which file.
        file: String,
        /// Counted from one.
        line: usize,
        /// The key.
        key: String,
        /// What would be right.
        allowed: String,
    },
    /// A wrong key or value in an entry.
    #[error("{file}:{line}: entry {entry}: {problem}")]
    Entry {
        /// Which file.
        file: String,
        /// Counted from one.
        line: usize,
        /// Which entry, counted from one.
        entry: usize,
        /// What is wrong with it.
        problem: Problem,
    },
    /// A wrong value in an entry that is to be added.
    #[error(transparent)]
    Refused(#[from] Problem),
}

/// What is wrong with an entry.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{key}{}: {allowed}", shown(value))]
pub struct Problem {
    /// The key.
    pub key: String,
    /// The value as written, where there is one.
    pub value: Option<String>,
    /// What would be right.
    pub allowed: String,
}

fn shown(value: &Option<String>) -> String {
    value.as_ref().map_or_else(String::new, |value| format!(" = {value}"))
}
