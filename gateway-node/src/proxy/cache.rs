//! Responses kept for later requests (RFC 7252 §5.6), as RFC 8075 §8.1 asks.

use alloc::{collections::BTreeMap, vec::Vec};

use super::{
    message::{self, Opt, option},
    settings::Endpoint,
};
use crate::Instant;

/// Max-Age of a response that has none, in seconds (RFC 7252 §5.10.5).
pub(crate) const DEFAULT_MAX_AGE: u32 = 60;

/// What an entry costs beside its bytes, in bytes: its place in the map and its vectors.
const OVERHEAD: usize = 256;

/// What a GET asked for: the node, and the options that are part of the Cache-Key.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    pub(crate) endpoint: Endpoint,
    /// Uri-Path and Uri-Query.
    pub(crate) uri: Vec<Opt>,
    pub(crate) accept: Option<u16>,
}

/// A 2.05 response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Content-Format and ETag.
    pub(crate) options: Vec<Opt>,
    pub(crate) payload: Vec<u8>,
    max_age: u32,
    stored: Instant,
    invalid: bool,
    used: u64,
}

impl Entry {
    pub(crate) fn new(response: &[Opt], payload: &[u8], now: Instant) -> Self {
        let kept = |(number, _): &&Opt| matches!(*number, option::ETAG | option::CONTENT_FORMAT);
        Self {
            options: response.iter().filter(kept).cloned().collect(),
            payload: payload.to_vec(),
            max_age: max_age(response),
            stored: now,
            invalid: false,
            used: 0,
        }
    }

    pub(crate) fn etag(&self) -> Option<&[u8]> {
        message::first(&self.options, option::ETAG)
    }

    /// Seconds for which it is or was fresh, from when it was stored.
    pub(crate) fn max_age(&self) -> u32 {
        self.max_age
    }

    /// Seconds since it was stored or found to be still valid.
    pub(crate) fn age(&self, now: Instant) -> u64 {
        now.since(self.stored) / 1000
    }

    pub(crate) fn is_fresh(&self, now: Instant) -> bool {
        !self.invalid && self.age(now) < u64::from(self.max_age)
    }

    /// A 2.03 with these options confirmed it.
    pub(crate) fn revalidate(&mut self, response: &[Opt], now: Instant) {
        self.max_age = max_age(response);
        self.stored = now;
        self.invalid = false;
    }

    fn cost(&self, key: &Key) -> usize {
        let bytes =
            |options: &[Opt]| options.iter().map(|(_, value)| value.len() + 32).sum::<usize>();
        OVERHEAD + self.payload.len() + bytes(&self.options) + bytes(&key.uri)
    }
}

/// Seconds for which a response with these options is fresh.
pub(crate) fn max_age(options: &[Opt]) -> u32 {
    message::uint(options, option::MAX_AGE).unwrap_or(DEFAULT_MAX_AGE)
}

/// Bounded in bytes; what was not used for the longest goes first.
#[derive(Debug)]
pub(crate) struct Cache {
    entries: BTreeMap<Key, Entry>,
    bytes: usize,
    limit: usize,
    clock: u64,
}

impl Cache {
    pub(crate) fn new(limit: usize) -> Self {
        Self { entries: BTreeMap::new(), bytes: 0, limit, clock: 0 }
    }

    pub(crate) fn find(&mut self, key: &Key) -> Option<&Entry> {
        self.clock += 1;
        let entry = self.entries.get_mut(key)?;
        entry.used = self.clock;
        Some(entry)
    }

    /// Keeps `entry` if it fits and can ever be used again.
    pub(crate) fn store(&mut self, key: Key, mut entry: Entry) {
        self.remove(&key);
        let cost = entry.cost(&key);
        if cost > self.limit || entry.max_age == 0 && entry.etag().is_none() {
            return;
        }
        while self.bytes + cost > self.limit {
            let oldest = self.entries.iter().min_by_key(|(_, entry)| entry.used);
            let Some(oldest) = oldest.map(|(key, _)| key.clone()) else { return };
            self.remove(&oldest);
        }
        self.clock += 1;
        entry.used = self.clock;
        self.bytes += cost;
        self.entries.insert(key, entry);
    }

