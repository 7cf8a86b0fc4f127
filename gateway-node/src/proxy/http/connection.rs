//! One connection of a client: bytes in, requests out, responses in, bytes out.

use alloc::{boxed::Box, vec::Vec};
use core::mem;

use super::{
    super::{
        refusal::Refusal,
        settings::{Limits, Timing},
    },
    body::Body,
    head::{self, Head},
    response::{self, Answer, Length},
};
use crate::Instant;

/// A request that is complete.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) head: Head,
    pub(crate) body: Vec<u8>,
}

#[derive(Debug)]
enum State {
    /// Between requests, or within a head.
    Head,
    Body(Box<Head>, Body),
    /// A request is with the proxy; the next one waits.
    Answering {
        persistent: bool,
        chunked: bool,
    },
    /// Nothing more is read.
    Closing,
}

#[derive(Debug)]
pub(crate) struct Connection {
    state: State,
    input: Vec<u8>,
    output: Vec<u8>,
    /// When bytes last moved, either way.
    moved: Instant,
}

impl Connection {
    pub(crate) fn new(now: Instant) -> Self {
        Self { state: State::Head, input: Vec::new(), output: Vec::new(), moved: now }
    }

    /// Takes bytes. What a client sends ahead is kept up to the size of a head; one that sends more
    /// is answered once, and then the connection ends.
    pub(crate) fn handle_bytes(&mut self, bytes: &[u8], now: Instant, limits: &Limits) {
        self.moved = self.moved.max(now);
        match &mut self.state {
            State::Closing => return,
            State::Answering { persistent, .. } => {
                if self.input.len() + bytes.len() > limits.head {
                    *persistent = false;
                    self.input = Vec::new();
                }
                if !*persistent {
                    return;
                }
            }
            State::Head | State::Body(..) => {}
        }
        self.input.extend_from_slice(bytes);
    }

    /// The next request that is complete; refuses by itself what is none.
    pub(crate) fn poll_request(&mut self, limits: &Limits) -> Option<Request> {
        match self.advance(limits) {
            Ok(request) => request,
            Err(refusal) => {
                self.state = State::Answering { persistent: false, chunked: false };
                self.answer(Answer::from(refusal));
                None
            }
        }
    }

    /// Answers the request that was handed out.
    pub(crate) fn answer(&mut self, answer: Answer) {
        let length = Length::Known(answer.body.len());
        self.write_head(&answer, length);
        self.output.extend(answer.body);
        self.finish();
    }

    /// Answers a HEAD: `length` is that of the body which a GET would get, if known.
    pub(crate) fn answer_head(&mut self, answer: &Answer, length: Option<usize>) {
        self.write_head(answer, length.map_or(Length::Untold, Length::Known));
        self.finish();
    }

    /// Begins a response of unknown length. Needs a client of HTTP/1.1.
    pub(crate) fn begin_chunks(&mut self, answer: &Answer) {
        self.write_head(answer, Length::Chunked);
        if let State::Answering { chunked, .. } = &mut self.state {
            *chunked = true;
        }
    }

    pub(crate) fn chunk(&mut self, bytes: &[u8]) {
        if self.is_chunked() && !bytes.is_empty() {
            self.output.extend(response::chunk(bytes));
        }
    }

    pub(crate) fn end_chunks(&mut self) {
        if self.is_chunked() {
            self.output.extend_from_slice(response::LAST_CHUNK);
            self.finish();
        }
    }

    /// Ends a response which cannot be completed: without its last chunk the client knows.
    pub(crate) fn abort(&mut self) {
        self.state = State::Closing;
    }

    /// Whether chunks of a response are being sent.
    pub(crate) fn is_chunked(&self) -> bool {
        matches!(self.state, State::Answering { chunked: true, .. })
    }

    /// What is to be sent.
    pub(crate) fn output(&self) -> &[u8] {
        &self.output
    }

    /// So many bytes of the output were sent.
    pub(crate) fn sent(&mut self, count: usize, now: Instant) {
        self.output.drain(..count.min(self.output.len()));
        self.moved = self.moved.max(now);
    }

    /// Whether everything is sent and nothing more will come.
    pub(crate) fn is_finished(&self) -> bool {
        matches!(self.state, State::Closing) && self.output.is_empty()
    }

    /// When the client has waited for too long, unless it waits for a node.
    pub(crate) fn deadline(&self, timing: &Timing) -> Option<Instant> {
        match self.state {
            State::Answering { .. } | State::Closing if self.output.is_empty() => None,
            State::Head if self.output.is_empty() && self.input.is_empty() => {
                Some(self.moved + timing.keep_alive)
            }
            State::Head | State::Body(..) | State::Answering { .. } | State::Closing => {
                Some(self.moved + timing.stalled)
            }
        }
    }

    /// Ends the connection after its deadline: an unfinished request is told so.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        self.moved = now;
        let unfinished = match self.state {
            State::Head => !self.input.is_empty(),
            State::Body(..) => true,
            State::Answering { .. } | State::Closing => false,
        };
        if unfinished && self.output.is_empty() {
            self.state = State::Answering { persistent: false, chunked: false };
            self.answer(Answer::from(Refusal::new(408, "the rest of the request did not come")));
        } else {
            self.output.clear();
            self.state = State::Closing;
        }
    }

    /// Bytes in buffers.
    pub(crate) fn buffered(&self) -> usize {
        self.input.len() + self.output.len()
    }

    fn advance(&mut self, limits: &Limits) -> Result<Option<Request>, Refusal> {
        if matches!(self.state, State::Head) {
            let Some((head, length)) = head::read(&self.input, limits)? else { return Ok(None) };
            self.input.drain(..length);
            let body = Body::new(head.framing, limits.body);
            if head.expects_continue && !body.is_done() && self.input.is_empty() {
                self.output.extend_from_slice(response::CONTINUE);
            }
            self.state = State::Body(Box::new(head), body);
        }
        let State::Body(_, body) = &mut self.state else { return Ok(None) };
        let used = body.take(&self.input)?;
        self.input.drain(..used);
        if !body.is_done() {
            return Ok(None);
        }
        match mem::replace(&mut self.state, State::Closing) {
            State::Body(head, body) => {
                self.state = State::Answering { persistent: head.persistent, chunked: false };
                Ok(Some(Request { head: *head, body: body.into_bytes() }))
            }
            State::Head | State::Answering { .. } | State::Closing => Ok(None),
        }
    }

    fn write_head(&mut self, answer: &Answer, length: Length) {
        let close = !matches!(self.state, State::Answering { persistent: true, .. });
        self.output.extend(response::head(answer, length, close));
    }

    fn finish(&mut self) {
        let persistent = matches!(self.state, State::Answering { persistent: true, .. });
        self.state = if persistent { State::Head } else { State::Closing };
        if !persistent {
            self.input = Vec::new();
        }
    }
}

impl Head {
    /// Whether the request has passed a proxy called `name` before (RFC 9110 §7.6.3).
    pub(crate) fn has_passed(&self, name: &str) -> bool {
        let via = self.via.clone().unwrap_or_default();
        via.split(',').any(|hop| hop.split_whitespace().nth(1) == Some(name))
    }
}

#[cfg(test)]
#[path = "connection_tests.rs"]
mod tests;
