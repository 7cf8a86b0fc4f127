//! Real peers: other people's programs, one a file.

pub mod coap;
pub mod curl;
pub mod gnutls;
pub mod https;
pub mod node;
pub mod openssl;
pub mod proxy;

use std::{
    ffi::{OsStr, OsString},
    net::{IpAddr, SocketAddr},
    os::unix::ffi::OsStrExt,
    time::Duration,
};

use anyhow::{Result, ensure};

use crate::lab::{Namespace, until};

/// How long a peer may take to come up.
pub const START: Duration = Duration::from_secs(5);
/// How long a handshake may take without loss.
pub const HANDSHAKE: Duration = Duration::from_secs(5);

/// A pre-shared key with its identity.
#[derive(Clone, Debug)]
pub struct Psk {
    /// Identity that the client names.
    pub identity: String,
    /// Key; without a zero byte, for coap-client takes it from its arguments.
    pub key: Vec<u8>,
}

impl Psk {
    /// A key for an identity.
    pub fn new(identity: &str, key: &[u8]) -> Self {
        Self { identity: identity.to_owned(), key: key.to_vec() }
    }

    /// The key in hexadecimal, as openssl and gnutls take it.
    pub fn hex(&self) -> String {
        self.key.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// The key as it is, as libcoap takes it.
    pub fn raw(&self) -> OsString {
        OsStr::from_bytes(&self.key).to_owned()
    }
}

impl Default for Psk {
    fn default() -> Self {
        Self::new("node1", b"0123456789abcdef")
    }
}

/// Waits until something in `namespace` listens on `at`, or on its port at any address.
pub fn wait_bound(namespace: &Namespace, kind: Socket, at: SocketAddr) -> Result<()> {
    let any = SocketAddr::new(unspecified(at.ip()), at.port());
    let bound = until(START, || {
        let sockets = namespace.run(&["ss", "-Hln", kind.flag()]).unwrap_or_default();
        let mut local = sockets.lines().filter_map(|line| line.split_whitespace().nth(3));
        local.any(|local| is(local, at) || is(local, any))
    });
    ensure!(bound, "nothing listens on {at} in {}", namespace.name());
    Ok(())
}

/// Kind of socket to look for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Socket {
    /// UDP.
    Udp,
    /// TCP.
    Tcp,
}

impl Socket {
    fn flag(self) -> &'static str {
        match self {
            Self::Udp => "-u",
            Self::Tcp => "-t",
        }
    }
}

fn is(listed: &str, wanted: SocketAddr) -> bool {
    listed == wanted.to_string() || listed == format!("*:{}", wanted.port())
}

fn unspecified(of: IpAddr) -> IpAddr {
    match of {
        IpAddr::V4(_) => std::net::Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => std::net::Ipv6Addr::UNSPECIFIED.into(),
    }
}
