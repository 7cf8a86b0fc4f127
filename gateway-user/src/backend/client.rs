//! A client of the router's REST interface, with a certificate.
use super::hold::{Outcome, State};
use crate::lease::View;
use core::{net::IpAddr, time::Duration};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{Request, StatusCode, Uri, body::Bytes, client::conn::http1, header};
use hyper_util::rt::TokioIo;
use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
    version::TLS13,
};
use serde_json::{Value, json};
use std::{
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
};
use tokio::{
    net::{TcpSocket, TcpStream, lookup_host},
    time::timeout,
};
use tokio_rustls::TlsConnector;

/// For everything, from the look-up of the name to the last byte of the answer.
const PATIENCE: Duration = Duration::from_secs(15);
const ANSWER_MAX: usize = 1 << 20;
/// The port unless the address has one.
const PORT: u16 = 4433;

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The router's address.
    #[error("{0:?}: expected the router's address such as https://router.example:4433")]
    Router(String),
    /// A file.
    #[error("cannot read {}", file.display())]
    File {
        /// The file.
        file: PathBuf,
        /// Why.
        source: rustls::pki_types::pem::Error,
    },
    /// Certificate, key and authority do not do.
    #[error("cannot use certificate and key: {0}")]
    Tls(#[from] rustls::Error),
}

/// Why a request has no answer.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("no answer within {} seconds", PATIENCE.as_secs())]
    Slow,
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("{0}")]
    Http(#[from] hyper::Error),
    #[error("the answer makes no sense: is this a gateway?")]
    Nonsense,
}

/// The files that a client needs.
#[derive(Clone, Debug)]
pub struct Files {
    /// Its certificate chain, PEM.
    pub certificate: PathBuf,
    /// Its key, PEM.
    pub key: PathBuf,
    /// The authorities that the router's certificate may be of, PEM.
    pub ca: PathBuf,
}

/// A client.
#[derive(Clone)]
pub struct Client {
    tls: TlsConnector,
    name: ServerName<'static>,
    host: String,
    port: u16,
    bind: Option<IpAddr>,
}

