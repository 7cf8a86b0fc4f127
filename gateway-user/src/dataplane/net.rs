//! Prefixes as maps hold them: of either version on 128 bits.
use gateway_common::{
    abi::{PrefixKey, Settings},
    wire::Prefix,
};
use ipnet::IpNet;

/// A prefix of any version on 128 bits.
pub fn on_128_bits(net: &IpNet) -> Prefix {
    let length = match net {
        IpNet::V4(v4) => v4.prefix_len() + 96,
        IpNet::V6(v6) => v6.prefix_len(),
    };
    Prefix::new(net.network().into(), length)
}

/// The prefix that a key stands for.
pub fn net_of(key: &PrefixKey) -> Option<IpNet> {
    let address = std::net::IpAddr::from(key.address);
    let length = u8::try_from(key.length).ok()?;
    let length = if address.is_ipv4() { length.checked_sub(96)? } else { length };
    IpNet::new(address, length).ok()
}

/// The LLN's prefixes that the programs were loaded with.
pub fn lln(settings: &Settings) -> Vec<IpNet> {
    let used = settings.lln_prefixes.iter().filter(|prefix| **prefix != Prefix::NONE);
    used.filter_map(|prefix| {
        net_of(&PrefixKey { address: prefix.address, length: prefix.length().into() })
    })
    .collect()
}
