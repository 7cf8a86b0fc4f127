//! HTTPS with client certificates: sockets, TLS and HTTP/1.1 around [`rest`](super::rest).
//!
//! Everything is bounded before the client has proved anything: connections in all and of each
//! source, handshakes at once, the time for each step, the size of head and body.
use super::{
    answer::Client,
    limit::{Limit, Ticket},
    material::{self, Current, Material, Stamp},
    presented::Presented,
    psk::engine,
};
use crate::{
    config::{Config, auth::Https as Settings},
    lease::{Credential, Registry, Way},
    tunnel::{Hub, frame::ALPN, stream},
};
use core::{convert::Infallible, net::IpAddr};
use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use nix::sys::socket::{setsockopt, sockopt::Ipv6V6Only};
use std::{
    io,
    net::SocketAddr,
    sync::{Arc, PoisonError, RwLock},
    time::{Duration, SystemTime},
};
use tokio::{
    net::{TcpListener, TcpSocket, TcpStream},
    sync::Semaphore,
    task::JoinHandle,
    time::timeout,
};
use tokio_rustls::TlsAcceptor;

/// For the handshake, and for a request's head with the pause before it.
const HANDSHAKE: Duration = Duration::from_secs(10);
const HEAD: Duration = Duration::from_secs(30);
/// No connection lasts longer: a certificate is looked at again at least so often.
const LIFE: Duration = Duration::from_mins(15);
/// Bytes of a request's head.
const HEAD_MAX: usize = 16 * 1024;
const BACKLOG: u32 = 1024;

/// Why the interface is not served.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The files.
    #[error(transparent)]
    Material(#[from] material::Error),
    /// A socket.
    #[error("auth.https.listen: cannot listen on {at}: {source}")]
    Listen {
        /// Where.
        at: SocketAddr,
        /// Why.
        source: io::Error,
    },
}

/// The interface as it is served.
pub struct Https {
    shared: Arc<Shared>,
    listeners: Vec<(SocketAddr, JoinHandle<()>)>,
    seen: Stamp,
    warned: bool,
}

/// What all connections share.
pub(super) struct Shared {
    registry: Registry,
    state: RwLock<Arc<State>>,
    limit: Limit,
    handshakes: Semaphore,
    hub: Hub,
    current: Current,
}

struct State {
    settings: Settings,
    /// Whether DTLS is served with the same files.
    dtls: bool,
    material: Arc<Material>,
}

impl State {
    fn load(settings: Settings, dtls: bool) -> Result<Self, material::Error> {
        let material = Arc::new(Material::load(&settings)?);
        if dtls && !engine::takes(&material.own) {
            return Err(material::Error::Kind { file: settings.key });
        }
        Ok(Self { settings, dtls, material })
    }
}

