//! Outer DTLS 1.2 with a pre-shared key.
use super::channel::{Channel, Error, QUEUE};
use dimpl::{Config, Dtls, Output, PskResolver, crypto::rust_crypto};
use std::{
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::{
    net::UdpSocket,
    sync::{mpsc, oneshot},
    time::sleep_until,
};

/// For the handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// First wait before a flight is sent again.
const RETRANSMIT: Duration = Duration::from_millis(500);

struct Key(Vec<u8>);

impl PskResolver for Key {
    fn resolve(&self, _identity: &[u8]) -> Option<Vec<u8>> {
        Some(self.0.clone())
    }
}

/// What every attempt has in common.
pub(super) fn config(identity: &str, key: Vec<u8>) -> Result<Arc<Config>, dimpl::Error> {
    let config = Config::builder()
        .with_crypto_provider(rust_crypto::default_provider())
        .with_psk_client(identity.as_bytes().to_vec(), Arc::new(Key(key)))
        .mtu(crate::auth::psk::DATAGRAM)
        .max_queue_tx(QUEUE)
        .flight_start_rto(RETRANSMIT)
        .handshake_timeout(HANDSHAKE);
    Ok(Arc::new(config.build()?))
}

/// Opens a channel to the router at `at`.
pub(super) async fn open(at: SocketAddr, config: &Arc<Config>) -> Result<Channel, Error> {
    let any: SocketAddr = if at.is_ipv4() {
        (Ipv4Addr::UNSPECIFIED, 0).into()
    } else {
        (Ipv6Addr::UNSPECIFIED, 0).into()
    };
    let sender = std::net::UdpSocket::bind(any)?;
    sender.connect(at)?;
    sender.set_nonblocking(true)?;
    let socket = UdpSocket::from_std(sender.try_clone()?)?;
    let (outgoing, out) = mpsc::channel(QUEUE);
    let (inside, incoming) = mpsc::channel(QUEUE);
    let (open, opened) = oneshot::channel();
    let mut dtls = Dtls::new_12_psk(Arc::clone(config), Instant::now());
    dtls.set_active(true);
    let due = Instant::now();
    let driver = Driver {
        socket,
        sender,
        dtls,
        out,
        inside,
        open: Some(open),
        due,
        heard: false,
        closed: false,
    };
    let mut task = tokio::spawn(driver.run(at));
    tokio::select! {
        Ok(()) = opened => Ok(Channel { incoming, outgoing, task }),
        over = &mut task => Err(over.unwrap_or(Error::Closed)),
    }
}

struct Driver {
    socket: UdpSocket,
    sender: std::net::UdpSocket,
    dtls: Dtls,
    out: mpsc::Receiver<Vec<u8>>,
    inside: mpsc::Sender<Vec<u8>>,
    open: Option<oneshot::Sender<()>>,
    due: Instant,
    heard: bool,
    closed: bool,
}

impl Driver {
    async fn run(mut self, at: SocketAddr) -> Error {
        let mut buffer = vec![0; 1 << 16];
        loop {
            let step = tokio::select! {
                got = self.socket.recv(&mut buffer) => match got {
                    Ok(length) => {
                        self.heard = true;
                        let datagram = buffer.get(..length).unwrap_or_default();
                        let ticked = self.dtls.handle_timeout(Instant::now());
                        ticked.and_then(|()| self.dtls.handle_packet(datagram))
                    }
                    // nobody listens there
                    Err(_) if self.open.is_some() => return Error::Silent(at.to_string()),
                    Err(error) => return error.into(),
                },
                frame = self.out.recv(), if self.open.is_none() => match frame {
                    Some(frame) => self.dtls.send_application_data(&frame).map(drop),
                    None => self.dtls.close(),
                },
                () = sleep_until(self.due.into()) => self.dtls.handle_timeout(Instant::now()),
            };
            self.drain();
            if let Err(error) = step {
                return match (self.open.is_some(), self.heard) {
                    (true, true) => Error::Refused,
                    (true, false) => Error::Silent(at.to_string()),
                    (false, _) => error.into(),
                };
            }
            if self.closed || self.inside.is_closed() {
                return Error::Closed;
            }
        }
    }

    fn drain(&mut self) {
        let mut buffer = vec![0; 2048];
        loop {
            match self.dtls.poll_output(&mut buffer) {
                Output::Packet(datagram) => drop(self.sender.send(datagram)),
                Output::BufferTooSmall { needed } => buffer.resize(needed, 0),
                Output::Timeout(due) => {
                    self.due = due;
                    return;
                }
                Output::Connected => {
                    if let Some(open) = self.open.take() {
                        let _ = open.send(());
                    }
                }
                // more than is waited for is lost
                Output::ApplicationData(data) => drop(self.inside.try_send(data.to_vec())),
                Output::CloseNotify => self.closed = true,
                Output::PeerCert(_) | Output::KeyingMaterial(..) | _ => {}
            }
        }
    }
}
