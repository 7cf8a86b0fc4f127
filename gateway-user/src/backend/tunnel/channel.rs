//! The outer channel, DTLS or TLS: frames in, frames out.
use super::{dtls, session, tls};
use crate::{auth::psk::keys, backend::client};
use rustls::pki_types::ServerName;
use std::{io, path::PathBuf, sync::Arc};
use tokio::{net::lookup_host, sync::mpsc, task::JoinHandle};

/// Frames that wait.
pub(super) const QUEUE: usize = 64;

/// Why there is no channel.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The router's address.
    #[error("{0:?}: expected the router's host and port, such as router.example:5684")]
    Router(String),
    /// Its name.
    #[error("{0} has no address")]
    Name(String),
    /// Keys.
    #[error(transparent)]
    Keys(#[from] keys::Error),
    /// The identity has no key.
    #[error("{0:?} has no key in the file")]
    Identity(String),
    /// Certificates.
    #[error(transparent)]
    Client(#[from] client::Error),
    /// The way.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// The DTLS engine.
    #[error("the DTLS session is over: {0}")]
    Dtls(#[from] dimpl::Error),
    /// A certificate that DTLS cannot use.
    #[error(
        "{} has no ECDSA key with P-256 or P-384 for the certificate: outer DTLS takes no other \
         (leave out --dtls for outer TLS)", .0.display()
    )]
    Kind(PathBuf),
    /// The authorities.
    #[error("cannot use the authorities in {}: {source}", file.display())]
    Authority {
        /// The file.
        file: PathBuf,
        /// Why.
        source: rustls::client::VerifierBuilderError,
    },
    /// The router's certificate.
    #[error("the router's certificate is not taken: {0} (--ca names its authority)")]
    Stranger(rustls::Error),
    /// The router does not take the back-end's.
    #[error("the router does not take the certificate: {0}")]
    Certificate(&'static str),
    /// The handshake fails otherwise.
    #[error("the router answers, but the handshake fails: {0} (is this a port of its auth.dtls?)")]
    Handshake(dimpl::Error),
    /// A handshake that does not end.
    #[error("the router answers, but takes neither identity nor key: one of them is wrong there")]
    Refused,
    /// Nobody there.
    #[error("no answer from {0}")]
    Silent(String),
    /// Nobody has said anything yet.
    #[error("no answer")]
    Unheard,
    /// TLS without tunnels.
    #[error("the server at {0} knows no tunnels: is it a gateway?")]
    NoTunnel(String),
    /// The router ended it.
    #[error("the router has closed the tunnel")]
    Closed,
}

/// What proves who the back-end is.
#[derive(Clone)]
pub enum Credentials {
    /// A pre-shared key: outer DTLS.
    Psk(Arc<dimpl::Config>),
    /// A certificate: outer TLS.
    Certificate(Arc<rustls::ClientConfig>),
    /// A certificate: outer DTLS.
    Datagrams(Arc<session::Certificate>),
}

impl Credentials {
    /// The key of `identity` in a file of lines `identity:key`.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn psk(identity: &str, file: &std::path::Path) -> Result<Self, Error> {
        let keys = keys::Keys::load(file)?;
        let key = keys.of(identity.as_bytes());
        let key = key.ok_or_else(|| Error::Identity(identity.to_owned()))?;
        Ok(Self::Psk(session::config(identity, key.0.clone())?))
    }

    /// A certificate with its key, and the router's authority, for outer DTLS.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn datagrams(files: &client::Files) -> Result<Self, Error> {
        Ok(Self::Datagrams(Arc::new(session::Certificate::read(files)?)))
    }

    /// A certificate with its key, and the router's authority, for outer TLS.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn certificate(files: &client::Files) -> Result<Self, Error> {
        let mut config = client::tls(files)?;
        config.alpn_protocols = vec![crate::tunnel::frame::ALPN.to_vec()];
        Ok(Self::Certificate(Arc::new(config)))
    }
}

/// An open channel; it ends when this is dropped.
pub(super) struct Channel {
    pub(super) incoming: mpsc::Receiver<Vec<u8>>,
    pub(super) outgoing: mpsc::Sender<Vec<u8>>,
    pub(super) task: JoinHandle<Error>,
}

impl Channel {
    /// Why it is over.
    pub(super) async fn reason(&mut self) -> String {
        (&mut self.task).await.map_or_else(|_| Error::Closed.to_string(), |error| error.to_string())
    }
}

impl Drop for Channel {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Opens a channel to `router`, host and port.
pub(super) async fn open(router: &str, credentials: &Credentials) -> Result<Channel, Error> {
    let wrong = || Error::Router(router.to_owned());
    let (host, port) = router.rsplit_once(':').ok_or_else(wrong)?;
    let port: u16 = port.parse().map_err(|_| wrong())?;
    let host = host.trim_matches(['[', ']']).to_owned();
    let places = lookup_host((host.as_str(), port)).await?;
    let mut last = Error::Name(host.clone());
    for at in places {
        let opened = match credentials {
            Credentials::Psk(config) => dtls::open(at, session::Session::with_key(config)).await,
            Credentials::Certificate(config) => {
                let name = ServerName::try_from(host.clone()).map_err(|_| wrong())?;
                tls::open(at, name, config).await
            }
            Credentials::Datagrams(certificate) => {
                let name = ServerName::try_from(host.clone()).map_err(|_| wrong())?;
                dtls::open(at, session::Session::with_certificate(certificate, name)).await
            }
        };
        match opened {
            Ok(channel) => return Ok(channel),
            Err(error) => last = error,
        }
    }
    Err(last)
}
