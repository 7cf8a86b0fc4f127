//! `cargo xtask bench`: what a packet costs, as ratios that hold on other machines too.
//!
//! [`micro`] runs programs in the kernel's test-run mode, [`pair`] does so on two CPUs at once,
//! [`e2e`] floods a veth with live frames, [`mapper`] relays TLS records, [`auth`] asks an agent for
//! leases and tunnels. Nothing is asserted about time: a target that is missed is printed as missed.
mod auth;
mod cases;
mod e2e;
mod fill;
mod filters;
mod flood;
mod instance;
mod interrupt;
mod mapper;
mod micro;
mod pair;
mod plan;
mod plot;
mod process;
mod reasons;
mod results;
mod stats;
mod targets;
mod wires;

use std::{fs, net::SocketAddr, path::PathBuf, process::ExitCode, time::Duration};

use anyhow::{Context, Result, ensure};
use clap::Parser;
use nix::{
    mount::{MsFlags, mount},
    sched::{CloneFlags, unshare},
};

use results::Results;

/// Measures filter and agent; without options everything, in a quarter of an hour.
#[derive(Parser)]
#[command(name = "cargo xtask bench")]
struct Args {
    /// Only test runs
    #[arg(long)]
    micro: bool,
    /// Only floods over a veth
    #[arg(long)]
    e2e: bool,
    /// Only the TLS mapping beside other relays
    #[arg(long)]
    mapper: bool,
    /// Only leases, tunnels beside other VPNs, and floods of hellos
    #[arg(long)]
    auth: bool,
    /// Relay datagrams: where from, and where to
    #[arg(long, value_name = "ADDRESS", hide = true)]
    datagrams: Vec<SocketAddr>,
    /// Be one of the relays
    #[arg(long, value_name = "NAME:PORT", hide = true)]
    relay: Option<String>,
    /// Samples of each figure
    #[arg(long, value_name = "N")]
    rounds: Option<u32>,
    /// Length of each flood
    #[arg(long, value_name = "S")]
    seconds: Option<f64>,
    /// Three short rounds, to see that everything works
    #[arg(long)]
    quick: bool,
    /// Only rows whose name contains this, and what they are compared with
    #[arg(long, default_value = "", value_name = "SUBSTR", hide_default_value = true)]
    only: String,
    /// Another build's programs, to compare it
    #[arg(long, default_value = instance::OBJECT, value_name = "PATH", hide_default_value = true)]
    object: PathBuf,
    /// Where to write every sample
    #[arg(long, default_value = "target/bench/bench.json", value_name = "PATH")]
    json: PathBuf,
    /// Where to draw the ratios
    #[arg(long, default_value = "target/bench/bench.svg", value_name = "PATH")]
    svg: PathBuf,
}

fn main() -> ExitCode {
    match bench(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn bench(args: &Args) -> Result<()> {
    if let Some(relay) = &args.relay {
        return mapper::run(relay);
    }
    if let [listen, node] = args.datagrams[..] {
        return auth::relay(listen, node);
    }
    ensure!(nix::unistd::geteuid().is_root(), "measuring takes root");
    instance::read(&args.object)?;
    own_mounts().context("a bpffs of our own")?;
    interrupt::watch()?;
    let results = measure(args)?;
    results.print();
    write(&args.json, &format!("{:#}\n", results.json()))?;
    write(&args.svg, &plot::svg(&results))
}

/// A mount namespace with its own bpffs: whatever is pinned there goes with this process.
fn own_mounts() -> Result<()> {
    const NONE: Option<&str> = None;
    unshare(CloneFlags::CLONE_NEWNS)?;
    mount(NONE, "/", NONE, MsFlags::MS_REC | MsFlags::MS_PRIVATE, NONE)?;
    mount(Some("bpf"), "/sys/fs/bpf", Some("bpf"), MsFlags::empty(), NONE)?;
    Ok(())
}

fn measure(args: &Args) -> Result<Results> {
    let (usual, length) = if args.quick { (3, 0.1) } else { (9, 0.7) };
    let rounds = args.rounds.unwrap_or(usual).max(1);
    let time = Duration::try_from_secs_f64(args.seconds.unwrap_or(length))?;
    let mut results = Results::default();
    let everything = !(args.micro || args.e2e || args.mapper || args.auth);
    if args.micro || everything {
        results.micro = micro::measure(rounds, &args.only)?;
        if args.only.is_empty() {
            results.pair = Some(pair::measure(rounds)?);
        }
    }
    if args.e2e || everything {
        results.e2e = Some(e2e::measure(rounds, time, &args.only)?);
    }
    if args.mapper || everything {
        results.handshakes = mapper::lln::measure()?;
        results.mapper = mapper::measure(rounds, time)?;
    }
    if args.auth || everything {
        results.auth = Some(auth::measure(rounds, time)?);
    }
    Ok(results)
}

fn write(path: &PathBuf, text: &str) -> Result<()> {
    let failed = || format!("cannot write {}", path.display());
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).with_context(failed)?;
    }
    fs::write(path, text).with_context(failed)?;
    eprintln!("bench: {}", path.display());
    Ok(())
}
