//! Protected records, and reports about them.

use core::ops::Range;

use gateway_common::{
    mapping::{
        Position,
        ack::{Report, SPAN},
        handshake::kind,
        record::DtlsHeader,
    },
    wire::dtls::content,
};

use crate::{
    Peer, Why,
    alert::{CLOSE_NOTIFY, FATAL, NO_RENEGOTIATION, WARNING},
    counters::count,
    handshake::finished::Trial,
    record::PROTECTED,
    records::State,
    resumption::Resumable,
    session::{Session, Stage},
    writer::Writer,
};

use super::{Engine, input::Data};

impl Engine<'_> {
    #[inline(never)]
    pub(super) fn protected(
        &mut self,
        peer: Peer,
        header: DtlsHeader,
        fragment: &mut [u8],
    ) -> Option<Data> {
        if self.tried(peer, header, fragment) {
            return None;
        }
        let Some(index) = self.session_of(peer) else {
            count(&mut self.common.counters.unexpected);
            return None;
        };
        let session = self.sessions.get_mut(index)?;
        if session.is_tls() {
            session.due.report |= session.window.next() + SPAN >= header.position.number;
            if header.position.number > session.window.next() {
                self.hold(index, header, fragment);
                return None;
            }
        }
        self.open(index, header, fragment).map(|data| (index, data))
    }

    /// Whether a record was the Finished of a handshake, or was tried as such and there is no
    /// session that it may belong to.
    fn tried(&mut self, peer: Peer, header: DtlsHeader, fragment: &[u8]) -> bool {
        let Some(index) = self.handshake_of(peer) else {
            return false;
        };
        let now = self.common.now;
        let Some(handshake) = self.handshakes.get_mut(index) else {
            return false;
        };
        match handshake.try_finished(now, header, fragment) {
            Trial::Verified(origin) => {
                self.connect(index, origin, header.position.number);
                return true;
            }
            Trial::Unfit => return false,
            Trial::Failed => count(&mut self.common.counters.attackers),
            Trial::Limited => count(&mut self.common.counters.untried),
        }
        self.session_of(peer).is_none()
    }

    /// Keeps a record of a mapped client for its turn, if there is room. It must be authentic: what
    /// is reported as received does not come again.
    fn hold(&mut self, index: usize, header: DtlsHeader, fragment: &mut [u8]) {
        let number = header.position.number;
        let known = self.records.held(index, number).is_some();
        let Some(session) = self.sessions.get(index) else {
            return;
        };
        let near = number - session.window.next() < u64::from(self.config.ack_window);
        let slot = if near && !known { self.records.free() } else { None };
        let (Some(slot), Some(protection)) = (slot, session.inward()) else {
            return count(&mut self.common.counters.early);
        };
        let mut space = Writer::new(self.records.space(slot));
        let fits = space.put(&[&header.write(), fragment]);
        let length = space.len();
        if protection.open(header, fragment).is_none() {
            return count(&mut self.common.counters.forged);
        }
        if fits {
            self.records.fill(slot, State::Held, index, number, length);
        }
    }

    fn open(
        &mut self,
        index: usize,
        header: DtlsHeader,
        fragment: &mut [u8],
    ) -> Option<Range<usize>> {
        let counters = &mut self.common.counters;
        let session = self.sessions.get_mut(index)?;
        let number = header.position.number;
        if !session.window.is_fresh(number) || (session.is_tls() && number < session.window.next())
        {
            count(&mut counters.replayed);
            return None;
        }
        let Some(data) = session.inward()?.open(header, fragment) else {
            count(&mut counters.forged);
            return None;
        };
        session.window.update(number);
        session.heard = self.common.now;
        let plaintext = fragment.get(data.clone())?;
        match header.content {
            content::APPLICATION_DATA => {
                (session.stage == Stage::Open && !data.is_empty()).then_some(data)
            }
            content::ALERT => {
                self.alert(index, plaintext);
                None
            }
            content::HANDSHAKE => {
                renegotiate(session, plaintext);
                None
            }
            _ => {
                count(&mut counters.unexpected);
                None
            }
        }
    }

    fn alert(&mut self, index: usize, alert: &[u8]) {
        match alert {
            [_, CLOSE_NOTIFY] => self.closed_by_peer(index),
            [FATAL, description] => {
                self.forget(index);
                self.end(index, Why::Alert(*description));
            }
            _ => {}
        }
    }

    /// Answers close_notify; the caller is told at once, and hears nothing when the answer arrives.
    fn closed_by_peer(&mut self, index: usize) {
        let Some(session) = self.sessions.get_mut(index) else {
            return;
        };
        match session.stage {
            Stage::Open => {
                session.stage = Stage::Closing { told: true };
                session.due.alert = Some([WARNING, CLOSE_NOTIFY]);
                self.common.ended = Some((session.id(index), Why::Peer));
            }
            Stage::Closing { .. } => session.answered = true,
            Stage::Free | Stage::Failed { .. } => {}
        }
    }

    /// A session that ended with a fatal alert is not resumed (RFC 5246 §7.2.2).
    pub(super) fn forget(&mut self, index: usize) {
        let Some(session) = self.sessions.get(index) else {
            return;
        };
        for entry in self.resumable.iter_mut().filter(|entry| entry.id == session.session_id) {
            *entry = Resumable::default();
        }
    }

    /// A report of the border: records that it has are kept no longer.
    pub(super) fn report(&mut self, peer: Peer, body: &[u8]) {
        let Some(report) = Report::read(body) else {
            return count(&mut self.common.counters.malformed);
        };
        let Some(index) = self.session_of(peer) else {
            return count(&mut self.common.counters.unexpected);
        };
        let held = |number| report.has(Position { epoch: PROTECTED, number });
        for slot in self.records.slots.iter_mut() {
            if usize::from(slot.session) == index && slot.state == State::Sent && held(slot.number)
            {
                slot.state = State::Free;
            }
        }
    }

    /// What the report of a session says.
    pub(super) fn received(&self, index: usize) -> Report {
        let number = self.sessions.get(index).map_or(0, |session| session.window.next());
        let next = Position { epoch: PROTECTED, number };
        let held = self.records.of(index).filter(|(_, slot)| slot.state == State::Held);
        held.fold(Report { next, received: 0 }, |report, (_, slot)| {
            let position = Position { epoch: PROTECTED, number: slot.number };
            report.with(position).unwrap_or(report)
        })
    }
}

/// A handshake message in a session: a Finished says that the client misses the final flight,
/// anything else is a renegotiation, which is refused (RFC 7925 §17).
fn renegotiate(session: &mut Session, message: &[u8]) {
    if message.first() == Some(&kind::FINISHED) {
        session.answer();
    } else if session.due.alert.is_none() {
        session.due.alert = Some([WARNING, NO_RENEGOTIATION]);
    }
}
