//! The outer DTLS session, sans-IO: datagrams, frames and time in; datagrams and frames out.
use super::{
    channel::{Error, QUEUE},
    dtls::{HANDSHAKE, RETRANSMIT},
};
use crate::{
    auth::psk::{DATAGRAM, engine},
    backend::client::Files,
};
use dimpl::{
    Config, ConfigBuilder, Dtls, DtlsCertificate, Output, PskResolver, SecurityError,
    crypto::rust_crypto,
};
use rustls::{
    client::{WebPkiServerVerifier, danger::ServerCertVerifier as _},
    crypto::ring,
    pki_types::{CertificateDer, ServerName, UnixTime},
};
use std::{sync::Arc, time::Instant};

struct Key(Vec<u8>);

impl PskResolver for Key {
    fn resolve(&self, _identity: &[u8]) -> Option<Vec<u8>> {
        Some(self.0.clone())
    }
}

fn builder() -> ConfigBuilder {
    Config::builder()
        .with_crypto_provider(rust_crypto::default_provider())
        .mtu(DATAGRAM)
        .max_queue_tx(QUEUE)
        .flight_start_rto(RETRANSMIT)
        .handshake_timeout(HANDSHAKE)
}

/// What every attempt with a key has in common.
pub(super) fn config(identity: &str, key: Vec<u8>) -> Result<Arc<Config>, dimpl::Error> {
    let config = builder().with_psk_client(identity.as_bytes().to_vec(), Arc::new(Key(key)));
    Ok(Arc::new(config.build()?))
}

/// What every attempt with a certificate has in common.
pub struct Certificate {
    config: Arc<Config>,
    own: DtlsCertificate,
    verifier: Arc<WebPkiServerVerifier>,
}

impl Certificate {
    pub(super) fn read(files: &Files) -> Result<Self, Error> {
        let read = files.read()?;
        let own = DtlsCertificate {
            certificate: read.chain.first().map(|leaf| leaf.to_vec()).unwrap_or_default(),
            private_key: read.key.secret_der().to_vec(),
        };
        if !engine::takes(&own) {
            return Err(Error::Kind(files.key.clone()));
        }
        let (roots, provider) = (Arc::new(read.roots), Arc::new(ring::default_provider()));
        let verifier = WebPkiServerVerifier::builder_with_provider(roots, provider).build();
        let verifier =
            verifier.map_err(|source| Error::Authority { file: files.ca.clone(), source })?;
        Ok(Self { config: Arc::new(builder().build()?), own, verifier })
    }
}

/// A session with the router.
pub(super) struct Session {
    dtls: Dtls,
    /// Whose certificate the router must have, if it has one.
    router: Option<(Arc<Certificate>, ServerName<'static>)>,
    due: Instant,
    open: bool,
    heard: bool,
}

/// What a session has to say after something has happened.
#[derive(Debug, Default)]
pub(super) struct Events {
    /// Datagrams to the router.
    pub(super) datagrams: Vec<Vec<u8>>,
    /// Frames from it.
    pub(super) frames: Vec<Vec<u8>>,
    /// It is over: why.
    pub(super) over: Option<Error>,
}

impl Session {
    /// One that both ends prove with a key.
    pub(super) fn with_key(config: &Arc<Config>) -> Self {
        Self::new(Dtls::new_12_psk(Arc::clone(config), Instant::now()), None)
    }

    /// One that both ends prove with certificates; the router's must be for `name`.
    pub(super) fn with_certificate(own: &Arc<Certificate>, name: ServerName<'static>) -> Self {
        let dtls = Dtls::new_12(Arc::clone(&own.config), own.own.clone(), Instant::now());
        Self::new(dtls, Some((Arc::clone(own), name)))
    }

