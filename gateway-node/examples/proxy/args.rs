//! What can be said on the command line.

use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    str::FromStr,
};

use clap::{Parser, ValueEnum};
use gateway_node::{
    Config, Cookie, DATAGRAM_MIN, Psk,
    proxy::{BlockSize, Endpoint, Mapping, Node, Prefix, Settings},
};

use crate::{
    border::{DATAGRAM, SESSIONS},
    keys::{self, Identity, Key},
};

/// An HTTP-CoAP proxy inside the LLN: HTTP over TLS-PSK that a border router maps, CoAP to the nodes
#[derive(Parser)]
pub(crate) struct Args {
    /// Address and port to listen on
    #[arg(long, default_value = "[::]:5684")]
    pub(crate) listen: SocketAddr,
    /// Identity of a client; one for each --psk
    #[arg(long)]
    psk_identity: Vec<String>,
    /// Key of that client in hexadecimal digits; others on this machine can see it, so use --keys
    #[arg(long)]
    psk: Vec<Key>,
    /// File that only its owner may read, with a line `identity:key` for each client, the key in
    /// hexadecimal digits
    #[arg(long, value_name = "FILE")]
    keys: Option<PathBuf>,
    /// A node: NAME=coap://address[:port] or NAME=coaps://address[:port]?identity=ID, with brackets
    /// around an IPv6 address; clients reach it as /NAME/path
    #[arg(long, value_name = "NAME=URI")]
    node: Vec<NodeArg>,
    /// File like that of --keys, with the keys for the identities of coaps nodes
    #[arg(long, value_name = "FILE")]
    node_keys: Option<PathBuf>,
    /// A path of a node that clients may reach, with all below it; without any, all but
    /// /.well-known/core
    #[arg(long, value_name = "NAME/PATH")]
    allow: Vec<String>,
    /// A prefix of which every node can be reached as /hc/coap://address/path
    #[arg(long, value_name = "ADDRESS/LENGTH", value_parser = prefix)]
    prefix: Vec<Prefix>,
    /// Largest block in CoAP: 16, 32, 64, 128, 256, 512 or 1024 bytes
    #[arg(long, default_value = "256", value_parser = block)]
    block: BlockSize,
    /// Send media types without a Content-Format as their most similar one
    #[arg(long)]
    loose: bool,
    /// Take application/coap-payload;cf=N from clients
    #[arg(long)]
    pass_unknown: bool,
    /// What the proxy calls itself in Via
    #[arg(long, default_value = "hc")]
    name: String,
    /// Where HTTP clients find the proxy, told to CoAP clients that look for it
    #[arg(long, value_name = "https://HOST[:PORT]")]
    origin: Option<String>,
    /// Most bytes in a datagram to a client, 80 to 1472
    #[arg(long, default_value_t = 1_232, value_parser = datagram())]
    max_datagram: u16,
    /// Records on the way to a client, 1 to 4
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=4))]
    arq_window: u8,
    /// Milliseconds before a record to a client is sent again
    #[arg(long, default_value_t = 2_000)]
    arq_timeout: u32,
    /// Milliseconds before a flight of a client's handshake is sent again
    #[arg(long, default_value_t = 9_000)]
    flight_timeout: u32,
    /// Who asks a native client for a cookie
    #[arg(long, value_enum, default_value_t = CookieArg::Required)]
    cookie: CookieArg,
    /// Milliseconds before a message to a node is sent again
    #[arg(long, default_value_t = 2_000)]
    ack_timeout: u32,
}

/// Sizes that the engine takes: what cannot be cut must fit, and a record of the engine holds no more.
fn datagram() -> clap::builder::RangedI64ValueParser<u16> {
    clap::value_parser!(u16).range(DATAGRAM_MIN as i64..=DATAGRAM as i64)
}

#[derive(Clone, Copy, ValueEnum)]
enum CookieArg {
    /// The proxy does
    Required,
    /// The border router does: any cookie is taken, and a mapped client needs none
    Foreign,
    /// Nobody does
    Off,
}

/// A node as it was typed.
#[derive(Clone)]
struct NodeArg {
    name: String,
    endpoint: Endpoint,
    identity: Option<String>,
}

