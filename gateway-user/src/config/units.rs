//! Quantities as people write them: `50/s`, `16KiB/s`, `32KiB`, `8h`, an instant of RFC 3339.
//!
//! The configuration, the allow-list and the command line read and write them here only.
use core::time::Duration;
use gateway_common::decide::rate::{Rate, SECOND};
use std::time::SystemTime;

/// A value that is not what its place needs.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{value}: {allowed}")]
pub struct Invalid {
    /// The value, as it was written.
    pub value: String,
    /// What would be right.
    pub allowed: String,
}

impl Invalid {
    /// Says that `value` is not what is `allowed`.
    pub fn new(value: impl ToString, allowed: impl Into<String>) -> Self {
        Self { value: value.to_string(), allowed: allowed.into() }
    }

    /// The same for a text, which is shown in quotes.
    pub fn text(value: &str, allowed: impl Into<String>) -> Self {
        Self::new(format_args!("{value:?}"), allowed)
    }
}

/// Units (packets or bytes) a second, or no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PerSecond {
    /// Any number.
    Unlimited,
    /// At most so many: never zero, never more than a thousand million.
    Limited(u64),
}

/// A rate and how many units may be spent at once, as written: it can be written back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Throttle {
    /// The rate.
    pub rate: PerSecond,
    /// Units at once.
    pub burst: u64,
}

impl Throttle {
    /// What the kernel counts with.
    pub const fn limit(self) -> Rate {
        match self.rate {
            PerSecond::Unlimited => Rate::UNLIMITED,
            PerSecond::Limited(units) => Rate::per_second(units, self.burst),
        }
    }
}

const UNLIMITED: &str = "unlimited";
/// The kernel counts in nanoseconds a unit.
const FASTEST: u64 = SECOND;
const SCALES: [(&str, u64); 6] = [
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("MB", 1_000_000),
    ("kB", 1_000),
    ("B", 1),
];

/// Reads packets a second: `50/s` or `unlimited`.
///
/// # Errors
/// Anything else, and rates of zero.
pub fn rate(text: &str) -> Result<PerSecond, Invalid> {
    let wanted = "expected packets a second such as \"50/s\", or \"unlimited\"";
    per_second(text, wanted, number)
}

/// Reads bytes a second: `16KiB/s`, `12500B/s` or `unlimited`.
///
/// # Errors
/// Anything else, and rates of zero.
pub fn byte_rate(text: &str) -> Result<PerSecond, Invalid> {
    let wanted = "expected bytes a second such as \"16KiB/s\" (B, kB, MB, KiB, MiB), or \
                  \"unlimited\"";
    per_second(text, wanted, scaled)
}

/// Reads a number of bytes: `32KiB`, `1500B` or `1500`.
///
/// # Errors
/// Anything else.
pub fn bytes(text: &str) -> Result<u64, Invalid> {
    let wanted = "expected bytes such as \"32KiB\" or 1500 (B, kB, MB, KiB, MiB)";
    scaled(text.trim()).ok_or_else(|| Invalid::text(text, wanted))
}

/// Reads a time span: `90s`, `8h`, `1day 12h`.
///
/// # Errors
/// Anything else.
pub fn duration(text: &str) -> Result<Duration, Invalid> {
    let wanted = "expected a time span such as \"90s\", \"8h\" or \"1day 12h\"";
    humantime::parse_duration(text.trim()).map_err(|_| Invalid::text(text, wanted))
}

/// Reads an instant in UTC: `2026-11-22T15:00:00Z`.
///
/// # Errors
/// Anything else.
pub fn instant(text: &str) -> Result<SystemTime, Invalid> {
    let wanted = "expected an instant in UTC such as \"2026-11-22T15:00:00Z\" (RFC 3339)";
    humantime::parse_rfc3339(text.trim()).map_err(|_| Invalid::text(text, wanted))
}

/// Writes packets a second.
pub fn show_rate(rate: PerSecond) -> String {
    match rate {
        PerSecond::Unlimited => UNLIMITED.to_owned(),
        PerSecond::Limited(packets) => format!("{packets}/s"),
    }
}

/// Writes bytes a second, in the largest unit that divides them.
pub fn show_byte_rate(rate: PerSecond) -> String {
    match rate {
        PerSecond::Unlimited => UNLIMITED.to_owned(),
        PerSecond::Limited(bytes) => format!("{}/s", show_bytes(bytes)),
    }
}

/// Writes bytes, in the largest unit that divides them.
pub fn show_bytes(bytes: u64) -> String {
    SCALES
        .iter()
        .find(|(_, scale)| bytes != 0 && bytes.is_multiple_of(*scale))
        .map_or_else(|| format!("{bytes}B"), |(unit, scale)| format!("{}{unit}", bytes / scale))
}

