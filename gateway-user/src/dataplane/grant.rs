//! What an entry of the allow-list or a lease grants, as processes tell each other.
use gateway_common::decide::rate::Limits;
use ipnet::IpNet;
use serde::{Deserialize, Serialize};

/// What the allow-list grants a source or a prefix of sources.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub struct Grant {
    /// Who.
    pub source: IpNet,
    /// Nodes that may be reached; none means all.
    pub nodes: Vec<IpNet>,
    /// Ports that may be reached; none means all service ports.
    pub ports: Vec<u16>,
    /// Budget of each source.
    #[serde(with = "limits")]
    pub limits: Limits,
    /// Until when, on the kernel's monotonic clock in ns; `NEVER` for good.
    pub expires_ns: u64,
}

/// Limits between two processes: interval and burst in ns, of packets, then of bytes.
mod limits {
    use super::Limits;
    use gateway_common::decide::rate::Rate;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<S: Serializer>(limits: &Limits, out: S) -> Result<S::Ok, S::Error> {
        let words = |rate: &Rate| [rate.interval_ns, rate.burst_ns()];
        [words(&limits.packets), words(&limits.bytes)].serialize(out)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(source: D) -> Result<Limits, D::Error> {
        let rate = |[interval_ns, burst_ns]: [u64; 2]| Rate::new(interval_ns, burst_ns);
        let [packets, bytes] = <[[u64; 2]; 2]>::deserialize(source)?;
        Ok(Limits { packets: rate(packets), bytes: rate(bytes) })
    }
}
