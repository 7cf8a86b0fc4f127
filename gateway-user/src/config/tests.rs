//! What a file means, and what is said about a wrong one.
use super::*;
use proptest::prelude::*;

fn refusal(text: &str) -> String {
    Config::parse(text, "gateway.toml").unwrap_err().to_string()
}

#[test]
fn a_table_that_stands_twice_is_named() {
    let error = Config::parse("[lln]\n[mapper]\n[lln]\n", "gateway.toml").unwrap_err().to_string();
    assert!(
        error.starts_with("gateway.toml:3: ") && error.contains("duplicate key lln"),
        "{error}"
    );
}

#[test]
fn an_empty_file_is_the_default() {
    assert_eq!(Config::parse("", "-").unwrap(), Config::default());
}

#[test]
fn the_documented_file_is_the_default() {
    assert_eq!(Config::parse(&documented(), "-").unwrap(), Config::default());
}

#[test]
fn the_documented_file_has_every_key_and_no_other() {
    let written: toml::Table = documented().parse().unwrap();
    let known = toml::Table::try_from(file::File::default()).unwrap();
    assert_eq!(written, known);
}

#[test]
fn keys_mean_what_they_say() {
    let text = "[lln]\nprefixes = [\"2001:db8:1::/64\", \"192.0.2.0/24\"]\n\
                [rate.node]\npackets = \"unlimited\"\nbyte_burst = 4096\n\
                [replay]\nmode = \"record\"\n[agent]\nports = [4433]\n";
    let config = Config::parse(text, "-").unwrap();
    assert_eq!(config.lln.prefixes.len(), 2);
    assert!(config.rates.node.packets.is_unlimited());
    assert_eq!(config.rates.node.bytes, Rate::per_second(8192, 4096));
    assert_eq!(config.rates.lln.packets, Rate::per_second(100, 200));
    assert_eq!(config.replay.mode.code(), replay_mode::RECORD);
    assert_eq!(config.agent.ports, [4433]);
}

#[test]
fn an_unknown_key_names_its_neighbours() {
    assert_eq!(
        refusal("[lln]\n\n[rate.node]\npacket = \"1/s\"\n"),
        "gateway.toml:4: unknown key rate.node.packet (did you mean packets?); known here: \
         byte_burst, bytes, packet_burst, packets"
    );
    assert_eq!(
        refusal("colour = 1"),
        "gateway.toml:1: unknown key colour; known here: agent, auth, cookies, interfaces, lln, log, mapper, rate, \
         replay, sources, state"
    );
    assert!(refusal("rate.node.pakets = 1").contains("(did you mean packets?)"));
    assert!(refusal("log = { levle = \"info\" }").contains("unknown key log.levle"));
}

