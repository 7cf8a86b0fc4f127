//! HTTPS clients talk to nodes that speak only CoAP: through the router, which maps their TLS, and
//! the proxy inside the LLN (E2E §VI, RFC 8075). The nodes are libcoap's example server.

use std::{process::Command, time::Duration};

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;
use tests::{
    lab::{
        Capture, Gateway, Lab, Loss,
        mapped::{Way, config},
        topology::{BACKEND, NODE, NODE_2, at},
        until,
    },
    need,
    peer::{
        Psk,
        coap::{COAPS, Flavour, Server},
        https::{Client, Fragment, Request, Stack, http},
        openssl::{self, Protocol},
        proxy::{self, Proxy},
    },
};

const SOON: Duration = Duration::from_secs(20);
const LOSSY: Duration = Duration::from_secs(240);
const LIVELY: &str =
    "[mapper.timers]\nretransmit = \"500ms\"\nacknowledge = \"300ms\"\nclose = \"2s\"\n";
/// Created or changed: libcoap's server says either of what it had before.
const WRITTEN: [u16; 2] = [201, 204];
const TOOLS: &[&str] = &["openssl", "node", "coap-server-openssl"];

/// The chain: back-end, router, proxy at [`NODE`], CoAP server at [`NODE_2`].
struct Chain<'a> {
    lab: &'a Lab,
    _gateway: Gateway<'a>,
    proxy: Proxy,
    server: Server,
    psk: Psk,
}

impl<'a> Chain<'a> {
    fn start(lab: &'a Lab, node_psk: &Psk, arguments: &[&str]) -> Result<Self> {
        let psk = Psk::new("backend", b"fedcba9876543210");
        let gateway = Gateway::start(&lab.router, &config("", LIVELY))?;
        gateway.allow(BACKEND, &[])?;
        let server = server(lab)?;
        let nodes = [
            format!("plain=coap://[{NODE_2}]"),
            format!("secure=coaps://[{NODE_2}]?identity={}", node_psk.identity),
            format!("nobody=coap://[{NODE_2}]:5699"),
        ];
        let lively = ["--arq-timeout", "300", "--flight-timeout", "1000", "--cookie", "foreign"];
        let arguments = [&lively, arguments].concat();
        let nodes = (&nodes[..], node_psk);
        let proxy = Proxy::start(&lab.node, at(NODE, COAPS), &psk, nodes, &arguments)?;
        Ok(Self { lab, _gateway: gateway, proxy, server, psk })
    }

    /// A client whose records fit datagrams, as nobody but it can cut them.
    fn client(&self, stack: Stack) -> Client<'a> {
        let client = Client::new(stack, &self.lab.backend, &self.psk, Way::Address.door());
        client.fragment(match stack {
            Stack::GnuTls => Fragment::Asked(512),
            Stack::OpenSsl | Stack::NodeJs | Stack::Python => Fragment::Own(512),
        })
    }

    fn ask(&self, request: &Request) -> Result<(u16, String)> {
        let mut connection = self.client(Stack::NodeJs).connect(SOON)?;
        let answer = connection.request(request, SOON)?;
        Ok((answer.status, answer.body))
    }

    /// A request whose answer is wanted with its head.
    fn raw(&self, lines: &[&str]) -> Result<String> {
        let settings = openssl::Settings::new(&self.lab.backend, &self.psk);
        let settings = settings.protocol(Protocol::Tls12).arguments(&["-crlf"]);
        let mut session = settings.connect_within(Way::Address.door(), SOON)?;
        for line in lines.iter().chain(&["Host: proxy", "Connection: close", ""]) {
            session.send(line)?;
        }
        session.child.wait(SOON)?;
        Ok(session.child.output())
    }
}

/// Plain and secure on one address.
///
/// `-L 3`: libcoap puts bodies together. It does not recognise messages that come again (RFC 7252
/// §4.5), and its example by itself makes a body of zeros of a last block that does.
fn server(lab: &Lab) -> Result<Server> {
    let arguments = ["-L", "3"];
    Server::start_with(&lab.node, Flavour::OpenSsl, NODE_2.into(), &Psk::default(), &arguments)
}

