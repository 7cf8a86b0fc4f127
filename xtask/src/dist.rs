//! `cargo xtask dist`: what a package is made of, in target/dist.
use std::fs::{self, File};
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::{build, sh};

/// Each shell, and the name under which it looks for a completion.
const COMPLETIONS: [(&str, &str); 3] =
    [("bash", "gateway.bash"), ("zsh", "_gateway"), ("fish", "gateway.fish")];

pub(crate) fn run() -> Result<()> {
    build::run()?;
    let gateway = build::binary("gateway");
    let dist = sh::root().join("target/dist");
    manual(&gateway, &dist.join("man"))?;
    completions(&gateway, &dist.join("completions"))?;
    let copy = dist.join("gateway");
    fs::copy(&gateway, &copy).with_context(|| format!("cannot write {}", copy.display()))?;
    println!("{}", dist.display());
    Ok(())
}

fn manual(gateway: &Path, folder: &Path) -> Result<()> {
    make(folder)?;
    sh::run(Command::new(gateway).args(["man", "--out"]).arg(folder))
}

fn completions(gateway: &Path, folder: &Path) -> Result<()> {
    make(folder)?;
    for (shell, name) in COMPLETIONS {
        let path = folder.join(name);
        let file = File::create(&path).with_context(|| format!("cannot make {name}"))?;
        let mut print = Command::new(gateway);
        sh::run(print.args(["completions", shell]).stdout(file))?;
    }
    Ok(())
}

fn make(folder: &Path) -> Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))
}
