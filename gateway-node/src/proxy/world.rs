//! A proxy, a client and a CoAP node on a made-up clock, with a network that loses, repeats and
//! delays by a seed.

use alloc::{
    collections::BTreeMap,
    format,
    string::{String, ToString},
    vec,
    vec::Vec,
};

use super::{
    block::{Block, BlockSize},
    core::{ConnectionId, Proxy},
    message::{self, Code, Kind, Message, Opt, option, uint_value},
    settings::{Endpoint, Node, Settings},
};
use crate::{Instant, Random};

/// xorshift64*: chance that can be repeated.
pub(super) struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn percent(&mut self) -> u64 {
        (self.next() >> 33) % 100
    }
}

impl Random for Chance {
    fn fill(&mut self, bytes: &mut [u8]) {
        bytes.fill_with(|| self.next().to_be_bytes()[0]);
    }
}

#[derive(Clone)]
pub(super) struct Resource {
    pub(super) payload: Vec<u8>,
    pub(super) options: Vec<Opt>,
}

/// A CoAP server as RFC 7252 and RFC 7959 describe it.
pub(super) struct Server {
    pub(super) resources: BTreeMap<String, Resource>,
    pub(super) block: BlockSize,
    /// Milliseconds after which it answers separately.
    pub(super) separate: Option<u64>,
    /// Does not know the Block options.
    pub(super) plain: bool,
    pub(super) silent: bool,
    pub(super) resets: bool,
    /// All requests, without what came twice.
    pub(super) seen: Vec<Message>,
    upload: Vec<u8>,
    answered: BTreeMap<u16, Vec<u8>>,
    next_id: u16,
    /// Separate responses that wait for their acknowledgement: ID, bytes, next time.
    unacknowledged: Vec<(u16, Vec<u8>, u64)>,
}

impl Server {
    fn take(&mut self, now: u64, datagram: &[u8]) -> Vec<(u64, Vec<u8>)> {
        let request = Message::read(datagram).expect("the proxy sends CoAP");
        if self.silent {
            return vec![];
        }
        if self.resets {
            return vec![(now, Message::empty(Kind::Reset, request.id).write())];
        }
        if request.kind != Kind::Confirmable {
            self.unacknowledged.retain(|(id, ..)| *id != request.id);
            return vec![];
        }
        if let Some(again) = self.answered.get(&request.id) {
            return vec![(now, again.clone())];
        }
        self.seen.push(request.clone());
        let (code, options, payload) = self.serve(&request);
        let kind = if self.separate.is_some() { Kind::Confirmable } else { Kind::Acknowledgement };
        let id = if self.separate.is_some() { self.next_id } else { request.id };
        self.next_id = self.next_id.wrapping_add(1);
        let token = request.token.clone();
        let response = Message { kind, code, id, token, options, payload }.write();
        let first = match self.separate {
            Some(later) => {
                self.unacknowledged.push((id, response, now + later));
                Message::empty(Kind::Acknowledgement, request.id).write()
            }
            None => response,
        };
        self.answered.insert(request.id, first.clone());
        vec![(now, first)]
    }

    fn due(&mut self, now: u64) -> Vec<Vec<u8>> {
        let due = self.unacknowledged.iter_mut().filter(|(.., at)| *at <= now);
        due.map(|(_, bytes, at)| {
            *at += 3_000;
            bytes.clone()
        })
        .collect()
    }

    fn serve(&mut self, request: &Message) -> (Code, Vec<Opt>, Vec<u8>) {
        let has_block =
            [option::BLOCK1, option::BLOCK2].iter().any(|n| request.option(*n).is_some());
        if self.plain && has_block {
            return (Code::BAD_OPTION, vec![], vec![]);
        }
        let path = message::all(&request.options, option::URI_PATH);
        let path: Vec<_> = path.map(|p| String::from_utf8_lossy(p).to_string()).collect();
        let path = path.join("/");
        match request.code {
            Code::GET => self.get(&path, request),
            Code::DELETE if self.resources.remove(&path).is_some() => {
                (Code::response(2, 2), vec![], vec![])
            }
            Code::DELETE => (Code::NOT_FOUND, vec![], vec![]),
            _ => self.write(&path, request),
        }
    }

