//! DTLS 1.2 with pre-shared keys or certificates, for back-ends that speak CoAP and no HTTP.
//!
//! ```text
//! datagram ──▶ gate (cookie) ──▶ association (dimpl) ──▶ coap ──▶ Holder ──▶ leases
//! ```
//!
//! The filter answers a ClientHello without a cookie where it sees it first, with the same keys.
//! Nothing is kept of a client before its cookie comes back; then handshakes are bounded, in all
//! and of each source, and last half a minute at most. A wrong identity and a wrong key look the
//! same from outside: the handshake goes on with a random key, and fails in silence. A certificate
//! that does not do is refused with an alert that says why.
mod association;
mod coap;
mod endpoint;
pub(crate) mod engine;
mod gate;
pub mod keys;
mod socket;
mod transcript;
mod who;

pub(crate) use engine::DATAGRAM;

use super::{limit::Limit, material::Current};
use crate::{
    config::{
        Config,
        auth::{Auth, Psk as Settings},
    },
    dataplane,
    lease::Registry,
    tunnel::Hub,
};
use endpoint::{Common, Endpoint};
use engine::Configs;
use gate::Gate;
use keys::Keys;
use socket::Socket;
use std::{
    collections::HashSet,
    fs, io,
    net::SocketAddr,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};
use tokio::{sync::watch, task::JoinHandle};

/// Why the interface is not served.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file of keys.
    #[error("auth.psk.keys: {0}")]
    Keys(#[from] keys::Error),
    /// A socket.
    #[error("auth.psk.listen, auth.dtls.listen: cannot listen on {at}: {source}")]
    Listen {
        /// Where.
        at: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// The DTLS engine.
    #[error("auth.psk: the DTLS engine does not start: {0}")]
    Engine(#[from] dimpl::Error),
    /// The keys behind cookies.
    #[error(transparent)]
    Cookies(#[from] dataplane::Error),
}

/// What all sockets follow.
struct State {
    settings: Settings,
    /// Where certificates are taken.
    certificates: Vec<SocketAddr>,
    keys: Arc<Keys>,
    configs: Configs,
    /// Where the filter's maps are, with the keys behind cookies.
    bpffs: PathBuf,
    /// Identities whose keys are others than in the state before.
    changed: HashSet<String>,
}

/// By which a file that was changed is known.
type Stamp = Option<(u64, i64, i64, u64)>;

fn stamp(file: &Path) -> Stamp {
    let meta = fs::metadata(file).ok()?;
    // the time of change too: it moves with owner and mode
    Some((meta.ino(), meta.mtime() ^ meta.ctime(), meta.mtime_nsec(), meta.len()))
}

/// What a configuration needs, read before anything is changed.
pub struct Prepared {
    state: State,
    seen: Stamp,
}

impl Prepared {
    /// Reads the file of keys, if the interface is on.
    ///
    /// # Errors
    /// [`Error::Keys`], [`Error::Engine`].
    pub fn new(config: &Config) -> Result<Self, Error> {
        let Auth { psk, dtls, .. } = &config.auth;
        Self::read(psk, &dtls.listen, &config.state.bpffs)
    }

    fn read(settings: &Settings, certificates: &[SocketAddr], bpffs: &Path) -> Result<Self, Error> {
        let seen = stamp(&settings.keys);
        let on = !settings.listen.is_empty();
        let keys = Arc::new(if on { Keys::load(&settings.keys)? } else { Keys::default() });
        let configs = Configs::new(Arc::clone(&keys))?;
        let (settings, changed) = (settings.clone(), HashSet::new());
        let (certificates, bpffs) = (certificates.to_vec(), bpffs.to_owned());
        Ok(Self { state: State { settings, certificates, keys, configs, bpffs, changed }, seen })
    }
}

/// The interface as it is served.
pub struct Psk {
    common: Common,
    state: watch::Sender<Arc<State>>,
    listeners: Vec<(SocketAddr, JoinHandle<()>)>,
    seen: Stamp,
}

impl Psk {
    /// Serves what is configured, which may be nothing. Must be called within a runtime.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn start(
        prepared: Prepared,
        registry: Registry,
        hub: Hub,
        current: Current,
    ) -> Result<Self, Error> {
        let (state, receiver) = watch::channel(Arc::new(prepared.state));
        let (open, half) = (Limit::default(), Limit::default());
        let common = Common { registry, state: receiver, open, half, hub, current };
        let mut served = Self { common, state, listeners: Vec::new(), seen: prepared.seen };
        served.listen()?;
        served.retain();
        Ok(served)
    }

    /// Puts another configuration into force. Associations live on unless their key has changed.
    ///
    /// # Errors
    /// [`Error::Listen`], [`Error::Cookies`].
    pub fn reload(&mut self, prepared: Prepared) -> Result<(), Error> {
        let mut state = prepared.state;
        state.changed = self.state.borrow().keys.changed(&state.keys);
        self.seen = prepared.seen;
        self.state.send_replace(Arc::new(state));
        self.listen()?;
        self.retain();
        Ok(())
    }

    /// Looks whether the file of keys has changed, and follows it. A mistake in it is logged, and
    /// what was in force stays.
    pub fn tick(&mut self) {
        let state = Arc::clone(&self.state.borrow());
        let settings = &state.settings;
        if settings.listen.is_empty() || stamp(&settings.keys) == self.seen {
            return;
        }
        self.seen = stamp(&settings.keys);
        let read = Prepared::read(settings, &state.certificates, &state.bpffs);
        let reloaded = read.and_then(|prepared| self.reload(prepared));
        match reloaded {
            Ok(()) => tracing::info!("pre-shared keys reloaded"),
            Err(error) => {
                tracing::error!("keys not reloaded, what was in force stays: {error}");
            }
        }
    }

    fn listen(&mut self) -> Result<(), Error> {
        let state = Arc::clone(&self.state.borrow());
        let mut wanted = state.settings.listen.clone();
        wanted.extend(&state.certificates);
        for (_, task) in self.listeners.extract_if(.., |(at, _)| !wanted.contains(at)) {
            task.abort();
        }
        for at in wanted {
            if self.listeners.iter().any(|(there, _)| *there == at) {
                continue;
            }
            let socket = Socket::bind(at).map_err(|source| Error::Listen { at, source })?;
            let endpoint =
                Endpoint::new(at, socket, Gate::open(&state.bpffs)?, self.common.clone());
            self.listeners.push((at, tokio::spawn(endpoint.run())));
        }
        Ok(())
    }

    /// Ends leases whose keys are gone.
    fn retain(&self) {
        let valid = self.state.borrow().keys.credentials().collect();
        let registry = self.common.registry.clone();
        tokio::spawn(async move {
            let _ = registry.call(move |ledger| ledger.retain_keys(&valid)).await;
        });
    }
}

impl Drop for Psk {
    fn drop(&mut self) {
        self.listeners.iter().for_each(|(_, task)| task.abort());
    }
}

#[cfg(test)]
mod tests;
