//! How many connections there are, in all and from one source.
use core::net::{IpAddr, Ipv6Addr};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

/// Counts connections that are open.
#[derive(Clone, Debug, Default)]
pub(super) struct Limit {
    open: Arc<Mutex<HashMap<IpAddr, u32>>>,
}

/// One connection; it counts until this is dropped.
#[derive(Debug)]
pub(super) struct Ticket {
    limit: Limit,
    source: IpAddr,
}

impl Limit {
    /// A ticket, unless there are `most` already, or `each` of the same source.
    pub(super) fn admit(&self, source: IpAddr, most: u32, each: u32) -> Option<Ticket> {
        let source = block(source);
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let all: u32 = open.values().sum();
        let own = open.get(&source).copied().unwrap_or(0);
        if all >= most || own >= each {
            return None;
        }
        open.insert(source, own + 1);
        Some(Ticket { limit: self.clone(), source })
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut open = self.limit.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = open.get_mut(&self.source) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.source);
            }
        }
    }
}

/// What one host can have addresses from: an IPv6 /64, or an IPv4 address.
fn block(source: IpAddr) -> IpAddr {
    match source.to_canonical() {
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64).into(),
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_count_until_they_end() {
        let limit = Limit::default();
        let from = |text: &str| limit.admit(text.parse().unwrap(), 3, 2);
        let (one, two) = (from("2001:db8::1").unwrap(), from("2001:db8::2").unwrap());
        assert!(from("2001:db8::3").is_none(), "the same /64");
        let _four = from("::ffff:192.0.2.1").unwrap();
        assert!(from("192.0.2.2").is_none(), "as many as there may be");
        drop(one);
        assert!(from("192.0.2.1").is_some());
        drop(two);
        assert_eq!(limit.open.lock().unwrap().len(), 1);
    }
}