impl Shared {
    fn state(&self) -> Arc<State> {
        Arc::clone(&self.state.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether a certificate was revoked, perhaps since its handshake.
    pub(super) fn is_revoked(&self, certificate: &Credential) -> bool {
        self.state().material.revoked.contains(certificate)
    }

    /// Where leases are.
    pub(super) const fn registry(&self) -> &Registry {
        &self.registry
    }
}

/// What a configuration needs, read before anything is changed; nothing when it is off.
pub struct Prepared(Option<(State, Stamp)>);

impl Prepared {
    /// Reads the files.
    ///
    /// # Errors
    /// [`Error::Material`].
    pub fn new(config: &Config) -> Result<Self, Error> {
        let settings = config.auth.https.clone();
        if !config.auth.takes_certificates() {
            return Ok(Self(None));
        }
        let seen = Stamp::read(&settings);
        let state = State::load(settings, !config.auth.dtls.listen.is_empty())?;
        Ok(Self(Some((state, seen))))
    }
}

impl Https {
    /// Serves, if it is configured, and keeps what is in force of the files in `current`. Must be
    /// called within a runtime.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn start(
        prepared: Prepared,
        registry: Registry,
        hub: Hub,
        current: Current,
    ) -> Result<Option<Self>, Error> {
        let Some((state, seen)) = prepared.0 else { return Ok(None) };
        current.set(Some(Arc::clone(&state.material)));
        let handshakes = Semaphore::new(state.settings.handshakes as usize);
        let (state, limit) = (RwLock::new(Arc::new(state)), Limit::default());
        let shared = Arc::new(Shared { registry, state, limit, handshakes, hub, current });
        let mut served = Self { shared, listeners: Vec::new(), seen, warned: false };
        served.listen()?;
        served.revoke();
        Ok(Some(served))
    }

    /// Puts another configuration into force. Connections live on; their requests follow it.
    ///
    /// # Errors
    /// [`Error::Listen`].
    pub fn reload(&mut self, prepared: Prepared) -> Result<(), Error> {
        let Some((state, seen)) = prepared.0 else { return Ok(()) };
        self.shared.current.set(Some(Arc::clone(&state.material)));
        (self.seen, self.warned) = (seen, false);
        *self.shared.state.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(state);
        self.listen()?;
        self.revoke();
        Ok(())
    }

    /// Looks whether files have changed, and follows them. A mistake in them is logged, and what
    /// was in force stays.
    pub fn tick(&mut self) {
        let state = self.shared.state();
        let now = Stamp::read(&state.settings);
        if now != self.seen {
            self.seen = now.clone();
            match State::load(state.settings.clone(), state.dtls) {
                Ok(state) => {
                    let _ = self.reload(Prepared(Some((state, now))));
                    tracing::info!("certificates reloaded");
                }
                Err(error) => {
                    tracing::error!("certificates not reloaded, what was in force stays: {error}");
                }
            }
        }
        if !self.warned && state.material.stale.is_some_and(|next| next < SystemTime::now()) {
            self.warned = true;
            tracing::warn!(
                "auth.https.crl is past its next update: refresh it (gateway pki refresh)"
            );
        }
    }

    fn listen(&mut self) -> Result<(), Error> {
        let wanted = self.shared.state().settings.listen.clone();
        for (_, task) in self.listeners.extract_if(.., |(at, _)| !wanted.contains(at)) {
            task.abort();
        }
        for at in wanted {
            if self.listeners.iter().any(|(there, _)| *there == at) {
                continue;
            }
            let socket = bind(at).map_err(|source| Error::Listen { at, source })?;
            let task = tokio::spawn(accept(socket, Arc::clone(&self.shared)));
            self.listeners.push((at, task));
        }
        Ok(())
    }

    /// Ends leases whose certificates are revoked.
    fn revoke(&self) {
        let state = self.shared.state();
        let registry = self.shared.registry.clone();
        tokio::spawn(async move {
            let revoked = state.material.revoked.clone();
            let _ = registry.call(move |ledger| ledger.revoke_certificates(revoked)).await;
        });
    }
}

impl Drop for Https {
    fn drop(&mut self) {
        self.shared.current.set(None);
        self.listeners.iter().for_each(|(_, task)| task.abort());
    }
}

/// `[::]` is every address, of IPv4 too, whatever the system's default.
fn bind(at: SocketAddr) -> io::Result<TcpListener> {
    let socket = if at.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    if at.is_ipv6() {
        setsockopt(&socket, Ipv6V6Only, &!at.ip().is_unspecified())?;
    }
    socket.set_reuseaddr(true)?;
    socket.bind(at)?;
    socket.listen(BACKLOG)
}

async fn accept(socket: TcpListener, shared: Arc<Shared>) {
    /// Out of descriptors: accepting again at once would only spin.
    const PAUSE: Duration = Duration::from_millis(50);
    loop {
        let Ok((stream, peer)) = socket.accept().await else {
            tokio::time::sleep(PAUSE).await;
            continue;
        };
        let source = peer.ip().to_canonical();
        let state = shared.state();
        let (most, each) = (state.settings.connections, state.settings.connections_per_source);
        if let Some(ticket) = shared.limit.admit(source, most, each) {
            tokio::spawn(serve(stream, source, Arc::clone(&shared), ticket));
        }
    }
}

async fn serve(stream: TcpStream, source: IpAddr, shared: Arc<Shared>, ticket: Ticket) {
    let _ticket = ticket;
    let _ = stream.set_nodelay(true);
    let shake = async {
        let _turn = shared.handshakes.acquire().await.ok()?;
        let acceptor = TlsAcceptor::from(Arc::clone(&shared.state().material.config));
        match acceptor.accept(stream).await {
            Ok(stream) => Some(stream),
            Err(error) => {
                tracing::debug!("no handshake with {source}: {error}");
                None
            }
        }
    };
    let Ok(Some(stream)) = timeout(HANDSHAKE, shake).await else { return };
    let leaf = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
    let Some(Ok(client)) = leaf.map(|leaf| Presented::read(leaf)) else { return };
    let tunnel = stream.get_ref().1.alpn_protocol() == Some(ALPN);
    let client = Arc::new(Client { shared, source, presented: client });
    if tunnel {
        return stream::serve(stream, &client.shared.hub, client.holder(Way::Tunnel)).await;
    }
    let service = service_fn(move |request| {
        let client = Arc::clone(&client);
        async move { Ok::<_, Infallible>(client.respond(request).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .max_buf_size(HEAD_MAX)
        .serve_connection(TokioIo::new(stream), service);
    let _ = timeout(LIFE, connection).await;
}
