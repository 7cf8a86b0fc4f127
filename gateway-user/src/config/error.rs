//! What can be wrong with a configuration: where, which key, which value, what is allowed.
use super::units::Invalid;
use std::{io, path::PathBuf};

/// Why there is no configuration.
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
    /// A key that nothing reads.
    #[error("{file}:{line}: unknown key {key}{}; known here: {known}", suggested(suggestion))]
    Unknown {
        /// Which file.
        file: String,
        /// Counted from one.
        line: usize,
        /// The key with the tables it is in.
        key: String,
        /// A known key that looks like it.
        suggestion: Option<String>,
        /// The keys of that table.
        known: String,
    },
    /// A value that its key cannot have.
    #[error("{file}:{line}: {key} = {value}: {allowed}")]
    Value {
        /// Which file.
        file: String,
        /// Counted from one.
        line: usize,
        /// The key with the tables it is in.
        key: String,
        /// The value, as written.
        value: String,
        /// What would be right.
        allowed: String,
    },
    /// An interface that the system does not have.
    #[error("{key}: no interface {name:?} here; there are: {available}")]
    Interface {
        /// The key with the tables it is in.
        key: String,
        /// The name.
        name: String,
        /// The names that there are.
        available: String,
    },
}

fn suggested(suggestion: &Option<String>) -> String {
    suggestion.as_ref().map_or_else(String::new, |key| format!(" (did you mean {key}?)"))
}

/// A wrong value before it is known on which line it stands.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) key: String,
    pub(super) invalid: Invalid,
}

impl Fault {
    pub(super) fn new(key: impl Into<String>, invalid: Invalid) -> Self {
        Self { key: key.into(), invalid }
    }
}
