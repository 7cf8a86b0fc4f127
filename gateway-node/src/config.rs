//! What can be set, with the defaults and why.

/// A cipher suite of the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub enum Suite {
    /// TLS_PSK_WITH_AES_128_CCM_8 (RFC 6655): 16 bytes a record.
    Ccm8 = 0xc0a8,
    /// TLS_PSK_WITH_AES_128_CCM (RFC 6655): 24 bytes a record.
    Ccm = 0xc0a4,
    /// TLS_PSK_WITH_AES_128_GCM_SHA256 (RFC 5487): 24 bytes a record.
    #[cfg(feature = "gcm")]
    Gcm = 0x00a8,
}

impl Suite {
    /// All suites, the one with the shortest records first.
    pub const ALL: &'static [Self] = &[
        Self::Ccm8,
        Self::Ccm,
        #[cfg(feature = "gcm")]
        Self::Gcm,
    ];
}

/// Whether a native client must prove its address first (RFC 6347 §4.2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cookie {
    /// The server asks with a HelloVerifyRequest and keeps nothing until the cookie returns.
    Required,
    /// The border asks: any cookie that a second ClientHello brings is taken, and a ClientHello
    /// without one is that of a mapped TLS client, whose address TCP has proved.
    Foreign,
    /// Nobody asks; cookies are not looked at.
    Off,
}

/// What happens when a handshake ends and the table of sessions is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Evict {
    /// The session that was idle the longest ends.
    Idlest,
    /// The new one is refused, at its ClientHello.
    Never,
}

/// Bytes that the longest message takes which cannot be cut: ChangeCipherSpec with Finished.
pub const DATAGRAM_MIN: usize = 80;

/// Settings of a server. Times are milliseconds.
#[derive(Clone, Debug)]
pub struct Config {
    /// Suites that may be chosen, the preferred one first. Default: [`Suite::ALL`].
    pub suites: &'static [Suite],
    /// Default: [`Cookie::Required`].
    pub cookie: Cookie,
    /// Default: [`Evict::Idlest`].
    pub evict: Evict,
    /// Most bytes in a datagram that is sent; below [`DATAGRAM_MIN`] counts as that. Default: 1,232,
    /// an IPv6 packet of 1,280.
    pub max_datagram: usize,
    /// First timeout of a flight; doubles. Default: 9,000 (RFC 7925 §11), as a frame takes its time
    /// in a mesh of sleeping nodes. A handshake that does not move for so long, 2,000 at least, can
    /// be displaced by another.
    pub flight_timeout: u32,
    /// A handshake that takes longer is forgotten. Default: 60,000.
    pub handshake_lifetime: u32,
    /// A session without an authentic record for so long ends. Default: 300,000.
    pub idle_timeout: u32,
    /// How long a session can be resumed. Default: 3,600,000; at most a day (RFC 5246 §F.1.4).
    pub resumption_lifetime: u32,
    /// First timeout of a record to a mapped client, times a random 1 to 1.5; doubles. Default:
    /// 2,000 (RFC 7252 §4.8).
    pub ack_timeout: u32,
    /// Records on the way to a mapped client, 1 to 4. Default: 1 (NSTART of RFC 7252 §4.7).
    pub ack_window: u8,
}

impl Config {
    pub(crate) fn datagram(&self) -> usize {
        self.max_datagram.max(DATAGRAM_MIN)
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            suites: Suite::ALL,
            cookie: Cookie::Required,
            evict: Evict::Idlest,
            max_datagram: 1_232,
            flight_timeout: 9_000,
            handshake_lifetime: 60_000,
            idle_timeout: 300_000,
            resumption_lifetime: 3_600_000,
            ack_timeout: 2_000,
            ack_window: 1,
        }
    }
}
