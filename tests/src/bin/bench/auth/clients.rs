//! Back-ends that ask for leases, in whichever way.
use std::{
    net::Ipv6Addr,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use anyhow::Result;
use dimpl::Config;

use super::{
    dtls::{self, Session},
    https::{Connection, Tls},
    site::{self, Site},
};

/// What is asked for: no lease lapses while anything is measured.
pub(super) const TERMS: &str = "{\"ttl\": 3600}";

/// What proves who a back-end is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// TLS 1.3 and HTTP.
    Certificate,
    /// DTLS 1.2 and CoAP.
    Key,
}

/// Who asks; each from an address of its own.
pub(super) struct Clients {
    tls: Tls,
    key: Arc<Config>,
    next: AtomicU32,
}

/// One of them, once it is known.
pub(super) enum Client {
    Certificate(Box<Connection>),
    Key(Box<Session>),
}

impl Clients {
    pub(super) fn new(site: &Site<'_>) -> Result<Self> {
        Ok(Self { tls: Tls::new(&site.pki)?, key: dtls::config()?, next: AtomicU32::new(1) })
    }

    /// A new one, at an address that had no lease before.
    pub(super) fn open(&self, way: Way) -> Result<Client> {
        let from: Ipv6Addr = site::backend(self.next.fetch_add(1, Ordering::Relaxed));
        Ok(match way {
            Way::Certificate => Client::Certificate(Box::new(self.tls.open(from)?)),
            Way::Key => Client::Key(Box::new(Session::open(&self.key, from)?)),
        })
    }
}

impl Client {
    /// Asks for a lease or its renewal, and gets it.
    pub(super) fn lease(&mut self) -> Result<()> {
        match self {
            Self::Certificate(connection) => connection.lease(),
            Self::Key(session) => session.lease(),
        }
    }

    /// Says goodbye.
    pub(super) fn close(self) -> Result<()> {
        match self {
            Self::Certificate(connection) => connection.close(),
            Self::Key(session) => session.close(),
        }
    }
}
