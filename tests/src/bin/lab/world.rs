//! The running lab: namespaces, peers, the gateway.
use anyhow::{Context as _, Result, bail, ensure};
use std::{collections::BTreeMap, env, fs, net::IpAddr, path::PathBuf, time::Duration};
use tempfile::TempDir;
use tests::{
    lab::{
        capture::Capture,
        inject::Injector,
        process::Child,
        topology::{BACKEND, LLN, Lab, NODE, NODE_3},
    },
    need,
    packet::Datagram,
    peer::{
        Psk,
        coap::{COAPS, Client, Flavour, Server},
        https::Stack,
        node::Node,
    },
};

/// Where the filter's state is pinned, unless a gateway runs on this machine already.
const BPFFS: &str = "/sys/fs/bpf/gateway";
const READY: Duration = Duration::from_secs(20);

/// Fields in the order in which they must end: the gateway before its namespace.
pub struct World {
    /// Frames that reached the node's link, and that came up the router's.
    pub node: Capture,
    pub uplink: Capture,
    pub injector: Injector,
    pub psk: Psk,
    port: u16,
    server: Server,
    pub mapped_node: Node,
    agent: Option<Child>,
    directory: TempDir,
    bpffs: PathBuf,
    binary: PathBuf,
    pub lab: Lab,
}

impl World {
    pub fn new() -> Result<Self> {
        need::root_and_tools(&["coap-client-openssl", "coap-server-openssl", "bpftool", "tshark"]);
        need::root_and_tools(&Stack::ALL.map(Stack::program));
        let lab = Lab::new()?;
        let psk = Psk::default();
        let server = Server::start(&lab.node, Flavour::OpenSsl, NODE.into(), &psk)?;
        let mapped_node =
            Node::start(&lab.node, (NODE_3, COAPS).into(), &psk, &["--cookie", "foreign"])?;
        let bpffs = match PathBuf::from(BPFFS) {
            taken if taken.exists() => PathBuf::from(format!("{BPFFS}-lab-{}", std::process::id())),
            free => free,
        };
        let mut world = Self {
            node: Capture::start(lab.node.device("node0"))?,
            uplink: Capture::start(lab.internet.device("up0"))?,
            injector: Injector::new(lab.internet.device("up0"))?,
            psk,
            port: 20_000,
            server,
            mapped_node,
            agent: None,
            directory: tempfile::tempdir()?,
            bpffs,
            binary: env::current_exe()?.with_file_name("gateway"),
            lab,
        };
        world.start()?;
        Ok(world)
    }

    fn start(&mut self) -> Result<()> {
        let directory = self.directory.path();
        let configuration = format!(
            "[interfaces]\nwan = [\"wan0\"]\nlln = [\"lln0\"]\n\n[lln]\nprefixes = [\"{LLN}\"]\nmapped_ports = [443]\n\n\
             # the scenes follow each other faster than a radio would like\n\
             [rate.node]\npackets = \"100/s\"\npacket_burst = 400\nbytes = \"64KiB/s\"\n\
             byte_burst = \"256KiB\"\n\n[rate.lln]\npackets = \"400/s\"\npacket_burst = 1000\n\
             bytes = \"256KiB/s\"\nbyte_burst = \"512KiB\"\n\n[state]\nbpffs = \"{}\"\ndirectory = \"{}\"\nallow = \"{}\"\nruntime = \"{}\"\n",
            self.bpffs.display(),
            directory.display(),
            directory.join("allow.toml").display(),
            directory.join("run").display()
        );
        fs::write(directory.join("gateway.toml"), configuration)?;
        let mut agent = Child::spawn(self.command(&["run"]))?;
        agent.wait_for_line("filtering", READY).context("gateway run")?;
        self.agent = Some(agent);
        Ok(())
    }

    fn command(&self, arguments: &[&str]) -> std::process::Command {
        let mut command = self.lab.router.command(&self.binary.display().to_string());
        command.arg("--config").arg(self.directory.path().join("gateway.toml")).args(arguments);
        command
    }

