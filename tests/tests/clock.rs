//! Steps of the wall clock, in the middle of everything, over restarts and over reboots: no lease and
//! no entry of the allow-list lasts longer than it was given, and none is lost.

use std::{
    fs,
    net::{IpAddr, Ipv6Addr},
    os::unix::fs::PermissionsExt as _,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context as _, Result, ensure};
use aya::Ebpf;
use serde_json::Value;
use tests::{
    lab::{
        Capture, Child, Gateway, Injector, Lab, Machine, WallClock,
        gateway::{EVERYDAY, ROOMY, START},
        topology::{ATTACKER, BACKEND, BACKEND_2, NODE, ROUTER},
        until,
    },
    need,
    packet::{Packet, dtls, read},
    peer::{
        Psk,
        coap::{self, COAPS, Flavour},
        curl::{Client, Pki},
    },
};

const SOON: Duration = Duration::from_secs(30);
const HTTPS: u16 = 4433;
const DAY: i64 = 86_400;
const GIVEN: Duration = Duration::from_secs(600);
/// What an entry of the allow-list loses because files have whole seconds, and what tests round.
const ROUNDING: Duration = Duration::from_secs(3);

fn pump() -> Psk {
    Psk::new("pump-7.example", b"a key of the pump's own")
}

/// A router with a wall clock of its own, and eyes on the node.
struct Site<'a> {
    lab: &'a Lab,
    gateway: Gateway<'a>,
    pki: Pki,
    seen: Capture,
    wire: Injector,
    records: u64,
    _awake: Ebpf,
    /// Last: it tidies up after those who went by it.
    clock: WallClock,
}

impl<'a> Site<'a> {
    fn start(lab: &'a Lab) -> Result<Self> {
        let clock = WallClock::new()?;
        let mut gateway =
            Gateway::new(&lab.router, EVERYDAY)?.with_environment(clock.environment());
        let pki = Pki::init(&gateway.folder().join("pki"))?;
        pki.run(&["issue", "router.lab", "--server", "--also", &ROUTER.to_string()])?;
        pki.issue("pump-7.example", &[])?;
        let keys = gateway.folder().join("psk.txt");
        fs::write(&keys, format!("pump-7.example:{}\n", pump().hex()))?;
        fs::set_permissions(&keys, fs::Permissions::from_mode(0o600))?;
        gateway.configure(&format!(
            "{EVERYDAY}{ROOMY}[auth.psk]\nlisten = [\"[::]:{COAPS}\"]\nkeys = {keys:?}\n\
             [auth.https]\nlisten = [\"[::]:{HTTPS}\"]\ncertificate = {:?}\nkey = {:?}\n\
             client_ca = {:?}\ncrl = {:?}\n[[auth.identity]]\nname = \"pump-7.example\"\n",
            pki.file("router.crt"),
            pki.file("router.key"),
            pki.file("ca.crt"),
            pki.file("ca.crl"),
        ))?;
        gateway.run()?;
        let seen = Capture::start(lab.node.device("node0"))?;
        let wire = Injector::new(lab.internet.device("up0"))?;
        let _awake = lab.awake()?;
        Ok(Self { lab, clock, gateway, pki, seen, wire, records: 0, _awake })
    }

    /// A lease by certificate, one by key and an entry of the allow-list, for as long each.
    fn give(&self) -> Result<[Ipv6Addr; 3]> {
        let terms = format!("{{\"ttl\": {}}}", GIVEN.as_secs());
        let client = Client::new(&self.lab.backend, &format!("[{ROUTER}]:{HTTPS}"), &self.pki);
        client.certificate(&self.pki, "pump-7.example").lease(&terms)?;
        let client = coap::Client::new(&self.lab.backend, Flavour::OpenSsl, &pump());
        let client = client.from(BACKEND_2.into(), 0);
        let words = ["-m", "post", "-t", "50", "-e", &terms];
        let answer = client.request(ROUTER.into(), "leases", &words)?;
        ensure!(answer.code == "2.01", "{answer:?}");
        self.gateway.allow(ATTACKER, &["--for", &format!("{}s", GIVEN.as_secs())])?;
        Ok([BACKEND, BACKEND_2, ATTACKER])
    }

    /// Whether a record of this source reaches the node.
    fn passes(&mut self, source: Ipv6Addr) -> Result<bool> {
        let arrived = |seen: &Capture| seen.count(|frame| read::is_from(frame, source));
        let (before, lost) = (arrived(&self.seen), self.lost()?);
        self.records += 1;
        let packet = Packet::udp6(source, NODE, 40_000, COAPS);
        self.wire.send(&packet.payload(dtls::application(self.records, &[7; 40])).build())?;
        let ended = until(SOON, || {
            arrived(&self.seen) > before || self.lost().is_ok_and(|count| count > lost)
        });
        ensure!(ended, "a record of {source} is nowhere: {:?}", self.gateway.drops()?);
        Ok(arrived(&self.seen) > before)
    }

