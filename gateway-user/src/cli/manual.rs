//! `gateway man` and `gateway completions`: made from the command line's own description.
use super::Cli;
use clap::{Args, CommandFactory as _};
use clap_complete::Shell;
use std::{fs, path::PathBuf};

#[derive(Debug, Args)]
pub(super) struct Man {
    /// Directory
    #[arg(long, value_name = "DIRECTORY")]
    out: PathBuf,
}

impl Man {
    pub(super) fn run(self) -> anyhow::Result<()> {
        fs::create_dir_all(&self.out)?;
        clap_mangen::generate_to(Cli::command(), &self.out)?;
        Ok(())
    }
}

#[derive(Debug, Args)]
pub(super) struct Completions {
    /// Shell
    shell: Shell,
}

impl Completions {
    pub(super) fn run(self) -> anyhow::Result<()> {
        let mut out = Vec::new();
        clap_complete::generate(self.shell, &mut Cli::command(), "gateway", &mut out);
        super::write(&String::from_utf8_lossy(&out))
    }
}
