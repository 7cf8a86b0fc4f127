//! `gateway config`.
use super::{Context, write};
use crate::{
    auth::{https::Prepared, psk},
    config::{self, Config, mapper::Mapper},
};
use anyhow::Context as _;
use clap::Subcommand;
use serde_json::json;
use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, Ipv6Addr},
    path::PathBuf,
};

#[derive(Debug, Subcommand)]
pub(super) enum ConfigCommand {
    /// Read a configuration file and say what is wrong with it, or nothing
    Check {
        /// The file [default: the one that `gateway run` reads]
        file: Option<PathBuf>,
        /// Also require its interfaces to exist here
        #[arg(long)]
        interfaces: bool,
        /// Also require its certificates, keys, revocation lists and pre-shared keys to be there, and
        /// to be good
        #[arg(long)]
        certificates: bool,
    },
    /// Print a configuration file with every default, explained
    Default,
    /// Print the configuration that is in effect, as JSON
    Show,
}

impl ConfigCommand {
    pub(super) fn run(self, context: &Context) -> anyhow::Result<()> {
        match self {
            Self::Default if context.json => show(&Config::default()),
            Self::Default => write(&config::documented()),
            Self::Show => show(&context.config()?),
            Self::Check { file, interfaces, certificates } => {
                let file = file.or_else(|| context.file()).with_context(|| {
                    format!("no file to check: {} does not exist, name one", config::PATH)
                })?;
                let config = Config::load(&file)?;
                if interfaces {
                    config::check_interfaces(&config)?;
                }
                if certificates {
                    Prepared::new(&config)?;
                    psk::Prepared::new(&config)?;
                }
                let list = crate::allow::List::load(&config.state.allow)?;
                let records = largest_records(&config.mapper);
                let text = format!(
                    "{}: good; {}: {} entries\n{}{}",
                    file.display(),
                    config.state.allow.display(),
                    list.entries().len(),
                    unnamed(&config),
                    records.iter().map(|(node, most)| said(node, *most)).collect::<String>(),
                );
                context.print(
                    &text,
                    &json!({
                        "file": file, "valid": true, "allow": config.state.allow,
                        "entries": list.entries().len(),
                        "largest_records": records.into_iter().collect::<BTreeMap<_, _>>(),
                    }),
                )
            }
        }
    }
}

/// What `gateway run` needs besides the file.
fn unnamed(config: &Config) -> String {
    let sides = [("wan", &config.interfaces.wan), ("lln", &config.interfaces.lln)];
    let missing = sides.into_iter().filter(|(_, names)| names.is_empty());
    missing
        .map(|(key, _)| format!("interfaces.{key} names none: `gateway run` needs --{key} then\n"))
        .collect()
}

/// As JSON, in the order of the file.
fn show(config: &Config) -> anyhow::Result<()> {
    write(&format!("{}\n", serde_json::to_string_pretty(config)?))
}

/// Bytes of the largest record for nodes without an entry, and for each that has one.
fn largest_records(mapper: &Mapper) -> Vec<(String, u32)> {
    if !mapper.enabled {
        return Vec::new();
    }
    let any = [
        ("any over IPv6", mapper.leg.largest_record(Ipv6Addr::UNSPECIFIED.into())),
        ("any over IPv4", mapper.leg.largest_record(Ipv4Addr::UNSPECIFIED.into())),
    ];
    let any = any.map(|(name, most)| (name.to_owned(), most));
    let nodes = mapper.nodes.iter();
    let nodes = nodes.map(|node| (node.name.clone(), node.leg.largest_record(node.address)));
    any.into_iter().chain(nodes).collect()
}

fn said(node: &str, most: u32) -> String {
    format!("mapper: largest record of a client to node {node}: {most} bytes\n")
}