/// Writes an instant, to the second and within the years 1970 to 9999.
pub fn show_instant(instant: SystemTime) -> String {
    humantime::format_rfc3339_seconds(whole_seconds(instant)).to_string()
}

/// The instant as it can be written: see [`show_instant`].
pub(crate) fn whole_seconds(instant: SystemTime) -> SystemTime {
    const LAST: u64 = 253_402_300_799;
    let since = instant.duration_since(SystemTime::UNIX_EPOCH);
    let seconds = since.map_or(0, |since| since.as_secs().min(LAST));
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

fn per_second(
    text: &str,
    wanted: &str,
    read: fn(&str) -> Option<u64>,
) -> Result<PerSecond, Invalid> {
    let trimmed = text.trim();
    if trimmed == UNLIMITED {
        return Ok(PerSecond::Unlimited);
    }
    match trimmed.strip_suffix("/s").and_then(read) {
        Some(0) => {
            Err(Invalid::text(text, "expected at least one a second; \"unlimited\" is no limit"))
        }
        Some(units) if units <= FASTEST => Ok(PerSecond::Limited(units)),
        Some(_) => Err(Invalid::text(
            text,
            format!("expected at most {FASTEST} a second, or \"unlimited\""),
        )),
        None => Err(Invalid::text(text, wanted)),
    }
}

fn number(text: &str) -> Option<u64> {
    let text = text.trim();
    if text.bytes().all(|byte| byte.is_ascii_digit()) { text.parse().ok() } else { None }
}

fn scaled(text: &str) -> Option<u64> {
    let found = SCALES
        .iter()
        .find_map(|(unit, scale)| text.strip_suffix(unit).map(|digits| (digits, *scale)));
    let (digits, scale) = found.unwrap_or((text, 1));
    number(digits)?.checked_mul(scale)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn quantities_mean_what_they_say() {
        assert_eq!(rate("50/s"), Ok(PerSecond::Limited(50)));
        assert_eq!(rate("unlimited"), Ok(PerSecond::Unlimited));
        assert_eq!(byte_rate("16KiB/s"), Ok(PerSecond::Limited(16_384)));
        assert_eq!(byte_rate("12500B/s"), Ok(PerSecond::Limited(12_500)));
        assert_eq!(byte_rate("12500/s"), Ok(PerSecond::Limited(12_500)));
        assert_eq!(byte_rate("2MB/s"), Ok(PerSecond::Limited(2_000_000)));
        assert_eq!(bytes("32KiB"), Ok(32_768));
        assert_eq!(bytes("3 kB"), Ok(3_000));
        assert_eq!(bytes("1500"), Ok(1500));
        assert_eq!(duration("1day 12h"), Ok(Duration::from_hours(36)));
    }

    #[test]
    fn what_is_no_quantity_says_what_is() {
        for text in ["", "50", "/s", "50/m", "-1/s", "+5/s", "1.5/s", "5 /s x"] {
            let error = rate(text).unwrap_err().to_string();
            assert!(error.ends_with("such as \"50/s\", or \"unlimited\""), "{error}");
        }
        assert_eq!(
            rate("0/s").unwrap_err().to_string(),
            "\"0/s\": expected at least one a second; \"unlimited\" is no limit"
        );
        assert!(byte_rate("2GiB/s").is_err());
        assert!(bytes("99999999999999999999MiB").is_err());
        assert!(bytes("18446744073709551615MiB").is_err());
        assert!(bytes("1KB").is_err());
        assert!(duration("soon").is_err());
        assert!(instant("2026-11-22").is_err());
    }

    #[test]
    fn instants_beyond_the_calendar_are_written_as_its_ends() {
        let far = SystemTime::UNIX_EPOCH + Duration::from_hours(1 << 30);
        assert_eq!(show_instant(far), "9999-12-31T23:59:59Z");
        let early = SystemTime::UNIX_EPOCH - Duration::from_secs(1);
        assert_eq!(show_instant(early), "1970-01-01T00:00:00Z");
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(value: u64, per in 1..=FASTEST) {
            prop_assert_eq!(bytes(&show_bytes(value)), Ok(value));
            let per = PerSecond::Limited(per);
            prop_assert_eq!(rate(&show_rate(per)), Ok(per));
            prop_assert_eq!(byte_rate(&show_byte_rate(per)), Ok(per));
        }

        #[test]
        fn no_text_panics(text: String) {
            let _ = (rate(&text), byte_rate(&text), bytes(&text), duration(&text), instant(&text));
        }
    }
}
