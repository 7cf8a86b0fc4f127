//! The command line as an administrator and as a script meet it.

use std::{collections::BTreeMap, fs, process::Command, time::Duration};

use anyhow::{Context, Result};
use gateway_common::abi;
use serde_json::Value;
use tests::{
    lab::{
        Capture, Child, Gateway, Injector, Lab, Namespace,
        gateway::{EVERYDAY, ROOMY},
        pcap,
        topology::{ATTACKER, BACKEND, NODE, NODE_2, ROUTER},
        until,
    },
    need,
    packet::{Packet, dtls, read},
};

const SOON: Duration = Duration::from_secs(30);
const PORT: u16 = 5684;

fn record(source: std::net::Ipv6Addr, seq: u64) -> Vec<u8> {
    let packet = Packet::udp6(source, NODE, 40_000, PORT);
    packet.payload(dtls::application(seq, &[7; 40])).build()
}

fn start(lab: &Lab) -> Result<Gateway<'_>> {
    let gateway = Gateway::start(&lab.router, &format!("{EVERYDAY}{ROOMY}"))?;
    gateway.allow(BACKEND, &["--comment", "pump station 7"])?;
    Ok(gateway)
}

#[test]
fn every_command_has_something_to_say_to_a_machine() -> Result<()> {
    need::root_and_tools(&[]);
    let lab = Lab::new()?;
    let gateway = start(&lab)?;
    let file = gateway.config_file().display().to_string();
    let (source, node) = (BACKEND.to_string(), NODE.to_string());
    let commands: [(&[&str], &str); 13] = [
        (&["run", "--once"], "/interfaces/0/interface"),
        (&["status"], "/interfaces/0/passed/packets"),
        (&["allow", "list"], "/allow/0/source"),
        (&["allow", "add", "2001:db8:c::/48", "--for", "1h"], "/change"),
        (&["allow", "remove", "2001:db8:c::/48"], "/in_force"),
        (&["drops", "--interval", "0s"], "/drops/no_lease/packets"),
        (&["sources"], "/sources/0/packets"),
        (&["sources", "--sort", "drops", "--top", "1"], "/sources/0/source"),
        (&["explain", &source, &node], "/verdict"),
        (&["config", "show"], "/rate/node"),
        (&["config", "check", &file], "/valid"),
        (&["config", "check", "--interfaces"], "/valid"),
        (&["detach"], "/removed/0"),
    ];
    for (words, pointer) in commands {
        let value = gateway.json(words)?;
        assert!(value.pointer(pointer).is_some(), "{words:?}: no {pointer} in {value}");
    }
    Ok(())
}

#[test]
fn every_command_has_something_to_say_to_a_person() -> Result<()> {
    need::root_and_tools(&[]);
    let lab = Lab::new()?;
    let gateway = start(&lab)?;
    Injector::new(lab.internet.device("up0"))?.send(&record(ATTACKER, 1))?;
    gateway.wait_for_drops("no_lease", 1, SOON)?;
    let (stranger, node) = (ATTACKER.to_string(), NODE.to_string());
    let commands: [(&[&str], &[&str]); 7] = [
        (&["status"], &["wan0", "lln0", "2001:db8:1::/64", "5684"]),
        (&["allow", "list"], &["2001:db8:b::2", "pump station 7", "never"]),
        (&["drops", "--interval", "0s"], &["no_lease", "admission", "not in the allow-list"]),
        (&["drops", "--interval", "0s", "--all"], &["replayed", "amplification", "multicast"]),
        (&["sources"], &["2001:db8:b::2", "never"]),
        (&["explain", &stranger, &node], &["dropped on wan0 at admission: no_lease"]),
        (&["--help"], &["Exit status", "allow", "explain"]),
    ];
    for (words, expected) in commands {
        let said = gateway.text(words)?;
        for part in expected {
            assert!(said.contains(part), "{words:?}: no {part:?} in\n{said}");
        }
    }
    Ok(())
}

