//! Random loss on the sending side of a link.

use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result};

use super::link::Device;

static COUNTER: AtomicU32 = AtomicU32::new(0);

/// Drops a share of the UDP and TCP packets that a device sends, until it is dropped itself.
///
/// Neighbour discovery and ICMP pass. Frames of `XDP_TX` and `XDP_REDIRECT` are not seen by it.
#[derive(Debug)]
pub struct Loss<'a> {
    device: Device<'a>,
    table: String,
}

impl<'a> Loss<'a> {
    /// Begins to drop `permille` of a thousand packets that leave through `device`.
    pub fn egress(device: Device<'a>, permille: u32) -> Result<Self> {
        Self::rule(device, permille, "")
    }

    /// The same, but not more than `most` packets in all.
    pub fn egress_at_most(device: Device<'a>, permille: u32, most: u32) -> Result<Self> {
        // a token bucket that is not filled again while a test runs; none has room for nothing
        let permille = if most == 0 { 0 } else { permille };
        let burst = most.max(1);
        Self::rule(device, permille, &format!("limit rate 1/day burst {burst} packets"))
    }

    fn rule(device: Device<'a>, permille: u32, limit: &str) -> Result<Self> {
        let table = format!("loss{}", COUNTER.fetch_add(1, Ordering::Relaxed));
        let rules = format!(
            "table netdev {table} {{ chain out {{ \
             type filter hook egress device \"{}\" priority 0; \
             meta l4proto {{ tcp, udp }} numgen random mod 1000 < {permille} {limit} counter drop; }}; }}",
            device.name
        );
        device.namespace.run(&["nft", &rules])?;
        Ok(Self { device, table })
    }

    /// How many packets were dropped so far.
    pub fn dropped(&self) -> Result<u64> {
        let words = ["nft", "-j", "list", "table", "netdev", &self.table];
        let listing: serde_json::Value = serde_json::from_str(&self.device.namespace.run(&words)?)?;
        find(&listing, "counter")
            .and_then(|counter| counter["packets"].as_u64())
            .context("no counter in the loss rule")
    }
}

impl Drop for Loss<'_> {
    fn drop(&mut self) {
        let _ = self.device.namespace.run(&["nft", "delete", "table", "netdev", &self.table]);
    }
}

/// First value under `key`, however deep.
fn find<'v>(value: &'v serde_json::Value, key: &str) -> Option<&'v serde_json::Value> {
    match value {
        serde_json::Value::Array(items) => items.iter().find_map(|item| find(item, key)),
        serde_json::Value::Object(fields) => {
            fields.get(key).or_else(|| fields.values().find_map(|field| find(field, key)))
        }
        _ => None,
    }
}
