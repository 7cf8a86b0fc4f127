//! Where a DTLS handshake starts with a cookie of the router's.
use super::{error::Fault, file, prefix, read, units::Invalid};
use gateway_common::abi::COOKIE_NODES_MAX;
use serde::Serialize;
use std::net::IpAddr;

/// Cookies before DTLS handshakes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Cookies {
    /// UDP ports of the router's own.
    pub ports: Vec<u16>,
    /// Nodes that take cookies which they did not make.
    pub nodes: Vec<IpAddr>,
}

pub(super) fn cookies(file: &file::Cookies) -> Result<Cookies, Fault> {
    const KEY: &str = "cookies.nodes";
    read::at_most(KEY, file.nodes.len(), COOKIE_NODES_MAX as usize)?;
    let node = |(place, text): (usize, &String)| {
        let fault = |invalid| Fault::new(read::element(KEY, place), invalid);
        let net = prefix::unicast(text).map_err(fault)?;
        if net.prefix_len() == net.max_prefix_len() {
            return Ok(net.addr());
        }
        Err(fault(Invalid::text(text, "expected the address of one node, not a prefix")))
    };
    Ok(Cookies {
        ports: read::ports("cookies.ports", &file.ports)?,
        nodes: file.nodes.iter().enumerate().map(node).collect::<Result<_, _>>()?,
    })
}
