//! Finished: the first authentic record says whether the client speaks DTLS or TLS (E2E §V-B,
//! Fig. 3).

use gateway_common::{
    mapping::{
        handshake::{Header, kind},
        record::DtlsHeader,
    },
    wire::dtls::content,
};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use zeroize::Zeroize;

use crate::{
    Instant, Origin,
    record::Protection,
    transcript::{Form, extend},
    writer::Writer,
};

use super::{
    Handshake, Stage,
    flight::finish,
    key::{CLIENT_FINISHED, Keys, MASTER, Master, SERVER_FINISHED, VERIFY_DATA},
};

/// Failed trials before they are limited to one a second.
const TRIALS: u8 = 4;
/// Milliseconds between trials after that.
const TRIAL_INTERVAL: u64 = 1_000;

/// Longest fragment with a Finished: nonce, DTLS form, tag.
const FRAGMENT: usize = 8 + 24 + 16;

/// What is derived for one form; dropping it wipes it.
#[derive(Default)]
pub(crate) struct Secrets {
    origin: Option<Origin>,
    pub(crate) master: Master,
    pub(crate) keys: Keys,
    /// verify_data of the client.
    expected: [u8; VERIFY_DATA],
    /// verify_data of the server.
    pub(crate) finished: [u8; VERIFY_DATA],
}

impl Drop for Secrets {
    fn drop(&mut self) {
        self.expected.zeroize();
        self.finished.zeroize();
    }
}

/// What a protected record is to a handshake.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trial {
    /// It cannot be a Finished.
    Unfit,
    /// Too many have failed of late.
    Limited,
    /// It is no authentic Finished in either form.
    Failed,
    /// It is the client's Finished, in this form.
    Verified(Origin),
}

impl Handshake {
    /// Tries a record as the client's Finished.
    ///
    /// The form is known before any key is used: 16 bytes of plaintext are TLS's, 24 are DTLS's,
    /// and an AEAD adds as many to each. Deviation: E2E Fig. 3 tries DTLS first and TLS second; here
    /// the other form could not verify, as its length is wrong, so it is not tried, and keys are
    /// derived for one form alone. What decides is still the record's tag and verify_data.
    pub(crate) fn try_finished(
        &mut self,
        now: Instant,
        header: DtlsHeader,
        fragment: &[u8],
    ) -> Trial {
        let Some(origin) = self.form(header, fragment.len()) else {
            return Trial::Unfit;
        };
        if self.trials >= TRIALS && now.since(self.tried) < TRIAL_INTERVAL {
            return Trial::Limited;
        }
        if self.stage == Stage::Finished {
            self.derive(origin);
        }
        if self.verify(origin, header, fragment).is_some() {
            if self.stage == Stage::Finished {
                self.prove(origin);
            }
            return Trial::Verified(origin);
        }
        self.trials = self.trials.saturating_add(1);
        self.tried = now;
        Trial::Failed
    }

    /// The only form that a record can be a Finished in.
    fn form(&self, header: DtlsHeader, length: usize) -> Option<Origin> {
        let origin = match length.checked_sub(self.suite.overhead())? {
            16 => Origin::Tls,
            24 => Origin::Dtls,
            _ => return None,
        };
        let expected = match self.stage {
            Stage::Finished => true,
            Stage::Resumed(stored) => stored == origin,
            Stage::Free | Stage::KeyExchange | Stage::Done => false,
        };
        // a TLS client has no other number for it
        let numbered = origin == Origin::Dtls || header.position.number == 0;
        (expected && numbered && header.content == content::HANDSHAKE).then_some(origin)
    }

