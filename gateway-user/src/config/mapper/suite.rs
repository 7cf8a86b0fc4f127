//! Cipher suites by name, as IANA's registry of TLS parameters spells them.
use crate::config::units::Invalid;

/// Suites that a node may speak and a mapping can carry: what is listed is known by name, anything
/// else by number.
const NAMES: [(&str, u16); 20] = [
    ("TLS_PSK_WITH_AES_128_CCM_8", 0xc0a8),
    ("TLS_PSK_WITH_AES_256_CCM_8", 0xc0a9),
    ("TLS_PSK_WITH_AES_128_CCM", 0xc0a4),
    ("TLS_PSK_WITH_AES_256_CCM", 0xc0a5),
    ("TLS_PSK_WITH_AES_128_GCM_SHA256", 0x00a8),
    ("TLS_PSK_WITH_AES_256_GCM_SHA384", 0x00a9),
    ("TLS_PSK_WITH_CHACHA20_POLY1305_SHA256", 0xccab),
    ("TLS_PSK_WITH_AES_128_CBC_SHA256", 0x00ae),
    ("TLS_ECDHE_PSK_WITH_AES_128_GCM_SHA256", 0xd001),
    ("TLS_ECDHE_PSK_WITH_AES_256_GCM_SHA384", 0xd002),
    ("TLS_ECDHE_PSK_WITH_AES_128_CCM_8_SHA256", 0xd003),
    ("TLS_ECDHE_PSK_WITH_AES_128_CCM_SHA256", 0xd005),
    ("TLS_ECDHE_PSK_WITH_CHACHA20_POLY1305_SHA256", 0xccac),
    ("TLS_ECDHE_PSK_WITH_AES_128_CBC_SHA256", 0xc037),
    ("TLS_ECDHE_ECDSA_WITH_AES_128_CCM_8", 0xc0ae),
    ("TLS_ECDHE_ECDSA_WITH_AES_128_CCM", 0xc0ac),
    ("TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", 0xc02b),
    ("TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256", 0xcca9),
    ("TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", 0xc02f),
    ("TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256", 0xcca8),
];

/// TLS 1.3's suites (RFC 8446 §B.4) and signalling values, which are no suites of TLS 1.2.
const OTHERS: [core::ops::RangeInclusive<u16>; 3] =
    [0x0000..=0x0000, 0x00ff..=0x00ff, 0x1301..=0x1305];
/// Key exchange by RSA seals the client's version in, which differs on both sides
/// (RFC 5246 §7.4.7.1, RFC 4279 §4).
const RSA: [u16; 20] = [
    0x0001, 0x0002, 0x0004, 0x0005, 0x000a, 0x002f, 0x0035, 0x003b, 0x003c, 0x003d, 0x009c, 0x009d,
    0x0092, 0x0093, 0x0094, 0x0095, 0x00ac, 0x00ad, 0x00b6, 0x00b7,
];
const RSA_CCM: core::ops::RangeInclusive<u16> = 0xc09c..=0xc0a1;

/// Reads a suite by name or number.
pub(super) fn read(text: &str) -> Result<u16, Invalid> {
    let named = NAMES.iter().find(|(name, _)| *name == text).map(|(_, suite)| *suite);
    let hex = || u16::from_str_radix(text.strip_prefix("0x")?, 16).ok();
    let Some(suite) = named.or_else(hex) else {
        let names: Vec<&str> = NAMES.iter().map(|(name, _)| *name).collect();
        let meant = super::super::suggest(text, &names)
            .map_or_else(String::new, |name| format!(" (did you mean {name:?}?)"));
        let allowed = format!(
            "expected the IANA name of a cipher suite of TLS 1.2, such as {:?}, or its number, \
             such as \"0xc0a8\"{meant}",
            NAMES.first().map_or("", |(name, _)| name)
        );
        return Err(Invalid::text(text, allowed));
    };
    if RSA.contains(&suite) || RSA_CCM.contains(&suite) {
        let allowed = "is a key exchange by RSA, which no mapping can carry: its secret has the \
                       client's protocol version in it";
        return Err(Invalid::text(text, allowed));
    }
    if OTHERS.iter().any(|range| range.contains(&suite)) {
        return Err(Invalid::text(text, "is no cipher suite of TLS 1.2"));
    }
    Ok(suite)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suites_have_names_and_numbers() {
        assert_eq!(read("TLS_PSK_WITH_AES_128_CCM_8"), Ok(0xc0a8));
        assert_eq!(read("0xC0A8"), Ok(0xc0a8));
        assert_eq!(read("0x00a8"), Ok(0x00a8));
    }

    #[test]
    fn what_cannot_be_mapped_is_refused() {
        let refusal = |text| read(text).unwrap_err().to_string();
        assert!(refusal("0x009c").contains("key exchange by RSA"));
        assert!(refusal("0xc0a0").contains("key exchange by RSA"));
        assert!(refusal("0x1301").contains("is no cipher suite of TLS 1.2"));
        assert!(refusal("0x00ff").contains("is no cipher suite of TLS 1.2"));
        assert!(refusal("PSK-AES128-CCM8").contains("expected the IANA name"));
        assert!(
            refusal("TLS_PSK_WITH_AES_128_CMM_8")
                .contains("(did you mean \"TLS_PSK_WITH_AES_128_CCM_8\"?)")
        );
    }
}
