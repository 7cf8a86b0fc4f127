//! The agent and the command line as a library, for the binary and for tests.
pub mod agent;
pub mod allow;
pub mod auth;
pub mod backend;
pub mod cli;
pub mod config;
pub mod control;
pub mod dataplane;
pub mod lease;
pub mod mapper;
pub mod observe;
pub mod pki;
