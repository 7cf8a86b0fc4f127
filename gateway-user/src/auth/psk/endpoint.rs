//! A socket and its associations: the only one to touch either.
use super::{
    State,
    association::{Association, Events},
    coap::{self, Asked, Message, Reply, Request},
    engine,
    gate::{Gate, Hello},
    socket::{Socket, Way},
    who::{KEYS, Proof, Who},
};
use crate::{
    auth::{
        holder::{Holder, Outcome},
        limit::Limit,
        material::Current,
        problem::Problem,
        rest::{Action, Terms},
    },
    dataplane::cookies::Judged,
    lease::{self, Registry},
    tunnel::{Flow, Frame, Hub, relay},
};
use core::net::Ipv6Addr;
use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::{
    sync::{mpsc, watch},
    time::sleep_until,
};

/// How often associations are looked at.
const TICK: Duration = Duration::from_millis(100);
/// Datagrams that are taken in one go.
const BATCH: usize = 64;
const DATAGRAM: usize = 1 << 16;
/// Answers that wait.
const QUEUE: usize = 1024;

/// What every socket has.
#[derive(Clone)]
pub(super) struct Common {
    pub(super) registry: Registry,
    pub(super) state: watch::Receiver<Arc<State>>,
    /// Associations, and those of them whose handshake is not over.
    pub(super) open: Limit,
    pub(super) half: Limit,
    pub(super) hub: Hub,
    /// The router's own certificate, and whose are taken.
    pub(super) current: Current,
}

/// The socket.
pub(super) struct Endpoint {
    at: SocketAddr,
    socket: Socket,
    common: Common,
    gate: Gate,
    associations: HashMap<Way, (u64, Association)>,
    serial: u64,
    ticked: Instant,
    notes: (mpsc::Sender<Note>, mpsc::Receiver<Note>),
}

/// What a task of an association has to say.
struct Note {
    way: Way,
    serial: u64,
    news: News,
}

enum News {
    /// What came of an action.
    Done { terms: Option<Terms>, request: Option<Box<Request>>, result: Result<Outcome, Problem> },
    /// A frame of its tunnel's.
    Frame(Vec<u8>),
    /// Its tunnel is over, and so is the session.
    Over,
}

impl Endpoint {
    /// Serves the socket at an address.
    pub(super) fn new(at: SocketAddr, socket: Socket, gate: Gate, common: Common) -> Self {
        let ticked = Instant::now();
        let (associations, notes) = (HashMap::new(), mpsc::channel(QUEUE));
        Self { at, socket, common, gate, associations, serial: 0, ticked, notes }
    }

    /// Serves until it is dropped.
    pub(super) async fn run(mut self) {
        let mut buffer = vec![0; DATAGRAM];
        loop {
            // nothing is due for nobody
            let pause = if self.associations.is_empty() { TICK * 100 } else { TICK };
            let next = Instant::now() + pause;
            tokio::select! {
                ready = self.socket.ready() => if ready.is_ok() { self.receive(&mut buffer) },
                Some(note) = self.notes.1.recv() => self.take(note),
                changed = self.common.state.changed() => match changed {
                    Ok(()) => self.drop_changed_keys(),
                    Err(_) => return,
                },
                () = sleep_until(next.into()) => {}
            }
            self.tick();
        }
    }

    fn receive(&mut self, buffer: &mut [u8]) {
        for _ in 0..BATCH {
            let Some((length, way)) = self.socket.receive(buffer) else { return };
            if let Some(datagram) = buffer.get(..length) {
                self.datagram(&way, datagram);
            }
        }
    }

    fn datagram(&mut self, way: &Way, datagram: &[u8]) {
        let now = Instant::now();
        let hello = match self.gate.judge(way, datagram) {
            Judged::Other => None,
            Judged::Vouched => Hello::read(datagram),
            Judged::Answer(answer) => return self.socket.send(way, &answer),
            Judged::Refused => return,
        };
        if let Some(hello) = hello {
            let known = self.associations.get(way).is_some_and(|(_, known)| known.is_of(&hello));
            if !known {
                return self.admit(now, way, &hello);
            }
        }
        let Some((_, association)) = self.associations.get_mut(way) else { return };
        let socket = &self.socket;
        let again = hello.as_ref().map(engine::padded);
        let datagram = again.as_deref().unwrap_or(datagram);
        let events = association.handle_datagram(now, datagram, |out| socket.send(way, out));
        self.happened(now, way, events);
    }