    fn get(&self, path: &str, request: &Message) -> (Code, Vec<Opt>, Vec<u8>) {
        let Some(resource) = self.resources.get(path) else {
            return (Code::NOT_FOUND, vec![], b"no such thing".to_vec());
        };
        let format = message::uint(&resource.options, option::CONTENT_FORMAT);
        if message::uint(&request.options, option::ACCEPT).is_some_and(|a| Some(a) != format) {
            return (Code::NOT_ACCEPTABLE, vec![], vec![]);
        }
        let etag = message::first(&resource.options, option::ETAG);
        if message::all(&request.options, option::ETAG).any(|asked| Some(asked) == etag) {
            let kept = |(n, _): &&Opt| *n == option::ETAG || *n == option::MAX_AGE;
            return (Code::VALID, resource.options.iter().filter(kept).cloned().collect(), vec![]);
        }
        let asked = request.option(option::BLOCK2).and_then(Block::read);
        let size = asked.map_or(self.block, |b| b.size.min(self.block));
        let offset = asked.map_or(0, Block::offset);
        let rest = resource.payload.get(offset..).unwrap_or_default();
        let piece = rest.get(..size.bytes()).unwrap_or(rest);
        let mut options = resource.options.clone();
        if !self.plain && (asked.is_some() || rest.len() > piece.len()) {
            let block = Block::at(offset, rest.len() > piece.len(), size);
            options.push((option::BLOCK2, block.write()));
        }
        (Code::CONTENT, options, piece.to_vec())
    }

    fn write(&mut self, path: &str, request: &Message) -> (Code, Vec<Opt>, Vec<u8>) {
        let mut options = vec![];
        if let Some(block) = request.option(option::BLOCK1).and_then(Block::read) {
            if block.number == 0 {
                self.upload.clear();
            }
            if block.offset() != self.upload.len() {
                return (Code::INCOMPLETE, vec![], vec![]);
            }
            let size = block.size.min(self.block);
            options.push((option::BLOCK1, Block { size, ..block }.write()));
            self.upload.extend(&request.payload);
            if block.more {
                return (Code::CONTINUE, options, vec![]);
            }
        } else {
            self.upload.clone_from(&request.payload);
        }
        let format = request.option(option::CONTENT_FORMAT);
        let format = format.map(|f| (option::CONTENT_FORMAT, f.to_vec()));
        let payload = core::mem::take(&mut self.upload);
        let new = Resource { payload, options: format.into_iter().collect() };
        let old = self.resources.insert(path.to_string(), new);
        (if old.is_some() { Code::CHANGED } else { Code::CREATED }, options, vec![])
    }
}

pub(super) struct World {
    pub(super) proxy: Proxy<Chance>,
    pub(super) server: Server,
    pub(super) endpoint: Endpoint,
    pub(super) now: u64,
    /// Percent of datagrams lost, and as many repeated.
    pub(super) loss: u64,
    chance: Chance,
    /// Datagrams on the way: when they arrive, to the node or from it.
    air: Vec<(u64, bool, Vec<u8>)>,
}

impl World {
    /// A node called `lamp` with a small and a large resource.
    pub(super) fn new(seed: u64) -> Self {
        Self::with(seed, |_| {})
    }

    pub(super) fn with(seed: u64, set: impl FnOnce(&mut Settings)) -> Self {
        let address = "[2001:db8::1]:5683".parse().expect("an address");
        let endpoint = Endpoint { secure: false, address };
        let mut settings =
            Settings::new(vec![Node { name: "lamp".to_string(), endpoint, allow: vec![] }]);
        settings.limits.block = BlockSize::of(64).expect("a size");
        set(&mut settings);
        let seed = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        Self {
            proxy: Proxy::new(settings, Chance(seed)).expect("settings"),
            server: server(),
            endpoint,
            now: 0,
            loss: 0,
            chance: Chance(seed ^ 0xaaaa),
            air: vec![],
        }
    }

    pub(super) fn open(&mut self) -> ConnectionId {
        self.proxy.open(Instant(self.now)).expect("room")
    }

    pub(super) fn send(&mut self, client: ConnectionId, bytes: &[u8]) {
        self.proxy.handle_bytes(Instant(self.now), client, bytes);
    }

    /// Sends one request on a connection of its own and returns the response.
    pub(super) fn fetch(&mut self, line: &str, fields: &str, body: &str) -> String {
        let client = self.open();
        let length = format!("Content-Length: {}\r\n", body.len());
        let length = if body.is_empty() { "" } else { &length };
        let text = format!("{line} HTTP/1.1\r\nHost: p\r\n{fields}{length}\r\n{body}");
        self.send(client, text.as_bytes());
        let response = self.receive(client);
        self.proxy.handle_close(Instant(self.now), client);
        response
    }

