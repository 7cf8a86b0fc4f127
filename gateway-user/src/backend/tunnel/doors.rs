//! Local UDP ports, one for each node, and the applications behind them.
use crate::tunnel::frame::{Flow, Frame};
use core::net::SocketAddr;
use std::{collections::HashMap, io, sync::Arc};
use tokio::{net::UdpSocket, sync::mpsc, task::JoinHandle};

/// Datagrams that wait.
const QUEUE: usize = 256;

/// The ports.
pub struct Doors {
    doors: Vec<Door>,
    datagrams: mpsc::Receiver<(usize, SocketAddr, Vec<u8>)>,
    readers: Vec<JoinHandle<()>>,
}

struct Door {
    socket: Arc<UdpSocket>,
    node: SocketAddr,
    flows: Flows,
}

/// Applications by number.
#[derive(Debug, Default)]
struct Flows {
    numbers: HashMap<SocketAddr, u8>,
    applications: HashMap<u8, SocketAddr>,
    next: u8,
}

impl Flows {
    /// The number of an application; a new one takes the place of the oldest once all are taken.
    fn number(&mut self, application: SocketAddr) -> u8 {
        if let Some(number) = self.numbers.get(&application) {
            return *number;
        }
        let number = self.next;
        self.next = number.wrapping_add(1);
        if let Some(oldest) = self.applications.insert(number, application) {
            self.numbers.remove(&oldest);
        }
        self.numbers.insert(application, number);
        number
    }
}

impl Doors {
    /// Opens a port for each node: the first at `listen`, the others at the ports after it.
    ///
    /// # Errors
    /// The address that could not be listened on, and why.
    pub async fn open(
        listen: SocketAddr,
        nodes: &[SocketAddr],
    ) -> Result<Self, (SocketAddr, io::Error)> {
        let (sender, datagrams) = mpsc::channel(QUEUE);
        let (mut doors, mut readers) = (Vec::new(), Vec::new());
        for (place, node) in nodes.iter().enumerate() {
            let next = u16::try_from(place).ok().and_then(|by| listen.port().checked_add(by));
            let at = SocketAddr::new(listen.ip(), next.unwrap_or(0));
            let socket = UdpSocket::bind(at).await.map_err(|error| (at, error))?;
            let socket = Arc::new(socket);
            readers.push(tokio::spawn(read(place, Arc::clone(&socket), sender.clone())));
            doors.push(Door { socket, node: *node, flows: Flows::default() });
        }
        Ok(Self { doors, datagrams, readers })
    }

    /// Where each node is to be found from now on.
    pub fn places(&self) -> impl Iterator<Item = (SocketAddr, SocketAddr)> {
        let local = |door: &Door| Some((door.socket.local_addr().ok()?, door.node));
        self.doors.iter().filter_map(local)
    }

    /// The next datagram of an application, as a frame.
    pub(super) async fn next(&mut self) -> Vec<u8> {
        loop {
            let Some((place, from, datagram)) = self.datagrams.recv().await else {
                // the readers end with this
                return core::future::pending().await;
            };
            let Some(door) = self.doors.get_mut(place) else { continue };
            let number = door.flows.number(from);
            let flow = Flow { number, node: door.node.ip(), port: door.node.port() };
            return Frame::Datagram(flow, &datagram).bytes();
        }
    }

    /// Gives an application what its node said.
    pub(super) fn deliver(&self, flow: &Flow, inner: &[u8]) {
        let node = SocketAddr::new(flow.node, flow.port);
        for door in self.doors.iter().filter(|door| door.node == node) {
            if let Some(application) = door.flows.applications.get(&flow.number) {
                let _ = door.socket.try_send_to(inner, *application);
            }
        }
    }
}

impl Drop for Doors {
    fn drop(&mut self) {
        self.readers.iter().for_each(JoinHandle::abort);
    }
}

async fn read(
    place: usize,
    socket: Arc<UdpSocket>,
    sender: mpsc::Sender<(usize, SocketAddr, Vec<u8>)>,
) {
    let mut buffer = vec![0; 1 << 16];
    loop {
        // an error is an application that has gone: no news
        let Ok((length, from)) = socket.recv_from(&mut buffer).await else { continue };
        let datagram = buffer.get(..length).unwrap_or_default().to_vec();
        // more than is waited for is lost
        if let Err(mpsc::error::TrySendError::Closed(_)) = sender.try_send((place, from, datagram))
        {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn applications_keep_their_numbers() {
        let mut flows = Flows::default();
        let at = |port| SocketAddr::from(([127, 0, 0, 1], port));
        assert_eq!((flows.number(at(1)), flows.number(at(2)), flows.number(at(1))), (0, 1, 0));
        for port in 3..=256 {
            flows.number(at(port));
        }
        assert_eq!(flows.number(at(1)), 0, "256 of them have room");
        assert_eq!(flows.number(at(257)), 0, "the oldest one makes room");
        assert_eq!(flows.applications.len(), flows.numbers.len());
    }
}
