//! What the back-end says: its records, and what becomes of each.
use bytes::{Buf as _, Bytes, BytesMut};
use gateway_common::{
    mapping::{handshake::kind, record::TLS_HEADER},
    wire::dtls::content,
};

use super::{
    Connection, Reason,
    connection::End,
    handshake::Step,
    reason::{CLOSE_NOTIFY, FATAL},
    stream::{self, Message, Stage},
};

impl Connection {
    /// Takes one whole record; `false` if there is none.
    pub(super) fn take_record(&mut self, bytes: &mut BytesMut) -> Result<bool, Reason> {
        let header = stream::header(bytes, self.stage(), self.policy.handshake())?;
        let Some(header) = header else {
            return Ok(false);
        };
        let whole = TLS_HEADER + usize::from(header.length);
        if bytes.len() < whole {
            return Ok(false);
        }
        let mut fragment = bytes.split_to(whole);
        fragment.advance(TLS_HEADER);
        self.active = self.now;
        if let Some(handshake) = &mut self.handshake {
            handshake.moved = self.now;
        }
        match self.protected {
            true => self.protected_record(header.content, fragment.freeze())?,
            false => self.clear_record(header.content, &fragment)?,
        }
        Ok(true)
    }

    fn stage(&self) -> Stage {
        let chosen = self.suite.is_some();
        match (self.protected, chosen) {
            (true, _) => Stage::Protected(self.policy.record()),
            (false, true) => Stage::Clear,
            (false, false) => Stage::Hello,
        }
    }

    fn clear_record(&mut self, content: u8, fragment: &[u8]) -> Result<(), Reason> {
        match content {
            content::HANDSHAKE => self.messages(fragment),
            content::CHANGE_CIPHER_SPEC => self.change_cipher_spec(fragment),
            content::ALERT => self.clear_alert(fragment),
            content::APPLICATION_DATA if fragment.is_empty() => Ok(()),
            _ => Err(Reason::Unexpected),
        }
    }

    fn messages(&mut self, fragment: &[u8]) -> Result<(), Reason> {
        let limit = self.policy.handshake();
        self.handshake.as_mut().ok_or(Reason::Unexpected)?.messages.push(fragment);
        while let Some(handshake) = &mut self.handshake {
            let Some(message) = handshake.messages.next(limit)? else {
                return Ok(());
            };
            self.message(message)?;
        }
        Ok(())
    }

    fn message(&mut self, message: Message) -> Result<(), Reason> {
        let handshake = self.handshake.as_mut().ok_or(Reason::Unexpected)?;
        match handshake.step {
            Step::ClientHello if message.kind == kind::CLIENT_HELLO => {
                handshake.client_hello(message, &self.policy)?;
                self.transmit();
                Ok(())
            }
            // the rest of the flight waits for Finished, so that it is one burst
            Step::ClientFinished if is_clients(message.kind) => {
                handshake.add(&message, &[], self.policy.handshake())
            }
            Step::ClientHello
            | Step::ServerHello
            | Step::ClientFinished
            | Step::ServerFinished
            | Step::Resuming
            | Step::Resumed => Err(Reason::Unexpected),
        }
    }

    fn change_cipher_spec(&mut self, fragment: &[u8]) -> Result<(), Reason> {
        let handshake = self.handshake.as_ref().ok_or(Reason::Unexpected)?;
        if fragment != [1] {
            return Err(Reason::Malformed);
        }
        let turn = matches!(handshake.step, Step::ClientFinished | Step::Resuming);
        if !turn || !handshake.messages.is_empty() {
            return Err(Reason::Unexpected);
        }
        self.protected = true;
        Ok(())
    }

    /// An alert in clear goes on as it is, once: nobody acknowledges it (RFC 6347 §4.2.7).
    fn clear_alert(&mut self, fragment: &[u8]) -> Result<(), Reason> {
        let &[level, description] = fragment else {
            return Err(Reason::Malformed);
        };
        let handshake = self.handshake.as_mut().ok_or(Reason::Unexpected)?;
        let ends = level == FATAL || description == CLOSE_NOTIFY;
        if !ends && !handshake.may_warn() {
            return Err(Reason::Unexpected);
        }
        if ends {
            handshake.answered();
            self.end = End::Finishing(Reason::Alert);
        }
        if handshake.step != Step::ClientHello {
            let header = self.clear.header(content::ALERT, fragment.len());
            handshake.packets.push_back([&header[..], fragment].concat().into());
        }
        Ok(())
    }

    fn protected_record(&mut self, content: u8, fragment: Bytes) -> Result<(), Reason> {
        let step = self.handshake.as_deref().map(|handshake| handshake.step);
        match step {
            Some(step @ (Step::ClientFinished | Step::Resuming)) => {
                self.finished(content, fragment, step)
            }
            Some(Step::ClientHello | Step::ServerHello | Step::ServerFinished | Step::Resumed)
            | None => self.queue(content, fragment),
        }
    }

    fn finished(&mut self, content: u8, fragment: Bytes, step: Step) -> Result<(), Reason> {
        let handshake = self.handshake.as_mut().ok_or(Reason::Unexpected)?;
        if content != content::HANDSHAKE {
            return Err(Reason::Unexpected);
        }
        self.to_node.records += 1;
        handshake.flight.finish(fragment);
        handshake.step = Step::Resumed;
        if step == Step::ClientFinished {
            // a node that switched before it could know the keys did not: that was forged
            handshake.switched = false;
            handshake.step = Step::ServerFinished;
            self.receiver.forget();
        }
        self.transmit();
        Ok(())
    }

    fn queue(&mut self, content: u8, fragment: Bytes) -> Result<(), Reason> {
        if !matches!(content, content::ALERT | content::APPLICATION_DATA) {
            return Err(Reason::Renegotiation);
        }
        self.close.backend = content == content::ALERT;
        self.sender.push(content, fragment);
        if self.close.backend && self.close.node {
            self.end = End::Finishing(Reason::Closed);
        }
        Ok(())
    }
}

/// Whether a client may send this in clear after ServerHelloDone: all but what is the server's, a
/// second ClientHello, and Finished.
fn is_clients(kind: u8) -> bool {
    !matches!(
        kind,
        kind::HELLO_REQUEST
            | kind::CLIENT_HELLO
            | kind::SERVER_HELLO
            | kind::HELLO_VERIFY_REQUEST
            | kind::NEW_SESSION_TICKET
            | kind::SERVER_KEY_EXCHANGE
            | kind::CERTIFICATE_REQUEST
            | kind::SERVER_HELLO_DONE
            | kind::FINISHED
    )
}
