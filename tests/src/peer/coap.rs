//! libcoap's example server and client.
//!
//! Quirks. The client exits with 0 whatever happens: the response code in its log decides. The
//! GnuTLS server refuses a client that names it by an IPv6 address (the client sends that as
//! SNI, with its colons): such a server must be asked by name, see [`Client::named`].

use std::{
    fmt::Write as _,
    fs,
    net::{IpAddr, SocketAddr},
    path::Path,
    process::Command,
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use tempfile::NamedTempFile;

use super::{HANDSHAKE, Psk, START};
use crate::lab::{Child, Namespace};

/// Port of CoAP without security.
pub const COAP: u16 = 5683;
/// Port of CoAP over DTLS.
pub const COAPS: u16 = 5684;

/// TLS library that libcoap was built with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flavour {
    /// OpenSSL.
    OpenSsl,
    /// GnuTLS.
    GnuTls,
    /// None: CoAP in the clear.
    NoTls,
}

impl Flavour {
    /// Name of the client program.
    pub fn client(self) -> String {
        format!("coap-client-{}", self.suffix())
    }

    /// Name of the server program.
    pub fn server(self) -> String {
        format!("coap-server-{}", self.suffix())
    }

    fn suffix(self) -> &'static str {
        match self {
            Self::OpenSsl => "openssl",
            Self::GnuTls => "gnutls",
            Self::NoTls => "notls",
        }
    }
}

/// A running coap-server: `/`, `/time`, `/example_data`, and ten more that PUT makes.
#[derive(Debug)]
pub struct Server {
    /// The process; its log is at debug level.
    pub child: Child,
}

impl Server {
    /// Starts a server on `address`, ports [`COAP`] and, with a key, [`COAPS`].
    pub fn start(
        namespace: &Namespace,
        flavour: Flavour,
        address: IpAddr,
        psk: &Psk,
    ) -> Result<Self> {
        Self::start_with(namespace, flavour, address, psk, &[])
    }

    /// The same with further arguments of the program.
    pub fn start_with(
        namespace: &Namespace,
        flavour: Flavour,
        address: IpAddr,
        psk: &Psk,
        arguments: &[&str],
    ) -> Result<Self> {
        let mut command = namespace.command(&flavour.server());
        command.args(["-A", &address.to_string(), "-v", "7", "-d", "10"]).args(arguments);
        let ready = match flavour {
            Flavour::NoTls => SocketAddr::new(address, COAP),
            Flavour::OpenSsl | Flavour::GnuTls => {
                command.args(["-h", "lab"]).arg("-k").arg(psk.raw());
                SocketAddr::new(address, COAPS)
            }
        };
        let mut child = Child::spawn(command)?;
        child.wait_for_line(&format!("endpoint {ready}"), START)?;
        Ok(Self { child })
    }

    /// How many requests it has logged, of any method.
    pub fn requests(&self) -> usize {
        self.child.output().lines().filter(|line| line.contains("t:CON c:")).count()
    }
}

/// A coap-client to be: who asks, with which key, from where.
#[derive(Clone, Debug)]
pub struct Client<'a> {
    namespace: &'a Namespace,
    flavour: Flavour,
    psk: Psk,
    from: Option<(IpAddr, u16)>,
    name: Option<String>,
    port: Option<u16>,
    timeout: Duration,
    level: u8,
}

/// What a server answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// Code, such as `2.05`.
    pub code: String,
    /// Payload.
    pub body: Vec<u8>,
}

impl<'a> Client<'a> {
    /// A client in `namespace`.
    pub fn new(namespace: &'a Namespace, flavour: Flavour, psk: &Psk) -> Self {
        let psk = psk.clone();
        let (from, name, port, timeout, level) = (None, None, None, HANDSHAKE, 6);
        Self { namespace, flavour, psk, from, name, port, timeout, level }
    }

    /// Sends from an address and port; port 0 is any.
    pub fn from(mut self, address: IpAddr, port: u16) -> Self {
        self.from = Some((address, port));
        self
    }

    /// Calls the server by a host name, which then is its SNI; no DNS is needed.
    pub fn named(mut self, name: &str) -> Self {
        self.name = Some(name.to_owned());
        self
    }

    /// Asks at another port than the usual one.
    pub fn port(mut self, port: u16) -> Self {
        self.port = Some(port);
        self
    }

