//! The configuration as it is written: every key, and its default.
use serde::{Deserialize, Deserializer, Serialize, de};

macro_rules! section {
    ($(#[$doc:meta])* $name:ident {
        $($(#[$meta:meta])* $field:ident: $type:ty = $default:expr,)*
    }) => {
        $(#[$doc])*
        #[derive(Debug, Deserialize, Serialize)]
        #[serde(default, deny_unknown_fields)]
        pub(super) struct $name { $($(#[$meta])* pub(super) $field: $type,)* }

        impl Default for $name {
            fn default() -> Self {
                Self { $($field: $default,)* }
            }
        }
    };
}

section! {
    /// The whole file.
    File {
        interfaces: Interfaces = Interfaces::default(),
        lln: Lln = Lln::default(),
        agent: Agent = Agent::default(),
        auth: Auth = Auth::default(),
        cookies: Cookies = Cookies::default(),
        mapper: Mapper = Mapper::default(),
        rate: Rates = Rates::default(),
        replay: Replay = Replay::default(),
        sources: Sources = Sources::default(),
        state: State = State::default(),
        log: Log = Log::default(),
    }
}

section! {
    Interfaces {
        wan: Vec<String> = Vec::new(),
        lln: Vec<String> = Vec::new(),
        mode: String = "auto".to_owned(),
    }
}

section! {
    Lln {
        prefixes: Vec<String> = Vec::new(),
        dtls_ports: Vec<i64> = vec![5684],
        mapped_ports: Vec<i64> = Vec::new(),
        max_datagram: i64 = 1280,
    }
}

section! {
    Agent {
        ports: Vec<i64> = Vec::new(),
        rate: Quantity = "20/s".into(),
        burst: i64 = 40,
    }
}

section! {
    Cookies {
        ports: Vec<i64> = Vec::new(),
        nodes: Vec<String> = Vec::new(),
    }
}

section! {
    Auth {
        longest: String = "1h".to_owned(),
        leases: i64 = 4,
        https: AuthHttps = AuthHttps::default(),
        psk: AuthPsk = AuthPsk::default(),
        dtls: AuthDtls = AuthDtls::default(),
        tunnel: AuthTunnel = AuthTunnel::default(),
        #[serde(skip_serializing_if = "Vec::is_empty")]
        identity: Vec<AuthIdentity> = Vec::new(),
    }
}

section! {
    AuthHttps {
        listen: Vec<String> = Vec::new(),
        certificate: String = "/etc/gateway/pki/router.crt".to_owned(),
        key: String = "/etc/gateway/pki/router.key".to_owned(),
        client_ca: String = "/etc/gateway/pki/ca.crt".to_owned(),
        crl: String = "/etc/gateway/pki/ca.crl".to_owned(),
        stale_crl: String = "accept".to_owned(),
        connections: i64 = 256,
        connections_per_source: i64 = 16,
        handshakes: i64 = 64,
    }
}

section! {
    AuthPsk {
        listen: Vec<String> = Vec::new(),
        keys: String = "/etc/gateway/psk.txt".to_owned(),
        connections: i64 = 1024,
        connections_per_source: i64 = 64,
        handshakes: i64 = 256,
        handshakes_per_source: i64 = 16,
    }
}

section! {
    AuthDtls {
        listen: Vec<String> = Vec::new(),
    }
}

section! {
    AuthTunnel {
        flows: i64 = 64,
        idle: String = "5m".to_owned(),
    }
}

section! {
    /// One `[[auth.identity]]`; what is left out comes from `[auth]` and `[rate.source]`.
    AuthIdentity {
        name: String = String::new(),
        nodes: Vec<String> = Vec::new(),
        ports: Vec<i64> = Vec::new(),
        #[serde(skip_serializing_if = "Option::is_none")]
        rate: Option<Quantity> = None,
        #[serde(skip_serializing_if = "Option::is_none")]
        burst: Option<i64> = None,
        #[serde(skip_serializing_if = "Option::is_none")]
        bytes: Option<Quantity> = None,
        #[serde(skip_serializing_if = "Option::is_none")]
        byte_burst: Option<Quantity> = None,
        #[serde(skip_serializing_if = "Option::is_none")]
        longest: Option<String> = None,
        #[serde(skip_serializing_if = "Option::is_none")]
        leases: Option<i64> = None,
        tunnel: bool = false,
    }
}

section! {
    Mapper {
        enabled: bool = true,
        transparent: bool = true,
        listen: Vec<String> = vec!["::".to_owned()],
        ports: Vec<i64> = Vec::new(),
        dtls_port: i64 = 5684,
        suites: Vec<String> = vec!["TLS_PSK_WITH_AES_128_CCM_8".to_owned()],
        max_datagram: i64 = 1280,
        window: i64 = 1,
        cookies: bool = true,
        limits: MapperLimits = MapperLimits::default(),
        timers: MapperTimers = MapperTimers::default(),
        routing: MapperRouting = MapperRouting::default(),
        #[serde(skip_serializing_if = "Vec::is_empty")]
        node: Vec<MapperNode> = Vec::new(),
    }
}

section! {
    MapperLimits {
        connections: i64 = 1024,
        connections_per_source: i64 = 64,
        handshakes_per_node: i64 = 2,
        handshakes_per_source: i64 = 8,
        waiting_per_node: i64 = 16,
    }
}

section! {
    MapperTimers {
        hello: String = "10s".to_owned(),
        handshake: String = "60s".to_owned(),
        idle: String = "10m".to_owned(),
        close: String = "5s".to_owned(),
        retransmit: String = "2s".to_owned(),
        acknowledge: String = "2s".to_owned(),
        retries: i64 = 4,
    }
}

section! {
    MapperRouting {
        mark: i64 = 0x6c0_0000,
        table: i64 = 1728,
    }
}

section! {
    /// One `[[mapper.node]]`; what is left out comes from `[mapper]`.
    MapperNode {
        name: String = String::new(),
        address: String = String::new(),
        server_names: Vec<String> = Vec::new(),
        ports: Vec<i64> = Vec::new(),
        #[serde(skip_serializing_if = "Option::is_none")]
        dtls_port: Option<i64> = None,
        #[serde(skip_serializing_if = "Option::is_none")]
        suites: Option<Vec<String>> = None,
        #[serde(skip_serializing_if = "Option::is_none")]
        max_datagram: Option<i64> = None,
        #[serde(skip_serializing_if = "Option::is_none")]
        window: Option<i64> = None,
        #[serde(skip_serializing_if = "Option::is_none")]
        cookies: Option<bool> = None,
    }
}

section! {
    Rates {
        source: Limits = Limits::new("50/s", 100, "16KiB/s", "32KiB"),
        node: Limits = Limits::new("20/s", 40, "8KiB/s", "16KiB"),
        lln: Limits = Limits::new("100/s", 200, "12500B/s", "32KiB"),
        unproven: Unproven = Unproven::default(),
    }
}

/// Limits on packets and bytes. Its defaults differ from table to table, so keys are optional.
#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Limits {
    pub(super) packets: Option<Quantity>,
    pub(super) packet_burst: Option<i64>,
    pub(super) bytes: Option<Quantity>,
    pub(super) byte_burst: Option<Quantity>,
}

section! {
    Unproven {
        packets: Quantity = "4/s".into(),
        packet_burst: i64 = 16,
    }
}

section! {
    Replay {
        mode: String = "pair".to_owned(),
        pages: i64 = 4096,
        associations: i64 = 65_536,
    }
}

section! {
    Sources {
        capacity: i64 = 65_536,
    }
}

section! {
    State {
        bpffs: String = "/sys/fs/bpf/gateway".to_owned(),
        directory: String = "/var/lib/gateway".to_owned(),
        allow: String = "/etc/gateway/allow.toml".to_owned(),
        runtime: String = "/run/gateway".to_owned(),
    }
}

section! {
    Log {
        kernel: bool = false,
        level: String = "info".to_owned(),
        format: String = "text".to_owned(),
    }
}

impl File {
    /// A file in which every key is written, those without a default too.
    pub(super) fn complete() -> Self {
        let node = MapperNode {
            dtls_port: Some(0),
            suites: Some(Vec::new()),
            max_datagram: Some(0),
            window: Some(0),
            cookies: Some(false),
            ..MapperNode::default()
        };
        let identity = AuthIdentity {
            rate: Some("1/s".into()),
            burst: Some(0),
            bytes: Some("1B/s".into()),
            byte_burst: Some("1B".into()),
            longest: Some(String::new()),
            leases: Some(0),
            ..AuthIdentity::default()
        };
        Self {
            auth: Auth { identity: vec![identity], ..Auth::default() },
            mapper: Mapper { node: vec![node], ..Mapper::default() },
            ..Self::default()
        }
    }
}

impl Limits {
    fn new(packets: &str, packet_burst: i64, bytes: &str, byte_burst: &str) -> Self {
        Self {
            packets: Some(packets.into()),
            packet_burst: Some(packet_burst),
            bytes: Some(bytes.into()),
            byte_burst: Some(byte_burst.into()),
        }
    }

    /// Fills what is not written from the defaults of the table.
    pub(super) fn or(&self, default: &Self) -> Self {
        let quantity = |own: &Option<Quantity>, other: &Option<Quantity>| {
            own.as_ref().or(other.as_ref()).cloned()
        };
        Self {
            packets: quantity(&self.packets, &default.packets),
            packet_burst: self.packet_burst.or(default.packet_burst),
            bytes: quantity(&self.bytes, &default.bytes),
            byte_burst: quantity(&self.byte_burst, &default.byte_burst),
        }
    }
}

/// A number with or without a unit.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Quantity(pub(super) String);

impl From<&str> for Quantity {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl<'de> Deserialize<'de> for Quantity {
    fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        source.deserialize_any(QuantityVisitor)
    }
}

struct QuantityVisitor;

impl de::Visitor<'_> for QuantityVisitor {
    type Value = Quantity;

    fn expecting(&self, out: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        out.write_str("a quantity such as \"50/s\", \"16KiB/s\" or \"32KiB\"")
    }

    fn visit_str<E>(self, text: &str) -> Result<Quantity, E> {
        Ok(Quantity(text.to_owned()))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Quantity, E> {
        Ok(Quantity(number.to_string()))
    }
}
