//! Devices and what is set on them: veth pairs, tun, addresses, routes, offloads.

use std::{
    fs::{File, OpenOptions},
    io,
    os::{fd::AsRawFd, unix::fs::OpenOptionsExt},
};

use anyhow::{Context, Result};
use nix::libc;

use super::netns::Namespace;

/// An Ethernet address.
pub type Mac = [u8; 6];

/// One end of a veth pair: where it lies, its name and its fixed address.
#[derive(Clone, Copy, Debug)]
pub struct End<'a> {
    /// Namespace in which it lies.
    pub namespace: &'a Namespace,
    /// Device name there.
    pub name: &'a str,
    /// Ethernet address.
    pub mac: Mac,
}

/// Connects two namespaces by a veth pair, up, with checksums always computed.
///
/// Transmit offloads are off: a frame that is captured or filtered is as it would be on a wire.
pub fn veth(left: End<'_>, right: End<'_>) -> Result<()> {
    left.namespace.run(&[
        "ip",
        "link",
        "add",
        left.name,
        "address",
        &text(left.mac),
        "type",
        "veth",
        "peer",
        "name",
        right.name,
        "address",
        &text(right.mac),
        "netns",
        right.namespace.name(),
    ])?;
    for end in [left, right] {
        let device = end.namespace.device(end.name);
        device.offload("tx", false)?;
        device.up()?;
    }
    Ok(())
}

/// Opens a tun device (raw IP, no packet information) that is up: write what shall arrive on it,
/// read what leaves through it. Reading does not block: poll with [`super::until`].
pub fn tun(namespace: &Namespace, name: &str) -> Result<File> {
    let file = namespace.enter(|| open_tun(name)).with_context(|| format!("tun device {name}"))?;
    namespace.device(name).up()?;
    Ok(file)
}

fn open_tun(name: &str) -> io::Result<File> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(libc::O_NONBLOCK)
        .open("/dev/net/tun")?;
    // SAFETY: ifreq is plain C data, for which all zeros is a value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    // One byte is left for the terminator, which is there already.
    let room = request.ifr_name.len() - 1;
    for (slot, byte) in request.ifr_name[..room].iter_mut().zip(name.bytes()) {
        *slot = byte as libc::c_char;
    }
    request.ifr_ifru.ifru_flags = (libc::IFF_TUN | libc::IFF_NO_PI) as libc::c_short;
    // SAFETY: the descriptor is open and TUNSETIFF reads and writes one ifreq, which lives here.
    let result = unsafe { libc::ioctl(file.as_raw_fd(), libc::TUNSETIFF, &mut request) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(file) }
}

/// A device in a namespace, by name.
#[derive(Clone, Copy, Debug)]
pub struct Device<'a> {
    /// Namespace in which it lies.
    pub namespace: &'a Namespace,
    /// Its name there.
    pub name: &'a str,
}

impl Device<'_> {
    /// Brings the device up.
    pub fn up(&self) -> Result<()> {
        self.namespace.run(&["ip", "link", "set", self.name, "up"]).map(drop)
    }

    /// Takes the device down.
    pub fn down(&self) -> Result<()> {
        self.namespace.run(&["ip", "link", "set", self.name, "down"]).map(drop)
    }

    /// Adds an address with its prefix length, usable at once.
    pub fn address(&self, address: &str) -> Result<()> {
        let nodad: &[&str] = if address.contains(':') { &["nodad"] } else { &[] };
        let words = ["ip", "address", "add", address, "dev", self.name];
        self.namespace.run(&[&words, nodad].concat()).map(drop)
    }

    /// Adds a route through this device, over `via` if there is one.
    pub fn route(&self, prefix: &str, via: Option<&str>) -> Result<()> {
        let mut words = vec!["ip", "route", "add", prefix];
        words.extend(via.into_iter().flat_map(|gateway| ["via", gateway]));
        words.extend(["dev", self.name]);
        if prefix.contains(':') || via.is_some_and(|gateway| gateway.contains(':')) {
            words.insert(1, "-6");
        }
        self.namespace.run(&words).map(drop)
    }

    /// Keeps the kernel from giving the device a link-local address when it comes up.
    pub fn no_link_local(&self) -> Result<()> {
        self.namespace.run(&["ip", "link", "set", self.name, "addrgenmode", "none"]).map(drop)
    }

    /// Sets the MTU.
    pub fn mtu(&self, bytes: u32) -> Result<()> {
        self.namespace.run(&["ip", "link", "set", self.name, "mtu", &bytes.to_string()]).map(drop)
    }

    /// Turns GRO on, and with it NAPI: without, a veth loses what its peer sends by `XDP_TX` or
    /// `XDP_REDIRECT`. A [`super::Lab`] has it on at `up0` and `node0`.
    pub fn gro_on(&self) -> Result<()> {
        self.offload("gro", true)
    }

    /// Turns one `ethtool -K` feature on or off.
    pub fn offload(&self, feature: &str, on: bool) -> Result<()> {
        let state = if on { "on" } else { "off" };
        self.namespace.run(&["ethtool", "-K", self.name, feature, state]).map(drop)
    }

    /// Interface index inside the namespace.
    pub fn index(&self) -> Result<u32> {
        let index = self.namespace.enter(|| nix::net::if_::if_nametoindex(self.name));
        index.with_context(|| format!("no device {} in {}", self.name, self.namespace.name()))
    }

    /// A counter of `/sys/class/net/*/statistics` by its `ip -s` JSON name, `("rx", "packets")`.
    pub fn counter(&self, direction: &str, what: &str) -> Result<u64> {
        let text = self.namespace.run(&["ip", "-json", "-s", "link", "show", "dev", self.name])?;
        let links: serde_json::Value = serde_json::from_str(&text)?;
        let value = &links[0]["stats64"][direction][what];
        value.as_u64().with_context(|| format!("no counter {direction} {what}"))
    }
}

fn text(mac: Mac) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}
