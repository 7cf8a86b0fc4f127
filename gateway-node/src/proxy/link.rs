//! The message layer towards one node (RFC 7252 §4): confirmable requests one at a time, their
//! retransmission, and which response belongs to which request.

use alloc::{collections::VecDeque, vec::Vec};

use super::{
    message::{Code, Kind, Message},
    settings::Timing,
};
use crate::Instant;

/// Acknowledged responses that are acknowledged again when they come again.
const RECENT: usize = 8;

/// Acknowledged requests that a node may owe a response at one time.
const SEPARATE: usize = 16;

/// Matches a response to its request: 4 random bytes, as RFC 7252 §5.3.1 wants without DTLS.
pub(crate) type Token = [u8; 4];

/// What became of a request.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Event {
    Response(Token, Message),
    /// The response comes later, on its own.
    Acknowledged(Token),
    /// The node does not want it.
    Reset(Token),
    /// Neither acknowledged nor answered in time.
    TimedOut(Token),
}

/// What is to be sent now, and what has happened.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Step {
    pub(crate) datagram: Option<Vec<u8>>,
    pub(crate) event: Option<Event>,
}

#[derive(Debug)]
struct Outstanding {
    token: Token,
    id: u16,
    datagram: Vec<u8>,
    due: Instant,
    interval: u32,
    left: u8,
}

#[derive(Debug)]
pub(crate) struct Link {
    next_id: u16,
    outstanding: Option<Outstanding>,
    /// Acknowledged requests whose responses are to come.
    separate: Vec<(Token, Instant)>,
    recent: VecDeque<(u16, Vec<u8>)>,
}

impl Link {
    /// `next_id` is random (RFC 7252 §4.4).
    pub(crate) fn new(next_id: u16) -> Self {
        Self { next_id, outstanding: None, separate: Vec::new(), recent: VecDeque::new() }
    }

    /// Whether NSTART allows another request (RFC 7252 §4.7).
    pub(crate) fn is_free(&self) -> bool {
        self.outstanding.is_none() && self.separate.len() < SEPARATE
    }

    /// Whether nothing is on its way.
    pub(crate) fn is_idle(&self) -> bool {
        self.outstanding.is_none() && self.separate.is_empty()
    }

    /// Makes `message` a confirmable one and gives the datagram to send. `jitter`: 0 to 255 of the
    /// way from 1 to ACK_RANDOM_FACTOR, which is 1.5.
    pub(crate) fn request(
        &mut self,
        token: Token,
        mut message: Message,
        now: Instant,
        timing: &Timing,
        jitter: u8,
    ) -> Vec<u8> {
        message.kind = Kind::Confirmable;
        message.id = self.next_id;
        message.token = token.to_vec();
        self.next_id = self.next_id.wrapping_add(1);
        let datagram = message.write();
        let interval =
            timing.ack_timeout.saturating_add(timing.ack_timeout / 512 * u32::from(jitter));
        self.outstanding = Some(Outstanding {
            token,
            id: message.id,
            datagram: datagram.clone(),
            due: now + interval,
            interval,
            left: timing.max_retransmit,
        });
        datagram
    }

    pub(crate) fn handle_datagram(&mut self, bytes: &[u8], now: Instant, timing: &Timing) -> Step {
        let Ok(message) = Message::read(bytes) else { return Step::default() };
        match message.kind {
            Kind::Acknowledgement => self.acknowledged(message, now, timing),
            Kind::Reset => self.reset(&message),
            Kind::Confirmable => self.confirmable(message),
            Kind::NonConfirmable => Step { datagram: None, event: self.response(message) },
        }
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant) -> Step {
        if let Some(position) = self.separate.iter().position(|(_, until)| *until <= now) {
            let (token, _) = self.separate.swap_remove(position);
            return Step { datagram: None, event: Some(Event::TimedOut(token)) };
        }
        let Some(outstanding) = self.outstanding.as_mut().filter(|o| o.due <= now) else {
            return Step::default();
        };
        if outstanding.left == 0 {
            let event = Event::TimedOut(outstanding.token);
            self.outstanding = None;
            return Step { datagram: None, event: Some(event) };
        }
        outstanding.left -= 1;
        outstanding.interval = outstanding.interval.saturating_mul(2);
        outstanding.due = now + outstanding.interval;
        Step { datagram: Some(outstanding.datagram.clone()), event: None }
    }

    pub(crate) fn deadline(&self) -> Option<Instant> {
        let separate = self.separate.iter().map(|(_, until)| *until);
        separate.chain(self.outstanding.iter().map(|outstanding| outstanding.due)).min()
    }

    /// Gives up everything, as the node cannot be reached, and tells of which requests.
    pub(crate) fn abandon(&mut self) -> Vec<Token> {
        let outstanding = self.outstanding.take().map(|outstanding| outstanding.token);
        outstanding.into_iter().chain(self.separate.drain(..).map(|(token, _)| token)).collect()
    }

    fn acknowledged(&mut self, message: Message, now: Instant, timing: &Timing) -> Step {
        let Some(outstanding) = self.outstanding.take_if(|o| o.id == message.id) else {
            return Step::default();
        };
        if message.code == Code::EMPTY {
            self.separate.push((outstanding.token, now + timing.response));
            return Step { datagram: None, event: Some(Event::Acknowledged(outstanding.token)) };
        }
        if !message.code.is_response() || message.token != outstanding.token {
            self.outstanding = Some(outstanding);
            return Step::default();
        }
        Step { datagram: None, event: Some(Event::Response(outstanding.token, message)) }
    }

    fn reset(&mut self, message: &Message) -> Step {
        let outstanding = self.outstanding.take_if(|o| o.id == message.id);
        Step { datagram: None, event: outstanding.map(|o| Event::Reset(o.token)) }
    }

    /// A separate response; pings, requests and responses to nobody get a Reset (RFC 7252 §4.2).
    fn confirmable(&mut self, message: Message) -> Step {
        let id = message.id;
        let seen = (id, message.token.clone());
        if self.recent.contains(&seen) {
            return Step { datagram: Some(answer(Kind::Acknowledgement, id)), event: None };
        }
        if message.unknown_critical().is_some() {
            let event = self.response(message);
            return Step { datagram: Some(answer(Kind::Reset, id)), event };
        }
        let event = self.response(message);
        let kind = if event.is_some() { Kind::Acknowledgement } else { Kind::Reset };
        if event.is_some() {
            self.recent.truncate(RECENT - 1);
            self.recent.push_front(seen);
        }
        Step { datagram: Some(answer(kind, id)), event }
    }

    fn response(&mut self, message: Message) -> Option<Event> {
        let token = Token::try_from(message.token.as_slice()).ok()?;
        if !message.code.is_response() {
            return None;
        }
        if let Some(position) = self.separate.iter().position(|(t, _)| *t == token) {
            self.separate.swap_remove(position);
            return Some(Event::Response(token, message));
        }
        self.outstanding.take_if(|o| o.token == token)?;
        Some(Event::Response(token, message))
    }
}

fn answer(kind: Kind, id: u16) -> Vec<u8> {
    Message::empty(kind, id).write()
}

#[cfg(test)]
#[path = "link_tests.rs"]
mod tests;
