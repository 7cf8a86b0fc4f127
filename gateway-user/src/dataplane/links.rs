//! Network interfaces as the kernel describes them.
use super::{Error, Result};
use nix::sys::socket::{LinkAddr, SockaddrStorage};
use std::{io, net::IpAddr};

/// An interface that a program can be attached to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Its name.
    pub name: String,
    /// The kernel's index.
    pub ifindex: u32,
    /// Frames start with the IP header.
    pub raw_ip: bool,
}

/// Hardware types with an Ethernet header (`linux/if_arp.h`): Ethernet and loopback.
const WITH_ETHERNET: [u16; 2] = [1, 772];

/// Looks an interface up in this network namespace.
///
/// # Errors
/// [`Error::Interface`] when there is none of that name.
pub fn find(name: &str) -> Result<Link> {
    let error = |source| Error::Interface { interface: name.to_owned(), source };
    let ifindex = nix::net::if_::if_nametoindex(name)
        .map_err(|errno| error(io::Error::from_raw_os_error(errno as i32)))?;
    // asked of the kernel's sockets, not of /sys, which need not show this network namespace
    let kind = addresses_of(|interface| interface == name)
        .find_map(|address| address.as_link_addr().map(LinkAddr::hatype));
    // a tun or wwan device has no hardware address at all
    let raw_ip = kind.is_none_or(|kind| !WITH_ETHERNET.contains(&kind));
    Ok(Link { name: name.to_owned(), ifindex, raw_ip })
}

fn addresses_of(wanted: impl Fn(&str) -> bool) -> impl Iterator<Item = SockaddrStorage> {
    let all = nix::ifaddrs::getifaddrs().into_iter().flatten();
    all.filter(move |entry| wanted(&entry.interface_name)).filter_map(|entry| entry.address)
}

fn ip_of(address: &SockaddrStorage) -> Option<IpAddr> {
    let v4 = address.as_sockaddr_in().map(|v4| IpAddr::V4(v4.ip()));
    v4.or_else(|| address.as_sockaddr_in6().map(|v6| IpAddr::V6(v6.ip())))
}

/// The router's own addresses, all interfaces together.
pub fn own_addresses() -> Vec<IpAddr> {
    addresses_of(|_| true).filter_map(|address| ip_of(&address)).collect()
}

/// The global prefixes on an interface, from its addresses and netmasks.
pub fn prefixes(name: &str) -> Vec<ipnet::IpNet> {
    let all = nix::ifaddrs::getifaddrs().into_iter().flatten();
    let mut found: Vec<ipnet::IpNet> = all
        .filter(|entry| entry.interface_name == name)
        .filter_map(|entry| {
            let address = ip_of(&entry.address?)?;
            let mask = ip_of(&entry.netmask?)?;
            let net = ipnet::IpNet::with_netmask(address, mask).ok()?;
            let local = gateway_common::wire::Address::from(address).is_link_scoped();
            (!local && !address.is_loopback()).then(|| net.trunc())
        })
        .collect();
    found.sort();
    found.dedup();
    found
}
