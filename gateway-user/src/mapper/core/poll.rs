//! What is to be done next, and when.
use std::time::Instant;

use gateway_common::{
    mapping::{ack, record},
    wire::dtls::content,
};

use super::{
    Connection, Datagram, Output, Reason,
    chance::{Backoff, after},
    connection::End,
};

/// Places that an empty queue to the back-end keeps.
const SPARE: usize = 4;

impl Connection {
    /// The next thing to do, `None` for now if there is none.
    pub fn poll_output(&mut self) -> Option<Output> {
        if let End::Failing(reason) = self.end {
            self.end = End::Over(reason);
            return Some(Output::Reset(reason));
        }
        if let Some(bytes) = self.tls.pop_front() {
            if self.tls.is_empty() {
                self.tls.shrink_to(SPARE);
            }
            self.to_backend.bytes += bytes.len() as u64;
            return Some(Output::Tls(bytes));
        }
        if let Some(datagram) = self.poll_datagram() {
            self.to_node.bytes += datagram.len() as u64;
            return Some(Output::Datagram(datagram));
        }
        let End::Finishing(reason) = self.end else {
            return None;
        };
        self.end = End::Over(reason);
        if reason == Reason::Closed {
            self.end = End::Draining(after(self.now, self.policy.linger));
        }
        Some(Output::Finish)
    }

    fn poll_datagram(&mut self) -> Option<Datagram> {
        if self.node_held {
            return None;
        }
        if let Some(packet) = self.handshake.as_mut().and_then(|all| all.packets.pop_front()) {
            return Some(Datagram::framed(packet));
        }
        if self.handshake.is_some() {
            return None;
        }
        let next = self.sender.peek(&self.policy);
        let rides = next.is_some() && self.report.is_owed();
        let mut datagram = Datagram::new();
        if rides || self.report.is_due(self.now) {
            self.put_report(&mut datagram);
            let length = next.map_or(0, |length| record::DTLS_HEADER + length);
            if next.is_none() || datagram.len() + length > self.policy.datagram() {
                return Some(datagram);
            }
        }
        let (header, fragment, again) =
            self.sender.poll(&self.policy, self.now, &mut self.chance)?;
        if !again {
            self.report.asked();
        }
        self.retransmissions = self.retransmissions.saturating_add(again.into());
        self.to_node.records += u64::from(!again);
        datagram.put(&header.write());
        datagram.fragment(fragment);
        Some(datagram)
    }

    /// Whether a datagram waits, and nothing but the way to the node keeps it.
    pub fn is_held_back(&self) -> bool {
        let ready = match &self.handshake {
            Some(handshake) => !handshake.packets.is_empty(),
            None => self.sender.peek(&self.policy).is_some() || self.report.is_due(self.now),
        };
        self.node_held && ready
    }

    fn put_report(&mut self, datagram: &mut Datagram) {
        self.report.told();
        datagram.put(&self.clear.header(content::ACK, ack::LENGTH));
        datagram.put(&self.receiver.report().write());
    }

    /// A report for the node that still waits, for a connection that is about to be dropped: without
    /// it the node would go on sending.
    pub fn last_report(&mut self) -> Option<Datagram> {
        let owed = self.handshake.is_none() && self.report.is_owed();
        owed.then(|| {
            let mut datagram = Datagram::new();
            self.put_report(&mut datagram);
            datagram
        })
    }

    /// When to call [`Self::handle_timeout`], unless something else happens first.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let established = self.handshake.is_none();
        let report = self.report.due().filter(|_| established && !self.node_held);
        let sender = self.sender.timeout().filter(|_| established);
        match self.end {
            End::Open => {
                let handshake = self.handshake.as_deref();
                let flight = handshake.and_then(|all| all.timer).map(|timer| timer.due);
                let deadline = handshake.map(|handshake| handshake.deadline);
                let idle = Some(after(self.active, self.policy.idle));
                let waits = [sender, flight, deadline, idle, self.linger, self.gap];
                waits.into_iter().chain([report]).flatten().min()
            }
            End::Draining(until) => [sender, report].into_iter().flatten().chain([until]).min(),
            End::Failing(_) | End::Finishing(_) | End::Over(_) => None,
        }
    }

    /// Sends the flight for the first time and starts its timer.
    pub(super) fn transmit(&mut self) {
        if let Some(handshake) = &mut self.handshake {
            handshake.timer = Some(Backoff::start(self.now, self.policy.retransmit));
            handshake.transmit(&mut self.clear, &self.policy);
        }
    }

    /// Sends it once more.
    pub(super) fn transmit_again(&mut self) {
        if let Some(handshake) = &mut self.handshake {
            handshake.transmit(&mut self.clear, &self.policy);
            let count = u32::try_from(handshake.packets.len()).unwrap_or(u32::MAX);
            self.retransmissions = self.retransmissions.saturating_add(count);
        }
    }
}
