//! The configuration as it is written: every key, and its default.
use serde::{Deserialize, Deserializer, Serialize, de};

macro_rules! section {
    ($(#[$doc:meta])* $name:ident { $($field:ident: $type:ty = $default:expr,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Deserialize, Serialize)]
        #[serde(default, deny_unknown_fields)]
        pub(super) struct $name { $(pub(super) $field: $type,)* }

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
    }
}

section! {
    Log {
        kernel: bool = false,
        level: String = "info".to_owned(),
        format: String = "text".to_owned(),
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