#[test]
fn exit_codes_tell_failure_usage_and_absence_apart() -> Result<()> {
    need::root_and_tools(&[]);
    let lab = Lab::new()?;
    let gateway = Gateway::new(&lab.router, EVERYDAY)?;
    let (source, node) = (BACKEND.to_string(), NODE.to_string());
    let absent: [&[&str]; 6] = [
        &["status"],
        &["drops"],
        &["sources"],
        &["events", "--count", "1"],
        &["explain", &source, &node],
        &["detach"],
    ];
    for words in absent {
        let (code, said) = gateway.refused(words)?;
        assert_eq!(code, 3, "{words:?}: {said}");
        assert!(said.contains("gateway run"), "{words:?} says what to do: {said}");
    }
    let usage: [&[&str]; 7] = [
        &["no-such-command"],
        &[],
        &["allow", "add"],
        &["allow", "add", "2001:db8::/129"],
        &["allow", "add", &source, "--rate", "fast"],
        &["explain", &source],
        &["events", "--reason", "bad_mood"],
    ];
    for words in usage {
        let (code, said) = gateway.refused(words)?;
        assert_eq!(code, 2, "{words:?}: {said}");
    }
    // a list can be kept before anything runs
    let added = gateway.json(&["allow", "add", &source])?;
    assert_eq!((&added["change"], &added["in_force"]), (&"added".into(), &false.into()));
    assert_eq!(gateway.json(&["allow", "list"])?["allow"][0]["in_force"], false);
    let (code, said) = gateway.refused(&["allow", "remove", &ATTACKER.to_string()])?;
    assert_eq!(code, 1, "{said}");
    assert!(said.contains(&ATTACKER.to_string()), "{said}");
    Ok(())
}

#[test]
fn a_failure_is_a_value_too() -> Result<()> {
    need::root_and_tools(&[]);
    let lab = Namespace::new("alone")?;
    let gateway = Gateway::new(&lab, EVERYDAY)?;
    let output = gateway.cli(&["status", "--json"])?;
    let value: Value = serde_json::from_slice(&output.stdout)?;
    let text = value["error"].as_str().context("an error")?;
    assert!(text.contains("no gateway runs here"), "{text}");
    assert_eq!(output.status.code(), Some(3));
    Ok(())
}

#[test]
fn errors_name_the_key_the_value_and_what_to_do() -> Result<()> {
    need::root_and_tools(&[]);
    let namespace = Namespace::new("alone")?;
    let gateway = Gateway::new(&namespace, EVERYDAY)?;
    let files = [
        (
            "[lln]\ndtls_port = [5684]\n",
            ["dtls_port", "did you mean dtls_ports?", "gateway.toml:2"],
        ),
        ("[lln]\nprefixes = [\"2001:db8::/130\"]\n", ["lln.prefixes", "2001:db8::/130", ":2:"]),
        ("[lln]\nmax_datagram = 64\n", ["lln.max_datagram", "64", "128"]),
        ("[rate.node]\npackets = \"20\"\n", ["rate.node.packets", "20", "/s"]),
        ("[replay]\nmode = \"fuzzy\"\n", ["replay.mode", "fuzzy", "pair"]),
        ("[interfaces]\nwan = \"eth0\"\n", ["interfaces.wan", "eth0", ":2:"]),
        ("[lln\n", ["not valid TOML", "gateway.toml", ":1:"]),
    ];
    for (config, expected) in files {
        gateway.configure(config)?;
        let (code, said) = gateway.refused(&["config", "check"])?;
        assert_eq!(code, 1, "{said}");
        for part in expected {
            assert!(said.contains(part), "{config:?}: no {part:?} in: {said}");
        }
        assert_eq!(gateway.refused(&["run", "--once"])?.1, said, "run says the same");
    }
    gateway.configure(EVERYDAY)?;
    let (_, said) = gateway.refused(&["run", "--once"])?;
    assert!(said.contains("wan0") && said.contains("there are: lo"), "{said}");
    gateway.configure("")?;
    let (_, said) = gateway.refused(&["run", "--once"])?;
    assert!(said.contains("--wan") && said.contains("interfaces.wan"), "{said}");
    fs::write(gateway.allow_file(), "[[allow]]\nsource = \"ff02::1\"\n")?;
    let (_, said) = gateway.refused(&["allow", "list"])?;
    assert!(said.contains("source") && said.contains("ff02::1"), "{said}");
    Ok(())
}

#[test]
fn watched_drops_are_printed_again_and_again() -> Result<()> {
    need::root_and_tools(&[]);
    let lab = Lab::new()?;
    let gateway = start(&lab)?;
    let wire = Injector::new(lab.internet.device("up0"))?;
    let words = ["drops", "--watch", "--interval", "100ms", "--json"];
    let mut watch = Child::spawn(gateway.command(&words))?;
    let counts = |watch: &Child| -> Vec<u64> {
        let output = watch.output();
        let whole = output.rsplit_once('\n').map_or("", |(whole, _)| whole);
        let values = whole.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        values.filter_map(|value| value["drops"]["no_lease"]["packets"].as_u64()).collect()
    };
    for number in 1..=3 {
        wire.send(&record(ATTACKER, number))?;
        let shown = until(SOON, || counts(&watch).last() == Some(&number));
        assert!(shown, "{}", watch.output());
    }
    assert!(counts(&watch).len() >= 3);
    assert!(watch.is_running());
    Ok(())
}

