//! A handshake under way: whose turn it is, what was said, what is in flight. Dropped when both
//! sides have finished, so that an established connection carries none of it.
use std::{collections::VecDeque, time::Instant};

use bytes::Bytes;

use super::{
    Policy, Reason,
    assembly::Assembly,
    chance::Backoff,
    flight::{Clear, Flight},
    hello::{Choice, Offer},
    stream::{Message, Messages},
};

/// Whose turn it is ([RFC 5246 §7.3], figures 1 and 2).
///
/// ```text
/// full     ClientHello → ServerHello → ClientFinished → ServerFinished ─────────────▶ established
/// resumed  ClientHello → ServerHello ─(the node's Finished)→ Resuming → Resumed ────▶ established
/// ```
///
/// [RFC 5246 §7.3]: https://www.rfc-editor.org/rfc/rfc5246#section-7.3
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// The back-end's ClientHello.
    ClientHello,
    /// The node's flight that begins with ServerHello.
    ServerHello,
    /// The back-end's flight that ends with Finished.
    ClientFinished,
    /// The node's ChangeCipherSpec and Finished.
    ServerFinished,
    /// The back-end's ChangeCipherSpec and Finished, after the node's.
    Resuming,
    /// The node's report that it has them.
    Resumed,
}

impl Step {
    /// Whether the node may say something new.
    pub(super) fn is_nodes(self) -> bool {
        match self {
            Self::ServerHello | Self::ServerFinished => true,
            Self::ClientHello | Self::ClientFinished | Self::Resuming | Self::Resumed => false,
        }
    }
}

/// Warnings in clear that are sent on: each is a datagram.
const WARNINGS: u8 = 4;
/// A flight of the back-end may have so many times the limit of a message.
const SHARE: usize = 2;

pub(super) struct Handshake {
    pub(super) step: Step,
    pub(super) deadline: Instant,
    /// When either side last said something new.
    pub(super) moved: Instant,
    /// From the back-end, not yet whole.
    pub(super) messages: Messages,
    /// From the node, not yet whole or in order.
    pub(super) assembly: Assembly,
    /// The back-end's, until it is answered.
    pub(super) flight: Flight,
    pub(super) timer: Option<Backoff>,
    /// The flight in datagrams, as far as they are not sent.
    pub(super) packets: VecDeque<Bytes>,
    pub(super) choice: Option<Choice>,
    /// ChangeCipherSpec of the node is there, and waits for what comes before it.
    pub(super) switched: bool,
    /// The node repeats what the flight answers.
    pub(super) cued: bool,
    /// The back-end's, until the node's.
    hello: Option<Message>,
    offer: Option<Offer>,
    cookie: bool,
    next_seq: u16,
    warnings: u8,
}

impl Handshake {
    pub(super) fn new(now: Instant, deadline: Instant) -> Self {
        Self {
            step: Step::ClientHello,
            deadline,
            moved: now,
            messages: Messages::default(),
            assembly: Assembly::default(),
            flight: Flight::default(),
            timer: None,
            packets: VecDeque::new(),
            offer: None,
            choice: None,
            switched: false,
            cued: false,
            hello: None,
            cookie: false,
            next_seq: 0,
            warnings: 0,
        }
    }

    /// Takes the ClientHello, if the node may agree to it.
    pub(super) fn client_hello(&mut self, hello: Message, policy: &Policy) -> Result<(), Reason> {
        self.offer = Some(Offer::read(&hello.body, policy)?);
        self.add(&hello, &[], policy.handshake())?;
        self.hello = Some(hello);
        self.step = Step::ServerHello;
        Ok(())
    }

    /// Takes the node's ServerHello; the suite that it chose.
    pub(super) fn choose(&mut self, hello: &[u8], policy: &Policy) -> Result<u16, Reason> {
        let offer = self.offer.as_ref().ok_or(Reason::NodeMalformed)?;
        let choice = Choice::read(hello, offer, policy)?;
        self.choice = Some(choice);
        self.hello = None;
        Ok(choice.suite)
    }

    /// Adds a message of the back-end to its flight.
    pub(super) fn add(
        &mut self,
        message: &Message,
        cookie: &[u8],
        limit: usize,
    ) -> Result<(), Reason> {
        if self.flight.memory() + message.body.len() > SHARE * limit {
            return Err(Reason::Oversize);
        }
        self.flight.push(message, self.next_seq, cookie)?;
        self.next_seq = self.next_seq.checked_add(1).ok_or(Reason::Oversize)?;
        Ok(())
    }

    /// Says the ClientHello again with the cookie of a HelloVerifyRequest, once
    /// ([RFC 6347 §4.2.1]). Neither message is in a transcript.
    ///
    /// [RFC 6347 §4.2.1]: https://www.rfc-editor.org/rfc/rfc6347#section-4.2.1
    pub(super) fn answer_cookie(&mut self, request: &[u8], policy: &Policy) -> Result<(), Reason> {
        let [_, _, length, cookie @ ..] = request else {
            return Err(Reason::NodeMalformed);
        };
        if self.cookie || self.choice.is_some() || cookie.len() != usize::from(*length) {
            return Err(Reason::NodeMalformed);
        }
        if !policy.cookies {
            return Err(Reason::Cookie);
        }
        let hello = self.hello.take().ok_or(Reason::NodeMalformed)?;
        self.cookie = true;
        self.answered();
        self.add(&hello, cookie, policy.handshake())
    }

    /// The node has answered the flight: the next one begins.
    pub(super) fn answered(&mut self) {
        self.flight = Flight::default();
        self.timer = None;
        self.packets.clear();
    }

    /// Puts the flight into datagrams with fresh numbers.
    pub(super) fn transmit(&mut self, clear: &mut Clear, policy: &Policy) {
        self.packets = self.flight.datagrams(clear, policy.datagram()).into();
    }

    /// Whether the node's ChangeCipherSpec may go on: it is here, and so is all that precedes it.
    pub(super) fn may_switch(&self) -> bool {
        let whole = self.choice.filter(|choice| self.switched && !choice.ticket);
        whole.is_some_and(|choice| match self.step {
            Step::ServerHello => choice.resumes,
            Step::ServerFinished => true,
            Step::ClientHello | Step::ClientFinished | Step::Resuming | Step::Resumed => false,
        })
    }

    /// Whether one more warning may go on.
    pub(super) fn may_warn(&mut self) -> bool {
        self.warnings = self.warnings.saturating_add(1);
        self.warnings <= WARNINGS
    }

    pub(super) fn memory(&self) -> usize {
        let packets: usize = self.packets.iter().map(Bytes::len).sum();
        let hello = self.hello.as_ref().map_or(0, |hello| hello.body.len());
        let kept = self.messages.memory() + self.assembly.memory() + self.flight.memory();
        size_of::<Self>() + kept + packets + hello
    }
}
