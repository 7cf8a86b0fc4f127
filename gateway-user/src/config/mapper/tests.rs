//! What `[mapper]` means, and what is said about a wrong one.
use super::*;
use crate::config::Config;

const LAMP: &str = "[[mapper.node]]\nname = \"lamp\"\naddress = \"2001:db8:1::10\"\n";

fn read(text: &str) -> Mapper {
    Config::parse(text, "-").unwrap().mapper
}

fn refusal(text: &str) -> String {
    Config::parse(text, "gateway.toml").unwrap_err().to_string()
}

#[test]
fn nothing_is_served_unless_a_way_is_named() {
    let mapper = Config::default().mapper;
    assert!(mapper.enabled && mapper.transparent);
    assert!(mapper.own_ports().is_empty());
    assert_eq!(mapper.leg.suites, [0xc0a8]);
    assert_eq!(mapper.limits.handshakes_per_node, 2);
}

#[test]
fn a_node_inherits_what_it_does_not_say() {
    let text = format!(
        "[mapper]\ndtls_port = 5700\nports = [443]\nsuites = [\"0x00a8\"]\n{LAMP}\
         server_names = [\"Lamp.Example\"]\nports = [8443]\nwindow = 4\n"
    );
    let mapper = read(&text);
    let node = &mapper.nodes[0];
    assert_eq!(node.address, "2001:db8:1::10".parse::<IpAddr>().unwrap());
    assert_eq!(node.server_names, ["lamp.example"]);
    assert_eq!(node.leg, Leg { window: 4, ..mapper.leg.clone() });
    assert_eq!((node.leg.dtls_port, &node.leg.suites[..]), (5700, &[0x00a8][..]));
    assert_eq!(mapper.own_ports(), [443, 8443]);
}

#[test]
fn the_largest_record_is_what_a_datagram_has_room_for() {
    let leg = Config::default().mapper.leg;
    let (v6, v4) = ("2001:db8:1::10".parse().unwrap(), "192.0.2.7".parse().unwrap());
    // 1,280 less the headers of IP and UDP, and of a DTLS record
    assert_eq!((leg.largest_record(v6), leg.largest_record(v4)), (1219, 1239));
}

#[test]
fn a_port_is_the_mappings_or_the_leases() {
    let text = |mapper: &str| {
        format!("[auth.https]\nlisten = [\"[::]:4433\"]\n[mapper]\nports = [4433]\n{mapper}")
    };
    let error = Config::parse(&text(""), "-").unwrap_err().to_string();
    assert!(error.contains("auth.https.listen") && error.contains("mapper.ports"), "{error}");
    Config::parse(&text("enabled = false\n"), "-").unwrap();
}

#[test]
fn what_is_off_has_no_ports() {
    assert!(read("[mapper]\nenabled = false\nports = [443]\n").own_ports().is_empty());
}

#[test]
fn a_wrong_value_names_line_key_and_what_is_allowed() {
    let cases = [
        (
            format!(
                "{LAMP}[[mapper.node]]\nname = \"bulb\"\naddress = \"2001:db8:1::11\"\n\
                     server_names = [\"a.example\", \"*.example\"]\n"
            ),
            "7: mapper.node[1].server_names[1] = \"*.example\": is a pattern: names must be \
             written out, as a client asks for them",
        ),
        (format!("{LAMP}{LAMP}"), "5: mapper.node[1].name = lamp: leads to another node already"),
        (
            format!("[mapper]\nports = [443]\n{LAMP}ports = [443]\n"),
            "6: mapper.node[0].ports[0] = 443: leads to another node already",
        ),
        (
            "[[mapper.node]]\nname = \"lamp\"\n".to_owned(),
            "1: mapper.node[0].address = \"\": expected the node's address such as \
             \"2001:db8:1::10\"",
        ),
        (
            format!("{LAMP}adress = \"::1\"\n"),
            "4: unknown key mapper.node[0].adress (did you mean address?); known here: address, \
             cookies, dtls_port, max_datagram, name, ports, server_names, suites, window",
        ),
        (
            format!("{LAMP}window = \"two\"\n"),
            "4: mapper.node[0].window = \"two\": expected a whole number",
        ),
        ("[mapper]\nwindow = 5\n".to_owned(), "2: mapper.window = 5: expected 1 to 4"),
        (
            "[mapper]\nsuites = []\n".to_owned(),
            "2: mapper.suites = []: expected at least one cipher suite",
        ),
        (
            "[mapper.timers]\nhello = \"10ms\"\n".to_owned(),
            "2: mapper.timers.hello = \"10ms\": expected 1s to 1h",
        ),
        (
            "[mapper.routing]\ntable = 254\n".to_owned(),
            "2: mapper.routing.table = 254: is a table of the kernel's own: expected 1 to 252, \
             or 256 and more",
        ),
        (
            format!("[mapper]\nlisten = [\"::\"]\n{LAMP}server_names = [\"a.example\"]\n"),
            "6: mapper.node[0].server_names[0] = \"a.example\": needs a port of the router's at \
             which names pick nodes: set mapper.ports, such as [8443]",
        ),
        (
            "[mapper]\nlisten = [\"router.example\"]\n".to_owned(),
            "2: mapper.listen[0] = \"router.example\": expected an address of the router's own \
             such as \"2001:db8::1\", or \"::\" for all of them",
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(refusal(&text), format!("gateway.toml:{expected}"), "{text}");
    }
}

#[test]
fn more_ports_than_the_filter_knows_are_refused() {
    let text = format!("[mapper]\nports = [1, 2, 3, 4, 5, 6, 7, 8]\n{LAMP}ports = [9]\n");
    let error = refusal(&text);
    assert!(error.contains("tell nodes apart by server_names"), "{error}");
}
