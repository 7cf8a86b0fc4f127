//! One association with a back-end, sans-IO: datagrams and time in; datagrams, messages and the
//! need to renew its lease out.
//!
//! A lease lasts as long as the session behind it: at half of its life the router sends an empty
//! message, which every CoAP endpoint answers (RFC 7252 §4.3), and renews when something comes.
use super::{
    coap,
    engine::{self, Configs},
    gate::Hello,
    who::{Proof, Who},
};
use crate::{
    auth::{holder::Outcome, limit::Ticket, rest::Terms},
    lease::{Id, View},
};
use dimpl::{Dtls, Error, Output};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// Who was heard so recently is alive without being asked.
const RECENT: Duration = Duration::from_secs(5);
/// Between two signs of life that are asked for, and how many.
const STEP: Duration = Duration::from_secs(2);
const TRIES: u32 = 5;
/// How long an association is kept that neither speaks nor has a lease.
const IDLE: Duration = Duration::from_mins(2);

/// One association.
pub(super) struct Association {
    dtls: Dtls,
    random: Vec<u8>,
    due: Instant,
    proof: Proof,
    who: Option<Who>,
    connected: bool,
    /// Its certificate does not do: nothing more is said but that.
    refused: bool,
    heard: Instant,
    hold: Option<Hold>,
    /// The last request's number, and its answer once there is one.
    last: Option<(u16, Option<Vec<u8>>)>,
    numbers: u16,
    /// Where frames of its tunnel go; the tunnel ends with it.
    tunnel: Option<mpsc::Sender<Vec<u8>>>,
    handshake: Option<Ticket>,
    _ticket: Ticket,
}

/// A lease that lasts as long as the session does.
#[derive(Clone, Debug)]
struct Hold {
    id: Id,
    terms: Terms,
    renew: Instant,
    tries: u32,
}

/// What an association has to say after something has happened.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Events {
    /// The handshake is over: this is who it is.
    pub(super) connected: Option<Who>,
    /// What came.
    pub(super) data: Vec<Vec<u8>>,
    /// It is over.
    pub(super) closed: bool,
}

impl Association {
    /// One for a hello whose cookie was checked, from a client that is to prove itself so.
    pub(super) fn admit(
        configs: &Configs,
        proof: Proof,
        now: Instant,
        hello: &Hello<'_>,
        tickets: (Ticket, Ticket),
    ) -> Result<Self, Error> {
        let dtls = engine::admit(configs, proof.own(), now, hello)?;
        let (handshake, ticket) = tickets;
        Ok(Self {
            dtls,
            random: hello.random().to_vec(),
            due: now,
            proof,
            who: None,
            connected: false,
            refused: false,
            heard: now,
            hold: None,
            last: None,
            numbers: 0,
            tunnel: None,
            handshake: Some(handshake),
            _ticket: ticket,
        })
    }

    /// Whether a hello is one that it has had already.
    pub(super) fn is_of(&self, hello: &Hello<'_>) -> bool {
        self.random == hello.random()
    }

    /// Who it is, once that is proved.
    pub(super) fn who(&self) -> Option<&Who> {
        self.who.as_ref().filter(|_| self.connected)
    }

    /// Its tunnel.
    pub(super) const fn tunnel(&self) -> Option<&mpsc::Sender<Vec<u8>>> {
        self.tunnel.as_ref()
    }

    /// Has frames go to a tunnel's task.
    pub(super) fn set_tunnel(&mut self, frames: mpsc::Sender<Vec<u8>>) {
        self.tunnel = Some(frames);
    }

    /// Takes in a datagram.
    pub(super) fn handle_datagram(
        &mut self,
        now: Instant,
        datagram: &[u8],
        send: impl FnMut(&[u8]),
    ) -> Events {
        if !engine::may_have(datagram) {
            return Events::default();
        }
        drop(engine::asked());
        let taken = self.dtls.handle_timeout(now);
        let taken = taken.and_then(|()| self.dtls.handle_packet(datagram));
        self.who = engine::asked().map(Who::Key).or_else(|| self.who.take());
        let mut events = self.drain(now, send);
        if !events.data.is_empty() {
            self.heard = now;
        }
        if let Err(error) = taken {
            tracing::debug!("association over: {error}");
            events.closed = true;
        }
        events
    }

    /// Does what is due.
    pub(super) fn handle_timeout(&mut self, now: Instant, send: impl FnMut(&[u8])) -> Events {
        if now < self.due {
            return Events::default();
        }
        let lasts = self.dtls.handle_timeout(now).is_ok();
        let mut events = self.drain(now, send);
        events.closed |= !lasts;
        events
    }