impl FromStr for NodeArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let form = "write NAME=coap://address[:port] or NAME=coaps://address[:port]?identity=ID";
        let (name, uri) = text.split_once('=').ok_or(form)?;
        let (scheme, rest) = uri.split_once("://").ok_or(form)?;
        let (authority, identity) = match rest.split_once("?identity=") {
            Some((authority, identity)) => (authority, Some(identity.to_string())),
            None => (rest, None),
        };
        let secure = match scheme {
            "coap" => false,
            "coaps" => true,
            _ => return Err(form.to_string()),
        };
        match (secure, &identity) {
            (true, None) => return Err("a coaps node needs ?identity=ID".to_string()),
            (false, Some(_)) => return Err("a coap node has no identity".to_string()),
            (true, Some(_)) | (false, None) => {}
        }
        let port = if secure { 5684 } else { 5683 };
        let address = address(authority.trim_end_matches('/'), port)
            .ok_or_else(|| format!("{authority:?} is not address[:port]; {form}"))?;
        Ok(Self { name: name.to_string(), endpoint: Endpoint { secure, address }, identity })
    }
}

impl Args {
    pub(crate) fn settings(&self) -> Result<Settings, String> {
        let mut nodes: Vec<_> = self.node.iter().map(|node| node.without_paths()).collect();
        for allowed in &self.allow {
            let (name, path) = allowed.split_once('/').unwrap_or((allowed, ""));
            let node = nodes.iter_mut().find(|node| node.name == name);
            let node = node.ok_or_else(|| format!("--allow {allowed}: no --node has this name"))?;
            node.allow.push(format!("/{path}"));
        }
        if nodes.is_empty() && self.prefix.is_empty() {
            return Err("nothing to serve: give a --node or a --prefix".to_string());
        }
        let mut settings = Settings::new(nodes);
        settings.prefixes.clone_from(&self.prefix);
        settings.name.clone_from(&self.name);
        settings.origin.clone_from(&self.origin);
        settings.mapping = Mapping { loose: self.loose, pass_unknown: self.pass_unknown };
        settings.limits.block = self.block;
        settings.limits.connections = SESSIONS;
        settings.timing.ack_timeout = self.ack_timeout.max(1);
        Ok(settings)
    }

    pub(crate) fn config(&self) -> Config {
        Config {
            cookie: match self.cookie {
                CookieArg::Required => Cookie::Required,
                CookieArg::Foreign => Cookie::Foreign,
                CookieArg::Off => Cookie::Off,
            },
            max_datagram: self.max_datagram.into(),
            ack_window: self.arq_window,
            ack_timeout: self.arq_timeout,
            flight_timeout: self.flight_timeout,
            ..Config::default()
        }
    }

    /// Keys of clients.
    pub(crate) fn client_keys(&self) -> Result<Vec<(Vec<u8>, Psk)>, String> {
        keys::of_clients(&self.psk_identity, &self.psk, self.keys.as_deref())
    }

    /// The identity and key for each coaps node.
    pub(crate) fn node_keys(&self) -> Result<Vec<(Endpoint, Identity)>, String> {
        let known = self.node_keys.as_deref().map(keys::read).transpose()?.unwrap_or_default();
        let secure = self.node.iter().filter_map(|node| Some((node, node.identity.as_ref()?)));
        let find = |(node, identity): (&NodeArg, &String)| {
            let entry = known.iter().find(|(name, _)| name == identity.as_bytes());
            let missing =
                || format!("--node {}: --node-keys has no key for {identity:?}", node.name);
            entry.cloned().map(|entry| (node.endpoint, entry)).ok_or_else(missing)
        };
        secure.map(find).collect()
    }
}

impl NodeArg {
    fn without_paths(&self) -> Node {
        Node { name: self.name.clone(), endpoint: self.endpoint, allow: Vec::new() }
    }
}

fn address(authority: &str, port: u16) -> Option<SocketAddr> {
    let bare = authority.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let with_port = || bare.unwrap_or(authority).parse().ok().map(|ip| SocketAddr::new(ip, port));
    authority.parse().ok().or_else(with_port)
}

fn prefix(text: &str) -> Result<Prefix, String> {
    let (address, length) = text.split_once('/').ok_or("write ADDRESS/LENGTH")?;
    let address: IpAddr = address.parse().map_err(|_| format!("{address:?} is no address"))?;
    let most = if address.is_ipv4() { 32 } else { 128 };
    let length = length.parse().ok().filter(|length| *length <= most);
    Ok(Prefix { address, length: length.ok_or_else(|| format!("the length is 0 to {most}"))? })
}

fn block(text: &str) -> Result<BlockSize, String> {
    let size = text.parse().ok().and_then(BlockSize::of);
    size.ok_or_else(|| "take 16, 32, 64, 128, 256, 512 or 1024".to_string())
}