    /// Opens a copy: a failure must leave the record to whoever else may open it.
    fn verify(&self, origin: Origin, header: DtlsHeader, fragment: &[u8]) -> Option<()> {
        let mut copy = [0; FRAGMENT];
        let copy = copy.get_mut(..fragment.len())?;
        copy.copy_from_slice(fragment);
        let protection = Protection { suite: self.suite, origin, key: &self.secrets.keys.client };
        let plaintext = protection.open(header, copy)?;
        let form = Form::of(origin, self.client_finished());
        let (head, verify_data) = copy.get(plaintext)?.split_at_checked(form.as_bytes().len())?;
        let right = verify_data.ct_eq(&self.secrets.expected);
        (head == form.as_bytes() && right.into()).then_some(())
    }

    /// Derives master secret and keys in this form, unless they are there.
    fn derive(&mut self, origin: Origin) {
        if self.secrets.origin == Some(origin) {
            return;
        }
        let Some(psk) = &self.psk else {
            return;
        };
        let hash: [u8; 32] = self.key_exchanged(origin).finalize().into();
        let session_hash = self.extended.then_some(&hash);
        let master = Master::derive(psk, &self.randoms, session_hash);
        self.secrets = Secrets {
            origin: Some(origin),
            keys: master.keys(&self.randoms),
            expected: master.verify_data(CLIENT_FINISHED, &hash),
            finished: [0; VERIFY_DATA],
            master,
        };
    }

    /// The transcript up to ClientKeyExchange.
    fn key_exchanged(&self, origin: Origin) -> Sha256 {
        let mut hash = self.transcript.of(origin);
        let length = u16::from(self.identity_length);
        let header =
            Header::whole(kind::CLIENT_KEY_EXCHANGE, u32::from(length) + 2, self.message_seq + 1);
        extend(&mut hash, origin, header, [&length.to_be_bytes(), self.identity()]);
        hash
    }

    /// Computes the server's verify_data, over the client's Finished too.
    fn prove(&mut self, origin: Origin) {
        let mut hash = self.key_exchanged(origin);
        extend(&mut hash, origin, self.client_finished(), [&self.secrets.expected, &[]]);
        let hash = hash.finalize().into();
        self.secrets.finished = self.secrets.master.verify_data(SERVER_FINISHED, &hash);
    }

    /// Resumes in the form in which the session began: the server's Finished goes first, before
    /// anything could tell the form.
    pub(crate) fn resume(&mut self, origin: Origin, master: &[u8; MASTER], identity: &[u8]) {
        self.set_identity(identity);
        let master = Master(*master);
        self.stage = Stage::Resumed(origin);
        self.finish_due = true;
        let mut hash = self.transcript.of(origin);
        let finished = master.verify_data(SERVER_FINISHED, &hash.clone().finalize().into());
        extend(&mut hash, origin, self.server_finished(), [&finished, &[]]);
        let expected = master.verify_data(CLIENT_FINISHED, &hash.finalize().into());
        let keys = master.keys(&self.randoms);
        self.secrets = Secrets { origin: Some(origin), master, keys, expected, finished };
    }

    /// Writes what is due of the flight; whether there was anything.
    pub(crate) fn write(&mut self, out: &mut Writer<'_>) -> bool {
        self.flight.write(&mut self.number, out);
        if self.finish_due
            && !self.flight.is_due()
            && let Stage::Resumed(origin) = self.stage
        {
            let key = &self.secrets.keys.server;
            let protection = Protection { suite: self.suite, origin, key };
            let header = self.server_finished();
            let done = finish(protection, header, &self.secrets.finished, &mut self.number, out);
            self.finish_due = !done;
        }
        out.len() > 0
    }

    /// Whether something is to be sent.
    pub(crate) fn is_due(&self) -> bool {
        self.stage != Stage::Free
            && self.stage != Stage::Done
            && (self.flight.is_due() || self.finish_due)
    }

    fn client_finished(&self) -> Header {
        let after = if matches!(self.stage, Stage::Resumed(_)) { 1 } else { 2 };
        Header::whole(kind::FINISHED, VERIFY_DATA as u32, self.message_seq + after)
    }

    /// Header of the server's Finished: it comes after as many messages as the client's.
    pub(crate) fn server_finished(&self) -> Header {
        self.client_finished()
    }
}