#[test]
fn events_are_written_for_wireshark_with_their_reasons() -> Result<()> {
    need::root_and_tools(&["tshark"]);
    let lab = Lab::new()?;
    let gateway = start(&lab)?;
    let wire = Injector::new(lab.internet.device("up0"))?;
    let file = gateway.folder().join("drops.pcapng").display().to_string();
    let words = ["events", "--pcapng", &file, "--count", "2", "--reason", "no_lease"];
    let mut events = Child::spawn(gateway.command(&words))?;
    let mut seq = 0;
    let over = until(SOON, || {
        seq += 1;
        let _ = wire.send(&record(ATTACKER, seq));
        !events.is_running()
    });
    assert!(over, "{}", events.output());
    let said = events.output();
    assert_eq!(said.lines().count(), 2, "{said}");
    assert!(
        said.contains("wan0 no_lease: udp 2001:db8:a::2 40000 > 2001:db8:1::10 5684"),
        "{said}"
    );

    let fields = ["frame.comment", "ipv6.src", "dtls.record.epoch", "frame.interface_name"];
    let mut tshark = Command::new("tshark");
    tshark.args(["-r", &file, "-T", "fields", "-d", "udp.port==5684,dtls"]);
    tshark.args(fields.iter().flat_map(|field| ["-e", field]));
    let output = tshark.output()?;
    let table = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(table.lines().count(), 2, "{table}{}", String::from_utf8_lossy(&output.stderr));
    for line in table.lines() {
        let columns: Vec<_> = line.split('\t').collect();
        let comment = "no_lease: the source is not in the allow-list";
        assert_eq!(columns, [comment, "2001:db8:a::2", "1", "wan0"], "{line}");
    }
    Ok(())
}

#[test]
fn events_end_after_their_time() -> Result<()> {
    need::root_and_tools(&[]);
    let lab = Lab::new()?;
    let gateway = start(&lab)?;
    assert_eq!(gateway.text(&["events", "--for", "100ms"])?, "");
    Ok(())
}

/// Every pinned map as bpftool prints it, but the ring, which cannot be printed, and the counters
/// of what passes, among which neighbour discovery goes on.
fn maps(gateway: &Gateway<'_>) -> Result<BTreeMap<&'static str, Vec<u8>>> {
    let dump = |name: &'static str| {
        let path = gateway.bpffs().join(name);
        let output =
            Command::new("bpftool").args(["-j", "map", "dump", "pinned"]).arg(path).output()?;
        Ok((name, output.stdout))
    };
    abi::MAPS.into_iter().filter(|name| !["EVENTS", "PASSED"].contains(name)).map(dump).collect()
}

