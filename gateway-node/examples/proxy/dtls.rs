//! A DTLS 1.2-PSK session with a node, made when there is something to send.

use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant as Clock},
};

use dimpl::{Config, Output, PskResolver};
use gateway_node::Instant;

/// Messages that wait for the handshake; a retransmission of one that waits is not kept.
const WAITING: usize = 4;

/// Messages without a word from the node after which the session is made anew: a node that started
/// again has forgotten it and drops its records in silence.
const UNANSWERED: u32 = 3;

/// Something for the network or for the proxy.
pub(crate) enum Got {
    Datagram(Vec<u8>),
    Data(Vec<u8>),
    /// There is no session: a wrong key, or no answer.
    Failed(String),
}

struct Secret {
    identity: Vec<u8>,
    key: Vec<u8>,
}

impl PskResolver for Secret {
    fn resolve(&self, identity: &[u8]) -> Option<Vec<u8>> {
        (identity == self.identity).then(|| self.key.clone())
    }
}

pub(crate) struct Dtls {
    config: Arc<Config>,
    session: dimpl::Dtls,
    connected: bool,
    waiting: VecDeque<Vec<u8>>,
    unanswered: u32,
    failed: Option<String>,
    buffer: Vec<u8>,
    wake: Option<Instant>,
    /// The moment that is 0 for the proxy.
    origin: Clock,
}

impl Dtls {
    pub(crate) fn new(now: Instant, identity: Vec<u8>, key: Vec<u8>) -> Result<Self, String> {
        let secret = Arc::new(Secret { identity: identity.clone(), key });
        let config = Config::builder().with_psk_client(identity, secret).build();
        let config = Arc::new(config.map_err(|error| error.to_string())?);
        let origin = Clock::now().checked_sub(Duration::from_millis(now.0));
        let origin = origin.unwrap_or_else(Clock::now);
        let session = session(&config, origin + Duration::from_millis(now.0));
        Ok(Self {
            config,
            session,
            connected: false,
            waiting: VecDeque::new(),
            unanswered: 0,
            failed: None,
            buffer: vec![0; 2_048],
            wake: None,
            origin,
        })
    }

    pub(crate) fn send(&mut self, now: Instant, message: Vec<u8>) {
        if self.connected && self.unanswered >= UNANSWERED {
            self.session = session(&self.config, self.clock(now));
            self.connected = false;
            self.unanswered = 0;
        }
        if self.connected {
            self.unanswered += 1;
            let sent = self.session.send_application_data(&message);
            self.note(sent);
        } else if !self.waiting.contains(&message) && self.waiting.len() < WAITING {
            self.waiting.push_back(message);
            let started = self.session.handle_timeout(self.clock(now));
            self.note(started);
        }
    }

    pub(crate) fn handle_datagram(&mut self, now: Instant, datagram: &[u8]) {
        let clock = self.clock(now);
        let taken = self.session.handle_timeout(clock);
        let taken = taken.and_then(|()| self.session.handle_packet(datagram));
        self.note(taken);
    }

    /// What there is for either side; `None` until something happens.
    pub(crate) fn poll(&mut self, now: Instant) -> Option<Got> {
        if self.wake.is_some_and(|wake| wake <= now) {
            self.wake = None;
            let expired = self.session.handle_timeout(self.clock(now));
            self.note(expired);
        }
        loop {
            if let Some(why) = self.failed.take() {
                return Some(Got::Failed(why));
            }
            match self.session.poll_output(&mut self.buffer) {
                Output::Packet(packet) => return Some(Got::Datagram(packet.to_vec())),
                Output::ApplicationData(data) => {
                    self.unanswered = 0;
                    return Some(Got::Data(data.to_vec()));
                }
                Output::BufferTooSmall { needed } => self.buffer.resize(needed, 0),
                Output::Connected => self.connected(),
                Output::CloseNotify => return Some(Got::Failed("the node closed it".to_string())),
                Output::Timeout(at) => {
                    let at = at.saturating_duration_since(self.origin).as_millis();
                    self.wake = u64::try_from(at).ok().map(|at| Instant(at + 1));
                    return None;
                }
                // Certificates and SRTP keys, which a PSK session has not; the enum is open.
                Output::PeerCert(_) | Output::KeyingMaterial(..) | _ => {}
            }
        }
    }

    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.wake
    }

    fn connected(&mut self) {
        self.connected = true;
        while let Some(message) = self.waiting.pop_front() {
            let sent = self.session.send_application_data(&message);
            self.note(sent);
        }
    }

    fn note<T>(&mut self, result: Result<T, dimpl::Error>) {
        if let Err(error) = result {
            self.failed.get_or_insert_with(|| error.to_string());
        }
    }

    fn clock(&self, now: Instant) -> Clock {
        self.origin + Duration::from_millis(now.0)
    }
}

fn session(config: &Arc<Config>, now: Clock) -> dimpl::Dtls {
    let mut session = dimpl::Dtls::new_12_psk(Arc::clone(config), now);
    session.set_active(true);
    session
}
