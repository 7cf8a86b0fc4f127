//! What authentication's keys mean, and what is said about wrong ones.
use super::*;
use crate::config::Config;
use gateway_common::decide::rate::Rate;

fn config(text: &str) -> Auth {
    Config::parse(text, "-").unwrap().auth
}

fn refusal(text: &str) -> String {
    Config::parse(text, "gateway.toml").unwrap_err().to_string()
}

fn name(kind: Kind, text: &str) -> Name {
    Name::new(kind, text).unwrap()
}

#[test]
fn an_identity_has_what_it_says_and_else_the_usual() {
    let auth = config(
        "[auth]\nlongest = \"10m\"\n[auth.https]\nlisten = [\"[::]:4433\"]\n\
         [[auth.identity]]\nname = \"pump-7.example\"\nnodes = [\"2001:db8:1::10\"]\n\
         ports = [5684]\nrate = \"20/s\"\nleases = 2\n\
         [[auth.identity]]\nname = \"*\"\nlongest = \"1m\"\ntunnel = true\n",
    );
    let [pump, all] = auth.identities.as_slice() else { panic!("{auth:?}") };
    assert_eq!(pump.limits.packets, Rate::per_second(20, 40));
    assert_eq!(pump.limits.bytes, Config::default().rates.source.bytes);
    assert_eq!((pump.longest, pump.leases), (Duration::from_mins(10), 2));
    assert_eq!((all.longest, all.tunnel), (Duration::from_mins(1), true));
    assert_eq!(auth.ports(), [4433]);
}

#[test]
fn ports_for_keys_are_the_agents_own() {
    let auth = config(
        "[auth.https]\nlisten = [\"[::]:4433\"]\n[auth.psk]\nlisten = [\"[::]:5684\"]\n\
         keys = \"/root/psk\"\n[auth.tunnel]\nflows = 2\nidle = \"30s\"\n",
    );
    assert_eq!(auth.ports(), [4433, 5684]);
    assert_eq!(auth.psk.keys, std::path::Path::new("/root/psk"));
    assert_eq!((auth.tunnel.flows, auth.tunnel.idle), (2, Duration::from_secs(30)));
    let both = "[auth.psk]\nlisten = [\"[::]:5684\"]\n\
                [auth.dtls]\nlisten = [\"[::]:5684\", \"[::1]:7\"]\n";
    let config = Config::parse(both, "-").unwrap();
    assert_eq!((config.auth.ports(), config.cookie_ports()), (vec![5684, 7], vec![7, 5684]));
    assert!(config.auth.takes_certificates());
    let wrong = refusal("[auth.dtls]\nkeys = 0");
    assert!(wrong.contains("unknown") && wrong.contains("keys"), "{wrong}");
    let wrong = refusal("[auth.psk]\nhandshakes = 0");
    assert_eq!(wrong, "gateway.toml:2: auth.psk.handshakes = 0: expected 1 to 65536");
}

#[test]
fn the_first_policy_that_covers_a_name_applies() {
    let auth = config(
        "[[auth.identity]]\nname = \"urn:dev:ops:1\"\n[[auth.identity]]\nname = \"*.Example\"\n",
    );
    let dns = |text| [name(Kind::Dns, text)];
    let of = |names: &[Name]| auth.policy(names).map(|(policy, _)| policy.name.to_string());
    assert_eq!(of(&dns("a.EXAMPLE")), Some("*.example".into()));
    assert_eq!(of(&dns("example")), None);
    assert_eq!(of(&[name(Kind::Email, "a.example")]), None);
    let both = [name(Kind::Dns, "a.example"), name(Kind::Uri, "urn:dev:ops:1")];
    assert_eq!(of(&both), Some("urn:dev:ops:1".into()));
    assert_eq!(of(&[]), None);
}

#[test]
fn names_that_no_listing_could_show_are_none() {
    for text in ["", "*", "a b", "a\nb", "ü", &"a".repeat(257)] {
        assert_eq!(Name::new(Kind::Uri, text), None, "{text:?}");
    }
    for text in ["", "a*", "*a.example", "*.", "*.*.example"] {
        assert!(Pattern::parse(text).is_err(), "{text:?}");
    }
}

#[test]
fn a_wrong_value_names_line_key_and_what_is_allowed() {
    let cases = [
        (
            "[[auth.identity]]\nname = \"a\"\n[[auth.identity]]\nname = \"a\"",
            "4: auth.identity[1].name = \"a\": has an entry already",
        ),
        (
            "[[auth.identity]]\nname = \"a\"\nburst = 3",
            "3: auth.identity[0].burst = a burst: needs rate beside it",
        ),
        (
            "[auth.https]\nlisten = [\"[::]\"]",
            "2: auth.https.listen[0] = \"[::]\": expected an address and a port such as \
             \"[::]:4433\" (every address, IPv4 too), \"[2001:db8::1]:4433\" or \"192.0.2.1:4433\"",
        ),
        ("[auth]\nlongest = \"0s\"", "2: auth.longest = \"0s\": expected 1s to 30days"),
        (
            "[[auth.identity]]\nname = \"a\"\nnode = []",
            "3: unknown key auth.identity[0].node (did you mean nodes?); known here: burst, \
             byte_burst, bytes, leases, longest, name, nodes, ports, rate, tunnel",
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(refusal(text), format!("gateway.toml:{expected}"));
    }
}