    /// Runs `gateway ARGUMENTS` on the router; its output.
    pub fn gateway(&self, arguments: &[&str]) -> Result<String> {
        let output = self.command(arguments).output().context("gateway")?;
        if !output.status.success() {
            bail!(
                "gateway {}: {}",
                arguments.join(" "),
                String::from_utf8_lossy(&output.stderr).trim()
            );
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Packets dropped so far, by reason.
    pub fn drops(&self) -> Result<BTreeMap<String, u64>> {
        let text = self.gateway(&["drops", "--interval", "0s", "--json"])?;
        let value: serde_json::Value = serde_json::from_str(&text)?;
        let reasons = value["drops"].as_object().context("gateway drops --json")?;
        Ok(reasons
            .iter()
            .map(|(name, counts)| (name.clone(), counts["packets"].as_u64().unwrap_or(0)))
            .collect())
    }

    /// Runs `task`; how many more drops of `reason` there are afterwards.
    pub fn counting<T>(
        &mut self,
        reason: &str,
        task: impl FnOnce(&mut Self) -> Result<T>,
    ) -> Result<(T, u64)> {
        let count = |world: &Self| Ok::<u64, anyhow::Error>(world.drops()?[reason]);
        let before = count(self)?;
        let result = task(self)?;
        let after = count(self)?;
        Ok((result, after - before))
    }

    /// One CoAP request over DTLS with a pre-shared key, by an unmodified client.
    pub fn get(&self, from: IpAddr, timeout: Duration) -> Result<String> {
        let client = Client::new(&self.lab.backend, Flavour::OpenSsl, &self.psk);
        client.from(from, 0).timeout(timeout).get(NODE.into(), "time")
    }

    /// Datagrams of a capture that go to the node, in order.
    pub fn to_node(frames: &[Vec<u8>]) -> Vec<(Vec<u8>, Datagram)> {
        let to_node = |frame: &Vec<u8>| {
            let datagram = Datagram::from_frame(frame)?;
            (datagram.dst.ip() == IpAddr::from(NODE)).then(|| (frame.clone(), datagram))
        };
        frames.iter().filter_map(to_node).collect()
    }

    /// The first of 200 ports that no scene has used.
    pub fn fresh_port(&mut self) -> u16 {
        self.port = if self.port > 60_000 { 20_000 } else { self.port + 200 };
        self.port
    }

    /// Datagrams that have reached the node's link so far.
    pub fn reached(&self) -> usize {
        self.node.count(|frame| {
            Datagram::from_frame(frame).is_some_and(|d| d.dst.ip() == IpAddr::from(NODE))
        })
    }

    pub fn introduce(&self) -> Result<()> {
        println!(
            "\n  back-end {BACKEND} ─┐\n                            internet ── wan0 router lln0 ── \
             node {NODE} (coap-server-openssl, DTLS with a PSK)\n  attacker 2001:db8:a::2  ─┘                                \
             node {NODE_3} (the example node, which takes mapped TLS)\n"
        );
        print!("{}", self.gateway(&["status"])?);
        println!();
        Ok(())
    }

    pub fn how_to_look(&self) -> Result<()> {
        let path = self.bpffs.display();
        println!("\nthe same from outside, with nothing of ours:\n");
        println!("  # bpftool map dump pinned {path}/DROPS");
        let dump = std::process::Command::new("bpftool")
            .args(["-j", "map", "dump", "pinned"])
            .arg(self.bpffs.join("DROPS"))
            .output()?;
        for line in nonzero(&dump.stdout)? {
            println!("    {line}");
        }
        println!("  # bpftool map dump pinned {path}/SOURCES       the allow-list");
        println!(
            "  # bpftool map dump pinned {path}/ASSOCIATIONS  what is known of each DTLS flow"
        );
        println!("  # bpftool link show                                  the pinned XDP links");
        Ok(())
    }

    pub fn summary(&self) -> Result<()> {
        println!("\nwhat was dropped, and why:\n");
        print!("{}", self.gateway(&["drops", "--interval", "0s"])?);
        println!("\nwhat each admitted source did:\n");
        print!("{}", self.gateway(&["sources"])?);
        println!("\nwhat was mapped:\n");
        print!("{}", self.gateway(&["connections"])?);
        let (coap, http) = (self.server.requests(), self.mapped_node.requests().len());
        println!("\nrequests that nodes answered: {coap} of CoAP, {http} of HTTP");
        Ok(())
    }
}

/// The reasons in a dump of `DROPS` that have a count on some CPU.
fn nonzero(dump: &[u8]) -> Result<Vec<String>> {
    let dump: serde_json::Value = serde_json::from_slice(dump).context("bpftool")?;
    let mut lines = Vec::new();
    for entry in dump.as_array().context("bpftool")? {
        let Some(values) = entry["formatted"]["values"].as_array() else { continue };
        for value in values {
            let Some(reasons) = value["value"].as_object() else { continue };
            for (reason, count) in reasons {
                if count["packets"].as_u64().unwrap_or(0) > 0 {
                    let (cpu, interface) = (&value["cpu"], &entry["formatted"]["key"]);
                    lines.push(format!("interface {interface}, cpu {cpu}: \"{reason}\": {count}"));
                }
            }
        }
    }
    ensure!(!lines.is_empty(), "bpftool shows no drop");
    Ok(lines)
}

impl Drop for World {
    fn drop(&mut self) {
        if let Some(agent) = self.agent.take() {
            let _ = agent.stop();
        }
        let _ = self.command(&["detach", "--if-running"]).output();
    }
}
