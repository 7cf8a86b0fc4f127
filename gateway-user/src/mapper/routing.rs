//! Steers TCP that is addressed to nodes to the router's own socket (TPROXY), and takes that back.
//!
//! Three things, all found again after a crash: a table of our own in nftables, replaced as a whole;
//! a rule that looks marked packets up in a routing table of our own; in it, one route that makes
//! every address local. A file names the last two, for when the configuration no longer does.
//!
//! With no agent alive the table drops what it would have steered: nothing of it may reach the
//! nodes, which have no use for it.
use crate::config::mapper;
use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use std::{
    fmt::Write as _,
    fs,
    io::{self, Write as _},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// What keeps packets from being steered.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A program is not there.
    #[error(
        "cannot start {program}: nodes' own addresses take it (install {package}), or set \
         mapper.transparent = false"
    )]
    Missing {
        /// Its name.
        program: &'static str,
        /// What brings it.
        package: &'static str,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A program refused.
    #[error("{command}: {message}")]
    Refused {
        /// What was asked.
        command: String,
        /// What it said.
        message: String,
    },
    /// The file that names what was set up.
    #[error("{}", path.display())]
    State {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// What is to be steered, and whereto.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Interfaces on the Internet's side.
    pub interfaces: Vec<String>,
    /// Where nodes are.
    pub prefixes: Vec<IpNet>,
    /// At which TCP ports.
    pub ports: Vec<u16>,
    /// The sockets, one for each version of IP.
    pub sockets: Vec<SocketAddr>,
    /// Mark and table.
    pub routing: mapper::Routing,
}

/// The table in nftables.
pub const TABLE: &str = "gateway";

/// What was set up outside of nftables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Rules {
    mark: u32,
    table: u32,
}

/// What steers, and the file that remembers it.
#[derive(Clone, Debug)]
pub struct Routing {
    file: PathBuf,
}

impl Routing {
    /// Remembered in the agent's runtime directory.
    pub fn new(runtime: &Path) -> Self {
        Self { file: runtime.join("routing.json") }
    }

    /// Steers what is wanted and nothing else. What is there already stays, without a gap.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn set_up(&self, wanted: &Wanted) -> Result<(), Error> {
        let rules = Rules { mark: wanted.routing.mark, table: wanted.routing.table };
        if let Some(before) = self.remembered().filter(|before| *before != rules) {
            before.remove()?;
        }
        self.remember(rules)?;
        rules.add()?;
        nft(&script(wanted)).map(drop)
    }

    /// Steers nothing any more; whether anything was.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn remove(&self) -> Result<bool, Error> {
        let Some(rules) = self.remembered() else { return Ok(false) };
        // making it first makes deleting it always succeed
        nft(&format!("table inet {TABLE}\ndelete table inet {TABLE}\n"))?;
        rules.remove()?;
        fs::remove_file(&self.file).map_err(|source| self.state(source))?;
        Ok(true)
    }

    fn remembered(&self) -> Option<Rules> {
        serde_json::from_slice(&fs::read(&self.file).ok()?).ok()
    }

    fn remember(&self, rules: Rules) -> Result<(), Error> {
        if let Some(folder) = self.file.parent() {
            fs::create_dir_all(folder).map_err(|source| self.state(source))?;
        }
        let text = serde_json::to_vec(&rules).unwrap_or_default();
        fs::write(&self.file, text).map_err(|source| self.state(source))
    }

    fn state(&self, source: io::Error) -> Error {
        Error::State { path: self.file.clone(), source }
    }
}

impl Rules {
    fn add(self) -> Result<(), Error> {
        for (version, all) in [("-4", "0.0.0.0/0"), ("-6", "::/0")] {
            let (mark, table) = (self.mark.to_string(), self.table.to_string());
            let rule = ["fwmark", &*mark, "table", &*table];
            ip(&[version, "route", "replace", "local", all, "dev", "lo", "table", &table])?;
            if ip(&[&[version, "rule", "show"], &rule[..]].concat())?.trim().is_empty() {
                ip(&[&[version, "rule", "add"], &rule[..]].concat())?;
            }
        }
        Ok(())
    }

