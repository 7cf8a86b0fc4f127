//! What is said over each session: CoAP with a DTLS client, HTTP with a mapped TLS client.
use gateway_node::{Origin, SendError};

use crate::{
    coap,
    engine::SESSIONS,
    http::{self, Requests},
};

/// Longest answer over CoAP: header, token, marker, resource.
const MESSAGE: usize = 64;

/// The open sessions, each known by an `S`.
#[derive(Debug)]
pub struct Connections<S>([Option<Connection<S>>; SESSIONS]);

#[derive(Debug)]
struct Connection<S> {
    session: S,
    talk: Talk,
    /// The answer is to be sent now.
    ready: bool,
    /// The session ends after the answer.
    last: bool,
}

#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "there is no heap to keep the large one on")]
enum Talk {
    /// A datagram that is lost is asked for again.
    Coap { answer: [u8; MESSAGE], length: usize },
    /// A stream loses nothing: the answer waits.
    Http { requests: Requests, answer: &'static [u8] },
}

impl<S> Default for Connections<S> {
    fn default() -> Self {
        Self([const { None }; SESSIONS])
    }
}

impl<S: Copy + PartialEq> Connections<S> {
    /// A session began.
    pub fn open(&mut self, session: S, origin: Origin) {
        let talk = match origin {
            Origin::Dtls => Talk::Coap { answer: [0; MESSAGE], length: 0 },
            Origin::Tls => Talk::Http { requests: Requests::default(), answer: &[] },
        };
        if let Some(free) = self.0.iter_mut().find(|slot| slot.is_none()) {
            *free = Some(Connection { session, talk, ready: false, last: false });
        }
    }

    /// A session ended.
    pub fn close(&mut self, session: S) {
        for slot in &mut self.0 {
            let _gone = slot.take_if(|connection| connection.session == session);
        }
    }

    /// The peer said something.
    pub fn take(&mut self, session: S, data: &[u8]) {
        let Some(connection) = self.of(session) else { return };
        match &mut connection.talk {
            Talk::Coap { answer, length } => *length = coap::respond(data, answer).unwrap_or(0),
            Talk::Http { requests, answer } => match requests.push(data) {
                http::Answer::Wait => return,
                http::Answer::Reply(reply) => *answer = reply,
                http::Answer::Last(reply) => (*answer, connection.last) = (reply, true),
            },
        }
        connection.ready = true;
    }

    /// There is room now for an answer that had none.
    pub fn retry(&mut self, session: S) {
        if let Some(connection) = self.of(session) {
            connection.ready = true;
        }
    }

    /// Sends the answers that are due.
    pub fn speak(&mut self, mut send: impl FnMut(S, &[u8]) -> Result<(), SendError>) {
        for connection in self.0.iter_mut().flatten().filter(|connection| connection.ready) {
            connection.ready = false;
            let answer = match &connection.talk {
                Talk::Coap { answer, length } => answer.get(..*length).unwrap_or_default(),
                Talk::Http { answer, .. } => answer,
            };
            let sent =
                answer.is_empty() || send(connection.session, answer) != Err(SendError::Busy);
            if let (true, Talk::Http { answer, .. }) = (sent, &mut connection.talk) {
                *answer = &[];
            }
        }
    }

    /// Ends the sessions whose last answer is sent.
    pub fn hang_up(&mut self, mut close: impl FnMut(S)) {
        for connection in self.0.iter_mut().flatten() {
            if let (true, &Talk::Http { answer: &[], .. }) = (connection.last, &connection.talk) {
                connection.last = false;
                close(connection.session);
            }
        }
    }

    fn of(&mut self, session: S) -> Option<&mut Connection<S>> {
        self.0.iter_mut().flatten().find(|connection| connection.session == session)
    }
}