    /// Gives up after `timeout`, which libcoap counts in whole seconds.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Logs each step of the DTLS handshake and each retransmission too: an error has the log.
    pub fn verbose(mut self) -> Self {
        self.level = 7;
        self
    }

    /// Reads a resource as text; anything but 2.05 is an error.
    pub fn get(&self, server: IpAddr, path: &str) -> Result<String> {
        let response = self.request(server, path, &["-m", "get"])?;
        ensure!(response.code == "2.05", "GET {path}: {}", response.code);
        Ok(String::from_utf8(response.body)?)
    }

    /// Writes a resource; 2.01 and 2.04 are success.
    pub fn put(&self, server: IpAddr, path: &str, body: &str) -> Result<()> {
        let response = self.request(server, path, &["-m", "put", "-e", body])?;
        ensure!(["2.01", "2.04"].contains(&&*response.code), "PUT {path}: {}", response.code);
        Ok(())
    }

    /// Makes a request with further arguments of coap-client.
    pub fn request(&self, server: IpAddr, path: &str, arguments: &[&str]) -> Result<Response> {
        let body = NamedTempFile::new()?;
        let hosts = self.hosts(server)?;
        let mut command = self.command(hosts.as_ref().map(NamedTempFile::path));
        command.args(arguments).arg("-o").arg(body.path()).arg(self.uri(server, path));
        let mut child = Child::spawn(command)?;
        child.wait(self.timeout + START)?;
        let log = child.output();
        let Some((code, line)) = response_of(&log) else { bail!("no response: {log}") };
        let mut body = fs::read(body.path())?;
        // what explains an error is written to the log only
        if let Some((_, text)) = line.split_once(":: '")
            && body.is_empty()
        {
            body = text.trim_end_matches('\'').as_bytes().to_vec();
        }
        Ok(Response { code, body })
    }

    fn command(&self, hosts: Option<&Path>) -> Command {
        let mut command = match hosts {
            None => self.namespace.command(&self.flavour.client()),
            Some(hosts) => self.command_with_hosts(hosts),
        };
        let seconds = self.timeout.as_secs().max(1).to_string();
        command.args(["-v", &self.level.to_string(), "-B", &seconds]);
        if let Some((address, port)) = self.from {
            command.args(["-a", &address.to_string()]);
            if port != 0 {
                command.args(["-p", &port.to_string()]);
            }
        }
        if self.flavour != Flavour::NoTls {
            command.args(["-u", &self.psk.identity]).arg("-k").arg(self.psk.raw());
        }
        command
    }

    /// The client behind a private `/etc/hosts`.
    fn command_with_hosts(&self, hosts: &Path) -> Command {
        let mut command = self.namespace.command("unshare");
        command.args(["--mount", "sh", "-c", "mount --bind \"$0\" /etc/hosts && exec \"$@\""]);
        command.arg(hosts).arg(self.flavour.client());
        command
    }

    fn hosts(&self, server: IpAddr) -> Result<Option<NamedTempFile>> {
        let Some(name) = &self.name else {
            return Ok(None);
        };
        let file = NamedTempFile::new()?;
        fs::write(file.path(), format!("{server} {name}\n")).context("private hosts file")?;
        Ok(Some(file))
    }

    fn uri(&self, server: IpAddr, path: &str) -> String {
        let mut uri =
            String::from(if self.flavour == Flavour::NoTls { "coap://" } else { "coaps://" });
        let _ = match (&self.name, server) {
            (Some(name), _) => write!(uri, "{name}"),
            (None, IpAddr::V4(address)) => write!(uri, "{address}"),
            (None, IpAddr::V6(address)) => write!(uri, "[{address}]"),
        };
        if let Some(port) = self.port {
            let _ = write!(uri, ":{port}");
        }
        uri + "/" + path
    }
}

/// Code and line of the last response in a client's log, `v:1 t:ACK c:2.05 i:…`; before an error
/// the client has said its code already, on the same line.
fn response_of(log: &str) -> Option<(String, &str)> {
    let messages = log.lines().filter_map(|line| line.find("v:1 ").and_then(|at| line.get(at..)));
    let mut codes = messages.filter_map(|line| {
        let code = line.split(' ').find_map(|word| word.strip_prefix("c:"))?;
        Some((code.to_owned(), line))
    });
    codes.rfind(|(code, _)| code.starts_with(['2', '4', '5']))
}