    fn remove(self) -> Result<(), Error> {
        for version in ["-4", "-6"] {
            let (mark, table) = (self.mark.to_string(), self.table.to_string());
            let rule = ["fwmark", &*mark, "table", &*table];
            if !ip(&[&[version, "rule", "show"], &rule[..]].concat())?.trim().is_empty() {
                ip(&[&[version, "rule", "del"], &rule[..]].concat())?;
            }
            // a table that does not exist is as good as an empty one
            let _ = ip(&[version, "route", "flush", "table", &table]);
        }
        Ok(())
    }
}

/// The table. One transaction: there is no moment without it.
fn script(wanted: &Wanted) -> String {
    let mut script = format!(
        "table inet {TABLE}\ndelete table inet {TABLE}\ntable inet {TABLE} {{\n\
         \tchain mapped {{\n\t\ttype filter hook prerouting priority mangle; policy accept;\n"
    );
    let names: Vec<String> = wanted.interfaces.iter().map(|name| format!("{name:?}")).collect();
    let ports: Vec<String> = wanted.ports.iter().map(ToString::to_string).collect();
    for (family, v6) in [("ip6", true), ("ip", false)] {
        let ours = |net: &&IpNet| matches!(net, IpNet::V6(_)) == v6;
        let nets: Vec<String> =
            wanted.prefixes.iter().filter(ours).map(ToString::to_string).collect();
        if nets.is_empty() {
            continue;
        }
        let packets = format!(
            "\t\tiifname {{ {} }} {family} daddr {{ {} }} tcp dport {{ {} }} fib daddr type != local",
            names.join(", "),
            nets.join(", "),
            ports.join(", ")
        );
        if let Some(socket) = wanted.sockets.iter().find(|socket| socket.is_ipv6() == v6) {
            let mark = wanted.routing.mark;
            let _ = writeln!(
                script,
                "{packets} tproxy {family} to {socket} meta mark set {mark:#x} accept"
            );
        }
        let _ = writeln!(script, "{packets} drop");
    }
    script.push_str("\t}\n}\n");
    script
}

fn nft(script: &str) -> Result<String, Error> {
    run("nft", "nftables", &["-f", "-"], script)
}

fn ip(words: &[&str]) -> Result<String, Error> {
    run("ip", "iproute2", words, "")
}

fn run(
    program: &'static str,
    package: &'static str,
    words: &[&str],
    input: &str,
) -> Result<String, Error> {
    let missing = |source| Error::Missing { program, package, source };
    let mut command = Command::new(program);
    command.args(words).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(missing)?;
    if let Some(mut stdin) = child.stdin.take() {
        // one that does not listen says why when it ends
        let _ = stdin.write_all(input.as_bytes());
    }
    let output = child.wait_with_output().map_err(missing)?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let message = String::from_utf8_lossy(&output.stderr);
    Err(Error::Refused {
        command: format!("{program} {}", words.join(" ")),
        message: message.lines().collect::<Vec<_>>().join(", "),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_steered_is_dropped() {
        let wanted = Wanted {
            interfaces: vec!["eth0".to_owned(), "wwan0".to_owned()],
            prefixes: vec!["2001:db8:1::/64".parse().unwrap(), "192.0.2.0/24".parse().unwrap()],
            ports: vec![443, 8443],
            sockets: vec!["[::1]:40001".parse().unwrap()],
            routing: mapper::Routing { mark: 0x6c0_0000, table: 1728 },
        };
        let packets = "iifname { \"eth0\", \"wwan0\" } ip6 daddr { 2001:db8:1::/64 } \
                       tcp dport { 443, 8443 } fib daddr type != local";
        let script = script(&wanted);
        let lines: Vec<&str> = script.lines().map(str::trim).collect();
        assert_eq!(
            lines[5],
            format!("{packets} tproxy ip6 to [::1]:40001 meta mark set 0x6c00000 accept")
        );
        assert_eq!(lines[6], format!("{packets} drop"));
        assert!(lines[7].starts_with("iifname") && lines[7].ends_with("drop"), "{script}");
        assert!(lines[7].contains("ip daddr { 192.0.2.0/24 }"), "{script}");
    }
}
