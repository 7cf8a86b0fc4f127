//! Header fields with a meaning for caches: entity tags and Cache-Control (RFC 9110 §13.1, RFC 9111
//! §5.2.1).

use alloc::{format, string::String, vec::Vec};

/// Entity tags in one field; more are not looked at.
const TAGS: usize = 8;

/// What If-Match or If-None-Match asks for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Conditions {
    /// `*`: any representation.
    pub(crate) any: bool,
    /// ETags of CoAP, 1 to 8 bytes each.
    pub(crate) tags: Vec<Vec<u8>>,
}

impl Conditions {
    /// Of If-Match: a weak tag never matches strongly, and a tag that no node can have made matches
    /// nothing.
    pub(crate) fn strong(field: &str) -> Self {
        Self::read(field, false)
    }

    /// Of If-None-Match, which compares weakly.
    pub(crate) fn weak(field: &str) -> Self {
        Self::read(field, true)
    }

    fn read(field: &str, weak: bool) -> Self {
        let mut conditions = Self::default();
        for tag in field.split(',').map(str::trim) {
            let opaque = tag.strip_prefix("W/").filter(|_| weak).unwrap_or(tag);
            conditions.any |= tag == "*";
            if conditions.tags.len() < TAGS {
                conditions.tags.extend(etag_of(opaque));
            }
        }
        conditions
    }
}

/// A CoAP ETag as an entity tag: its bytes in hexadecimal.
pub(crate) fn entity_tag(etag: &[u8]) -> String {
    let digits: String = etag.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("\"{digits}\"")
}

/// The CoAP ETag that [`entity_tag`] made this of.
fn etag_of(tag: &str) -> Option<Vec<u8>> {
    let digits = tag.strip_prefix('"')?.strip_suffix('"')?;
    if digits.len() % 2 != 0 || !(2..=16).contains(&digits.len()) {
        return None;
    }
    let (pairs, _) = digits.as_bytes().as_chunks::<2>();
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|d| u8::try_from(d).ok());
    pairs.iter().map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?)).collect()
}

/// Cache-Control of a request.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Directives {
    /// `no-cache` or the older Pragma: ask the node whether what is stored is still valid.
    pub(crate) no_cache: bool,
    pub(crate) no_store: bool,
    pub(crate) only_if_cached: bool,
    /// Oldest acceptable age in seconds.
    pub(crate) max_age: Option<u64>,
    /// Seconds for which it must stay fresh.
    pub(crate) min_fresh: u64,
}

impl Directives {
    pub(crate) fn read(field: &str) -> Self {
        let mut directives = Self::default();
        for directive in field.split(',') {
            let (name, value) = directive.split_once('=').unwrap_or((directive, ""));
            let seconds = value.trim().trim_matches('"').parse().ok();
            match &*name.trim().to_ascii_lowercase() {
                "no-cache" => directives.no_cache = true,
                "no-store" => directives.no_store = true,
                "only-if-cached" => directives.only_if_cached = true,
                "max-age" => directives.max_age = Some(seconds.unwrap_or(0)),
                "min-fresh" => directives.min_fresh = seconds.unwrap_or(0),
                _ => {}
            }
        }
        directives
    }

    /// Whether a stored response of that age and lifetime in seconds will do unasked.
    pub(crate) fn accepts(&self, age: u64, lifetime: u32) -> bool {
        let fresh = age.saturating_add(self.min_fresh) < u64::from(lifetime);
        fresh && !self.no_cache && self.max_age.is_none_or(|most| age <= most && most > 0)
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn entity_tags_are_hexadecimal_etags() {
        assert_eq!(entity_tag(&[0x0a, 0xff]), "\"0aff\"");
        let found = Conditions::weak("\"0aff\", W/\"01\" , \"0A\"");
        assert_eq!(found, Conditions { any: false, tags: vec![vec![10, 255], vec![1], vec![10]] });
        assert_eq!(Conditions::strong("W/\"01\", \"02\"").tags, [[2]]);
        assert!(Conditions::strong("*").any);
    }

    #[test]
    fn tags_that_no_node_made_match_nothing() {
        for tag in ["\"\"", "\"0\"", "\"xy\"", "\"001122334455667788\"", "0a", "\"", "W/\"é0\""] {
            assert!(Conditions::weak(tag).tags.is_empty(), "{tag}");
        }
        assert_eq!(Conditions::weak(&"\"0a\",".repeat(100)).tags.len(), TAGS);
    }

    #[test]
    fn cache_control_is_read_without_case() {
        let found = Directives::read("No-Cache, max-age=\"5\", min-fresh=3, x=y, no-store");
        let expected = Directives {
            no_cache: true,
            no_store: true,
            max_age: Some(5),
            min_fresh: 3,
            ..Directives::default()
        };
        assert_eq!(found, expected);
    }

    #[test]
    fn stored_responses_must_be_young_enough() {
        let accepts = |field, age| Directives::read(field).accepts(age, 60);
        assert!(accepts("", 59));
        assert!(!accepts("", 60));
        assert!(!accepts("no-cache", 0));
        assert!(!accepts("max-age=0", 0));
        assert!(accepts("max-age=10", 10));
        assert!(!accepts("max-age=10", 11));
        assert!(!accepts("min-fresh=10", 50));
    }

    proptest! {
        #[test]
        fn any_field_is_read(field in "\\PC{0,60}") {
            Conditions::strong(&field);
            Conditions::weak(&field);
            Directives::read(&field);
        }

        #[test]
        fn tags_come_back(etag in proptest::collection::vec(any::<u8>(), 1..=8)) {
            prop_assert_eq!(Conditions::strong(&entity_tag(&etag)).tags, [etag]);
        }
    }
}