    /// A client that has proved its address starts, or starts again (RFC 6347 §4.2.8).
    fn admit(&mut self, now: Instant, way: &Way, hello: &Hello<'_>) {
        let state = Arc::clone(&self.common.state.borrow());
        let (settings, source) = (&state.settings, way.peer.ip());
        let Some(proof) = self.proof(&state, hello) else { return };
        self.associations.remove(way);
        let (most, each) = (settings.handshakes, settings.handshakes_per_source);
        let Some(half) = self.common.half.admit(source, most, each) else { return };
        let (most, each) = (settings.connections, settings.connections_per_source);
        let Some(ticket) = self.common.open.admit(source, most, each) else { return };
        match Association::admit(&state.configs, proof, now, hello, (half, ticket)) {
            Ok(mut association) => {
                let socket = &self.socket;
                let events = association.handle_timeout(now, |out| socket.send(way, out));
                self.serial += 1;
                self.associations.insert(*way, (self.serial, association));
                self.happened(now, way, events);
            }
            Err(error) => tracing::debug!("no handshake with {}: {error}", way.peer),
        }
    }

    /// What a client is asked for here: a key if it may have one, else a certificate.
    fn proof(&self, state: &State, hello: &Hello<'_>) -> Option<Proof> {
        let keys = state.settings.listen.contains(&self.at);
        let certificates = state.certificates.contains(&self.at);
        if keys && (!certificates || hello.offers(KEYS)) {
            return Some(Proof::Key);
        }
        self.common.current.material().filter(|_| certificates).map(Proof::Certificate)
    }

    fn happened(&mut self, now: Instant, way: &Way, events: Events) {
        if let Some(who) = events.connected {
            tracing::debug!(identity = %who, "association with {}", way.peer);
        }
        for data in events.data {
            self.message(now, way, &data);
        }
        if events.closed
            && let Some((_, mut over)) = self.associations.remove(way)
        {
            over.close(now, |out| self.socket.send(way, out));
        }
    }

    fn message(&mut self, now: Instant, way: &Way, data: &[u8]) {
        let Some((serial, association)) = self.associations.get_mut(way) else { return };
        association.hurry(now);
        if Frame::is_meant(data) {
            return self.frame(way, data);
        }
        let socket = &self.socket;
        let send = |association: &mut Association, bytes: &[u8]| {
            association.send(now, bytes, |out| socket.send(way, out));
        };
        let request = match coap::read(data) {
            Some(Message::Request(request)) => request,
            Some(Message::Ping(answer)) => return send(association, &answer),
            Some(Message::Other) | None => return,
        };
        match association.is_new(request.id) {
            Err(Some(answer)) => return send(association, &answer),
            Err(None) => return,
            Ok(()) => {}
        }
        let number = association.number();
        let (action, reply) = match &request.asked {
            Asked::Action(action) => (Some(action.clone()), Reply::Resources),
            Asked::Resources => (None, Reply::Resources),
            Asked::Option(option) => (None, Reply::Option(*option)),
            Asked::Refused(refused) => (None, Reply::Done(Err(refused.clone()))),
        };
        let Some(action) = action else {
            let answer = request.answer(reply, number);
            association.answered(request.id, &answer);
            return send(association, &answer);
        };
        let serial = *serial;
        self.act(way, serial, action, Some(request));
    }

    /// Has something done for who is behind an association.
    fn act(&self, way: &Way, serial: u64, action: Action, request: Option<Box<Request>>) {
        let Some((_, association)) = self.associations.get(way) else { return };
        let Some(holder) = self.holder(way, association, None) else { return };
        let (way, notes) = (*way, self.notes.0.clone());
        let terms = match &action {
            Action::Grant(terms) | Action::Renew(_, terms) => Some(terms.clone()),
            Action::Health
            | Action::Describe
            | Action::Explain(_)
            | Action::List
            | Action::Show(_)
            | Action::End(_) => None,
        };
        tokio::spawn(async move {
            let news = News::Done { terms, request, result: holder.act(action).await };
            let _ = notes.send(Note { way, serial, news }).await;
        });
    }

    fn holder(&self, way: &Way, of: &Association, by: Option<lease::Way>) -> Option<Holder> {
        let who = of.who()?;
        Some(Holder {
            registry: self.common.registry.clone(),
            names: who.names(),
            way: by.unwrap_or_else(|| who.way()),
            source: way.peer.ip().to_canonical(),
            credential: Some(who.credential(&self.common.state.borrow().keys)?),
            proof_ends: who.ends(),
        })
    }

