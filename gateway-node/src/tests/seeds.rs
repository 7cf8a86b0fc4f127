//! Whole sessions for the fuzzer, which could not find one by chance: what clients sent, as steps of
//! `tests/fuzz/src/node.rs`, whose node has the random bytes that this one has.
//!
//! `WRITE_SEEDS=1 cargo test -p gateway-node seeds` writes them anew.

use std::{env, format, fs, path::Path, string::String, vec, vec::Vec};

use gateway_common::wire::dtls::content;

use crate::{
    Config, Origin, Suite,
    testing::{
        client::{Client, Wish},
        world::{Seen, World, open},
    },
};

/// Bits of the settings byte: which cookie.
const OFF: u8 = 0;
const REQUIRED: u8 = 1;

fn session(settings: u8, wish: Wish) -> Vec<u8> {
    let config = if settings == REQUIRED { Config::default() } else { open() };
    let mut world = World::new(config, 1);
    let mut client = Client::new(wish, 7);
    client.send(0, content::APPLICATION_DATA, b"GET / HTTP/1.1\r\n\r\n");
    client.close(0);
    world.join(client);
    world.run(20_000);
    assert!(matches!(world.seen[..], [Seen::Connected(..), Seen::Data(..), Seen::Closed(..)]));
    let mut script = vec![settings];
    for (_, datagram) in world.wire.iter().filter(|(to_server, _)| *to_server) {
        script.extend([0, 0]);
        script.extend((datagram.len() as u16).to_be_bytes());
        script.extend(datagram);
    }
    script
}

fn seeds() -> Vec<(String, Vec<u8>)> {
    let mut seeds = vec![];
    for (form, origin) in [("dtls", Origin::Dtls), ("tls", Origin::Tls)] {
        for suite in [Suite::Ccm8, Suite::Ccm] {
            for (secret, extended) in [("ems", true), ("plain", false)] {
                let suites = vec![suite as u16, 0x00ff];
                let wish = Wish { suites, extended, ..Wish::of(origin) };
                let name = format!("session-{form}-{suite:?}-{secret}").to_lowercase();
                seeds.push((name, session(OFF, wish)));
            }
        }
        let wish = Wish { fragment: 20, ..Wish::of(origin) };
        seeds.push((format!("session-{form}-fragmented"), session(OFF, wish)));
        seeds.push((format!("session-{form}-cookie"), session(REQUIRED, Wish::of(origin))));
        let stranger = fragment_of(origin);
        seeds.push((format!("session-{form}-unknown-extensions"), session(OFF, stranger)));
    }
    seeds
}

fn fragment_of(origin: Origin) -> Wish {
    let extensions =
        [&[0x0a, 0x0a, 0, 1, 0][..], &[0, 1, 0, 1, 2], &[0, 43, 0, 3, 2, 3, 4]].concat();
    let alpn = b"\x00\x10\x00\x0e\x00\x0c\x02h2\x08http/1.1";
    Wish { extensions: [extensions, alpn.to_vec()].concat(), ..Wish::of(origin) }
}

#[test]
fn corpus_of_the_fuzzer_has_whole_sessions() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fuzz/corpus/node");
    for (name, seed) in seeds() {
        let path = folder.join(&name);
        if env::var_os("WRITE_SEEDS").is_some() {
            fs::create_dir_all(&folder).expect("a folder");
            fs::write(&path, &seed).expect("a file");
        }
        assert!(fs::read(&path).is_ok_and(|kept| kept == seed), "{name} is stale: WRITE_SEEDS=1");
    }
}
