//! HTTPS from the Internet, answered by a node that speaks DTLS (E2E §V-B).
use super::world::World;
use anyhow::{Context as _, Result, ensure};
use std::{path::Path, time::Duration};
use tests::{
    analysis::{self, Leg},
    lab::{
        Captured, pcap,
        topology::{BACKEND, NODE_3},
    },
    packet::{Datagram, Segment},
    peer::{
        coap::COAPS,
        https::{Client, Ending, Request, Stack},
    },
};

const HTTPS: u16 = 443;
const PATIENCE: Duration = Duration::from_secs(30);
const LLN: &str = "in the LLN, DTLS over UDP (\"Continuation Data\" is tshark's word for the reports of what arrived):";
const PATH: &str = "/sensors/temperature";

/// Every client in turn; of the first, what was seen on both sides of the router.
pub fn play(world: &mut World) -> Result<String> {
    world.gateway(&["allow", "add", &BACKEND.to_string(), "--for", "1h"])?;
    let marks = (world.uplink.snapshot().len(), world.node.snapshot().len());
    let (state, answer) = request(world, Stack::ALL[0])?;
    let tls = world.uplink.snapshot().split_off(marks.0);
    let dtls = world.node.snapshot().split_off(marks.1);
    let seen = compare(world, tls, dtls)?;
    for stack in &Stack::ALL[1..] {
        request(world, *stack)?;
    }
    let programs = Stack::ALL.map(Stack::program).join(", ");
    let asked = format!("{programs}: GET https://[{NODE_3}]{PATH}: {answer}");
    let state = format!("the router meanwhile (`gateway connections`):\n{}", indented(&state));
    Ok([vec![asked], seen, vec![state]].concat().join("\n        "))
}

/// One request over a connection of its own; what the router says of it, and the answer.
fn request(world: &World, stack: Stack) -> Result<(String, String)> {
    let node = (NODE_3, HTTPS).into();
    let client = Client::new(stack, &world.lab.backend, &world.psk, node);
    let mut connection = client.connect(PATIENCE)?;
    let answer = connection.request(&Request::get(PATH), PATIENCE)?.ok()?;
    let state = world.gateway(&["connections"])?;
    let ending = connection.close(PATIENCE)?;
    ensure!(ending == Ending::Clean, "{stack:?}: {ending:?}");
    world.mapped_node.wait_free(PATIENCE)?;
    Ok((state, answer))
}

/// Decodes both captures; they must hold the same plaintext for who has the key, and none else.
fn compare(world: &World, tls: Vec<Captured>, dtls: Vec<Captured>) -> Result<Vec<String>> {
    let folder = tempfile::tempdir()?;
    let [outside, inside, leg] =
        ["tls.pcap", "dtls.pcap", "leg.pcap"].map(|n| folder.path().join(n));
    let datagrams: Vec<_> =
        dtls.iter().filter_map(|frame| Datagram::from_frame(&frame.bytes)).collect();
    let legs = Leg::all(&datagrams, (NODE_3, COAPS).into())?;
    legs.first().context("nothing went to the node")?.write_pcap(&leg)?;
    let is_tls = |frame: &Captured| Segment::from_frame(&frame.bytes).is_some();
    pcap::write(&outside, pcap::ETHERNET, &kept(tls, is_tls))?;
    pcap::write(
        &inside,
        pcap::ETHERNET,
        &kept(dtls, |f| Datagram::from_frame(&f.bytes).is_some()),
    )?;
    let psk = Some(&world.psk);
    let (here, there) =
        (analysis::decrypt(&outside, HTTPS, psk)?, analysis::decrypt(&leg, COAPS, psk)?);
    ensure!(here == there && !here.is_empty(), "the two sides differ: {here:?} {there:?}");
    ensure!(analysis::decrypt(&outside, HTTPS, None)?.is_empty(), "readable without the key");
    let request = here.request().lines().next().unwrap_or_default().to_owned();
    let response = here.response();
    let (status, body) = (response.lines().next(), response.lines().last());
    Ok([
        side("on the Internet's side, TLS over TCP:", &outside, HTTPS)?,
        side(LLN, &inside, COAPS)?,
        vec![
            "to tshark with the key, on both sides, and to nobody without it:".to_owned(),
            format!("  {request} → {} {}", status.unwrap_or_default(), body.unwrap_or_default()),
        ],
    ]
    .concat())
}

fn kept(frames: Vec<Captured>, keep: impl Fn(&Captured) -> bool) -> Vec<Captured> {
    frames.into_iter().filter(|frame| keep(frame)).collect()
}

fn side(title: &str, pcap: &Path, port: u16) -> Result<Vec<String>> {
    let messages = analysis::messages(pcap, port)?;
    ensure!(!messages.is_empty(), "tshark sees no session in {}", pcap.display());
    let lines = messages.into_iter().map(|line| format!("  {line}"));
    Ok([title.to_owned()].into_iter().chain(lines).collect())
}

/// The first lines, as far as the connection is in them.
fn indented(state: &str) -> String {
    let lines = state.lines().take_while(|line| !line.is_empty());
    lines.map(|line| format!("          {line}")).collect::<Vec<_>>().join("\n")
}
