//! The agent and the command line as a library, for the binary and for tests.
pub mod allow;
pub mod config;
pub mod dataplane;
