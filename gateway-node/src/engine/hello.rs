//! ClientHello and ClientKeyExchange.

use gateway_common::mapping::{handshake::Fragment, hello::ClientHello, record::DtlsHeader};
use zeroize::Zeroizing;

use crate::{
    Cookie, Evict, Peer, Psk,
    alert::HANDSHAKE_FAILURE,
    counters::count,
    handshake::{Stage, cookie::Front, hello::Choice},
    psk::IDENTITY_MAX,
    resumption::Resumable,
    session,
};

use super::{Engine, Reply};

impl Engine<'_> {
    /// Whether a ClientHello, or a piece of it, may cost memory; `Some(true)` if its sender has
    /// shown its address.
    pub(super) fn admits_hello(
        &mut self,
        peer: Peer,
        header: DtlsHeader,
        fragment: &Fragment<'_>,
    ) -> Option<bool> {
        let starts = fragment.header.fragment_offset == 0;
        let Some(front) = Front::read(fragment.body).filter(|_| starts) else {
            let unknown = self.config.cookie == Cookie::Required;
            return (!fragment.header.is_whole()).then_some(!unknown);
        };
        let first = fragment.header.message_seq == 0;
        let admitted = match self.config.cookie {
            Cookie::Off => true,
            Cookie::Foreign => first == front.cookie.is_empty(),
            Cookie::Required => self.common.baker.is_ours(self.common.now, peer, &front),
        };
        if admitted {
            return Some(true);
        }
        if self.config.cookie == Cookie::Required {
            let cookie = self.common.baker.bake(self.common.now, peer, &front);
            self.common.reply = Some((peer, header, Reply::HelloVerifyRequest(cookie)));
        }
        count(&mut self.common.counters.cookies);
        None
    }

    /// A ClientHello that was admitted piece by piece; in one piece it is looked at again when it
    /// was joined from fragments whose front had no cookie.
    pub(super) fn client_hello(
        &mut self,
        peer: Peer,
        header: DtlsHeader,
        message_seq: u16,
        body: &[u8],
    ) {
        let Ok(hello) = ClientHello::read_dtls(body) else {
            return count(&mut self.common.counters.malformed);
        };
        if self.config.cookie == Cookie::Required {
            let proven = Front::read(body)
                .is_some_and(|front| self.common.baker.is_ours(self.common.now, peer, &front));
            if !proven {
                return count(&mut self.common.counters.cookies);
            }
        }
        if self.is_known(peer, &hello) {
            return;
        }
        match self.choose(&hello) {
            Ok((choice, resumed)) => match self.handshake_slot(peer) {
                Some(slot) => self.begin(slot, (peer, header), message_seq, body, &choice, resumed),
                None => count(&mut self.common.counters.crowded),
            },
            Err(alert) => {
                count(&mut self.common.counters.refused);
                self.common.reply = Some((peer, header, Reply::Alert(alert)));
            }
        }
    }

    /// What to answer, and the session to resume; or a fatal alert.
    fn choose(&self, hello: &ClientHello<'_>) -> Result<(Choice, Option<usize>), u8> {
        let mut choice = Choice::of(hello, self.config.suites)?;
        let (now, lifetime) = (self.common.now, self.config.resumption_lifetime);
        let known = |entry: &Resumable| entry.is(hello.session_id, now, lifetime);
        let Some(index) = self.resumable.iter().position(known) else {
            return Ok((choice, None));
        };
        // RFC 7627 §5.3: what was agreed on may not be lost on the way
        if !choice.extended {
            return Err(HANDSHAKE_FAILURE);
        }
        let stored = self.resumable.get(index).and_then(|entry| entry.cipher);
        match stored {
            Some((suite, _)) if hello.suites().any(|offered| offered == suite as u16) => {
                choice.suite = suite;
                Ok((choice, Some(index)))
            }
            Some(_) | None => Ok((choice, None)),
        }
    }

    /// Whether a ClientHello is a copy of one that was answered; a handshake on its way answers
    /// again.
    fn is_known(&mut self, peer: Peer, hello: &ClientHello<'_>) -> bool {
        let now = self.common.now;
        if let Some(index) = self.handshake_of(peer)
            && let Some(handshake) = self.handshakes.get_mut(index)
            && handshake.randoms.client == *hello.random
        {
            handshake.answer(now);
            return true;
        }
        let front = hello.random.first_chunk();
        let session = self.sessions.iter().find(|session| session.is_peer(peer));
        session.is_some_and(|session| front == Some(&session.hello))
    }

    /// A slot for a handshake: the peer's own or any, if nothing is lost by it.
    fn handshake_slot(&self, peer: Peer) -> Option<usize> {
        let now = self.common.now;
        let full = self.sessions.iter().all(|session| session.stage != session::Stage::Free);
        if full && self.config.evict == Evict::Never && self.session_of(peer).is_none() {
            return None;
        }
        let (index, handshake) = match self.handshake_of(peer) {
            Some(index) => (index, self.handshakes.get(index)?),
            None => self
                .handshakes
                .iter()
                .enumerate()
                .filter(|(_, handshake)| handshake.stage != Stage::Done)
                .min_by_key(|(_, handshake)| (handshake.stage != Stage::Free, handshake.moved))?,
        };
        handshake.is_displaceable(now, self.config.flight_timeout).then_some(index)
    }

    fn begin(
        &mut self,
        slot: usize,
        (peer, header): (Peer, DtlsHeader),
        message_seq: u16,
        hello: &[u8],
        choice: &Choice,
        resumed: Option<usize>,
    ) {
        let Some(handshake) = self.handshakes.get_mut(slot) else {
            return;
        };
        handshake.clear();
        handshake.start(peer, header.position.number, self.common.now, self.config.flight_timeout);
        if let Some(client) = hello.get(2..).and_then(|rest| rest.first_chunk()) {
            handshake.randoms.client = *client;
        }
        self.random.fill(&mut handshake.randoms.server);
        self.random.fill(&mut handshake.session_id);
        let entry = resumed.and_then(|index| self.resumable.get(index));
        let begun = if let Some(entry) = entry
            && let Some((_, origin)) = entry.cipher
        {
            handshake.session_id = entry.id;
            let begun = handshake.begin(choice, message_seq, hello, true);
            handshake.resume(origin, &entry.master.0, entry.identity());
            begun
        } else {
            let named = !self.resumable.is_empty() && choice.extended;
            let begun = handshake.begin(choice, message_seq, hello, named);
            begun.and_then(|()| handshake.hello_done())
        };
        if begun.is_none() {
            handshake.clear();
        }
    }

    /// Whether a ClientKeyExchange, or a piece of it, is awaited. One that comes again after the
    /// handshake asks for the final flight.
    pub(super) fn expects_key_exchange(
        &mut self,
        peer: Peer,
        fragment: &Fragment<'_>,
    ) -> Option<bool> {
        let message_seq = fragment.header.message_seq;
        if let Some(index) = self.handshake_of(peer)
            && let Some(handshake) = self.handshakes.get(index)
            && matches!(handshake.stage, Stage::KeyExchange | Stage::Finished)
            && message_seq == handshake.message_seq + 1
        {
            return Some(true);
        }
        let session = self.sessions.iter_mut().find(|session| session.is_peer(peer));
        match session {
            Some(session) if session.answer.message_seq == message_seq + 1 => session.answer(),
            Some(_) | None => count(&mut self.common.counters.unexpected),
        }
        None
    }

    /// A ClientKeyExchange (RFC 4279 §2): length and identity.
    pub(super) fn client_key_exchange(&mut self, peer: Peer, body: &[u8]) {
        let identity = body.split_first_chunk().and_then(|(length, identity)| {
            let length = usize::from(u16::from_be_bytes(*length));
            (identity.len() == length && length <= IDENTITY_MAX).then_some(identity)
        });
        let (Some(identity), Some(index)) = (identity, self.handshake_of(peer)) else {
            return count(&mut self.common.counters.malformed);
        };
        let Some(handshake) = self.handshakes.get_mut(index) else {
            return;
        };
        if handshake.stage == Stage::Finished && handshake.identity() == identity {
            return;
        }
        // An unknown identity must fail as a wrong key does: the handshake goes on with a key that
        // nobody has.
        let mut nobodys = Zeroizing::new([0; 16]);
        self.random.fill(nobodys.as_mut_slice());
        let psk = self.keys.psk(identity).or_else(|| Psk::new(nobodys.as_slice()));
        if let Some(psk) = psk {
            handshake.key_exchange(self.common.now, identity, psk);
        }
    }
}
