//! Datagrams that go to a node and come back, and the node. None of its time is counted.
use std::{
    io::ErrorKind,
    net::{Ipv6Addr, SocketAddr, UdpSocket},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use tests::{lab::Namespace, packet::dtls};

/// Who hears nothing for so long sends again what is in flight.
const LOST: Duration = Duration::from_millis(100);
/// Nothing is silent for longer, unless the way is broken.
const PATIENCE: Duration = Duration::from_secs(5);
/// What a record takes beside what is in it.
const RECORD: usize = 13;

/// An application next door to the router.
pub(super) struct Flow {
    socket: UdpSocket,
    datagram: Vec<u8>,
}

/// What came of a load.
pub(super) struct Ran {
    pub(super) echoes: u64,
    pub(super) lost: u64,
    pub(super) wall: Duration,
}

/// Sends everything back that comes to these addresses, on threads that end with the process.
pub(super) fn echo(namespace: &Namespace, nodes: &[SocketAddr]) -> Result<()> {
    for node in nodes {
        let socket = namespace.enter(|| UdpSocket::bind(node))?;
        thread::spawn(move || {
            let mut buffer = [0; 2048];
            loop {
                // a peer that is gone is no news
                let Ok((length, peer)) = socket.recv_from(&mut buffer) else { continue };
                let _ = socket.send_to(buffer.get(..length).unwrap_or_default(), peer);
            }
        });
    }
    Ok(())
}

impl Flow {
    /// One of datagrams of so many bytes, each of which is a DTLS record as tunnels ask for.
    pub(super) fn open(namespace: &Namespace, to: SocketAddr, size: usize) -> Result<Self> {
        let any: SocketAddr =
            if to.is_ipv4() { ([0; 4], 0).into() } else { (Ipv6Addr::UNSPECIFIED, 0).into() };
        let socket = namespace.enter(|| UdpSocket::bind(any))?;
        socket.connect(to)?;
        socket.set_read_timeout(Some(LOST))?;
        let datagram = dtls::application(1, &vec![0x5a; size.saturating_sub(RECORD)]);
        let flow = Self { socket, datagram };
        flow.run(1, Duration::ZERO)?;
        Ok(flow)
    }

    /// Keeps so many datagrams in flight for so long, and at least until one is back.
    pub(super) fn run(&self, window: usize, time: Duration) -> Result<Ran> {
        let (start, mut heard) = (Instant::now(), Instant::now());
        let mut ran = Ran { echoes: 0, lost: 0, wall: Duration::ZERO };
        (0..window).try_for_each(|_| self.send())?;
        let mut buffer = [0; 2048];
        while start.elapsed() < time || ran.echoes == 0 {
            match self.socket.recv(&mut buffer) {
                Ok(length) => {
                    ensure!(length == self.datagram.len(), "an echo of {length} bytes");
                    (ran.echoes, heard) = (ran.echoes + 1, Instant::now());
                    self.send()?;
                }
                Err(error) if is_silence(error.kind()) => {
                    ensure!(heard.elapsed() < PATIENCE, "no echo for {PATIENCE:?}");
                    ran.lost += window as u64;
                    (0..window).try_for_each(|_| self.send())?;
                }
                Err(error) => return Err(error.into()),
            }
        }
        ran.wall = start.elapsed();
        self.calm(&mut buffer);
        Ok(ran)
    }

    fn send(&self) -> Result<()> {
        match self.socket.send(&self.datagram) {
            Err(error) if !is_silence(error.kind()) => Err(error.into()),
            Ok(_) | Err(_) => Ok(()),
        }
    }

    /// Takes what is still on its way.
    fn calm(&self, buffer: &mut [u8]) {
        while self.socket.recv(buffer).is_ok() {}
    }
}

fn is_silence(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::ConnectionRefused)
}
