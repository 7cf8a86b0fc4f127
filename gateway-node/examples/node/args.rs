//! What can be said on the command line.

use std::{net::SocketAddr, path::PathBuf};

use clap::{Parser, ValueEnum};
use gateway_node::{Config, Cookie, DATAGRAM_MIN, Psk};

use crate::{
    keys::{self, Key},
    node::DATAGRAM,
};

/// A node: CoAP over DTLS-PSK, and HTTP over TLS-PSK that a border router maps
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
    /// Most bytes in a datagram that is sent, 80 to 1472
    #[arg(long, default_value_t = 1_232, value_parser = datagram())]
    max_datagram: u16,
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

/// Sizes that the engine takes: what cannot be cut must fit, and a record of the engine holds no more.
fn datagram() -> clap::builder::RangedI64ValueParser<u16> {
    clap::value_parser!(u16).range(DATAGRAM_MIN as i64..=DATAGRAM as i64)
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

impl Args {
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
            handshake_lifetime: self.handshake.saturating_mul(1_000),
            idle_timeout: self.idle.saturating_mul(1_000),
            ..Config::default()
        }
    }

    /// Keys of clients.
    pub(crate) fn client_keys(&self) -> Result<Vec<(Vec<u8>, Psk)>, String> {
        keys::of_clients(&self.psk_identity, &self.psk, self.keys.as_deref())
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt};

    use super::*;

    const CLIENT: [&str; 4] = ["--psk-identity", "a", "--psk", "6b6579"];

    fn parse(arguments: &[&str]) -> Result<Args, String> {
        let all = ["node"].iter().chain(arguments);
        Args::try_parse_from(all).map_err(|error| error.to_string())
    }

    fn refusal(arguments: &[&str]) -> String {
        let keys = parse(arguments).and_then(|args| args.client_keys());
        keys.map(|keys| keys.len()).expect_err("refused")
    }

    #[test]
    fn identities_and_keys_that_do_not_pair_are_counted() {
        let said = refusal(&[&CLIENT[..], &["--psk-identity", "b"]].concat());
        assert!(said.contains("2 --psk-identity and 1 --psk"), "{said}");
        let said = refusal(&["--psk", "00"]);
        assert!(said.contains("0 --psk-identity and 1 --psk"), "{said}");
        assert!(refusal(&[]).contains("no client could connect"));
    }

    #[test]
    fn key_is_pairs_of_hexadecimal_digits() {
        let long = "00".repeat(65);
        for wrong in ["+1+2", "0", "0g", "0x12", "\u{e9}", "", &long] {
            let said = refusal(&["--psk-identity", "a", "--psk", wrong]);
            assert!(said.contains("hexadecimal") || said.contains("1 to 64 bytes"), "{said}");
        }
        let keys = parse(&CLIENT).and_then(|args| args.client_keys()).expect("a client");
        assert!(keys.iter().map(|(identity, _)| identity).eq([b"a"]));
    }

    #[test]
    fn datagram_is_one_that_the_engine_can_send() {
        let config = |size| {
            let args = parse(&[&CLIENT[..], &["--max-datagram", size]].concat())?;
            Ok::<_, String>(args.config().max_datagram)
        };
        assert_eq!((config("80"), config("1472")), (Ok(80), Ok(1_472)));
        for wrong in ["1", "79", "1473", "100000", "-1"] {
            assert!(config(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn keys_come_from_a_file_that_only_its_owner_can_read() {
        let path = std::env::temp_dir().join(format!("node-keys-{}", std::process::id()));
        fs::write(&path, "# clients\n\nb:6b6579\nurn:c:00\n").expect("a file");
        let file = path.to_str().expect("a name");
        let read = |mode| {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("a mode");
            let args = parse(&[&CLIENT[..], &["--keys", file]].concat())?;
            let keys = args.client_keys()?;
            Ok::<_, String>(keys.into_iter().map(|(identity, _)| identity).collect::<Vec<_>>())
        };
        let (open, own) = (read(0o644), read(0o600));
        fs::remove_file(&path).expect("removed");
        assert!(open.is_err_and(|said| said.contains("chmod 600")));
        assert_eq!(own, Ok(vec![b"a".to_vec(), b"b".to_vec(), b"urn:c".to_vec()]));
        assert!(refusal(&["--keys", file]).contains(file), "a file that is not there");
    }
}
