//! Addresses and prefixes.
use core::net::IpAddr;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// An IP address in 16 bytes, IPv4 as `::ffff:a.b.c.d` (RFC 4291 §2.5.5.2).
///
/// Aligned to eight bytes, so that the kernel compares and hashes it as two words.
#[derive(
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Default,
    FromBytes,
    IntoBytes,
    Immutable,
    KnownLayout,
)]
#[repr(C, align(8))]
pub struct Address {
    /// Network order.
    pub octets: [u8; 16],
}

/// The upper word of every IPv4-mapped address and the upper half of its lower word.
const MAPPED: (u64, u64) = (0, 0xffff);

impl Address {
    /// From the two words of the address, most significant first.
    #[inline(always)]
    pub const fn from_words(high: u64, low: u64) -> Self {
        Self::from_raw(high.to_be(), low.to_be())
    }

    /// From the two words as they lie in memory.
    #[inline(always)]
    pub const fn from_raw(high: u64, low: u64) -> Self {
        // whole words, not bytes: the compiler keeps an address in two registers
        zerocopy::transmute!([high, low])
    }

    /// From an IPv4 address as a number.
    #[inline(always)]
    pub const fn from_v4(address: u32) -> Self {
        Self::from_words(MAPPED.0, (MAPPED.1 << 32) | address as u64)
    }

    /// The two words of the address, most significant first.
    #[inline(always)]
    pub const fn words(&self) -> (u64, u64) {
        let (high, low) = self.raw_words();
        (u64::from_be(high), u64::from_be(low))
    }

    /// The two words as they lie in memory: for comparing, masking and hashing without a byte swap.
    #[inline(always)]
    pub const fn raw_words(&self) -> (u64, u64) {
        let [high, low]: [u64; 2] = zerocopy::transmute!(*self);
        (high, low)
    }

    /// Whether this is an IPv4 address.
    #[inline(always)]
    pub const fn is_v4(&self) -> bool {
        let (high, low) = self.words();
        high == MAPPED.0 && low >> 32 == MAPPED.1
    }

    /// The scope of a multicast address (RFC 4291 §2.7), `None` for unicast.
    ///
    /// An IPv4 group counts as link-local in 224.0.0.0/24 and as global elsewhere.
    #[inline(always)]
    pub const fn multicast_scope(&self) -> Option<u8> {
        let (high, low) = self.words();
        if high >> 56 == 0xff {
            return Some((high >> 48) as u8 & 0x0f);
        }
        if self.is_v4() && (low as u32) >> 28 == 0xe {
            return Some(if (low as u32) >> 8 == 0x00e0_0000 { 2 } else { 0xe });
        }
        None
    }

    /// Whether this address means something on one link only: `fe80::/10`, `169.254.0.0/16`,
    /// the unspecified and the broadcast address.
    #[inline(always)]
    pub const fn is_link_scoped(&self) -> bool {
        let (high, low) = self.words();
        let v4 = self.is_v4();
        high >> 54 == 0x3fa
            || (high == 0 && low == 0)
            || (v4 && (low as u32) >> 16 == 0xa9fe)
            || (v4 && (low as u32 == 0 || low as u32 == u32::MAX))
    }
}

impl From<IpAddr> for Address {
    fn from(address: IpAddr) -> Self {
        let v6 = match address {
            IpAddr::V4(v4) => v4.to_ipv6_mapped(),
            IpAddr::V6(v6) => v6,
        };
        Self { octets: v6.octets() }
    }
}

impl From<Address> for IpAddr {
    fn from(address: Address) -> Self {
        Self::V6(address.octets.into()).to_canonical()
    }
}

impl core::fmt::Display for Address {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        IpAddr::from(*self).fmt(f)
    }
}

impl core::fmt::Debug for Address {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        core::fmt::Display::fmt(self, f)
    }
}

/// A prefix as address and mask, both 16 bytes: a test is two `and`s and two compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Prefix {
    /// Its first address.
    pub address: Address,
    /// Ones where an address must agree with it.
    pub mask: Address,
}

impl Prefix {
    /// Matches nothing: fills unused places in a table.
    pub const NONE: Self =
        Self { address: Address { octets: [0xff; 16] }, mask: Address { octets: [0; 16] } };

    /// The prefix of `length` bits (of 128) that `address` lies in.
    pub const fn new(address: Address, length: u8) -> Self {
        let mask = Self::mask(length);
        let (a, m) = (address.words(), mask.words());
        Self { address: Address::from_words(a.0 & m.0, a.1 & m.1), mask }
    }

    /// `length` ones, most significant first; anything over 128 counts as 128.
    #[inline(always)]
    pub const fn mask(length: u8) -> Address {
        Address::from_words(leading_ones(length), leading_ones(length.saturating_sub(64)))
    }

    /// Whether `address` lies in the prefix.
    #[inline(always)]
    pub const fn contains(&self, address: &Address) -> bool {
        let (a, p, m) = (address.raw_words(), self.address.raw_words(), self.mask.raw_words());
        a.0 & m.0 == p.0 && a.1 & m.1 == p.1
    }

    /// Its length in bits of 128 (an IPv4 /24 has 120).
    pub const fn length(&self) -> u8 {
        let (high, low) = self.mask.words();
        (high.leading_ones() + low.leading_ones()) as u8
    }
}

/// A word that starts with `n` ones; all ones from 64 on.
#[inline(always)]
const fn leading_ones(n: u8) -> u64 {
    if n == 0 {
        0
    } else if n >= 64 {
        u64::MAX
    } else {
        u64::MAX << (64 - n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn address(text: &str) -> Address {
        text.parse::<IpAddr>().unwrap().into()
    }

    #[test]
    fn scopes() {
        assert_eq!(address("ff02::1").multicast_scope(), Some(2));
        assert_eq!(address("ff05::fd").multicast_scope(), Some(5));
        assert_eq!(address("224.0.0.1").multicast_scope(), Some(2));
        assert_eq!(address("224.0.1.187").multicast_scope(), Some(0xe));
        assert_eq!(address("2001:db8::1").multicast_scope(), None);
        assert!(address("fe80::1").is_link_scoped());
        assert!(address("::").is_link_scoped());
        assert!(address("169.254.3.4").is_link_scoped());
        assert!(!address("fec0::1").is_link_scoped());
        assert!(!address("10.0.0.1").is_link_scoped());
    }

    #[test]
    fn no_address_lies_in_none() {
        for text in ["::", "::1", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "0.0.0.0"] {
            assert!(!Prefix::NONE.contains(&address(text)));
        }
    }

    proptest! {
        #[test]
        fn prefix_agrees_with_shifting(a: u128, b: u128, length in 0u8..=128) {
            let of = |n: u128| Address { octets: n.to_be_bytes() };
            let cut = |n: u128| n.checked_shr(u32::from(128 - length)).unwrap_or(0);
            let prefix = Prefix::new(of(a), length);
            prop_assert_eq!(prefix.contains(&of(b)), cut(a) == cut(b));
            prop_assert!(prefix.contains(&of(a)));
            prop_assert_eq!(prefix.length(), length);
        }

        #[test]
        fn text_round_trip(a: u32) {
            let v4 = core::net::Ipv4Addr::from(a);
            prop_assert_eq!(Address::from_v4(a), IpAddr::V4(v4).into());
            prop_assert_eq!(IpAddr::from(Address::from_v4(a)), IpAddr::V4(v4));
            prop_assert!(Address::from_v4(a).is_v4());
        }
    }
}
