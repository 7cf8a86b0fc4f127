//! What the node says: its records, and what becomes of each.
use bytes::{Buf as _, Bytes, BytesMut};
use gateway_common::{
    mapping::{
        Position,
        ack::Report,
        handshake::{Fragments, kind},
        image,
        record::{
            self, DTLS_HEADER, DTLS10, DTLS12, DtlsHeader, FRAGMENT_MAX, TLS_HEADER, TLS12,
            TlsHeader,
        },
    },
    wire::dtls::content,
};

use super::{
    Connection, Reason,
    assembly::Placed,
    chance::after,
    connection::End,
    handshake::Step,
    reason::{CLOSE_NOTIFY, FATAL},
    receiver::Taken,
    stream::Message,
};

/// What a report says next when Finished, number 0, is all that was sent.
const FINISHED_TAKEN: Position = Position { epoch: 1, number: 1 };

impl Connection {
    /// Takes a datagram that is well-formed to its end.
    pub(super) fn take_datagram(&mut self, mut datagram: BytesMut) -> Result<(), Reason> {
        let next = self.receiver.next();
        while let Some(first) = datagram.first_chunk::<DTLS_HEADER>() {
            let header = DtlsHeader::read(first);
            let whole = DTLS_HEADER + usize::from(header.length);
            let record = datagram.split_to(whole.min(datagram.len()));
            self.node_record(header, record)?;
        }
        self.go_on()?;
        self.watch(next);
        self.answer_cue();
        Ok(())
    }

    /// Gives the node its time for a record that is missing: since what came behind it was the first
    /// to do so, or since the gap before it closed. `next` was the next number before.
    fn watch(&mut self, next: u64) {
        let wait = after(self.now, self.policy.transmit_wait());
        let known = self.gap.filter(|_| self.receiver.next() == next);
        self.gap = self.receiver.has_gap().then(|| known.unwrap_or(wait));
    }

    /// Sends the flight again at once if the node repeated what it answers.
    fn answer_cue(&mut self) {
        let now = self.now;
        let Some(handshake) = self.handshake.as_mut().filter(|handshake| handshake.cued) else {
            return;
        };
        handshake.cued = false;
        if handshake.flight.cue() {
            handshake.timer = handshake.timer.map(|timer| timer.again(now));
            self.transmit_again();
        }
    }

    fn node_record(&mut self, header: DtlsHeader, record: BytesMut) -> Result<(), Reason> {
        let fragment = record.get(DTLS_HEADER..).unwrap_or_default();
        // a HelloVerifyRequest may say DTLS 1.0 (RFC 6347 §4.2.1)
        let old = header.version == DTLS10 && header.content == content::HANDSHAKE;
        let known = header.version == DTLS12 || old && header.position.epoch == 0;
        match (header.position.epoch, header.content) {
            (0, content::ACK) if known => self.take_report(fragment),
            (0, content::HANDSHAKE) if known && self.in_clear() => return self.fragments(fragment),
            (0, content::ALERT) if known && self.in_clear() => self.node_alert(fragment),
            (0, content::CHANGE_CIPHER_SPEC) if known && self.in_clear() && fragment == [1] => {
                if let Some(handshake) = &mut self.handshake {
                    handshake.switched = true;
                }
            }
            (1, content::CHANGE_CIPHER_SPEC..=content::APPLICATION_DATA) if known => {
                return self.node_protected(header, record);
            }
            _ => self.drop_one(),
        }
        Ok(())
    }

    /// Whether the node was addressed, and has not switched.
    fn in_clear(&self) -> bool {
        let step = self.handshake.as_deref().map(|handshake| handshake.step);
        !self.receiver.is_open() && step.is_some_and(|step| step != Step::ClientHello)
    }

    fn drop_one(&mut self) {
        self.dropped = self.dropped.saturating_add(1);
    }

    fn fragments(&mut self, fragment: &[u8]) -> Result<(), Reason> {
        for fragment in Fragments::of(fragment) {
            let (Ok(fragment), Some(handshake)) = (fragment, &mut self.handshake) else {
                self.drop_one();
                return Ok(());
            };
            let limit = self.policy.handshake();
            let awaited = handshake.step.is_nodes();
            let placed = match handshake.assembly.is_past(&fragment) {
                false if !awaited => Placed::Dropped,
                _ => handshake.assembly.place(&fragment, limit)?,
            };
            let verify = fragment.header.kind == kind::HELLO_VERIFY_REQUEST;
            match placed {
                Placed::Kept => {}
                Placed::Last if handshake.flight.is_finished() && !verify => handshake.cued = true,
                Placed::Last | Placed::Dropped => self.drop_one(),
            }
        }
        Ok(())
    }

    /// Sends on all that is in order now.
    fn go_on(&mut self) -> Result<(), Reason> {
        while let Some(handshake) = self.handshake.as_mut().filter(|all| all.step.is_nodes()) {
            let Some(message) = handshake.assembly.next() else {
                break;
            };
            handshake.moved = self.now;
            self.node_message(message)?;
        }
        if !self.receiver.is_open() && self.handshake.as_ref().is_some_and(|all| all.may_switch()) {
            self.append(content::CHANGE_CIPHER_SPEC, &[&[1]]);
            self.receiver.open();
        }
        while let Some((header, record)) = self.receiver.poll() {
            self.report.answered(self.now, &self.policy);
            self.forward(header, record)?;
        }
        Ok(())
    }

