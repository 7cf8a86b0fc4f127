//! `gateway config`.
use super::{Context, write};
use crate::{auth::https::Prepared, config};
use anyhow::Context as _;
use clap::Subcommand;
use serde_json::json;
use std::path::PathBuf;

#[derive(Debug, Subcommand)]
pub(super) enum ConfigCommand {
    /// Read a configuration file and say what is wrong with it, or nothing
    Check {
        /// The file [default: the one that `gateway run` reads]
        file: Option<PathBuf>,
        /// Also require its interfaces to exist here
        #[arg(long)]
        interfaces: bool,
        /// Also require its certificates, keys and revocation lists to be there, and to be good
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
            Self::Default => write(&config::documented()),
            Self::Show => {
                write(&format!("{}\n", serde_json::to_string_pretty(&context.config()?)?))
            }
            Self::Check { file, interfaces, certificates } => {
                let file = file.or_else(|| context.file()).with_context(|| {
                    format!("no file to check: {} does not exist, name one", config::PATH)
                })?;
                let config = config::Config::load(&file)?;
                if interfaces {
                    config::check_interfaces(&config)?;
                }
                if certificates {
                    Prepared::new(&config)?;
                }
                let list = crate::allow::List::load(&config.state.allow)?;
                let text = format!(
                    "{}: good; {}: {} entries\n",
                    file.display(),
                    config.state.allow.display(),
                    list.entries().len()
                );
                context.print(
                    &text,
                    &json!({
                        "file": file, "valid": true, "allow": config.state.allow,
                        "entries": list.entries().len(),
                    }),
                )
            }
        }
    }
}
