//! The examples of RFC 8075 §5, and what must not get through.

use alloc::vec;

use proptest::prelude::*;

use super::*;
use crate::proxy::settings::Prefix;

fn settings() -> Settings {
    let node = |name: &str, secure, address: &str, allow: &[&str]| Node {
        name: name.to_string(),
        endpoint: Endpoint { secure, address: address.parse().expect("an address") },
        allow: allow.iter().map(ToString::to_string).collect(),
    };
    let mut settings = Settings::new(vec![
        node("lamp", false, "[2001:db8::1]:5683", &[]),
        node("lock", true, "[2001:db8::2]:5684", &["/state", "/log/new"]),
    ]);
    settings.prefixes =
        vec![Prefix { address: "2001:db8:1::".parse().expect("an address"), length: 64 }];
    settings
}

fn target(text: &str) -> (String, Vec<(u16, String)>) {
    match resolve(&settings(), text).expect(text) {
        Resource::Coap(target) => {
            let text = |value| String::from_utf8(value).expect("UTF-8");
            let options = target.options.into_iter().map(|(n, value)| (n, text(value))).collect();
            (target.endpoint.to_string(), options)
        }
        Resource::Links(_) => panic!("{text} is a resource of the proxy"),
    }
}

fn status(text: &str) -> u16 {
    resolve(&settings(), text).expect_err(text).status
}

#[test]
fn every_form_names_the_same_resource() {
    let light = vec![(11, "light".to_string()), (15, "on".to_string()), (15, "dim=5".to_string())];
    for text in [
        "/lamp/light?on&dim=5",
        "/hc/coap://%5B2001:db8::1%5D/light?on&dim=5",
        "/hc/coap://%5B2001:db8::1%5D:5683/light?on&dim=5",
        "/hc/COAP://[2001:DB8::1]:/light?on&dim=5",
        "/hc/coap://lamp/light?on&dim=5",
        "/hc/?target_uri=coap://lamp/light?on&dim=5",
        "/hc/?target_uri=coap%3A%2F%2Flamp%2Flight%3Fon%26dim%3D5",
        "/hc/coap/lamp/light?on&dim=5",
        "/hc/coap/%5B2001:db8::1%5D/light?on&dim=5",
        "coap://lamp/light?on&dim=5",
        "https://proxy.example/lamp/light?on&dim=5",
        "http://proxy.example/hc/coap://lamp/light?on&dim=5",
    ] {
        assert_eq!(
            target(text),
            ("coap://[2001:db8::1]:5683".to_string(), light.clone()),
            "{text}"
        );
    }
}

#[test]
fn paths_become_options_as_in_rfc_7252_section_6_4() {
    let options = |text| target(text).1;
    let path = |parts: &[&str]| -> Vec<_> { parts.iter().map(|p| (11, p.to_string())).collect() };
    assert_eq!(options("/lamp"), path(&[]));
    assert_eq!(options("/lamp/"), path(&[]));
    assert_eq!(options("/lamp?"), path(&[]));
    assert_eq!(options("/lamp/a/"), path(&["a", ""]));
    assert_eq!(options("/lamp//a"), path(&["", "a"]));
    assert_eq!(options("/lamp/a%2Fb/%C3%A9"), path(&["a/b", "é"]));
}

#[test]
fn nodes_of_a_prefix_are_reached_by_address_only() {
    assert_eq!(target("/hc/coap://[2001:db8:1::9]:61616/x").0, "coap://[2001:db8:1::9]:61616");
    assert_eq!(status("/hc/coaps://[2001:db8:1::9]/x"), 403);
    assert_eq!(status("/hc/coap://[2001:db8:2::9]/x"), 403);
    assert_eq!(status("/hc/coap://192.0.2.1/x"), 403);
}

#[test]
fn a_scheme_is_not_exchanged_for_a_weaker_one() {
    assert_eq!(target("/hc/coaps://lock/state").0, "coaps://[2001:db8::2]:5684");
    assert_eq!(status("/hc/coap://lock/state"), 403);
    assert_eq!(status("/hc/coap://[2001:db8::2]:5684/state"), 403);
}

#[test]
fn what_is_not_allowed_is_not_reached_by_writing_it_otherwise() {
    assert_eq!(target("/lock/log/new/1").1.len(), 3);
    for text in [
        "/lock/log",
        "/lock/log%2Fnew",
        "/lock",
        "/lock/statement",
        "/lamp/.well-known/core",
        "/lamp/%2Ewell-known/c%6Fre?rt=x",
        "/hc/coap://lamp/.well-known/core",
    ] {
        assert_eq!(status(text), 403, "{text}");
    }
    for text in ["/lock/state/../log", "/lamp/%2e%2e/x", "/lamp/./x"] {
        assert_eq!(status(text), 400, "{text}");
    }
}

#[test]
fn multicast_and_names_are_forbidden() {
    for text in [
        "/hc/coap://%5Bff02::1%5D/.well-known/core",
        "/hc/coap://224.0.1.187/x",
        "/hc/coap://s.example.com/light",
    ] {
        assert_eq!(status(text), 403, "{text}");
    }
}

#[test]
fn malformed_targets_are_the_clients_fault() {
    for text in [
        "*",
        "lamp/x",
        "/hc/",
        "/hc/lamp/x",
        "/hc/coap:/lamp/x",
        "/hc//lamp/x",
        "/lamp/%zz",
        "/lamp/%4",
        "/lamp/%ff",
        "coap://lamp/x#y",
        "",
    ] {
        assert_eq!(status(text), 400, "{text}");
    }
    let long = "x".repeat(256);
    assert_eq!(status(&format!("/lamp/{long}")), 414);
    assert_eq!(status("/nobody/x"), 404);
    assert_eq!(status("/"), 404);
}

#[test]
fn the_proxys_own_links_are_no_node() {
    let links = Resource::Links("rt=core.hc".to_string());
    assert_eq!(resolve(&settings(), "/.well-known/core?rt=core.hc"), Ok(links));
}

#[test]
fn what_a_node_chose_is_encoded() {
    assert_eq!(encode("a b/é?&".as_bytes()), "a%20b%2F%C3%A9%3F%26");
}

proptest! {
    #[test]
    fn any_target_is_resolved_or_refused(text in "[ -~]{0,120}") {
        let _ = resolve(&settings(), &text);
        let _ = resolve(&settings(), &format!("/hc/coap://{text}"));
        let _ = resolve(&settings(), &format!("/lamp/{text}"));
    }

    #[test]
    fn encoding_is_undone_by_decoding(value in "\\PC{0,40}") {
        prop_assert_eq!(decode(&encode(value.as_bytes())).ok(), Some(value));
    }
}
