//! The command line: what was typed, and who does it. One command a file.
mod allow;
mod backend;
mod config;
mod connections;
mod detach;
mod drops;
mod events;
mod explain;
mod lease;
mod manual;
mod pki;
mod run;
mod show;
mod sources;
mod status;
mod tunnel;

use crate::{
    agent, config as configuration,
    config::Config,
    control,
    dataplane::{self, Maps, Pins},
};
use anyhow::Context as _;
use clap::{Parser, Subcommand};
use core::cell::OnceCell;
use serde_json::{Value, json};
use std::{
    io::{self, Write as _},
    path::PathBuf,
    process::ExitCode,
};

/// Protects a low-power network at its border router: only admitted back-ends, within their
/// budget, and no DTLS record twice.
#[derive(Debug, Parser)]
#[command(name = "gateway", version, max_term_width = 100)]
#[command(after_help = "Exit status: 0 done, 1 failed, 2 usage, 3 the gateway does not run.")]
struct Cli {
    /// Configuration file [default: /etc/gateway/gateway.toml, if it exists]
    #[arg(long, global = true, env = "GATEWAY_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// Output for machines: one JSON value, or one a line for a stream
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Bring the filter up and keep it in step with its files; it stays when this ends
    Run(run::Run),
    /// Remove the filter and all of its state from the kernel
    Detach(detach::Detach),
    /// What is filtered, how, and how much has passed
    Status,
    /// The allow-list: who may reach which nodes
    #[command(subcommand)]
    Allow(allow::Allow),
    /// Leases of back-ends that have proved what they are
    #[command(subcommand)]
    Lease(lease::Lease),
    /// Certificates: a small authority for routers and back-ends
    Pki(pki::Pki),
    /// On a back-end: get a lease from a router and keep it open
    #[command(subcommand)]
    Backend(backend::Backend),
    /// What was dropped, by reason
    Drops(drops::Drops),
    /// What each source has sent, and lost
    Sources(sources::Sources),
    /// TLS connections that are mapped to nodes, and what became of earlier ones
    Connections(connections::Connections),
    /// Drops as they happen, sampled
    ///
    /// The kernel reports at most ten a second of each reason and CPU, so a flood of one kind does
    /// not hide the others. It is meant for one reader at a time: of several, each may miss some.
    Events(events::Events),
    /// What would become of a packet, and at which stage
    ///
    /// Runs it through the program that filters, against a copy of its present state. The state
    /// itself is left untouched.
    Explain(explain::Explain),
    /// The configuration: check a file, or write one with every default
    #[command(subcommand)]
    Config(config::ConfigCommand),
    /// Write the manual pages
    #[command(hide = true)]
    Man(manual::Man),
    /// Print a shell's completions
    Completions(manual::Completions),
}

/// What every command may need.
struct Context {
    file: Option<PathBuf>,
    json: bool,
    seen: OnceCell<Config>,
}

impl Context {
    /// The configuration file that applies, if there is one.
    fn file(&self) -> Option<PathBuf> {
        let usual = PathBuf::from(configuration::PATH);
        self.file.clone().or_else(|| usual.exists().then_some(usual))
    }

    fn config(&self) -> anyhow::Result<Config> {
        let options = agent::Options { config: self.file(), ..agent::Options::default() };
        Ok(options.configure()?)
    }

    /// The configuration for a command that only looks: the filter runs on while its file is wrong,
    /// and so does the look at it.
    fn view(&self) -> anyhow::Result<&Config> {
        if let Some(seen) = self.seen.get() {
            return Ok(seen);
        }
        let config = match self.config() {
            Ok(config) => config,
            Err(error) => self.salvage(error)?,
        };
        Ok(self.seen.get_or_init(|| config))
    }

    /// What counts in the place of a file that is wrong, with a word about it. One that is not
    /// there was named by mistake.
    fn salvage(&self, error: anyhow::Error) -> anyhow::Result<Config> {
        let Some(file) = self.file().filter(|file| file.exists()) else { return Err(error) };
        let config = configuration::salvage(&file);
        let _ = writeln!(
            io::stderr(),
            "gateway: {error:#}\ngateway: {} was not read: what follows is the state under {}, and \
             defaults",
            file.display(),
            config.state.bpffs.display()
        );
        Ok(config)
    }

    fn pins(&self) -> anyhow::Result<Pins> {
        Ok(Pins::new(&self.view()?.state.bpffs))
    }

    /// The running filter's maps.
    fn maps(&self) -> anyhow::Result<Maps> {
        Ok(Maps::open(&self.pins()?)?)
    }

    /// Prints for people or for machines.
    fn print(&self, text: &str, value: &Value) -> anyhow::Result<()> {
        if self.json { write(&format!("{value:#}\n")) } else { write(text) }
    }

    /// Prints one of a stream.
    fn print_line(&self, text: &str, value: &Value) -> anyhow::Result<()> {
        if self.json { write(&format!("{value}\n")) } else { write(&format!("{text}\n")) }
    }
}

/// Writes to standard output at once. A reader that has gone away is no failure.
fn write(text: &str) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Err(Gone.into()),
        result => result.context("cannot write to standard output"),
    }
}

/// The reader of standard output has gone away.
#[derive(Debug, thiserror::Error)]
#[error("nobody reads the output")]
struct Gone;

/// The program.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let context = Context { file: cli.config, json: cli.json, seen: OnceCell::new() };
    match dispatch(&context, cli.command) {
        Ok(code) => code,
        Err(error) if error.is::<Gone>() => ExitCode::SUCCESS,
        Err(error) => report(&context, &error),
    }
}

fn dispatch(context: &Context, command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Run(command) => command.run(context)?,
        Command::Detach(command) => command.run(context)?,
        Command::Status => status::run(context)?,
        Command::Allow(command) => command.run(context)?,
        Command::Lease(command) => command.run(context)?,
        Command::Pki(command) => command.run(context)?,
        Command::Backend(command) => command.run(context)?,
        Command::Drops(command) => command.run(context)?,
        Command::Sources(command) => command.run(context)?,
        Command::Connections(command) => command.run(context)?,
        Command::Events(command) => command.run(context)?,
        Command::Explain(command) => command.run(context)?,
        Command::Config(command) => command.run(context)?,
        Command::Man(command) => command.run()?,
        Command::Completions(command) => command.run()?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Nothing runs that could be asked.
const NOT_RUNNING: u8 = 3;

/// Whether the system refused something that it grants to root.
fn is_denied(error: &anyhow::Error) -> bool {
    let mut causes = error.chain().filter_map(|cause| cause.downcast_ref::<io::Error>());
    let denied = causes.any(|cause| cause.kind() == io::ErrorKind::PermissionDenied);
    denied && !nix::unistd::geteuid().is_root()
}

fn report(context: &Context, error: &anyhow::Error) -> ExitCode {
    let hint = if is_denied(error) { " (try as root)" } else { "" };
    let text = format!("{error:#}{hint}");
    if context.json {
        let _ = write(&format!("{:#}\n", json!({ "error": text })));
    }
    let _ = writeln!(io::stderr(), "gateway: {text}");
    let not_running = |error: &dataplane::Error| matches!(error, dataplane::Error::NotRunning(_));
    let missing = error.downcast_ref::<dataplane::Error>().is_some_and(not_running)
        || matches!(error.downcast_ref(), Some(agent::Error::Dataplane(e)) if not_running(e))
        || matches!(error.downcast_ref(), Some(control::Error::NotRunning(_)));
    ExitCode::from(if missing { NOT_RUNNING } else { 1 })
}