    /// Sends a message; one that cannot be sent is lost, as on the way.
    pub(super) fn send(&mut self, now: Instant, message: &[u8], send: impl FnMut(&[u8])) {
        if self.dtls.send_application_data(message).is_ok() {
            self.drain(now, send);
        }
    }

    /// Ends it with a close_notify.
    pub(super) fn close(&mut self, now: Instant, send: impl FnMut(&[u8])) {
        if !self.refused && self.dtls.close().is_ok() {
            self.drain(now, send);
        }
    }

    fn drain(&mut self, now: Instant, mut send: impl FnMut(&[u8])) -> Events {
        let mut events = Events::default();
        let mut buffer = vec![0; if self.connected { 2048 } else { engine::LONGEST }];
        loop {
            match self.dtls.poll_output(&mut buffer) {
                Output::Packet(datagram) => send(datagram),
                Output::BufferTooSmall { needed } => buffer.resize(needed, 0),
                Output::Timeout(due) => {
                    self.due = due.max(now);
                    return events;
                }
                Output::Connected => {
                    self.connected = true;
                    self.handshake = None;
                    events.connected = self.who.clone();
                }
                // comes before what the engine answers to the same flight, which is never sent then
                Output::PeerCert(der) => match self.proof.meet(der) {
                    Ok(who) => self.who = Some(who),
                    Err(error) => {
                        tracing::debug!("association over: {error}");
                        send(&engine::alert(&error));
                        (self.refused, events.closed) = (true, true);
                        return events;
                    }
                },
                Output::ApplicationData(data) => events.data.push(data.to_vec()),
                Output::CloseNotify => events.closed = true,
                Output::KeyingMaterial(..) | _ => {}
            }
        }
    }
}

/// Requests.
impl Association {
    /// Whether a request is new. One that came before is not done again: it gets the same answer,
    /// or none while that is on its way (RFC 7252 §4.2).
    pub(super) fn is_new(&mut self, id: u16) -> Result<(), Option<Vec<u8>>> {
        if let Some((_, answer)) = self.last.as_ref().filter(|(last, _)| *last == id) {
            return Err(answer.clone());
        }
        self.last = Some((id, None));
        Ok(())
    }

    /// Notes what a request was answered with.
    pub(super) fn answered(&mut self, id: u16, answer: &[u8]) {
        if let Some(last) = self.last.as_mut().filter(|(last, _)| *last == id) {
            last.1 = Some(answer.to_vec());
        }
    }

    /// A number for a message of the router's own.
    pub(super) fn number(&mut self) -> u16 {
        self.numbers = self.numbers.wrapping_add(1);
        self.numbers
    }
}

/// The lease.
impl Association {
    /// Notes what came of asking for a lease, or for its end.
    pub(super) fn note(&mut self, now: Instant, outcome: &Outcome, terms: Option<Terms>) {
        match (outcome, terms) {
            (Outcome::Granted(view) | Outcome::Renewed(view), Some(terms)) => {
                self.hold = Some(Hold::new(now, view, terms));
            }
            (Outcome::Granted(_) | Outcome::Renewed(_) | Outcome::Found(_), _)
            | (Outcome::Ended, _) => {}
        }
    }

    /// The lease is over, or somebody else has ended it: it is not renewed.
    pub(super) fn let_go(&mut self) {
        self.hold = None;
    }

    /// Whether it has nothing to live for.
    pub(super) fn is_idle(&self, now: Instant) -> bool {
        let lives = self.hold.is_some() || self.tunnel.is_some();
        self.connected && !lives && now > self.heard + IDLE
    }

    /// The lease to be renewed now, and with which terms. Asks for a sign of life before.
    pub(super) fn renewal(&mut self, now: Instant, send: impl FnMut(&[u8])) -> Option<(Id, Terms)> {
        let hold = self.hold.as_mut().filter(|hold| now >= hold.renew)?;
        if now < self.heard + RECENT {
            // until it is known what came of it
            hold.renew = now + STEP * TRIES;
            return Some((hold.id, hold.terms.clone()));
        }
        if hold.tries == TRIES {
            self.hold = None;
            return None;
        }
        hold.tries += 1;
        hold.renew = now + STEP;
        let number = self.number();
        self.send(now, &coap::ping(number), send);
        None
    }

    /// Looks again at once whether a lease is to be renewed: something has come.
    pub(super) fn hurry(&mut self, now: Instant) {
        if let Some(hold) = self.hold.as_mut().filter(|hold| hold.tries > 0) {
            hold.tries = 0;
            hold.renew = now;
        }
    }
}

impl Hold {
    fn new(now: Instant, view: &View, terms: Terms) -> Self {
        let half = Duration::from_millis(view.expires_in.saturating_mul(500));
        Self { id: view.id, terms, renew: now + half.max(RECENT / 10), tries: 0 }
    }
}