    fn new(mut dtls: Dtls, router: Option<(Arc<Certificate>, ServerName<'static>)>) -> Self {
        dtls.set_active(true);
        Self { dtls, router, due: Instant::now(), open: false, heard: false }
    }

    /// Whether the handshake is over.
    pub(super) const fn is_open(&self) -> bool {
        self.open
    }

    /// When it wants to be told the time.
    pub(super) const fn due(&self) -> Instant {
        self.due
    }

    /// Takes in a datagram.
    pub(super) fn handle_datagram(&mut self, now: Instant, datagram: &[u8]) -> Events {
        if !engine::may_have(datagram) {
            return Events::default();
        }
        self.heard = true;
        let taken = self.dtls.handle_timeout(now);
        let taken = taken.and_then(|()| self.dtls.handle_packet(datagram));
        self.after(taken)
    }

    /// Does what is due.
    pub(super) fn handle_timeout(&mut self, now: Instant) -> Events {
        let done = self.dtls.handle_timeout(now);
        self.after(done)
    }

    /// Sends a frame.
    pub(super) fn send(&mut self, frame: &[u8]) -> Events {
        let sent = self.dtls.send_application_data(frame).map(drop);
        self.after(sent)
    }

    /// Ends it with a close_notify.
    pub(super) fn close(&mut self) -> Events {
        let closed = self.dtls.close();
        self.after(closed)
    }

    fn after(&mut self, done: Result<(), dimpl::Error>) -> Events {
        let mut events = self.drain();
        if let (Err(error), None) = (done, &events.over) {
            events.over = Some(self.reason(error));
        }
        events
    }

    /// What an error of the engine means to a person.
    fn reason(&self, error: dimpl::Error) -> Error {
        let alert = if let dimpl::Error::SecurityError(SecurityError::FatalAlert { description }) =
            &error
        {
            Some(*description)
        } else {
            None
        };
        match (self.open, &self.router) {
            (true, _) => error.into(),
            (false, _) if !self.heard => Error::Unheard,
            (false, None) => Error::Refused,
            (false, Some(_)) => match alert.and_then(said) {
                Some(why) => Error::Certificate(why),
                None => Error::Handshake(error),
            },
        }
    }

    fn drain(&mut self) -> Events {
        let mut events = Events::default();
        let mut buffer = vec![0; if self.open { 2048 } else { engine::LONGEST }];
        loop {
            match self.dtls.poll_output(&mut buffer) {
                Output::Packet(datagram) => events.datagrams.push(datagram.to_vec()),
                Output::BufferTooSmall { needed } => buffer.resize(needed, 0),
                Output::Timeout(due) => {
                    self.due = due;
                    return events;
                }
                Output::Connected => self.open = true,
                Output::ApplicationData(data) => events.frames.push(data.to_vec()),
                Output::CloseNotify => events.over = Some(Error::Closed),
                // comes before the own flight, which is never sent to a stranger then
                Output::PeerCert(der) => {
                    if let Err(error) = self.meet(der) {
                        events.datagrams.push(engine::alert(&error).to_vec());
                        events.over = Some(Error::Stranger(error));
                        return events;
                    }
                }
                Output::KeyingMaterial(..) | _ => {}
            }
        }
    }

    /// Looks at the router's certificate.
    fn meet(&self, der: &[u8]) -> Result<(), rustls::Error> {
        let Some((own, name)) = &self.router else {
            return Err(rustls::Error::General("a certificate in a handshake without".to_owned()));
        };
        let (leaf, now) = (CertificateDer::from(der), UnixTime::now());
        own.verifier.verify_server_cert(&leaf, &[], name, &[], now).map(drop)
    }
}

/// What the router's alert says of a certificate (RFC 5246 §7.2.2).
const fn said(alert: u8) -> Option<&'static str> {
    Some(match alert {
        40 | 41 => "it asks for one with an ECDSA key",
        42 => "it cannot be read",
        43 => "it is not one for clients",
        44 => "it is revoked",
        45 => "it is not valid at this time",
        46 => "it is of a kind that is not known there",
        48 => "its authority is none of the router's, or has no revocation list there that counts",
        49 | 51 => "it is not what it claims to be",
        _ => return None,
    })
}
