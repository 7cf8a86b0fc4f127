//! `gateway run`.
use super::{Context, write};
use crate::{
    agent,
    config::{Config, Format},
    dataplane::attach::{Mode, Role, Running},
};
use clap::Args;
use serde_json::json;
use std::io::{self, IsTerminal as _};
use tracing_subscriber::EnvFilter;

#[derive(Debug, Args)]
pub(super) struct Run {
    /// Interface on the Internet's side; may be given several times
    #[arg(long, value_name = "INTERFACE")]
    wan: Vec<String>,
    /// Interface on the LLN's side; may be given several times
    #[arg(long, value_name = "INTERFACE")]
    lln: Vec<String>,
    /// Bring the filter up and end; it filters on by itself
    #[arg(long)]
    once: bool,
}

impl Run {
    pub(super) fn run(self, context: &Context) -> anyhow::Result<()> {
        let options = agent::Options { config: context.file(), wan: self.wan, lln: self.lln };
        let config = options.configure()?;
        log(&config);
        if self.once {
            return announce(context, &config, &agent::start_once(&config)?);
        }
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        // before anybody learns that it runs: a reload in the next instant must not end it
        let signals = runtime.block_on(async { agent::Signals::listen() })?;
        let (ledger, running) = agent::start(&config)?;
        let services = runtime.block_on(async { agent::Services::start(&config, ledger) })?;
        announce(context, &config, &running)?;
        runtime.block_on(agent::keep(&options, config, running, services, signals))?;
        let text = "the filter stays in place; `gateway detach` removes it\n";
        if context.json { Ok(()) } else { write(text) }
    }
}

fn log(config: &Config) {
    let level = EnvFilter::new(config.log.level.as_str());
    let filter = EnvFilter::try_from_env("GATEWAY_LOG").unwrap_or(level);
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let log = log.with_ansi(!plain && io::stderr().is_terminal());
    // a second subscriber can only mean that one is there already
    let _ = match config.log.format {
        // colours are for people: a file or the journal would keep their codes
        Format::Text => log.with_target(false).with_ansi(io::stderr().is_terminal()).try_init(),
        Format::Json => log.json().try_init(),
    };
}

fn announce(context: &Context, config: &Config, running: &Running) -> anyhow::Result<()> {
    let mut text = String::new();
    let mut list = Vec::new();
    for attached in &running.attached {
        let side = match attached.role {
            Role::Wan => "Internet side",
            Role::Lln => "LLN side",
        };
        let how = match attached.mode {
            Some(mode) => format!("attached in {} mode", Mode::name_of(mode.number())),
            None => String::from("program replaced on the link that was there"),
        };
        text.push_str(&format!("{} ({side}): {how}\n", attached.name));
        if let Some(why) = &attached.fallback {
            tracing::warn!("{}: native mode is not to be had ({why})", attached.name);
        }
        list.push(json!({
            "interface": attached.name,
            "role": attached.role.program(),
            "mode": attached.mode.map(|mode| Mode::name_of(mode.number())),
            "replaced": attached.replaced,
            "fallback": attached.fallback,
        }));
    }
    for name in &running.released {
        text.push_str(&format!("{name}: no longer filtered\n"));
    }
    if running.renewed {
        text.push_str("maps of another size or version were replaced: budgets and replay memory start afresh\n");
    }
    text.push_str(&format!(
        "filtering; state under {}, allow-list {}\n",
        config.state.bpffs.display(),
        config.state.allow.display()
    ));
    let value = json!({
        "interfaces": list,
        "released": running.released,
        "renewed": running.renewed,
        "bpffs": config.state.bpffs,
        "allow": config.state.allow,
    });
    context.print(&text, &value)
}
