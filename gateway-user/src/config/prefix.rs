//! Prefixes as people write them: an address alone is a prefix of full length.
use super::units::Invalid;
use core::net::{IpAddr, Ipv6Addr};
use ipnet::{IpNet, Ipv4Net};

/// Reads an address or a prefix.
///
/// # Errors
/// What is neither, has bits set behind the prefix, or is IPv4 in the clothes of IPv6.
pub fn parse(text: &str) -> Result<IpNet, Invalid> {
    let wanted = "expected an address or a prefix such as \"2001:db8::1\" or \"2001:db8::/64\"";
    let trimmed = text.trim();
    let prefix = match trimmed.parse::<IpAddr>() {
        Ok(address) => Some(IpNet::from(address)),
        Err(_) => trimmed.parse::<IpNet>().ok(),
    };
    let prefix = prefix.ok_or_else(|| Invalid::text(text, wanted))?;
    no_host_bits(text, prefix)?;
    not_mapped(text, prefix)?;
    Ok(prefix)
}

/// Reads an address or a prefix that packets can come from or go to.
///
/// # Errors
/// Those of [`parse`]; multicast, loopback, broadcast and the unspecified address.
pub fn unicast(text: &str) -> Result<IpNet, Invalid> {
    let prefix = parse(text)?;
    SPECIAL
        .iter()
        .find(|(special, _)| special.parse().is_ok_and(|net: IpNet| net.contains(&prefix)))
        .map_or(Ok(prefix), |(_, reason)| Err(Invalid::text(text, *reason)))
}

/// Writes a prefix: an address alone when it is one.
pub fn show(prefix: &IpNet) -> String {
    if prefix.prefix_len() == prefix.max_prefix_len() {
        prefix.addr().to_string()
    } else {
        prefix.to_string()
    }
}

const MULTICAST: &str = "is multicast, which no packet comes from";
const LOOPBACK: &str = "is loopback, which never comes through an interface";
/// RFC 6890: what is no unicast address on a wire.
const SPECIAL: [(&str, &str); 7] = [
    ("::/128", "is the unspecified address; \"::/0\" is every address"),
    ("::1/128", LOOPBACK),
    ("ff00::/8", MULTICAST),
    ("0.0.0.0/8", "is the unspecified address; \"0.0.0.0/0\" is every address"),
    ("127.0.0.0/8", LOOPBACK),
    ("224.0.0.0/4", MULTICAST),
    ("255.255.255.255/32", "is the broadcast address, which no packet comes from"),
];

fn no_host_bits(text: &str, prefix: IpNet) -> Result<(), Invalid> {
    if prefix == prefix.trunc() {
        return Ok(());
    }
    let (net, address) = (prefix.trunc(), prefix.addr());
    let allowed = format!("has bits set behind the prefix: write \"{net}\", or \"{address}\"");
    Err(Invalid::text(text, allowed))
}

fn not_mapped(text: &str, prefix: IpNet) -> Result<(), Invalid> {
    let IpNet::V6(v6) = prefix else {
        return Ok(());
    };
    let Some((address, length)) = mapped(v6.addr(), v6.prefix_len()) else {
        return Ok(());
    };
    let inner = Ipv4Net::new(address, length)
        .map_or_else(|_| address.to_string(), |net| show(&IpNet::V4(net)));
    let allowed = format!("is an IPv4-mapped IPv6 address: write \"{inner}\"");
    Err(Invalid::text(text, allowed))
}

fn mapped(address: Ipv6Addr, length: u8) -> Option<(core::net::Ipv4Addr, u8)> {
    Some((address.to_ipv4_mapped()?, length.checked_sub(96)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn refusal(text: &str) -> String {
        unicast(text).unwrap_err().to_string()
    }

    #[test]
    fn an_address_is_a_prefix_of_full_length() {
        assert_eq!(parse("2001:db8::1").unwrap().prefix_len(), 128);
        assert_eq!(show(&parse("2001:db8::1/128").unwrap()), "2001:db8::1");
        assert_eq!(show(&parse("10.0.0.0/8").unwrap()), "10.0.0.0/8");
    }

    #[test]
    fn refusals_say_what_to_write() {
        assert_eq!(
            refusal("2001:db8::1/64"),
            "\"2001:db8::1/64\": has bits set behind the prefix: write \"2001:db8::/64\", or \
             \"2001:db8::1\""
        );
        assert_eq!(
            refusal("::ffff:10.0.0.1"),
            "\"::ffff:10.0.0.1\": is an IPv4-mapped IPv6 address: write \"10.0.0.1\""
        );
        assert_eq!(
            refusal("::ffff:10.0.0.0/104"),
            "\"::ffff:10.0.0.0/104\": is an IPv4-mapped IPv6 address: write \"10.0.0.0/8\""
        );
        assert!(refusal("2001:db8::/129").contains("expected an address or a prefix"));
        assert!(refusal("host.example").contains("expected an address or a prefix"));
    }

    #[test]
    fn sources_that_cannot_be_are_refused() {
        assert!(refusal("ff02::1").contains("multicast"));
        assert!(refusal("224.0.0.0/24").contains("multicast"));
        assert!(refusal("::1").contains("loopback"));
        assert!(refusal("127.1.2.3").contains("loopback"));
        assert!(refusal("::").contains("\"::/0\" is every address"));
        assert!(refusal("0.0.0.0").contains("\"0.0.0.0/0\" is every address"));
        assert!(refusal("255.255.255.255").contains("broadcast"));
        assert!(unicast("::/0").is_ok());
        assert!(unicast("0.0.0.0/0").is_ok());
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "[0-9a-f:./]{0,24}") {
            let _ = unicast(&text);
        }
    }
}
