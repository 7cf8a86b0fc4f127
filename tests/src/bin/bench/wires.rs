//! Two namespaces and the wire between them: where frames come from, and the router that takes
//! them. What passes is forwarded into a tun that nobody reads, as a radio's driver would take it.
use std::{fs, thread::sleep, time::Duration};

use anyhow::{Context, Result};
use nix::{
    sched::{CpuSet, sched_setaffinity},
    unistd::Pid,
};
use tests::lab::{
    Namespace,
    link::{self, End, Mac},
    until_some,
};

use super::plan::{NODE, ROUTER};

const MAC_SENDER: Mac = [2, 0, 0, 0, 0, 1];
const MAC_ROUTER: Mac = [2, 0, 0, 0, 0, 2];
const SENDER: &str = "gen0";
const RADIO: &str = "radio0";
/// Who sends and who receives.
pub(crate) const CPU_SENDER: usize = 0;
const CPU_ROUTER: usize = 1;

/// The wire.
pub(crate) struct Wires {
    /// Where frames come from.
    pub(crate) sender: Namespace,
    /// Where they arrive.
    pub(crate) router: Namespace,
    /// The router's interface.
    pub(crate) name: String,
    /// The kernel thread that takes frames off it.
    napi: Pid,
}

/// Running totals.
#[derive(Clone, Copy, Debug)]
pub(crate) struct State {
    /// Frames taken.
    pub(crate) taken: u64,
    /// CPU nanoseconds of whoever took them.
    pub(crate) busy_ns: u64,
    /// Packets that were forwarded.
    pub(crate) forwarded: u64,
}

/// Addresses of a frame from sender to router.
pub(crate) fn ethernet() -> (Mac, Mac) {
    (MAC_SENDER, MAC_ROUTER)
}

impl Wires {
    /// Lays the wire.
    pub(crate) fn new() -> Result<Self> {
        let (sender, router) = (Namespace::new("flood")?, Namespace::new("router")?);
        // names the thread that is looked for below: nobody else's is called so
        let name = format!("b{}", std::process::id() % 10_000_000);
        for namespace in [&sender, &router] {
            namespace.set_sysctl("ipv6/conf/default/accept_dad", "0")?;
            namespace.set_sysctl("ipv6/conf/default/router_solicitations", "0")?;
        }
        router.set_sysctl("ipv6/conf/all/forwarding", "1")?;
        let end = |namespace, name, mac| End { namespace, name, mac };
        let left = end(&sender, SENDER, MAC_SENDER);
        link::veth(left, end(&router, &name, MAC_ROUTER))?;
        number(&router, &name)?;
        let napi = threaded(&router, &name)?;
        Ok(Self { sender, router, name, napi })
    }

    /// The sender's interface, by the kernel's number.
    pub(crate) fn out(&self) -> Result<u32> {
        self.sender.device(SENDER).index()
    }

    /// The totals as they stand.
    pub(crate) fn state(&self) -> Result<State> {
        let text = self.router.run(&["ethtool", "-S", &self.name])?;
        let taken =
            text.lines().find_map(|line| line.trim().strip_prefix("rx_queue_0_xdp_packets:"));
        let schedstat = fs::read_to_string(format!("/proc/{}/schedstat", self.napi))?;
        let busy = schedstat.split_whitespace().next();
        let radio = self.router.device(RADIO);
        Ok(State {
            taken: taken.context("no count of frames")?.trim().parse()?,
            busy_ns: busy.context("no schedstat")?.parse()?,
            forwarded: radio.counter("tx", "packets")? + radio.counter("tx", "dropped")?,
        })
    }
}

/// A tun without a reader, and addresses on both sides.
fn number(router: &Namespace, name: &str) -> Result<()> {
    router.run(&["ip", "tuntap", "add", "dev", RADIO, "mode", "tun"])?;
    router.device(RADIO).up()?;
    router.device(name).address(&format!("{ROUTER}/64"))?;
    router.device(RADIO).address("2001:db8:1::1/64")?;
    router.run(&["ip", "-6", "route", "replace", &format!("{NODE}/128"), "dev", RADIO]).map(drop)
}

/// Gives the interface a kernel thread of its own on a CPU of its own. GRO gives a veth its queue
/// also where no XDP program is.
fn threaded(router: &Namespace, name: &str) -> Result<Pid> {
    router.device(name).gro_on()?;
    let switch = format!("echo 1 > /sys/class/net/{name}/threaded");
    router.run(&["ip", "netns", "exec", router.name(), "sh", "-c", &switch])?;
    let thread = until_some(Duration::from_secs(3), || find(&format!("napi/{name}")));
    let thread = thread.context("the veth has no NAPI thread")?;
    let mut cpu = CpuSet::new();
    cpu.set(CPU_ROUTER)?;
    sched_setaffinity(thread, &cpu)?;
    sleep(Duration::from_millis(100));
    Ok(thread)
}

fn find(prefix: &str) -> Option<Pid> {
    let entries = fs::read_dir("/proc").ok()?.flatten();
    let mut pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.find(|pid: &i32| {
        let name = fs::read_to_string(format!("/proc/{pid}/comm"));
        name.is_ok_and(|name| name.starts_with(prefix))
    })
    .map(Pid::from_raw)
}
