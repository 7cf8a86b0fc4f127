//! What of the two hellos decides whether a handshake can succeed.
use gateway_common::mapping::{
    hello::{ClientHello, ServerHello},
    record::{DTLS12, TLS12},
};

use super::{Policy, Reason};

/// RFC 5077 §3.2.
const SESSION_TICKET: u16 = 35;

/// What of a ClientHello is needed later.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Offer {
    session_id: Vec<u8>,
    ticket: bool,
}

impl Offer {
    /// Refuses a ClientHello that no node with this `policy` can agree to, before the node is asked.
    pub(super) fn read(body: &[u8], policy: &Policy) -> Result<Self, Reason> {
        let hello = client_hello(body)?;
        if !hello.suites().any(|suite| speaks(policy, suite)) {
            return Err(Reason::NoCommonSuite);
        }
        let ticket = hello.extensions().find(SESSION_TICKET);
        Ok(Self {
            session_id: hello.session_id.to_vec(),
            ticket: ticket.is_some_and(|ticket| !ticket.is_empty()),
        })
    }
}

/// A ClientHello that offers TLS 1.2.
pub(super) fn client_hello(body: &[u8]) -> Result<ClientHello<'_>, Reason> {
    let hello = ClientHello::read_tls(body).map_err(|_| Reason::Malformed)?;
    if hello.version != TLS12 || !hello.offers_tls12() {
        return Err(Reason::Version);
    }
    Ok(hello)
}

/// What the node has chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Choice {
    pub(super) suite: u16,
    /// A NewSessionTicket will come before its ChangeCipherSpec (RFC 5077 §3.3).
    pub(super) ticket: bool,
    /// It may go on with an earlier session: then it finishes first (RFC 5246 §7.3, RFC 5077 §3.4).
    pub(super) resumes: bool,
}

impl Choice {
    pub(super) fn read(body: &[u8], offer: &Offer, policy: &Policy) -> Result<Self, Reason> {
        let hello = ServerHello::read(body).map_err(|_| Reason::NodeMalformed)?;
        if hello.version != DTLS12 {
            return Err(Reason::NodeVersion);
        }
        if !speaks(policy, hello.suite) {
            return Err(Reason::NodeSuite);
        }
        let same = !hello.session_id.is_empty() && hello.session_id == offer.session_id;
        Ok(Self {
            suite: hello.suite,
            ticket: hello.extensions().find(SESSION_TICKET).is_some(),
            resumes: same || offer.ticket,
        })
    }
}

fn speaks(policy: &Policy, suite: u16) -> bool {
    policy.suites.contains(&suite) && !binds_version(suite)
}

/// Suites with RSA or RSA_PSK key exchange: the client's version is inside the encrypted premaster
/// secret, out of the gateway's reach ([RFC 5246 §7.4.7.1], RFC 4279 §4).
///
/// [RFC 5246 §7.4.7.1]: https://www.rfc-editor.org/rfc/rfc5246#section-7.4.7.1
pub(super) const fn binds_version(suite: u16) -> bool {
    matches!(
        suite,
        // RSA, by the RFC that defines them: 5246 and before, 4132, 5932, 4162, 5288, 6655
        0x0001..=0x000a | 0x002f | 0x0035 | 0x003b..=0x003d | 0x0060..=0x0062 | 0x0064
            | 0x0041 | 0x0084 | 0x00ba | 0x00c0 | 0x0096 | 0x009c | 0x009d
            | 0xc09c | 0xc09d | 0xc0a0 | 0xc0a1
            // 6209 (ARIA), 6367 (Camellia GCM)
            | 0xc03c | 0xc03d | 0xc050 | 0xc051 | 0xc07a | 0xc07b
            // RSA_PSK: 4785, 4279, 5487, 6209, 6367, 7905
            | 0x002e | 0x0092..=0x0095 | 0x00ac | 0x00ad | 0x00b6..=0x00b9
            | 0xc068 | 0xc069 | 0xc06e | 0xc06f | 0xc092 | 0xc093 | 0xc098 | 0xc099 | 0xccae
    )
}
