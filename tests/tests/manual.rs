//! Manual pages and completions, read by the programs that they are for.

use std::{fs, path::Path, process::Command};

use anyhow::{Result, ensure};
use tests::{
    lab::{Gateway, Namespace, gateway::EVERYDAY},
    need,
};

#[test]
fn manual_pages_and_completions_are_generated() -> Result<()> {
    need::root_and_tools(&["man"]);
    let namespace = Namespace::new("alone")?;
    let gateway = Gateway::new(&namespace, EVERYDAY)?;
    let folder = gateway.folder().join("man");
    gateway.text(&["man", "--out", &folder.display().to_string()])?;
    for (page, word) in
        [("gateway.1", "Exit status"), ("gateway-run.1", "--once"), ("gateway-drops.1", "--watch")]
    {
        let shown = manual(&folder.join(page))?;
        assert!(shown.contains(word), "{page}: no {word:?} in\n{shown}");
    }
    for shell in ["bash", "zsh", "fish"] {
        let script = gateway.text(&["completions", shell])?;
        assert!(script.contains("explain"), "{shell}");
    }
    let bash = gateway.folder().join("gateway.bash");
    fs::write(&bash, gateway.text(&["completions", "bash"])?)?;
    let status = Command::new("bash").arg("-n").arg(&bash).status()?;
    assert!(status.success(), "bash reads its completions");
    Ok(())
}

/// A page as `man` shows it, without its overstrikes.
fn manual(page: &Path) -> Result<String> {
    let output = Command::new("man")
        .args(["--warnings", "-l", "-Tutf8"])
        .arg(page)
        .env("MANWIDTH", "200")
        .output()?;
    ensure!(output.status.success(), "{page:?}: {}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8_lossy(&output.stdout);
    let mut plain = String::new();
    for letter in text.chars() {
        if letter == '\u{8}' {
            plain.pop();
        } else {
            plain.push(letter);
        }
    }
    Ok(plain)
}
