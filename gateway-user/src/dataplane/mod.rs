//! The kernel side as user space sees it: programs, links and maps.
//!
//! [`attach`] loads, pins and attaches; [`maps`] has a typed handle for each pinned map; [`table`]
//! puts the allow-list there; [`replica`] runs packets against a copy.
pub mod admission;
pub mod attach;
mod bits;
pub mod btf;
pub mod clock;
pub mod cookies;
pub mod grant;
pub mod hook;
pub mod links;
pub mod maps;
pub mod net;
pub mod object;
pub mod pins;
pub mod plain;
pub mod replica;
mod slots;
pub mod table;

pub use admission::Admission;
pub use maps::Maps;
pub use pins::Pins;
pub use plain::Plain;

use std::{io, path::PathBuf};

/// What can go wrong between user space and the kernel.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No pinned state: the filter does not run.
    #[error("no gateway runs here: {} is missing (start it with `gateway run`)", .0.display())]
    NotRunning(PathBuf),
    /// The pin directory is on no BPF file system.
    #[error(
        "{} is on no BPF file system: mount one with `mount -t bpf bpf /sys/fs/bpf`", .0.display()
    )]
    NoBpffs(PathBuf),
    /// Pinned by another version.
    #[error(
        "the pinned maps are of version {found}, this program is of version {}: \
         `gateway run` replaces them",
        gateway_common::abi::VERSION
    )]
    Version {
        /// The version found.
        found: u32,
    },
    /// Pinned by a version whose maps are laid out differently.
    #[error("the pinned maps under {} are of another version: `gateway run` replaces them", .0.display())]
    Layout(PathBuf),
    /// A pinned map cannot be opened or used.
    #[error("map {name}")]
    Map {
        /// Its name.
        name: &'static str,
        /// Why.
        #[source]
        source: aya::maps::MapError,
    },
    /// A map is full.
    #[error("{what} is full ({capacity}): {remedy}")]
    Full {
        /// What is full.
        what: &'static str,
        /// How many it holds.
        capacity: u32,
        /// What to do.
        remedy: &'static str,
    },
    /// The kernel refused the object.
    #[error("the kernel refused the programs")]
    Load(#[source] aya::EbpfError),
    /// The kernel refused a program.
    #[error("program {name}")]
    Program {
        /// Its name.
        name: &'static str,
        /// Why.
        #[source]
        source: aya::programs::ProgramError,
    },
    /// The verifier refused a program.
    #[error("the kernel refused program {name}; the end of its log:\n{log}\n")]
    Refused {
        /// Its name.
        name: &'static str,
        /// Why.
        #[source]
        source: io::Error,
        /// The last lines of the verifier's log.
        log: String,
    },
    /// An interface is already taken.
    #[error(
        "interface {interface} already has an XDP program that is not ours: \
         `ip link show {interface}` names it, `ip link set {interface} xdp off` or its own tool \
         removes it"
    )]
    Busy {
        /// The interface.
        interface: String,
    },
    /// An interface takes no program.
    #[error("cannot attach to interface {interface} in {mode} mode")]
    Attach {
        /// The interface.
        interface: String,
        /// The mode that was tried.
        mode: &'static str,
        /// Why.
        #[source]
        source: aya::programs::ProgramError,
    },
    /// An interface does not exist or cannot be read.
    #[error("interface {interface}")]
    Interface {
        /// The interface.
        interface: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A pin cannot be made or removed.
    #[error("{}", path.display())]
    Pin {
        /// Its path.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The kernel's random numbers are not to be had.
    #[error("no random numbers from the kernel: {0}")]
    Random(getrandom::Error),
}

/// The result of talking to the kernel.
pub type Result<T> = core::result::Result<T, Error>;
