//! HTTPS with client certificates: sockets, TLS and HTTP/1.1 around [`rest`](super::rest).
//!
//! Everything is bounded before the client has proved anything: connections in all and of each
//! source, handshakes at once, the time for each step, the size of head and body.
use super::{
    OPENAPI,
    limit::{Limit, Ticket},
    material::{self, Material, Stamp},
    presented::Presented,
    problem::{self, Kind, Problem},
    rest::{self, Action, BODY_MAX, Refused},
};
use crate::{
    config::{Config, auth::Https as Settings},
    dataplane::clock,
    lease::{Id, Lease, Registry, View, Way, Wish},
};
use core::{convert::Infallible, net::IpAddr};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::{
    Request, Response, StatusCode,
    body::{Bytes, Incoming},
    header,
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use nix::sys::socket::{setsockopt, sockopt::Ipv6V6Only};
use serde_json::{Value, json};
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

/// For the handshake, for a request's head (and the pause before it), for its body.
const HANDSHAKE: Duration = Duration::from_secs(10);
const HEAD: Duration = Duration::from_secs(30);
const BODY: Duration = Duration::from_secs(10);
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

struct Shared {
    registry: Registry,
    state: RwLock<Arc<State>>,
    limit: Limit,
    handshakes: Semaphore,
}

struct State {
    settings: Settings,
    material: Material,
}

impl Shared {
    fn state(&self) -> Arc<State> {
        Arc::clone(&self.state.read().unwrap_or_else(PoisonError::into_inner))
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
        if settings.listen.is_empty() {
            return Ok(Self(None));
        }
        let seen = Stamp::read(&settings);
        let material = Material::load(&settings)?;
        Ok(Self(Some((State { settings, material }, seen))))
    }
}

impl Https {
    /// Serves, if it is configured. Must be called within a runtime.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn start(prepared: Prepared, registry: Registry) -> Result<Option<Self>, Error> {
        let Some((state, seen)) = prepared.0 else { return Ok(None) };
        let handshakes = Semaphore::new(state.settings.handshakes as usize);
        let state = RwLock::new(Arc::new(state));
        let shared = Arc::new(Shared { registry, state, limit: Limit::default(), handshakes });
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
            match Material::load(&state.settings) {
                Ok(material) => {
                    let state = State { settings: state.settings.clone(), material };
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
    let client = Arc::new(Client { shared, source, presented: client });
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

type Answer = Response<Full<Bytes>>;

struct Client {
    shared: Arc<Shared>,
    source: IpAddr,
    presented: Presented,
}

impl Client {
    async fn respond(&self, request: Request<Incoming>) -> Answer {
        let revoked = self.shared.state().material.revoked.contains(&self.presented.credential);
        let result = if revoked {
            Err(Problem::new(Kind::Revoked, "this certificate was revoked").into())
        } else {
            self.answer(request).await
        };
        let mut answer = result.unwrap_or_else(|refused| refuse(&refused));
        if revoked {
            answer
                .headers_mut()
                .insert(header::CONNECTION, header::HeaderValue::from_static("close"));
        }
        answer
    }

    async fn answer(&self, request: Request<Incoming>) -> Result<Answer, Refused> {
        let (head, body) = request.into_parts();
        let body = read_body(body).await?;
        let media =
            head.headers.get(header::CONTENT_TYPE).map(|value| value.to_str().unwrap_or("?"));
        let action = rest::read(head.method.as_str(), head.uri.path(), media, &body)?;
        self.act(action).await.map_err(Refused::from)
    }

    async fn act(&self, action: Action) -> Result<Answer, Problem> {
        match action {
            Action::Health => Ok(ok(&self.health().await?)),
            Action::Describe => Ok(reply(StatusCode::OK, "application/json", OPENAPI.to_owned())),
            Action::Explain(kind) => Ok(ok(&kind.explanation())),
            Action::List => Ok(ok(&json!({ "leases": self.leases().await? }))),
            Action::Grant(terms) => self.grant(terms).await,
            Action::Show(id) => Ok(ok(&json!(self.lease(id).await?))),
            Action::Renew(id, terms) => {
                let lease = self.lease(id).await?;
                if lease.source != self.source || lease.way != Way::Certificate {
                    let (theirs, ours) = (lease.source, self.source);
                    let text = format!("the lease is for {theirs}, the request came from {ours}");
                    return Err(Problem::new(Kind::OtherAddress, text));
                }
                self.grant(terms).await
            }
            Action::End(id) => {
                let names = self.names();
                let own = move |lease: &Lease| names.contains(&lease.identity);
                let ended =
                    self.shared.registry.call(move |ledger| ledger.release(&id, own)).await?;
                let lease = ended.ok_or_else(|| rest::no_lease(id))?;
                tracing::info!(identity = lease.identity, "lease of {} given back", lease.source);
                Ok(reply(StatusCode::NO_CONTENT, "", String::new()))
            }
        }
    }

    fn names(&self) -> Vec<String> {
        self.presented.names.iter().map(|name| name.text.clone()).collect()
    }

    async fn health(&self) -> Result<Value, Problem> {
        let held = self.leases().await?.len();
        Ok(json!({
            "status": "ok",
            "names": self.names(),
            "source": self.source,
            "leases": held,
        }))
    }

    async fn leases(&self) -> Result<Vec<View>, Problem> {
        let names = self.names();
        let views = self.shared.registry.call(move |ledger| {
            let now = clock::monotonic();
            let own = ledger.leases_of(&names);
            own.map(|lease| View::new(lease, now)).collect::<Vec<_>>()
        });
        Ok(views.await?)
    }

    async fn lease(&self, id: Id) -> Result<View, Problem> {
        let names = self.names();
        let found = self.shared.registry.call(move |ledger| {
            let lease = ledger.lease(&id).filter(|lease| names.contains(&lease.identity))?;
            Some(View::new(lease, clock::monotonic()))
        });
        found.await?.ok_or_else(|| rest::no_lease(id))
    }

    async fn grant(&self, terms: rest::Terms) -> Result<Answer, Problem> {
        let wish = Wish {
            names: self.presented.names.clone(),
            way: Way::Certificate,
            source: self.source,
            nodes: terms.nodes,
            ttl: terms.ttl,
            credential: Some(self.presented.credential.clone()),
            proof_ends: Some(self.presented.ends),
        };
        let work = self.shared.registry.call(move |ledger| {
            let now = clock::monotonic();
            ledger.ask(&wish).map(|lease| (lease.granted_ns >= now, View::new(&lease, now)))
        });
        let (new, view) = work.await??;
        let status = if new { StatusCode::CREATED } else { StatusCode::OK };
        if new {
            tracing::info!(identity = view.identity, "lease of {} granted", view.source);
        }
        let mut answer = reply(status, "application/json", json!(view).to_string());
        if let Ok(place) = format!("/v1/leases/{}", view.id).parse() {
            answer.headers_mut().insert(header::LOCATION, place);
        }
        Ok(answer)
    }
}

async fn read_body(body: Incoming) -> Result<Bytes, Problem> {
    match timeout(BODY, Limited::new(body, BODY_MAX).collect()).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(Problem::new(
            Kind::TooLarge,
            format_args!("the body has more than {BODY_MAX} bytes"),
        )),
        Ok(Err(error)) => Err(Problem::new(Kind::BadRequest, error)),
        Err(_) => Err(Problem::new(Kind::Timeout, "the body did not come in time")),
    }
}

fn refuse(refused: &Refused) -> Answer {
    let problem = &refused.problem;
    let status = StatusCode::from_u16(problem.kind.status());
    let status = status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut answer = reply(status, problem::MEDIA_TYPE, problem.document().to_string());
    if let Some(allow) = refused.allow {
        answer.headers_mut().insert(header::ALLOW, header::HeaderValue::from_static(allow));
    }
    answer
}

fn ok(value: &Value) -> Answer {
    reply(StatusCode::OK, "application/json", value.to_string())
}

fn reply(status: StatusCode, media: &'static str, body: String) -> Answer {
    let mut answer = Response::new(Full::new(Bytes::from(body)));
    *answer.status_mut() = status;
    if !media.is_empty() {
        let headers = answer.headers_mut();
        headers.insert(header::CONTENT_TYPE, header::HeaderValue::from_static(media));
    }
    // what a lease says is true for this client and this moment only
    let never = header::HeaderValue::from_static("no-store");
    answer.headers_mut().insert(header::CACHE_CONTROL, never);
    answer
}
