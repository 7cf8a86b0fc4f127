//! The side of the nodes: a connected UDP socket for each, so that the kernel drops what others send
//! and tells when a node is not there; DTLS on top for `coaps`.

use std::{
    collections::BTreeMap,
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
    sync::{Arc, mpsc::SyncSender},
    thread,
    time::Duration,
};

use gateway_node::{
    Instant,
    proxy::{Endpoint, Proxy},
};

use crate::{
    Event,
    dtls::{Dtls, Got},
    is_passing, is_unreachable,
    keys::{Identity, Kernel},
};

/// Sockets, and threads that wait on them; the one used the longest ago makes room.
const SOCKETS: usize = 64;

/// How often a waiting thread looks whether its socket is still wanted.
const LOOK: Duration = Duration::from_secs(5);

struct Node {
    socket: Arc<UdpSocket>,
    dtls: Option<Dtls>,
    used: Instant,
}

pub(crate) struct Lln {
    keys: Vec<(Endpoint, Identity)>,
    nodes: BTreeMap<Endpoint, Node>,
    tell: SyncSender<Event>,
}

impl Lln {
    pub(crate) fn new(keys: Vec<(Endpoint, Identity)>, tell: SyncSender<Event>) -> Self {
        Self { keys, nodes: BTreeMap::new(), tell }
    }

    /// Sends what the proxy has for nodes; when to come back if nothing arrives.
    pub(crate) fn drive(&mut self, now: Instant, proxy: &mut Proxy<Kernel>) -> Option<Instant> {
        while let Some((endpoint, datagram)) = proxy.poll_datagram() {
            if let Err(error) = self.send(now, endpoint, datagram) {
                println!("cannot reach {endpoint}: {error}");
                self.nodes.remove(&endpoint);
                proxy.handle_unreachable(now, endpoint);
            }
        }
        let endpoints: Vec<_> = self.nodes.keys().copied().collect();
        for endpoint in endpoints {
            self.flush(now, endpoint, proxy);
        }
        self.nodes.values().filter_map(|node| node.dtls.as_ref()?.deadline()).min()
    }

    pub(crate) fn handle_datagram(
        &mut self,
        now: Instant,
        endpoint: Endpoint,
        datagram: &[u8],
        proxy: &mut Proxy<Kernel>,
    ) {
        let Some(node) = self.nodes.get_mut(&endpoint) else { return };
        match &mut node.dtls {
            Some(dtls) => {
                dtls.handle_datagram(now, datagram);
                self.flush(now, endpoint, proxy);
            }
            None => proxy.handle_datagram(now, endpoint, datagram),
        }
    }

    /// Ends what there is with a node.
    pub(crate) fn forget(&mut self, endpoint: Endpoint) {
        self.nodes.remove(&endpoint);
    }

    fn send(&mut self, now: Instant, endpoint: Endpoint, datagram: Vec<u8>) -> io::Result<()> {
        let node = self.node(now, endpoint)?;
        node.used = now;
        match &mut node.dtls {
            Some(dtls) => dtls.send(now, datagram),
            None => {
                if let Err(error) = node.socket.send(&datagram) {
                    return if is_passing(&error) && !is_unreachable(&error) {
                        Ok(())
                    } else {
                        Err(error)
                    };
                }
            }
        }
        Ok(())
    }

    /// Moves what a DTLS session has for either side.
    fn flush(&mut self, now: Instant, endpoint: Endpoint, proxy: &mut Proxy<Kernel>) {
        while let Some(node) = self.nodes.get_mut(&endpoint)
            && let Some(dtls) = &mut node.dtls
            && let Some(got) = dtls.poll(now)
        {
            match got {
                Got::Datagram(datagram) => {
                    // Lost like any other: DTLS and CoAP repeat it.
                    let _ = node.socket.send(&datagram);
                }
                Got::Data(data) => proxy.handle_datagram(now, endpoint, &data),
                Got::Failed(why) => {
                    println!("no DTLS with {endpoint}: {why}");
                    self.nodes.remove(&endpoint);
                    proxy.handle_unreachable(now, endpoint);
                }
            }
        }
    }

    fn node(&mut self, now: Instant, endpoint: Endpoint) -> io::Result<&mut Node> {
        if !self.nodes.contains_key(&endpoint) {
            self.make_room();
            let socket = Arc::new(connect(endpoint.address)?);
            wait(&socket, endpoint, self.tell.clone());
            let dtls = endpoint.secure.then(|| self.dtls(now, endpoint)).transpose()?;
            self.nodes.insert(endpoint, Node { socket, dtls, used: now });
        }
        self.nodes.get_mut(&endpoint).ok_or_else(|| io::Error::other("no such node"))
    }

    fn dtls(&self, now: Instant, endpoint: Endpoint) -> io::Result<Dtls> {
        let entry = self.keys.iter().find(|(known, _)| *known == endpoint);
        let (_, (identity, key)) = entry.ok_or_else(|| io::Error::other("no key for it"))?;
        Dtls::new(now, identity.clone(), key.as_ref().to_vec()).map_err(io::Error::other)
    }

    fn make_room(&mut self) {
        if self.nodes.len() >= SOCKETS {
            let oldest = self.nodes.iter().min_by_key(|(_, node)| node.used);
            if let Some(oldest) = oldest.map(|(endpoint, _)| *endpoint) {
                self.nodes.remove(&oldest);
            }
        }
    }
}

fn connect(address: SocketAddr) -> io::Result<UdpSocket> {
    let any = match address {
        SocketAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
        SocketAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
    };
    let socket = UdpSocket::bind(any)?;
    socket.connect(address)?;
    socket.set_read_timeout(Some(LOOK))?;
    Ok(socket)
}

/// Hands on what arrives for as long as somebody else has the socket.
fn wait(socket: &Arc<UdpSocket>, endpoint: Endpoint, tell: SyncSender<Event>) {
    let socket = Arc::downgrade(socket);
    thread::spawn(move || {
        let mut buffer = vec![0; 1 << 16];
        while let Some(socket) = socket.upgrade() {
            let event = match socket.recv(&mut buffer) {
                Ok(length) => {
                    Event::Node(endpoint, buffer.get(..length).unwrap_or_default().to_vec())
                }
                Err(error) if is_unreachable(&error) => Event::Unreachable(endpoint),
                Err(_) => continue,
            };
            if tell.send(event).is_err() {
                return;
            }
        }
    });
}