#[test]
fn a_wrong_value_names_line_key_and_what_is_allowed() {
    let cases = [
        (
            "[rate.node]\npackets = \"20/m\"",
            "2: rate.node.packets = \"20/m\": expected packets a second such as \"50/s\", or \
             \"unlimited\"",
        ),
        (
            "[rate.lln]\nbyte_burst = 1279",
            "2: rate.lln.byte_burst = \"1279\": expected 1280B (the largest datagram) to 1GiB",
        ),
        (
            "[rate.unproven]\npacket_burst = 0",
            "2: rate.unproven.packet_burst = 0: expected 1 to 1000000",
        ),
        (
            "[agent]\nports = [\n  4433,\n  70000,\n]",
            "4: agent.ports[1] = 70000: expected a port, 1 to 65535",
        ),
        (
            "[lln]\nports = 1\nprefixes = 1",
            "2: unknown key lln.ports; known here: dtls_ports, mapped_ports, max_datagram, prefixes",
        ),
        (
            "[lln]\nprefixes = [\"2001:db8::1/64\"]",
            "2: lln.prefixes[0] = \"2001:db8::1/64\": has bits set behind the prefix: write \
             \"2001:db8::/64\", or \"2001:db8::1\"",
        ),
        (
            "[lln]\nprefixes = [\"::/0\"]",
            "2: lln.prefixes[0] = \"::/0\": is every address, the router's own traffic too: name \
             the LLN's prefix",
        ),
        (
            "[lln]\nprefixes = [\"fe80::/10\"]",
            "2: lln.prefixes[0] = \"fe80::/10\": is link-local, which no router forwards: name the \
             prefix that is routed",
        ),
        (
            "[lln]\nprefixes = [\"2001:db8::/32\", \"fe00::/8\"]",
            "2: lln.prefixes[1] = \"fe00::/8\": is link-local, which no router forwards: name the \
             prefix that is routed",
        ),
        ("[lln]\nmax_datagram = -1", "2: lln.max_datagram = -1: expected 128 to 1500"),
        (
            "[lln]\ndtls_ports = [1,2,3,4,5,6,7,8,9]",
            "2: lln.dtls_ports = 9 elements: expected at most 8",
        ),
        (
            "[replay]\npages = 1000",
            "2: replay.pages = 1000: expected a power of two such as 512 or 1024",
        ),
        (
            "[replay]\nmode = \"window\"",
            "2: replay.mode = \"window\": expected one of \"pair\", \"record\", \"off\"",
        ),
        (
            "[state]\nallow = \"allow.toml\"",
            "2: state.allow = \"allow.toml\": expected an absolute path",
        ),
        (
            "[interfaces]\nwan = [\"eth0\"]\nlln = [\"eth0\"]",
            "3: interfaces.lln[0] = \"eth0\": is in interfaces.wan too: an interface has one side",
        ),
        (
            "[interfaces]\nwan = [\"../eth0\"]",
            "2: interfaces.wan[0] = \"../eth0\": expected the name of an interface, of 1 to 15 \
             bytes",
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(refusal(text), format!("gateway.toml:{expected}"));
    }
}

#[test]
fn a_value_of_the_wrong_kind_names_its_key() {
    assert_eq!(
        refusal("[log]\nkernel = \"yes\""),
        "gateway.toml:2: log.kernel = \"yes\": expected a boolean"
    );
    assert_eq!(
        refusal("[interfaces]\nwan = [\"a\", 7]"),
        "gateway.toml:2: interfaces.wan[1] = 7: expected a string"
    );
    assert_eq!(
        refusal("[rate.node]\nbytes = true"),
        "gateway.toml:2: rate.node.bytes = true: expected a quantity such as \"50/s\", \
         \"16KiB/s\" or \"32KiB\""
    );
    assert_eq!(
        refusal("[interfaces]\nwan = \"eth0\""),
        "gateway.toml:2: interfaces.wan = \"eth0\": expected an array: [...], with commas between \
         its elements"
    );
    assert_eq!(
        refusal("[lln]\nmax_datagram = 1e3"),
        "gateway.toml:2: lln.max_datagram = 1e3: expected a whole number"
    );
    assert_eq!(
        refusal("[auth]\nidentity = [1]"),
        "gateway.toml:2: auth.identity[0] = 1: expected a table"
    );
    assert_eq!(refusal("\nlog = 1"), "gateway.toml:2: log = 1: expected a table: [log]");
}

#[test]
fn what_is_no_toml_names_its_line() {
    let error = refusal("[log]\nlevel = \n");
    assert!(error.starts_with("gateway.toml:2: not valid TOML: "), "{error}");
}

#[test]
fn a_missing_file_is_named() {
    let error = Config::load("/nonexistent/gateway.toml").unwrap_err();
    assert_eq!(error.to_string(), "cannot read /nonexistent/gateway.toml");
}

#[test]
fn a_missing_interface_is_named_with_those_that_are() {
    let mut config = Config::default();
    config.interfaces.wan = vec!["lo".to_owned()];
    check_interfaces(&config).unwrap();
    config.interfaces.lln = vec!["wpan77".to_owned()];
    let error = check_interfaces(&config).unwrap_err().to_string();
    assert!(error.starts_with("interfaces.lln: no interface \"wpan77\" here; there are: "));
    assert!(error.contains("lo"), "{error}");
}

#[test]
fn json_shows_rates_as_they_are_written() {
    let json = serde_json::to_value(Config::default()).unwrap();
    assert_eq!(json["rate"]["source"]["bytes"]["per_second"], 16_384);
    assert_eq!(json["rate"]["source"]["bytes"]["burst"], 32_768);
    assert_eq!(json["rate"]["agent"]["per_second"], 20);
    assert_eq!(json["interfaces"]["mode"], "auto");
    assert_eq!(json["state"]["allow"], "/etc/gateway/allow.toml");
    let unlimited = Config::parse("agent.rate = \"unlimited\"", "-").unwrap();
    let json = serde_json::to_value(unlimited).unwrap();
    assert_eq!(json["rate"]["agent"]["per_second"], serde_json::Value::Null);
}

proptest! {
    #[test]
    fn no_bytes_panic(bytes: Vec<u8>) {
        let _ = Config::parse(&String::from_utf8_lossy(&bytes), "-");
    }

    #[test]
    fn no_lines_panic(lines in proptest::collection::vec(
        "(\\[(rate|lln|log|rate\\.node)\\]|(packets|bytes|prefixes|rate\\.lln) = ([0-9]{1,20}|\"[0-9a-f:/]*\"|\\[[1-9, \"]*\\]|\\{\\}))",
        0..6,
    )) {
        let _ = Config::parse(&lines.join("\n"), "-");
    }
}