    /// What a task has to say, if its association is still the one.
    fn take(&mut self, note: Note) {
        let now = Instant::now();
        let Some((serial, association)) = self.associations.get_mut(&note.way) else { return };
        if *serial != note.serial {
            return;
        }
        let socket = &self.socket;
        match note.news {
            News::Frame(frame) => {
                association.send(now, &frame, |out| socket.send(&note.way, out));
            }
            News::Over => self.end(now, &[note.way]),
            News::Done { terms, request, result } => {
                let answer = done(association, now, terms, request, result);
                if let Some(answer) = answer {
                    association.send(now, &answer, |out| socket.send(&note.way, out));
                }
            }
        }
    }

    /// A frame of a tunnel goes to the tunnel's task, which the first one starts.
    fn frame(&mut self, way: &Way, frame: &[u8]) {
        let Some((serial, association)) = self.associations.get(way) else { return };
        if association.tunnel().is_none() {
            let serial = *serial;
            let by = Some(lease::Way::Tunnel);
            let Some(holder) = self.holder(way, association, by) else { return };
            let frames = self.open(*way, serial, holder);
            let Some((_, association)) = self.associations.get_mut(way) else { return };
            association.set_tunnel(frames);
        }
        let Some((_, association)) = self.associations.get(way) else { return };
        if let Some(tunnel) = association.tunnel() {
            // more than the tunnel's task takes is lost, as on the way
            let _ = tunnel.try_send(frame.to_vec());
        }
    }

    fn open(&self, way: Way, serial: u64, holder: Holder) -> mpsc::Sender<Vec<u8>> {
        let (frames, inbox) = mpsc::channel(relay::QUEUE);
        let (hub, notes) = (self.common.hub.clone(), self.notes.0.clone());
        let back = notes.clone();
        let outlet: relay::Outlet = Arc::new(move |frame| {
            let _ = back.try_send(Note { way, serial, news: News::Frame(frame) });
        });
        tokio::spawn(async move {
            if let Err(problem) = hub.serve(holder, inbox, Arc::clone(&outlet)).await {
                let flow = Flow { number: 0, node: Ipv6Addr::UNSPECIFIED.into(), port: 0 };
                outlet(Frame::Refused(flow, problem.detail()).bytes());
            }
            let _ = notes.send(Note { way, serial, news: News::Over }).await;
        });
        frames
    }

    fn tick(&mut self) {
        let now = Instant::now();
        if now < self.ticked + TICK {
            return;
        }
        self.ticked = now;
        let (mut over, mut renewals, mut happened) = (Vec::new(), Vec::new(), Vec::new());
        let socket = &self.socket;
        for (way, (serial, association)) in &mut self.associations {
            let events = association.handle_timeout(now, |out| socket.send(way, out));
            if events != Events::default() {
                happened.push((*way, events));
            }
            if association.is_idle(now) {
                over.push(*way);
            }
            let renewal = association.renewal(now, |out| socket.send(way, out));
            renewals.extend(renewal.map(|(id, terms)| (*way, *serial, id, terms)));
        }
        for (way, events) in happened {
            self.happened(now, &way, events);
        }
        for (way, serial, id, terms) in renewals {
            self.act(&way, serial, Action::Renew(id, terms), None);
        }
        self.end(now, &over);
    }

    fn end(&mut self, now: Instant, over: &[Way]) {
        for way in over {
            if let Some((_, mut association)) = self.associations.remove(way) {
                association.close(now, |out| self.socket.send(way, out));
            }
        }
    }

    /// Ends associations whose key is gone or another one.
    fn drop_changed_keys(&mut self) {
        let state = Arc::clone(&self.common.state.borrow_and_update());
        let changed = |association: &Association| match association.who() {
            Some(Who::Key(identity)) => state.changed.contains(identity),
            // those end with their leases
            Some(Who::Certificate(_)) | None => false,
        };
        let over: Vec<Way> = self
            .associations
            .iter()
            .filter(|(_, (_, association))| changed(association))
            .map(|(way, _)| *way)
            .collect();
        self.end(Instant::now(), &over);
    }
}

/// What came of a request, or of a renewal that nobody asked for: the answer to a request.
fn done(
    association: &mut Association,
    now: Instant,
    terms: Option<Terms>,
    request: Option<Box<Request>>,
    result: Result<Outcome, Problem>,
) -> Option<Vec<u8>> {
    match &result {
        Ok(outcome) => association.note(now, outcome, terms),
        // lapsed, revoked, or no longer allowed
        Err(_) if request.is_none() => association.let_go(),
        Err(_) => {}
    }
    let request = request?;
    let number = association.number();
    let answer = request.answer(Reply::Done(result.map_err(Into::into)), number);
    association.answered(request.id, &answer);
    Some(answer)
}
