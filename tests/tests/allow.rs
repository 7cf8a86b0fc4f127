//! The allow-list as people, scripts and time change it.

use std::{fs, net::Ipv6Addr, time::Duration};

use anyhow::{Context, Result, ensure};
use tests::{
    lab::{
        Child, Gateway, Lab, Namespace,
        gateway::EVERYDAY,
        topology::{ATTACKER, BACKEND, BACKEND_2},
        until,
    },
    need,
};

const SOON: Duration = Duration::from_secs(30);

fn start(lab: &Lab) -> Result<Gateway<'_>> {
    let gateway = Gateway::start(&lab.router, EVERYDAY)?;
    gateway.allow(BACKEND, &["--comment", "pump station 7"])?;
    Ok(gateway)
}

#[test]
fn an_entry_that_could_never_be_of_use_is_refused() -> Result<()> {
    need::root_and_tools(&[]);
    let namespace = Namespace::new("alone")?;
    let config = format!("{EVERYDAY}[lln]\nprefixes = [\"2001:db8:1::/64\"]\n");
    let gateway = Gateway::new(&namespace, &config)?;
    let (source, outside) = (BACKEND.to_string(), BACKEND_2.to_string());
    let useless: [(&[&str], &str); 3] = [
        (&["allow", "add", &source, "--port", "80"], "lln.dtls_ports"),
        (&["allow", "add", &source, "--node", &outside], "not in the LLN"),
        (&["allow", "add", "2001:db8:1::5"], "in the LLN itself"),
    ];
    for (words, part) in useless {
        let (code, said) = gateway.refused(words)?;
        assert_eq!(code, 1, "{said}");
        assert!(said.contains(part), "{words:?}: no {part:?} in: {said}");
    }
    assert_eq!(gateway.json(&["allow", "list"])?["allow"], serde_json::json!([]));
    Ok(())
}

#[test]
fn edits_by_hand_are_taken_over() -> Result<()> {
    need::root_and_tools(&[]);
    let lab = Lab::new()?;
    let mut gateway = start(&lab)?;
    let in_force = |gateway: &Gateway<'_>, source: Ipv6Addr| gateway.source(source).is_ok();
    let text = fs::read_to_string(gateway.allow_file())?;
    let by_hand = format!("# ours\n{text}\n[[allow]]\nsource = \"{BACKEND_2}\" # spare\n");
    fs::write(gateway.allow_file(), &by_hand)?;
    assert!(until(SOON, || in_force(&gateway, BACKEND_2)), "{}", gateway.log());
    // the command line keeps what a person wrote
    gateway.allow(ATTACKER, &["--rate", "5/s"])?;
    let text = fs::read_to_string(gateway.allow_file())?;
    assert!(text.contains("# ours") && text.contains("# spare"), "{text}");
    gateway.kill();
    gateway.run()?;
    let list = gateway.json(&["allow", "list"])?;
    let sources: Vec<_> = list["allow"].as_array().context("a list")?.iter().collect();
    let names: Vec<_> = sources.iter().filter_map(|entry| entry["source"].as_str()).collect();
    assert_eq!(names, [BACKEND, BACKEND_2, ATTACKER].map(|address| address.to_string()));
    assert!(sources.iter().all(|entry| entry["in_force"] == true), "{list}");
    assert_eq!(sources[0]["comment"], "pump station 7");
    assert_eq!(sources[2]["packets"], serde_json::json!({ "per_second": 5, "burst": 10 }));

    fs::remove_file(gateway.allow_file())?;
    assert!(until(SOON, || !in_force(&gateway, BACKEND)), "{}", gateway.log());
    Ok(())
}

#[test]
fn entries_that_have_lapsed_are_swept_out_of_the_list() -> Result<()> {
    need::root_and_tools(&[]);
    let lab = Lab::new()?;
    let gateway = start(&lab)?;
    gateway.allow(ATTACKER, &["--for", "1s"])?;
    let lapsed =
        until(SOON, || gateway.text(&["allow", "list"]).is_ok_and(|t| t.contains("lapsed")));
    assert!(lapsed, "{}", gateway.text(&["allow", "list"])?);
    gateway.allow(BACKEND_2, &[])?;
    let text = fs::read_to_string(gateway.allow_file())?;
    assert!(!text.contains(&ATTACKER.to_string()), "{text}");
    let list = gateway.json(&["allow", "list"])?;
    assert_eq!(list["allow"].as_array().map(Vec::len), Some(2), "{list}");
    Ok(())
}

#[test]
fn an_editor_beside_the_command_line_loses_nothing() -> Result<()> {
    need::root_and_tools(&[]);
    let namespace = Namespace::new("alone")?;
    let gateway = Gateway::new(&namespace, EVERYDAY)?;
    let mut all: Vec<Child> = (1..=8)
        .map(|n| Child::spawn(gateway.command(&["allow", "add", &format!("2001:db8:c::{n}")])))
        .collect::<Result<_>>()?;
    for one in &mut all {
        let status = one.wait(SOON)?;
        ensure!(status.success(), "{}", one.output());
    }
    let list = gateway.json(&["allow", "list"])?;
    assert_eq!(list["allow"].as_array().map(Vec::len), Some(8), "{list}");
    Ok(())
}