    fn lost(&self) -> Result<u64> {
        Ok(self.gateway.dropped("no_lease")? + self.gateway.dropped("lease_expired")?)
    }

    /// All pass, and have what is left of their time since `begin`, no less and no more.
    fn all_have_their_time(&mut self, sources: &[Ipv6Addr], begin: Instant) -> Result<()> {
        for source in sources {
            ensure!(self.passes(*source)?, "{source} is shut out: {}", self.gateway.log());
            let (found, left) = (self.gateway.source(source)?, GIVEN - begin.elapsed());
            let kept = found["expires_in_seconds"].as_f64().context("no end")?;
            let kept = Duration::from_secs_f64(kept);
            let fits = kept + ROUNDING > left && kept < left + ROUNDING;
            ensure!(fits, "{source}: {kept:?} instead of {left:?}");
        }
        Ok(())
    }

    /// Sets the clock, and waits until the agent has noticed.
    fn step(&self, offset: i64) -> Result<()> {
        let seen = || self.gateway.log().matches("the clock was set").count();
        let before = seen();
        self.clock.set(offset)?;
        ensure!(until(SOON, || seen() > before), "not noticed: {}", self.gateway.log());
        Ok(())
    }
}

#[test]
fn steps_of_the_clock_take_no_time_and_give_none() -> Result<()> {
    need::root_and_tools(&["curl", "coap-client-openssl"]);
    let lab = Lab::new()?;
    let mut site = Site::start(&lab)?;
    let begin = Instant::now();
    let sources = site.give()?;
    site.all_have_their_time(&sources, begin)?;
    for (offset, other) in [(DAY, "2001:db8:c::1"), (-DAY, "2001:db8:c::2")] {
        site.step(offset)?;
        site.all_have_their_time(&sources, begin)?;
        // whatever has the allow-list read again
        site.gateway.allow(other, &[])?;
        site.all_have_their_time(&sources, begin)?;
        site.gateway.reload("configuration reloaded")?;
        site.all_have_their_time(&sources, begin)?;
        site.gateway.kill();
        site.gateway.allow(other, &["--comment", "with no agent"])?;
        site.gateway.run()?;
        site.all_have_their_time(&sources, begin)?;
    }
    let leases = site.gateway.json(&["lease", "list"])?;
    ensure!(leases["leases"].as_array().is_some_and(|all| all.len() == 2), "{leases}");
    Ok(())
}

#[test]
fn what_was_given_a_time_ends_then_whatever_the_clock_says() -> Result<()> {
    need::root_and_tools(&["curl", "coap-client-openssl"]);
    let lab = Lab::new()?;
    let mut site = Site::start(&lab)?;
    site.gateway.allow(ATTACKER, &["--for", "12s"])?;
    ensure!(site.passes(ATTACKER)?);
    site.step(-DAY)?;
    site.gateway.allow(BACKEND_2, &[])?;
    ensure!(until(SOON, || site.passes(ATTACKER).is_ok_and(|passes| !passes)), "it goes on");
    // no reading of the file, no restart and no step revives it; the next change takes it out
    site.gateway.kill();
    site.gateway.run()?;
    ensure!(!site.passes(ATTACKER)?, "a restart revives it");
    site.step(-2 * DAY)?;
    ensure!(!site.passes(ATTACKER)?, "a step revives it");
    site.gateway.allow(BACKEND_2, &["--comment", "again"])?;
    let list = fs::read_to_string(site.gateway.allow_file())?;
    ensure!(!list.contains(&ATTACKER.to_string()), "{list}");
    Ok(())
}

fn written(at: SystemTime) -> String {
    let seconds = at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    gateway_user::config::units::show_instant(UNIX_EPOCH + Duration::from_secs(seconds))
}

#[test]
fn a_date_in_the_allow_list_follows_the_wall_clock() -> Result<()> {
    need::root_and_tools(&["curl", "coap-client-openssl"]);
    let lab = Lab::new()?;
    let mut site = Site::start(&lab)?;
    let date = written(SystemTime::now() + Duration::from_secs(3600));
    let entry = format!("[[allow]]\nsource = \"{ATTACKER}\"\nexpires = \"{date}\"\n");
    fs::write(site.gateway.allow_file(), entry)?;
    let turns = |site: &mut Site<'_>, wanted: bool| {
        until(SOON, || site.passes(ATTACKER).is_ok_and(|passes| passes == wanted))
    };
    ensure!(turns(&mut site, true), "not admitted before its date");
    site.step(2 * 3600)?;
    ensure!(turns(&mut site, false), "admitted after its date");
    site.step(0)?;
    ensure!(turns(&mut site, true), "not admitted though its date is to come");
    Ok(())
}