    fn node_message(&mut self, message: Message) -> Result<(), Reason> {
        let handshake = self.handshake.as_mut().ok_or(Reason::NodeMalformed)?;
        match (handshake.step, &mut handshake.choice, message.kind) {
            (_, _, kind::HELLO_REQUEST) => return Ok(()),
            (Step::ServerHello, None, kind::HELLO_VERIFY_REQUEST) => {
                handshake.answer_cookie(&message.body, &self.policy)?;
                self.transmit();
                return Ok(());
            }
            (Step::ServerHello, None, kind::SERVER_HELLO) => {
                self.suite = Some(handshake.choose(&message.body, &self.policy)?);
            }
            (Step::ServerHello, Some(_), kind::SERVER_HELLO_DONE) => {
                handshake.step = Step::ClientFinished;
                handshake.answered();
            }
            (_, Some(choice), kind::NEW_SESSION_TICKET) if choice.ticket => choice.ticket = false,
            (Step::ServerHello, Some(_), kind) if is_servers(kind) => {}
            _ => return Err(Reason::NodeMalformed),
        }
        let image = image::tls(message.kind, &message.body).map_err(|_| Reason::NodeMalformed)?;
        let header = image.header();
        let [a, b, c, d, e] = image.body();
        let header = header.tls();
        self.append(content::HANDSHAKE, &[&header, a, b, c, d, e]);
        Ok(())
    }

    /// Appends a record in clear: one message is never cut over two.
    fn append(&mut self, content: u8, pieces: &[&[u8]]) {
        let length: usize = pieces.iter().map(|piece| piece.len()).sum();
        let length = u16::try_from(length).unwrap_or(u16::MAX); // `Policy::handshake` sees to that
        let header = TlsHeader { content, version: TLS12, length }.write();
        let record = [&[&header[..]], pieces].concat().concat();
        self.tls.push_back(record.into());
    }

    fn node_alert(&mut self, fragment: &[u8]) {
        let &[level, description] = fragment else {
            return self.drop_one();
        };
        self.append(content::ALERT, &[fragment]);
        if level == FATAL || description == CLOSE_NOTIFY {
            self.handshake = None;
            self.end = End::Finishing(Reason::Alert);
        }
    }

    fn take_report(&mut self, fragment: &[u8]) {
        let Some(report) = Report::read(fragment) else {
            return self.drop_one();
        };
        let step = self.handshake.as_deref().map(|handshake| handshake.step);
        if step == Some(Step::Resumed) && report.next == FINISHED_TAKEN {
            self.handshake = None;
        } else if step.is_some() {
            return;
        }
        let timeout = self.chance.spread(self.policy.ack_timeout);
        if !self.sender.report(report, self.now, timeout) {
            return self.drop_one();
        }
        if self.close.stream && self.end == End::Open {
            self.closing();
        }
    }

    fn node_protected(&mut self, header: DtlsHeader, record: BytesMut) -> Result<(), Reason> {
        let number = header.position.number;
        let is_finished = header.content == content::HANDSHAKE;
        let past = number < self.receiver.next();
        // an alert behind a gap cannot go on, but tells that the node may have given up
        let alert = header.content == content::ALERT && number > self.receiver.next();
        let taking = self.end == End::Open && (!self.held || alert) || past;
        let sane = (1..=FRAGMENT_MAX).contains(&usize::from(header.length));
        if !taking || !sane || number == 0 && !is_finished {
            self.drop_one();
            return Ok(());
        }
        match self.receiver.take(header, record) {
            Taken::Next(record) => {
                self.report.answered(self.now, &self.policy);
                if header.content == content::ALERT || self.receiver.has_gap() {
                    self.report.urge();
                }
                self.forward(header, record)
            }
            Taken::Early => {
                self.urge_report();
                Ok(())
            }
            Taken::Duplicate => {
                self.urge_report();
                self.repeated(number);
                Ok(())
            }
            Taken::Beyond => {
                self.drop_one();
                Ok(())
            }
        }
    }

    fn urge_report(&mut self) {
        if self.receiver.is_open() {
            self.report.urge();
        }
    }

    /// The node repeats its Finished: it may not have the back-end's that answers it.
    fn repeated(&mut self, number: u64) {
        self.drop_one();
        if let Some(handshake) = self.handshake.as_mut().filter(|_| number == 0) {
            handshake.cued |= handshake.step == Step::Resumed;
        }
    }

    /// Sends a record on: TLS's header over the end of DTLS's, the fragment where it is.
    fn forward(&mut self, header: DtlsHeader, mut record: BytesMut) -> Result<(), Reason> {
        let first = header.position.number == 0;
        if !first && matches!(header.content, content::HANDSHAKE | content::CHANGE_CIPHER_SPEC) {
            return Err(Reason::Renegotiation);
        }
        record.advance(DTLS_HEADER - TLS_HEADER);
        if let Some(place) = record.first_chunk_mut::<TLS_HEADER>() {
            *place = record::to_tls(header).write();
        }
        let record: Bytes = record.freeze();
        self.tls.push_back(record);
        self.active = self.now;
        self.to_backend.records += 1;
        if first {
            self.node_finished();
        }
        self.close.node = header.content == content::ALERT;
        if self.close.node && (self.close.backend || self.close.stream) {
            self.end = End::Finishing(Reason::Closed);
        }
        Ok(())
    }

    fn node_finished(&mut self) {
        let Some(handshake) = &mut self.handshake else {
            return;
        };
        if handshake.step == Step::ServerHello {
            handshake.answered();
            handshake.step = Step::Resuming;
        } else {
            self.handshake = None;
        }
    }
}

/// Whether a server may send this between ServerHello and ServerHelloDone.
fn is_servers(kind: u8) -> bool {
    !matches!(
        kind,
        kind::CLIENT_HELLO
            | kind::SERVER_HELLO
            | kind::HELLO_VERIFY_REQUEST
            | kind::NEW_SESSION_TICKET
            | kind::CERTIFICATE_VERIFY
            | kind::CLIENT_KEY_EXCHANGE
            | kind::FINISHED
    )
}
