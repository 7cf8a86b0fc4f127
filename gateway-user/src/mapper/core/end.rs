//! How a connection ends.
use std::collections::VecDeque;

use bytes::Bytes;

use super::{Connection, Reason, chance::after, connection::End, sender::Sender};

impl Connection {
    /// The back-end has closed the stream, the node has not closed the session.
    pub(super) fn closing(&mut self) {
        if self.close.node {
            self.end = End::Finishing(Reason::Closed);
        } else if !self.close.backend || self.sender.is_empty() {
            let linger = after(self.now, self.policy.linger);
            self.linger.get_or_insert(linger);
        }
    }

    /// Ends it: with an alert while the back-end can read one, and by a reset afterwards. FIN would
    /// let a back-end that does not look take what it has for all (`protocol.md` A8).
    pub(super) fn fail(&mut self, reason: Reason) {
        match self.end {
            End::Open => {}
            End::Draining(_) => self.end = End::Over(Reason::Closed),
            End::Failing(_) | End::Finishing(_) | End::Over(_) => {}
        }
        if self.end != End::Open {
            return;
        }
        match reason.alert().filter(|_| !self.receiver.is_open()) {
            Some(alert) => {
                self.abandon();
                self.tls.push_back(Bytes::copy_from_slice(&alert));
                self.end = End::Finishing(reason);
            }
            None => self.reset(reason),
        }
    }

    pub(super) fn reset(&mut self, reason: Reason) {
        self.abandon();
        self.tls = VecDeque::new();
        self.end = End::Failing(reason);
    }

    fn abandon(&mut self) {
        self.handshake = None;
        self.sender = Sender::new();
        self.receiver.forget();
        self.report.told();
        self.gap = None;
    }
}