impl Client {
    /// A client of the router at `router`, from the address `bind` if there is one.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn new(router: &str, files: &Files, bind: Option<IpAddr>) -> Result<Self, Error> {
        let wrong = || Error::Router(router.to_owned());
        let uri: Uri = router.parse().map_err(|_| wrong())?;
        let path = matches!(uri.path(), "" | "/") && uri.query().is_none();
        let host = uri.host().filter(|_| path && uri.scheme_str() == Some("https"));
        let host = host.ok_or_else(wrong)?.trim_matches(['[', ']']).to_owned();
        let name = ServerName::try_from(host.clone()).map_err(|_| wrong())?;
        let config = tls(files)?;
        Ok(Self {
            tls: TlsConnector::from(Arc::new(config)),
            name,
            host,
            port: uri.port_u16().unwrap_or(PORT),
            bind,
        })
    }

    /// Asks for a lease, or its renewal.
    pub async fn grant(&self, ttl: Option<Duration>, nodes: &[String]) -> Outcome {
        let ttl = ttl.map(|ttl| ttl.as_secs().max(1));
        let terms = json!({ "nodes": nodes, "ttl": ttl });
        let failed = |failure: &Failure| Outcome {
            state: State::Unreachable { error: failure.to_string() },
            lasts: Duration::ZERO,
        };
        match self.ask("POST", "/v1/leases", &terms.to_string()).await {
            Ok((status, body)) => {
                outcome(status, &body).unwrap_or_else(|| failed(&Failure::Nonsense))
            }
            Err(failure) => failed(&failure),
        }
    }

    /// Gives a lease back; whether the router has taken it.
    pub async fn release(&self, id: &str) -> bool {
        let answer = self.ask("DELETE", &format!("/v1/leases/{id}"), "").await;
        answer.is_ok_and(|(status, _)| status == StatusCode::NO_CONTENT)
    }

    async fn ask(
        &self,
        method: &str,
        path: &str,
        body: &str,
    ) -> Result<(StatusCode, Value), Failure> {
        timeout(PATIENCE, self.exchange(method, path, body)).await.map_err(|_| Failure::Slow)?
    }

    async fn exchange(
        &self,
        method: &str,
        path: &str,
        body: &str,
    ) -> Result<(StatusCode, Value), Failure> {
        let stream = self.connect().await?;
        let stream = self.tls.connect(self.name.clone(), stream).await?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        let driven = tokio::spawn(connection);
        let authority =
            if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        let mut request = Request::builder().method(method).uri(path);
        request = request.header(header::HOST, format!("{authority}:{}", self.port));
        request = request.header(header::CONNECTION, "close");
        if !body.is_empty() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        let request = request.body(Full::new(Bytes::from(body.to_owned())));
        let answer = sender.send_request(request.map_err(io::Error::other)?).await?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), ANSWER_MAX).collect().await;
        driven.abort();
        let body = body.map_err(|_| Failure::Nonsense)?.to_bytes();
        Ok((status, serde_json::from_slice(&body).unwrap_or(Value::Null)))
    }

    async fn connect(&self) -> io::Result<TcpStream> {
        let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
        for at in lookup_host((self.host.as_str(), self.port)).await? {
            match self.connect_to(at).await {
                Ok(stream) => return Ok(stream),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    async fn connect_to(&self, at: SocketAddr) -> io::Result<TcpStream> {
        let Some(bind) = self.bind else { return TcpStream::connect(at).await };
        let socket = if bind.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        socket.bind(SocketAddr::new(bind, 0))?;
        socket.connect(at).await
    }
}

/// What the files say.
pub(super) struct Read {
    /// The client's certificate chain.
    pub(super) chain: Vec<CertificateDer<'static>>,
    /// Its key.
    pub(super) key: PrivateKeyDer<'static>,
    /// The authorities that the router's certificate may be of.
    pub(super) roots: RootCertStore,
}

impl Files {
    /// Reads them.
    pub(super) fn read(&self) -> Result<Read, Error> {
        let failed = |file: &Path| {
            let file = file.to_owned();
            move |source| Error::File { file, source }
        };
        let chain = |file: &Path| -> Result<Vec<CertificateDer<'static>>, Error> {
            let found: Result<Vec<_>, _> =
                CertificateDer::pem_file_iter(file).map_err(failed(file))?.collect();
            found.map_err(failed(file))
        };
        let mut roots = RootCertStore::empty();
        for certificate in chain(&self.ca)? {
            roots.add(certificate)?;
        }
        let key = PrivateKeyDer::from_pem_file(&self.key).map_err(failed(&self.key))?;
        Ok(Read { chain: chain(&self.certificate)?, key, roots })
    }
}

/// What TLS needs of them.
pub(super) fn tls(files: &Files) -> Result<ClientConfig, Error> {
    let Read { chain, key, roots } = files.read()?;
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[&TLS13])?
        .with_root_certificates(roots)
        .with_client_auth_cert(chain, key)?;
    Ok(config)
}

/// What an answer means; nothing if it is none of this interface.
fn outcome(status: StatusCode, body: &Value) -> Option<Outcome> {
    if status.is_success() {
        let view: View = serde_json::from_value(body.clone()).ok()?;
        let state = State::Held {
            id: view.id.to_string(),
            source: view.source.to_string(),
            nodes: view.nodes,
        };
        return Some(Outcome { state, lasts: Duration::from_secs(view.expires_in.max(1)) });
    }
    let text = |name: &str| body[name].as_str().map(str::to_owned);
    let kind = text("type")?.rsplit('/').next()?.to_owned();
    let detail = text("detail").or_else(|| text("title"))?;
    if status.is_server_error() {
        let state = State::Unreachable { error: detail };
        return Some(Outcome { state, lasts: Duration::ZERO });
    }
    Some(Outcome { state: State::Refused { kind, detail }, lasts: Duration::ZERO })
}