#[test]
fn every_client_reads_and_writes_nodes_that_speak_only_coap() -> Result<()> {
    need::root_and_tools(&[TOOLS, &["gnutls-cli", "python3"]].concat());
    let lab = Lab::new()?;
    let chain = Chain::start(&lab, &Psk::default(), &[])?;
    let seen = Capture::start(lab.node.device("node0"))?;
    for (number, stack) in Stack::ALL.into_iter().enumerate() {
        for name in ["plain", "secure"] {
            let mut connection =
                chain.client(stack).connect(SOON).with_context(|| format!("{stack:?}"))?;
            let path = format!("/{name}/example_data");
            // Several records of TLS, and some twenty blocks of CoAP.
            let body = format!("SENSITIVE {number} {name}\n{}", http::body(5_000));
            let put = connection.request(&Request::put(&path, &*body), SOON)?;
            ensure!(WRITTEN.contains(&put.status), "{stack:?} {name}: {put:?}");
            let answer = connection.request(&Request::get(&path), SOON)?.ok()?;
            ensure!(answer == body, "{stack:?} {name}: {answer}");
            let time = connection.request(&Request::get(&format!("/{name}/time")), SOON)?.ok()?;
            ensure!(time.contains(':'), "{stack:?} {name}: {time}");
            let hosted = format!("/hc/coap{}://{name}/", if name == "plain" { "" } else { "s" });
            let root = connection.request(&Request::get(&hosted), SOON)?.ok()?;
            ensure!(root.contains("libcoap"), "{stack:?} {name}: {root}");
            connection.close(SOON)?;
        }
    }
    let clear = |frame: &[u8]| frame.windows(9).any(|bytes| bytes == b"SENSITIVE");
    assert_eq!(seen.count(clear), 0, "the router's link carries ciphertext only");
    Ok(())
}

#[test]
fn a_cached_answer_costs_the_node_nothing() -> Result<()> {
    need::root_and_tools(TOOLS);
    let lab = Lab::new()?;
    let chain = Chain::start(&lab, &Psk::default(), &[])?;
    let first = chain.raw(&["GET /plain/example_data HTTP/1.1"])?;
    assert!(first.contains("HTTP/1.1 200 OK") && first.contains("Via: CoAP/1 hc"), "{first}");
    assert!(first.contains("Cache-Control: max-age=60"), "{first}");
    let requests = chain.server.requests();
    let tag = first.lines().find_map(|line| line.strip_prefix("ETag: ")).map(str::to_owned);
    let old = until(SOON, || {
        let again = chain.raw(&["GET /hc/?target_uri=coap://plain/example_data HTTP/1.1"]);
        again.is_ok_and(|again| again.contains("HTTP/1.1 200 OK") && again.contains("\nAge: "))
    });
    assert!(old, "no answer has an age: {}", chain.proxy.child.report());
    if let Some(tag) = tag {
        let known = format!("If-None-Match: {tag}");
        let unchanged = chain.raw(&["GET /plain/example_data HTTP/1.1", &known])?;
        assert!(unchanged.contains("HTTP/1.1 304 Not Modified"), "{unchanged}");
    }
    assert_eq!(chain.server.requests(), requests);
    assert!(chain.proxy.counted("hits") >= 1);
    let asked = chain.raw(&["GET /plain/example_data HTTP/1.1", "Cache-Control: no-cache"])?;
    assert!(asked.contains("HTTP/1.1 200 OK"), "{asked}");
    assert!(chain.server.requests() > requests);
    Ok(())
}

#[test]
fn errors_say_whose_they_are() -> Result<()> {
    need::root_and_tools(TOOLS);
    let lab = Lab::new()?;
    let chain = Chain::start(&lab, &Psk::default(), &[])?;
    for (request, status, word) in [
        (Request::get("/plain/nothing"), 404, "Not Found"),
        (Request::get("/stranger/time"), 404, "no node has this name"),
        (Request::get("/plain/.well-known/core"), 403, "does not show"),
        (Request::get("/hc/coap://%5Bff02::fd%5D/time"), 403, "multicast"),
        (Request::get("/hc/coap://%5B2001:db8:1::99%5D/time"), 403, "not set up"),
        (Request::get("/nobody/time"), 502, "cannot be reached"),
        (Request::post("/plain/time", "now"), 400, ""),
    ] {
        let (got, body) = chain.ask(&request)?;
        ensure!(got == status && body.contains(word), "{request:?}: {got} {body}");
    }
    let refused = chain.raw(&["POST /plain/time HTTP/1.1"])?;
    assert!(refused.contains("HTTP/1.1 400 CoAP server returned 4.05"), "{refused}");
    let links = chain.ask(&Request::get("/.well-known/core?rt=core.hc"))?;
    assert!(links.0 == 200 && links.1.starts_with("</hc/>;rt=\"core.hc\""), "{links:?}");
    Ok(())
}

#[test]
fn a_wrong_key_of_a_node_is_an_error_of_the_proxy() -> Result<()> {
    need::root_and_tools(TOOLS);
    let lab = Lab::new()?;
    let chain = Chain::start(&lab, &Psk::new("node1", b"not the node's!!"), &[])?;
    let mut connection = chain.client(Stack::NodeJs).connect(SOON)?;
    let answer = connection.request(&Request::get("/secure/time"), LOSSY)?;
    assert!([502, 504].contains(&answer.status), "{answer:?}");
    let plain = connection.request(&Request::get("/plain/time"), SOON)?;
    assert_eq!(plain.status, 200, "{plain:?}");
    Ok(())
}