    pub(super) fn get(&mut self, path: &str) -> String {
        self.fetch(&format!("GET {path}"), "", "")
    }

    /// What a client gets until nothing is on the way any more.
    pub(super) fn receive(&mut self, client: ConnectionId) -> String {
        let mut response = vec![];
        loop {
            response.extend_from_slice(self.proxy.output(client));
            let count = self.proxy.output(client).len();
            self.proxy.handle_sent(Instant(self.now), client, count);
            if !self.step() {
                return String::from_utf8(response).expect("text");
            }
        }
    }

    /// The next thing that happens; `false` if only connections wait to be closed.
    pub(super) fn step(&mut self) -> bool {
        while let Some((to, datagram)) = self.proxy.poll_datagram() {
            assert_eq!(to, self.endpoint);
            self.launch(true, datagram);
        }
        let arrival = self.air.iter().map(|(at, ..)| *at).min();
        let separate = self.server.unacknowledged.iter().map(|(.., at)| *at).min();
        let timer = self.proxy.deadline().map(|due| due.0).filter(|_| self.proxy_waits());
        let Some(next) = arrival.into_iter().chain(separate).chain(timer).min() else {
            return false;
        };
        self.now = self.now.max(next);
        assert!(self.now < 100_000_000, "no end");
        for datagram in self.server.due(self.now) {
            self.launch(false, datagram);
        }
        self.deliver();
        self.proxy.handle_timeout(Instant(self.now));
        true
    }

    fn proxy_waits(&self) -> bool {
        self.proxy.peers.values().any(|peer| !peer.link.is_idle())
    }

    fn deliver(&mut self) {
        let now = self.now;
        let arrived: Vec<_> = self.air.extract_if(.., |(at, ..)| *at <= now).collect();
        for (_, to_node, datagram) in arrived {
            if to_node {
                for (_, reply) in self.server.take(now, &datagram) {
                    self.launch(false, reply);
                }
            } else {
                self.proxy.handle_datagram(Instant(now), self.endpoint, &datagram);
            }
        }
    }

    fn launch(&mut self, to_node: bool, datagram: Vec<u8>) {
        if self.chance.percent() < self.loss {
            return;
        }
        if self.chance.percent() < self.loss {
            let again = self.now + 20 + self.chance.percent() * 10;
            self.air.push((again, to_node, datagram.clone()));
        }
        let at = self.now + 20 + if self.loss > 0 { self.chance.percent() } else { 0 };
        self.air.push((at, to_node, datagram));
    }
}

fn server() -> Server {
    let small = Resource {
        payload: b"22.3 C".to_vec(),
        options: vec![
            (option::ETAG, vec![0xaa, 0x01]),
            (option::CONTENT_FORMAT, vec![]),
            (option::MAX_AGE, uint_value(30)),
        ],
    };
    let large = Resource {
        payload: text(1_000).into_bytes(),
        options: vec![(option::ETAG, vec![7]), (option::CONTENT_FORMAT, uint_value(50))],
    };
    Server {
        resources: [("temp".to_string(), small), ("large".to_string(), large)].into(),
        block: BlockSize::LARGEST,
        separate: None,
        plain: false,
        silent: false,
        resets: false,
        seen: vec![],
        upload: vec![],
        answered: BTreeMap::new(),
        next_id: 0x4000,
        unacknowledged: vec![],
    }
}

/// Printable text in which every place differs from its neighbours.
pub(super) fn text(length: usize) -> String {
    ('a'..='z').chain('A'..='Z').chain('0'..='8').cycle().take(length).collect()
}

pub(super) fn status(response: &str) -> u16 {
    response.get(9..12).and_then(|s| s.parse().ok()).unwrap_or_else(|| panic!("{response:?}"))
}

pub(super) fn field<'r>(response: &'r str, name: &str) -> Option<&'r str> {
    let head = response.split("\r\n\r\n").next()?;
    head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}

pub(super) fn body(response: &str) -> &str {
    response.split_once("\r\n\r\n").expect("a head").1
}

/// A body in chunks, put together; `None` if its end is missing.
pub(super) fn unchunked(mut rest: &str) -> Option<String> {
    let mut whole = String::new();
    loop {
        let (size, after) = rest.split_once("\r\n")?;
        let size = usize::from_str_radix(size, 16).ok()?;
        let (piece, after) = after.split_at_checked(size)?;
        whole.push_str(piece);
        rest = after.strip_prefix("\r\n")?;
        if size == 0 {
            return Some(whole);
        }
    }
}
