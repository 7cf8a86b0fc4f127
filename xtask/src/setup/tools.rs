//! Programs that the lab, the tests and the benchmark start, the library that a test links, and the
//! Debian packages they are in.
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use super::apt;
use crate::sh;

struct Tool {
    program: &'static str,
    package: &'static str,
}

const TOOLS: [Tool; 24] = [
    tool("bpftool", "bpftool"),
    tool("nft", "nftables"),
    tool("coap-client-openssl", "libcoap3-bin"),
    tool("gnutls-cli", "gnutls-bin"),
    tool("tshark", "tshark"),
    tool("xdp-filter", "xdp-tools"),
    tool("ip", "iproute2"),
    tool("ethtool", "ethtool"),
    tool("ping", "iputils-ping"),
    tool("openssl", "openssl"),
    tool("curl", "curl"),
    tool("nsenter", "util-linux"),
    tool("python3", "python3"),
    tool("node", "nodejs"),
    tool("ps", "procps"),
    tool("stunnel", "stunnel4"),
    tool("haproxy", "haproxy"),
    tool("wireguard-go", "wireguard-go"),
    tool("wg", "wireguard-tools"),
    tool("openvpn", "openvpn"),
    tool("faketime", "faketime"),
    tool("jq", "jq"),
    tool("pkg-config", "pkg-config"),
    tool(OPENSSL, "libssl-dev"),
];

/// A library's description for pkg-config: the tests run OpenSSL's client in their own process.
const OPENSSL: &str = "openssl.pc";

const fn tool(program: &'static str, package: &'static str) -> Tool {
    Tool { program, package }
}

pub(crate) fn find_or_install() -> Result<()> {
    let missing = missing();
    if missing.is_empty() {
        return Ok(());
    }
    if !apt::usable() {
        bail!("{}", advice(&missing));
    }
    eprintln!("xtask: not here yet: {}", programs(&missing));
    apt::install(&packages(&missing)).with_context(|| advice(&missing))?;
    match self::missing().as_slice() {
        [] => Ok(()),
        left => bail!("apt-get succeeded, but {}", advice(left)),
    }
}

/// All programs, in one line.
pub(crate) fn names() -> String {
    programs(&TOOLS.iter().collect::<Vec<_>>())
}

fn missing() -> Vec<&'static Tool> {
    TOOLS.iter().filter(|tool| !tool.is_here()).collect()
}

impl Tool {
    fn is_here(&self) -> bool {
        let Some(library) = self.program.strip_suffix(".pc") else {
            return sh::find(self.program).is_some();
        };
        sh::output(Command::new("pkg-config").args(["--exists", library])).is_ok()
    }
}

fn programs(tools: &[&Tool]) -> String {
    tools.iter().map(|tool| tool.program).collect::<Vec<_>>().join(" ")
}

fn packages(tools: &[&Tool]) -> Vec<&'static str> {
    tools.iter().map(|tool| tool.package).collect()
}

fn advice(missing: &[&Tool]) -> String {
    format!(
        "missing programs: {}; install them, on Debian as root with \
         `apt-get install --no-install-recommends {}`",
        programs(missing),
        packages(missing).join(" ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn advice_names_programs_and_packages() {
        let text = advice(&[&tool("nft", "nftables"), &tool("ps", "procps")]);
        assert!(text.contains("missing programs: nft ps;"), "{text}");
        assert!(text.ends_with("nftables procps`"), "{text}");
    }
}