    /// Marks what is stored for a path, with any query, as not fresh (RFC 7252 §5.9.1).
    pub(crate) fn invalidate(&mut self, endpoint: Endpoint, uri: &[Opt]) {
        for (key, entry) in &mut self.entries {
            let same =
                message::all(&key.uri, option::URI_PATH).eq(message::all(uri, option::URI_PATH));
            entry.invalid |= key.endpoint == endpoint && same;
        }
    }

    pub(crate) fn remove(&mut self, key: &Key) {
        if let Some(entry) = self.entries.remove(key) {
            self.bytes = self.bytes.saturating_sub(entry.cost(key));
        }
    }

    /// Bytes in use.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;

    fn key(path: &str, accept: Option<u16>) -> Key {
        let address = "[2001:db8::1]:5683".parse().expect("an address");
        Key {
            endpoint: Endpoint { secure: false, address },
            uri: vec![(option::URI_PATH, path.as_bytes().to_vec())],
            accept,
        }
    }

    fn entry(bytes: usize, max_age: u8) -> Entry {
        let options = [(option::ETAG, vec![1]), (option::MAX_AGE, vec![max_age])];
        Entry::new(&options, &vec![0; bytes], Instant(0))
    }

    #[test]
    fn a_response_is_fresh_for_its_max_age() {
        let entry = entry(1, 5);
        assert!(entry.is_fresh(Instant(4_999)));
        assert!(!entry.is_fresh(Instant(5_000)));
        assert_eq!(entry.age(Instant(4_999)), 4);
        assert_eq!(Entry::new(&[], b"", Instant(0)).max_age(), 60);
    }

    #[test]
    fn a_valid_response_is_fresh_again() {
        let mut entry = entry(1, 5);
        entry.revalidate(&[(option::MAX_AGE, vec![10])], Instant(60_000));
        assert!(entry.is_fresh(Instant(69_999)));
        assert!(!entry.is_fresh(Instant(70_000)));
    }

    #[test]
    fn formats_are_kept_apart_and_forgotten_together() {
        let mut cache = Cache::new(10_000);
        cache.store(key("a", None), entry(1, 60));
        cache.store(key("a", Some(50)), entry(2, 60));
        cache.store(key("b", None), entry(3, 60));
        assert_eq!(cache.find(&key("a", Some(50))).map(|e| e.payload.len()), Some(2));
        assert_eq!(cache.find(&key("a", Some(60))), None);
        cache.invalidate(key("a", None).endpoint, &key("a", None).uri);
        let fresh = |cache: &mut Cache, key| cache.find(&key).expect("kept").is_fresh(Instant(1));
        assert!(!fresh(&mut cache, key("a", None)));
        assert!(!fresh(&mut cache, key("a", Some(50))));
        assert!(fresh(&mut cache, key("b", None)));
    }

    #[test]
    fn the_least_used_makes_room() {
        let mut cache = Cache::new(3 * (OVERHEAD + 200));
        for path in ["a", "b", "c"] {
            cache.store(key(path, None), entry(100, 60));
        }
        assert!(cache.find(&key("a", None)).is_some());
        cache.store(key("d", None), entry(200, 60));
        assert!(cache.find(&key("a", None)).is_some());
        assert_eq!(cache.find(&key("b", None)), None);
        assert!(cache.bytes() <= 3 * (OVERHEAD + 200));
        cache.store(key("e", None), entry(100_000, 60));
        assert_eq!(cache.find(&key("e", None)), None);
    }

    #[test]
    fn bytes_are_counted_back_to_zero() {
        let mut cache = Cache::new(100_000);
        for round in 0..3 {
            cache.store(key("a", None), entry(round, 60));
        }
        cache.remove(&key("a", None));
        assert_eq!(cache.bytes(), 0);
    }
}