#[test]
fn a_node_that_started_again_is_found_again() -> Result<()> {
    need::root_and_tools(TOOLS);
    let lab = Lab::new()?;
    let mut chain = Chain::start(&lab, &Psk::default(), &["--ack-timeout", "300"])?;
    for name in ["plain", "secure"] {
        assert_eq!(chain.ask(&Request::get(&format!("/{name}/time")))?.0, 200);
    }
    chain.server.child.kill();
    chain.server = server(&lab)?;
    for name in ["plain", "secure"] {
        let found = until(LOSSY, || {
            chain.ask(&Request::get(&format!("/{name}/time"))).is_ok_and(|(code, _)| code == 200)
        });
        assert!(found, "{name}: {}", chain.proxy.child.report());
    }
    Ok(())
}

#[test]
fn on_lossy_links_bodies_arrive_whole_or_not_at_all() -> Result<()> {
    need::root_and_tools(TOOLS);
    let lab = Lab::new()?;
    let chain = Chain::start(&lab, &Psk::default(), &["--ack-timeout", "200", "--block", "512"])?;
    // Between router and proxy, and between proxy and node, which share a namespace.
    let towards = Loss::egress(lab.router.device("lln0"), 100)?;
    let _back = Loss::egress(lab.node.device("node0"), 100)?;
    let nodes = Loss::egress(lab.node.device("lo"), 100)?;
    for name in ["plain", "secure", "plain", "secure"] {
        let body = format!("{name}\n{}", http::body(3_000));
        let path = format!("/{name}/example_data");
        let mut connection = chain.client(Stack::NodeJs).connect(LOSSY)?;
        let put = connection.request(&Request::put(&path, &*body), LOSSY)?;
        // 500: libcoap forgot a body as soon as it was complete, and gets its last block again.
        ensure!([201, 204, 500, 502, 504].contains(&put.status), "{put:?}");
        let answer = connection.request(&Request::get(&path), LOSSY)?;
        ensure!([200, 502, 504].contains(&answer.status), "{answer:?}");
        if WRITTEN.contains(&put.status) && answer.status == 200 {
            ensure!(answer.body == body, "{answer:?}");
        }
    }
    ensure!(towards.dropped()? > 0 && nodes.dropped()? > 0, "nothing was lost");
    Ok(())
}

#[test]
fn a_coap_client_learns_where_the_proxy_function_is() -> Result<()> {
    need::root_and_tools(&["coap-client-openssl", "coap-server-openssl"]);
    let lab = Lab::new()?;
    let origin = "https://proxy.example";
    let chain = Chain::start(&lab, &Psk::default(), &["--origin", origin])?;
    let client = tests::peer::coap::Client::new(&lab.backend, Flavour::OpenSsl, &chain.psk);
    let links = client.get(NODE.into(), ".well-known/core?rt=core.hc")?;
    assert!(links.contains("</hc/>;anchor=\"https://proxy.example\";rt=\"core.hc\""), "{links}");
    let proxied = client.request(NODE.into(), "time", &["-m", "get"])?;
    assert_eq!(proxied.code, "4.04");
    Ok(())
}

#[test]
fn a_command_line_that_cannot_work_says_why() -> Result<()> {
    let folder = TempDir::new()?;
    let keys = proxy::key_file(folder.path(), "keys", &Psk::default())?.display().to_string();
    let open = folder.path().join("open").display().to_string();
    std::fs::write(&open, "node1:00\n")?;
    let client = ["--psk-identity", "c", "--psk", "6b6579"];
    let node = "lamp=coap://[2001:db8::1]";
    for (arguments, word) in [
        (vec!["--node", node], "no client could connect"),
        (client.to_vec(), "nothing to serve"),
        ([&client[..], &["--node", "lamp=http://x"]].concat(), "write NAME=coap://"),
        ([&client[..], &["--node", "hc=coap://[::1]"]].concat(), "cannot be used"),
        ([&client[..], &["--node", "x=coap://[ff02::1]"]].concat(), "is not one node"),
        ([&client[..], &["--node", "x=coaps://[::1]"]].concat(), "needs ?identity=ID"),
        ([&client[..], &["--node", "x=coaps://[::1]?identity=y"]].concat(), "has no key for"),
        ([&client[..], &["--node", node, "--node", node]].concat(), "two nodes"),
        ([&client[..], &["--node", node, "--allow", "x/y"]].concat(), "no --node has this name"),
        ([&client[..], &["--node", node, "--block", "100"]].concat(), "take 16, 32, 64"),
        (vec!["--keys", &open, "--node", node], "chmod 600"),
        (vec!["--keys", "/nowhere", "--node", node], "/nowhere"),
        (vec!["--psk-identity", "c", "--keys", &keys, "--node", node], "needs its --psk"),
    ] {
        let run = Command::new(proxy::binary()).args(&arguments).output()?;
        let said = String::from_utf8_lossy(&run.stderr).into_owned();
        assert!(!run.status.success() && said.contains(word), "{arguments:?}: {said}");
    }
    Ok(())
}