#[test]
fn explain_tells_what_would_happen_and_changes_nothing() -> Result<()> {
    need::root_and_tools(&["bpftool"]);
    let lab = Lab::new()?;
    let config = format!(
        "{EVERYDAY}{ROOMY}[sources]\ncapacity = 64\n[replay]\npages = 16\nassociations = 1024\n"
    );
    let gateway = Gateway::start(&lab.router, &config)?;
    gateway.allow(BACKEND, &["--node", &NODE.to_string()])?;
    let seen = Capture::start(lab.node.device("node0"))?;
    let wire = Injector::new(lab.internet.device("up0"))?;
    let frames: Vec<_> = (1..=3).map(|seq| record(BACKEND, seq)).collect();
    wire.send_many(&frames)?;
    wire.send(&record(ATTACKER, 1))?;
    assert!(seen.wait_for(3, SOON, |frame| read::is_from(frame, BACKEND)));
    gateway.wait_for_drops("no_lease", 1, SOON)?;

    let before = maps(&gateway)?;
    let verdict = |words: &[&str]| -> Result<(Value, Value)> {
        let value = gateway.json(&[&["explain"], words].concat())?;
        Ok((value["verdict"].clone(), value["reason"].clone()))
    };
    let [backend, attacker, node, other, router] =
        [BACKEND, ATTACKER, NODE, NODE_2, ROUTER].map(|address| address.to_string());
    let none = Value::Null;
    assert_eq!(verdict(&[&attacker, &node])?, ("drop".into(), "no_lease".into()));
    let new = verdict(&[&backend, &node, "--sequence", "9"])?;
    assert_eq!(new, ("pass".into(), none.clone()));
    assert_eq!(verdict(&[&backend, &other])?, ("drop".into(), "node_denied".into()));
    assert_eq!(
        verdict(&[&backend, &node, "--port", "5683"])?,
        ("drop".into(), "plain_coap".into())
    );
    assert_eq!(
        verdict(&[&backend, &node, "--carries", "udp"])?,
        ("drop".into(), "not_dtls".into())
    );
    assert_eq!(verdict(&[&backend, &node, "--carries", "echo"])?, ("pass".into(), none.clone()));
    assert_eq!(verdict(&[&attacker, &router])?, ("untouched".into(), none.clone()));
    assert_eq!(verdict(&[&node, &attacker])?, ("drop".into(), "not_admitted".into()));

    let file = gateway.folder().join("again.pcap");
    let fourth = record(BACKEND, 4);
    pcap::write_frames(&file, pcap::ETHERNET, &[&frames[..], &[fourth.clone(), fourth]].concat())?;
    let said = gateway.text(&["explain", "--json", "--pcap", &file.display().to_string()])?;
    let values: Vec<Value> = said.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    let reasons: Vec<_> = values.iter().map(|value| value["reason"].as_str()).collect();
    let replayed = Some("replayed");
    // the copy remembers from one packet of the file to the next
    assert_eq!(reasons, [replayed, replayed, replayed, None, replayed], "{said}");

    for (name, after) in maps(&gateway)? {
        // the agent writes nothing while its files stay as they are
        assert!(before.get(name) == Some(&after), "{name} has changed");
    }
    // and the record that was only asked about is still new to the wire
    wire.send(&record(BACKEND, 4))?;
    assert!(seen.wait_for(4, SOON, |frame| read::is_from(frame, BACKEND)));
    Ok(())
}

#[test]
fn the_default_configuration_passes_its_own_check() -> Result<()> {
    need::root_and_tools(&[]);
    let namespace = Namespace::new("alone")?;
    let gateway = Gateway::new(&namespace, "")?;
    let shown = gateway.json(&["config", "show"])?;
    let text = gateway.text(&["config", "default"])?;
    let state = text.find("[state]").context("a table [state]")?;
    let log = text.find("[log]").context("a table [log]")?;
    // its state belongs to the system: the test keeps to a place of its own
    gateway.configure(&format!("{}{}", &text[..state], &text[log..]))?;
    let checked = gateway.json(&["config", "check"])?;
    assert_eq!(checked["valid"], true);
    assert_eq!(gateway.json(&["config", "show"])?, shown, "what is written out is the default");
    let file = gateway.folder().join("whole.toml");
    fs::write(&file, &text)?;
    gateway.text(&["config", "check", &file.display().to_string()]).map(drop)
}

#[test]
fn bpftool_reads_the_state_by_name() -> Result<()> {
    need::root_and_tools(&["bpftool"]);
    let lab = Lab::new()?;
    let gateway = start(&lab)?;
    let wire = Injector::new(lab.internet.device("up0"))?;
    wire.send(&record(ATTACKER, 1))?;
    wire.send(&record(BACKEND, 1))?;
    gateway.wait_for_drops("no_lease", 1, SOON)?;
    assert!(until(SOON, || gateway.json(&["status"]).is_ok_and(|s| s["associations"] == 1)));
    let names: [(&str, &[&str]); 7] = [
        ("DROPS", &["\"no_lease\"", "\"replayed\"", "\"packets\"", "\"bytes\""]),
        ("PASSED", &["\"checked\"", "\"untouched\""]),
        ("SOURCES", &["\"expires_ns\"", "\"policy\"", "\"slot\""]),
        ("SOURCE_PASSED", &["\"packets\"", "\"bytes\""]),
        ("SOURCE_STATE", &["\"answers\"", "\"last_seen_ns\"", "\"drops\""]),
        ("ASSOCIATIONS", &["\"peer_port\"", "\"node\"", "\"bytes_in\"", "\"incarnation\""]),
        ("SETTINGS", &["\"max_datagram\"", "\"lln_prefixes\"", "\"replay\""]),
    ];
    for (map, fields) in names {
        let path = gateway.bpffs().join(map);
        let output = Command::new("bpftool").args(["map", "dump", "pinned"]).arg(path).output()?;
        let text = String::from_utf8_lossy(&output.stdout);
        for field in fields {
            assert!(text.contains(field), "{map}: no {field} in\n{:.2000}", text);
        }
    }
    Ok(())
}
