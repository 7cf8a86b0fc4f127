//! A back-end that asks for leases over CoAP and DTLS 1.2 with its key.
use std::{
    io::ErrorKind,
    net::{Ipv6Addr, UdpSocket},
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use dimpl::{Config, Dtls, Output, PskResolver, crypto::rust_crypto};

use super::{clients::TERMS, site};

/// From the first hello to the last answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// First wait before something is sent again.
const AGAIN: Duration = Duration::from_millis(500);
/// Bytes of a datagram that an IPv6 path takes.
const DATAGRAM: usize = 1232;

struct Key(Vec<u8>);

impl PskResolver for Key {
    fn resolve(&self, _identity: &[u8]) -> Option<Vec<u8>> {
        Some(self.0.clone())
    }
}

/// What all sessions have in common.
pub(super) fn config() -> Result<Arc<Config>> {
    let psk = site::psk();
    let config = Config::builder()
        .with_crypto_provider(rust_crypto::default_provider())
        .with_psk_client(psk.identity.into_bytes(), Arc::new(Key(psk.key)))
        .mtu(DATAGRAM)
        .flight_start_rto(AGAIN)
        .handshake_timeout(PATIENCE);
    Ok(Arc::new(config.build()?))
}

/// A session.
pub(super) struct Session {
    socket: UdpSocket,
    dtls: Dtls,
    due: Instant,
    connected: bool,
    /// What has come and nobody has looked at.
    messages: Vec<Vec<u8>>,
    number: u16,
}

impl Session {
    /// Shakes hands from an address.
    pub(super) fn open(config: &Arc<Config>, from: Ipv6Addr) -> Result<Self> {
        let socket = UdpSocket::bind((from, 0))?;
        socket.connect(site::dtls())?;
        let now = Instant::now();
        let mut dtls = Dtls::new_12_psk(Arc::clone(config), now);
        dtls.set_active(true);
        dtls.handle_timeout(now)?;
        let messages = Vec::new();
        let mut session = Self { socket, dtls, due: now, connected: false, messages, number: 0 };
        session.drain()?;
        while !session.connected {
            session.step(now + PATIENCE).context("no DTLS session")?;
        }
        Ok(session)
    }

    /// Asks for a lease or its renewal, and gets it.
    pub(super) fn lease(&mut self) -> Result<()> {
        self.number = self.number.wrapping_add(1);
        let [high, low] = self.number.to_be_bytes();
        // a POST without options but its path (RFC 7252 §3)
        let head = [0x40, 0x02, high, low];
        let request = [&head[..], b"\xb6leases\xff", TERMS.as_bytes()].concat();
        let end = Instant::now() + PATIENCE;
        let mut again = AGAIN;
        loop {
            self.dtls.send_application_data(&request)?;
            self.drain()?;
            let sent = Instant::now();
            while sent.elapsed() < again {
                let answer = |message: &Vec<u8>| message.get(2..4) == Some(&[high, low]);
                if let Some(answer) = self.messages.extract_if(.., |one| answer(one)).next() {
                    // Created or Changed
                    let granted = matches!(answer.get(1), Some(0x41 | 0x44));
                    let text = String::from_utf8_lossy(&answer);
                    ensure!(granted, "no lease over CoAP: {text}");
                    return Ok(());
                }
                self.step(end.min(sent + again)).context("no answer over CoAP")?;
            }
            ensure!(Instant::now() < end, "no answer over CoAP within {PATIENCE:?}");
            again *= 2;
        }
    }

    /// Ends it with a close_notify.
    pub(super) fn close(mut self) -> Result<()> {
        self.dtls.close()?;
        self.drain()
    }

    /// Waits for a datagram or until something is due, at most until `end`.
    fn step(&mut self, end: Instant) -> Result<()> {
        let now = Instant::now();
        let wait = self.due.min(end).saturating_duration_since(now);
        self.socket.set_read_timeout(Some(wait.max(Duration::from_millis(1))))?;
        let mut buffer = [0; 2048];
        let got = self.socket.recv(&mut buffer);
        self.dtls.handle_timeout(Instant::now())?;
        match got {
            Ok(length) => self.dtls.handle_packet(buffer.get(..length).unwrap_or_default())?,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(error) => return Err(error.into()),
        }
        self.drain()
    }

    fn drain(&mut self) -> Result<()> {
        let mut buffer = vec![0; 2048];
        loop {
            match self.dtls.poll_output(&mut buffer) {
                Output::Packet(datagram) => drop(self.socket.send(datagram)?),
                Output::BufferTooSmall { needed } => buffer.resize(needed, 0),
                Output::Timeout(due) => {
                    self.due = due;
                    return Ok(());
                }
                Output::Connected => self.connected = true,
                Output::ApplicationData(data) => self.messages.push(data.to_vec()),
                Output::CloseNotify | Output::PeerCert(_) | Output::KeyingMaterial(..) | _ => {}
            }
        }
    }
}