/// A router that can be switched off, with the clock that it starts with.
struct Router<'a> {
    agent: Option<Child>,
    machine: Machine<'a>,
    /// Last: it tidies up after those who went by it.
    clock: WallClock,
}

impl<'a> Router<'a> {
    fn new(lab: &'a Lab) -> Result<Self> {
        let hosts: [(IpAddr, &str); 0] = [];
        let router = Self {
            machine: Machine::new(&lab.router, &hosts)?,
            clock: WallClock::new()?,
            agent: None,
        };
        router.typed("echo 0 > boot; mount --bind boot /proc/sys/kernel/random/boot_id")?;
        Ok(router)
    }

    fn typed(&self, line: &str) -> Result<String> {
        self.machine.typed(&format!("{}{line}", self.clock.exports()), SOON)
    }

    /// Runs of the system have names; the kernel forgets everything between them.
    fn boots(&mut self, name: &str, offset: i64) -> Result<()> {
        if self.agent.take().is_some() {
            self.typed("gateway detach; rm -rf /run/gateway")?;
        }
        self.typed(&format!("echo {name} > boot"))?;
        self.clock.set(offset)?;
        let line = format!("{}gateway run --wan wan0 --lln lln0", self.clock.exports());
        let mut agent = self.machine.types(&line)?;
        agent.wait_for_line("filtering;", START)?;
        self.agent = Some(agent);
        Ok(())
    }

    fn said(&self, part: &str) -> bool {
        self.agent.as_ref().is_some_and(|agent| agent.output().contains(part))
    }

    /// What is left of the one entry, if it is in force.
    fn left(&self) -> Result<Option<f64>> {
        let list: Value = serde_json::from_str(&self.typed("gateway allow list --json")?)?;
        ensure!(list["allow"].as_array().is_some_and(|all| all.len() == 1), "{list}");
        Ok(list["allow"][0]["counters"]["expires_in_seconds"].as_f64())
    }
}

#[test]
fn over_a_reboot_a_time_goes_by_the_wall_clock_once_it_is_set() -> Result<()> {
    need::root_and_tools(&[]);
    let lab = Lab::new()?;
    let mut router = Router::new(&lab)?;
    router.boots("one", 0)?;
    router.typed(&format!("gateway allow add {BACKEND} --for 1h"))?;
    let left = router.left()?.context("not in force")?;
    ensure!((3500.0..=3600.0).contains(&left), "{left}");
    // a clock without a battery: nothing can be told, so nobody is let in, and nothing is forgotten
    router.boots("two", -DAY)?;
    ensure!(router.left()?.is_none(), "in force though its end is not known");
    ensure!(router.said("wait until it is set"), "nothing is said about it");
    router.clock.set(600)?;
    let back = until(SOON, || router.left().is_ok_and(|left| left.is_some()));
    ensure!(back, "lost though the clock is set");
    let left = router.left()?.context("not in force")?;
    ensure!((2800.0..=3000.0).contains(&left), "ten minutes were missed: {left}");
    // and one that was off for longer than was given
    router.boots("three", 2 * 3600)?;
    ensure!(router.left()?.is_none(), "in force after its end");
    router.clock.set(0)?;
    ensure!(until(SOON, || router.said("the clock was set back")), "not noticed");
    ensure!(router.left()?.is_none(), "what has ended begins again");
    Ok(())
}

#[test]
fn over_a_reboot_a_date_waits_for_a_clock_that_is_not_set() -> Result<()> {
    need::root_and_tools(&[]);
    let lab = Lab::new()?;
    let mut router = Router::new(&lab)?;
    let date = written(SystemTime::now() + Duration::from_secs(3600));
    let entry = format!("[[allow]]\\nsource = \"{BACKEND}\"\\nexpires = \"{date}\"\\n");
    router.typed(&format!("mkdir -p /etc/gateway; printf '{entry}' > /etc/gateway/allow.toml"))?;
    router.boots("one", 0)?;
    ensure!(router.left()?.is_some(), "not in force");
    router.boots("two", -DAY)?;
    ensure!(router.left()?.is_none(), "in force though the time is not known");
    ensure!(router.said("wait until it is set"), "nothing is said about it");
    router.clock.set(0)?;
    ensure!(until(SOON, || router.left().is_ok_and(|left| left.is_some())), "still not in force");
    let left = router.left()?.context("not in force")?;
    ensure!((3000.0..=3600.0).contains(&left), "{left}");
    Ok(())
}
