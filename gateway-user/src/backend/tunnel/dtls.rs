//! Outer DTLS 1.2: the socket of a [`Session`].
use super::{
    channel::{Channel, Error, QUEUE},
    session::{Events, Session},
};
use std::{
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    time::{Duration, Instant},
};
use tokio::{
    net::UdpSocket,
    sync::{mpsc, oneshot},
    time::sleep_until,
};

/// For the handshake.
pub(super) const HANDSHAKE: Duration = Duration::from_secs(10);
/// First wait before a flight is sent again.
pub(super) const RETRANSMIT: Duration = Duration::from_millis(500);

/// Opens a channel to the router at `at`.
pub(super) async fn open(at: SocketAddr, session: Session) -> Result<Channel, Error> {
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
    let driver = Driver { at, socket, sender, session, out, inside, open: Some(open) };
    let mut task = tokio::spawn(driver.run());
    tokio::select! {
        Ok(()) = opened => Ok(Channel { incoming, outgoing, task }),
        over = &mut task => Err(over.unwrap_or(Error::Closed)),
    }
}

struct Driver {
    at: SocketAddr,
    socket: UdpSocket,
    sender: std::net::UdpSocket,
    session: Session,
    out: mpsc::Receiver<Vec<u8>>,
    inside: mpsc::Sender<Vec<u8>>,
    open: Option<oneshot::Sender<()>>,
}

impl Driver {
    async fn run(mut self) -> Error {
        let mut buffer = vec![0; 1 << 16];
        loop {
            let events = tokio::select! {
                got = self.socket.recv(&mut buffer) => match got {
                    Ok(length) => {
                        let datagram = buffer.get(..length).unwrap_or_default();
                        self.session.handle_datagram(Instant::now(), datagram)
                    }
                    // nobody listens there
                    Err(_) if !self.session.is_open() => return self.over(Error::Unheard),
                    Err(error) => return error.into(),
                },
                frame = self.out.recv(), if self.session.is_open() => match frame {
                    Some(frame) => self.session.send(&frame),
                    None => self.session.close(),
                },
                () = sleep_until(self.session.due().into()) => {
                    self.session.handle_timeout(Instant::now())
                }
            };
            if let Some(error) = self.take(events) {
                return self.over(error);
            }
        }
    }

    fn over(&self, error: Error) -> Error {
        if matches!(error, Error::Unheard) { Error::Silent(self.at.to_string()) } else { error }
    }

    /// Does what the session asks for; why it is over if it is.
    fn take(&mut self, events: Events) -> Option<Error> {
        for datagram in events.datagrams {
            // what the link has no room for is lost, as on the way
            let _ = self.sender.send(&datagram);
        }
        if self.session.is_open()
            && let Some(open) = self.open.take()
        {
            let _ = open.send(());
        }
        for frame in events.frames {
            // more than is waited for is lost
            let _ = self.inside.try_send(frame);
        }
        events.over.or_else(|| self.inside.is_closed().then_some(Error::Closed))
    }
}
