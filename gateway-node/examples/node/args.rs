//! What can be said on the command line.

use std::{net::SocketAddr, str::FromStr};

use clap::{Parser, ValueEnum};
use gateway_node::{Config, Cookie, Psk};

/// A node: CoAP over DTLS-PSK, and HTTP over TLS-PSK that a border router maps
#[derive(Parser)]
pub(crate) struct Args {
    /// Address and port to listen on
    #[arg(long, default_value = "[::]:5684")]
    pub(crate) listen: SocketAddr,
    /// Identity of a client; one for each --psk
    #[arg(long, required = true)]
    psk_identity: Vec<String>,
    /// Key of that client, in hexadecimal digits
    #[arg(long, required = true)]
    psk: Vec<Key>,
    /// Most bytes in a datagram that is sent
    #[arg(long, default_value_t = 1_232)]
    max_datagram: usize,
    /// Records on the way to a mapped client, 1 to 4
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=4))]
    arq_window: u8,
    /// Milliseconds before a record to a mapped client is sent again
    #[arg(long, default_value_t = 2_000)]
    arq_timeout: u32,
    /// Milliseconds before a flight of a handshake is sent again
    #[arg(long, default_value_t = 9_000)]
    flight_timeout: u32,
    /// Seconds after which a handshake that is not complete is forgotten
    #[arg(long, default_value_t = 60)]
    handshake: u32,
    /// Seconds after which a silent session ends
    #[arg(long, default_value_t = 300)]
    idle: u32,
    /// Who asks a native client for a cookie
    #[arg(long, value_enum, default_value_t = CookieArg::Required)]
    cookie: CookieArg,
}

#[derive(Clone, Copy, ValueEnum)]
enum CookieArg {
    /// This node does
    Required,
    /// The border router does: any cookie is taken, and a mapped client needs none
    Foreign,
    /// Nobody does
    Off,
}

/// A key in hexadecimal digits.
#[derive(Clone)]
pub(crate) struct Key(Psk);

impl FromStr for Key {
    type Err = String;

    fn from_str(digits: &str) -> Result<Self, Self::Err> {
        let even = digits.len().is_multiple_of(2) && digits.is_ascii();
        let pairs = digits.as_bytes().chunks(2).map(|pair| {
            let pair = std::str::from_utf8(pair).unwrap_or_default();
            u8::from_str_radix(pair, 16).ok()
        });
        let bytes = pairs.collect::<Option<Vec<u8>>>().filter(|_| even);
        let bytes = bytes.ok_or("not pairs of hexadecimal digits")?;
        Psk::new(&bytes).map(Self).ok_or_else(|| "not 1 to 64 bytes".to_owned())
    }
}

impl Args {
    pub(crate) fn config(&self) -> Config {
        Config {
            cookie: match self.cookie {
                CookieArg::Required => Cookie::Required,
                CookieArg::Foreign => Cookie::Foreign,
                CookieArg::Off => Cookie::Off,
            },
            max_datagram: self.max_datagram,
            ack_window: self.arq_window,
            ack_timeout: self.arq_timeout,
            flight_timeout: self.flight_timeout,
            handshake_lifetime: self.handshake.saturating_mul(1_000),
            idle_timeout: self.idle.saturating_mul(1_000),
            ..Config::default()
        }
    }

    /// Identities with their keys.
    pub(crate) fn keys(&self) -> Vec<(Vec<u8>, Psk)> {
        let keys = self.psk.iter().map(|Key(psk)| psk.clone());
        self.psk_identity.iter().map(|name| name.as_bytes().to_vec()).zip(keys).collect()
    }
}
