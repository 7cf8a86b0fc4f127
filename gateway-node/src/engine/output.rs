//! What the caller is to do next.

use core::ops::Range;

use gateway_common::{
    mapping::{
        record::{DTLS12, DtlsHeader},
        sequence::NUMBER_MAX,
    },
    wire::dtls::content,
};

use crate::{
    Instant, Origin, Peer, SessionId, Why,
    alert::{FATAL, INTERNAL_ERROR},
    handshake::{cookie::hello_verify_request, flight::plain},
    records::State,
    session::Stage,
    writer::Writer,
};

use super::{Datagram, Engine, Reply};

/// An output with places in the buffer instead of borrows.
pub(crate) enum Step {
    Transmit(Peer, usize),
    Connected(SessionId, Origin),
    Data(SessionId, Range<usize>),
    Ready(SessionId),
    Closed(SessionId, Why),
    Timeout(Option<Instant>),
}

impl Engine<'_> {
    pub(crate) fn poll(&mut self, buffer: &mut [u8]) -> Step {
        if let Some((_, slot)) = self.common.proved.take()
            && let Some(handshake) = self.handshakes.get_mut(usize::from(slot))
        {
            handshake.clear();
        }
        loop {
            if let Some(step) = self.tell() {
                return step;
            }
            if self.common.datagram.is_some() {
                if let Some(data) = self.read(buffer) {
                    return self.data(data);
                }
            } else if !self.take_up(buffer) {
                self.elapse();
                if let Some((peer, length)) = self.transmit(buffer) {
                    return Step::Transmit(peer, length);
                }
                if let Some(step) = self.tell().or_else(|| self.ready()) {
                    return step;
                }
                return Step::Timeout(self.next_timeout());
            }
        }
    }

    /// The end or the beginning of a session.
    fn tell(&mut self) -> Option<Step> {
        if let Some((id, why)) = self.common.ended.take() {
            return Some(Step::Closed(id, why));
        }
        let (index, session) = self
            .sessions
            .iter_mut()
            .enumerate()
            .find(|(_, session)| session.connected.is_some())?;
        let slot = session.connected.take()?;
        let (_, origin) = session.cipher?;
        let id = session.id(index);
        self.common.proved = Some((id, slot));
        Some(Step::Connected(id, origin))
    }

    fn data(&self, (index, range): (usize, Range<usize>)) -> Step {
        let id = self.sessions.get(index).map(|session| session.id(index));
        id.map_or(Step::Timeout(None), |id| Step::Data(id, range))
    }

    fn ready(&mut self) -> Option<Step> {
        let index = (0..self.sessions.len()).find(|index| {
            let waits = |s: &crate::session::Session| s.due.ready && s.stage == Stage::Open;
            self.sessions.get(*index).is_some_and(waits) && self.has_room(*index)
        })?;
        let session = self.sessions.get_mut(index)?;
        session.due.ready = false;
        Some(Step::Ready(session.id(index)))
    }

    /// Goes on with a record that was kept until its turn.
    fn take_up(&mut self, buffer: &mut [u8]) -> bool {
        for slot in 0..self.records.slots.len() {
            let Some(held) = self.records.slots.get(slot).filter(|s| s.state == State::Held) else {
                continue;
            };
            let Some(session) = self.sessions.get(usize::from(held.session)) else {
                continue;
            };
            let (number, next) = (held.number, session.window.next());
            let Some(peer) = session.peer.filter(|_| number <= next) else {
                continue;
            };
            let record = self.records.contents(slot);
            let end = record.len();
            let place = buffer.get_mut(..end).filter(|_| number == next);
            let fits = place.map(|place| place.copy_from_slice(record)).is_some();
            self.records.release(slot);
            if fits {
                self.common.datagram = Some(Datagram { peer, at: 0, end });
                return true;
            }
        }
        false
    }

    /// Writes a datagram that is due.
    fn transmit(&mut self, buffer: &mut [u8]) -> Option<(Peer, usize)> {
        let length = buffer.len().min(self.config.datagram());
        let buffer = buffer.get_mut(..length)?;
        if let Some((peer, header, reply)) = self.common.reply.take() {
            let mut out = Writer::new(buffer);
            return write_reply(header, reply, &mut out).then(|| (peer, out.len()));
        }
        for handshake in self.handshakes.iter_mut().filter(|handshake| handshake.is_due()) {
            let mut out = Writer::new(buffer);
            if handshake.write(&mut out) {
                return Some((handshake.peer, out.len()));
            }
        }
        (0..self.sessions.len()).find_map(|index| self.transmit_session(index, buffer))
    }

    fn transmit_session(&mut self, index: usize, buffer: &mut [u8]) -> Option<(Peer, usize)> {
        let session = self.sessions.get(index).filter(|session| session.stage != Stage::Free)?;
        let (peer, due) = (session.peer?, session.due);
        if matches!(session.stage, Stage::Failed { .. }) {
            return self.last_words(index, buffer).map(|length| (peer, length));
        }
        if let Some(alert) = due.alert
            && self.queue(index, content::ALERT, &alert).is_some()
            && let Some(session) = self.sessions.get_mut(index)
        {
            session.due.alert = None;
        }
        let mut out = Writer::new(buffer);
        let report = due.report.then(|| self.received(index));
        let session = self.sessions.get_mut(index)?;
        if let Some(report) = report {
            session.write_report(report, &mut out);
        }
        if due.finish {
            session.write_finish(&mut out);
        }
        self.write_records(index, &mut out);
        self.finish_closing(index);
        (out.len() > 0).then(|| (peer, out.len()))
    }

    /// Writes the alert of a session that is given up, and forgets it. Its number is the next one: a
    /// client that has all before it reads it, and to the border it shows the gap. Whether it
    /// arrives is nobody's concern here any more.
    fn last_words(&mut self, index: usize, buffer: &mut [u8]) -> Option<usize> {
        let session = self.sessions.get(index)?;
        let alert = [FATAL, INTERNAL_ERROR];
        let outward = session.outward().filter(|_| session.next <= NUMBER_MAX);
        let length = outward.and_then(|out| out.seal(content::ALERT, session.next, &alert, buffer));
        self.end(index, Why::Unreachable);
        length
    }

    fn write_records(&mut self, index: usize, out: &mut Writer<'_>) {
        let mapped = self.sessions.get(index).is_some_and(|session| session.is_tls());
        while let Some(slot) = self.records.first_due(index) {
            let fits = out.put(&[self.records.contents(slot)]);
            if !fits && out.len() > 0 {
                return;
            }
            // one that does not even fit alone is as good as lost on the way
            if !mapped {
                self.records.release(slot);
                continue;
            }
            let first = self.ack_timeout();
            if let Some(slot) = self.records.slots.get_mut(slot) {
                slot.state = State::Sent;
                slot.timeout = if slot.retries == 0 { first } else { slot.timeout };
                slot.deadline = self.common.now + slot.timeout;
            }
        }
    }

    /// Frees a closing session that has nothing more to say: a mapped one when the other side has
    /// all of it, and has closed too.
    fn finish_closing(&mut self, index: usize) {
        let Some(session) = self.sessions.get(index) else {
            return;
        };
        let Stage::Closing { told } = session.stage else {
            return;
        };
        let heard = told || session.answered || !session.is_tls();
        let said = session.due.alert.is_none() && self.records.outgoing(index) == 0;
        if heard && said && !session.due.report {
            self.end(index, Why::Local);
        }
    }
}

fn write_reply(header: DtlsHeader, reply: Reply, out: &mut Writer<'_>) -> bool {
    match reply {
        Reply::HelloVerifyRequest(cookie) => hello_verify_request(header, &cookie, out),
        Reply::Alert(description) => {
            let number = header.position.number;
            debug_assert!(header.position.epoch == 0 && DTLS12 >> 8 == header.version >> 8);
            out.put(&[&plain(content::ALERT, number, 2), &[FATAL, description]])
        }
    }
}
