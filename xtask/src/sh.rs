//! Running other programs: say what runs, fail with its exit status, or become it.
use core::fmt;
use std::env;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, ExitStatus};

use anyhow::{Context as _, Result, bail};

use crate::setup;

/// Where system tools lie that an ordinary user's PATH leaves out.
const SYSTEM_FOLDERS: [&str; 2] = ["/usr/sbin", "/sbin"];

/// A program ran and did not succeed; xtask ends with the same status.
#[derive(Debug)]
struct Failed {
    command: String,
    status: ExitStatus,
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` failed: {}", self.command, self.status)
    }
}

impl core::error::Error for Failed {}

/// The status of the program that failed (128 + signal, as shells count), or 1.
pub(crate) fn exit_code(error: &anyhow::Error) -> ExitCode {
    let Some(Failed { status, .. }) = error.downcast_ref() else {
        return ExitCode::FAILURE;
    };
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal));
    code.and_then(|code| u8::try_from(code).ok()).map_or(ExitCode::FAILURE, ExitCode::from)
}

/// Prints the command, runs it and waits.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    eprintln!("xtask: {}", line(command));
    quiet(command)
}

/// Runs the command without a word of our own.
pub(crate) fn quiet(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| cannot_start(command))?;
    if status.success() {
        return Ok(());
    }
    Err(Failed { command: line(command), status }.into())
}

/// Runs the command and gives what it printed, without the spaces around it.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| cannot_start(command))?;
    if !output.status.success() {
        let words = String::from_utf8_lossy(&output.stderr);
        bail!("`{}` failed: {}: {}", line(command), output.status, words.trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Becomes the command: its exit status and signals are its own. Returns only if that fails.
pub(crate) fn become_child(command: &mut Command) -> Result<()> {
    eprintln!("xtask: {}", line(command));
    Err(command.exec()).with_context(|| cannot_start(command))
}

fn cannot_start(command: &Command) -> String {
    format!("cannot start `{}`", line(command))
}

/// The command as a person would type it; a program in a folder by its last name only.
fn line(command: &Command) -> String {
    let program = Path::new(command.get_program());
    let name = program.file_name().unwrap_or(program.as_os_str());
    let words = core::iter::once(name).chain(command.get_args());
    words.map(quoted).collect::<Vec<_>>().join(" ")
}

fn quoted(word: &OsStr) -> String {
    let word = word.to_string_lossy();
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_=+./:,@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.into_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// The repository.
pub(crate) fn root() -> &'static Path {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here)
}

/// Where cargo puts what it builds for this machine.
pub(crate) fn host_target() -> PathBuf {
    let chosen = env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into());
    root().join(chosen)
}

/// The cargo that runs us, in the repository.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root()).env("CARGO_TARGET_DIR", host_target());
    command
}

/// Makes cargo start what it has built as root.
pub(crate) fn with_root_runner(command: &mut Command) -> &mut Command {
    if is_root() {
        return command;
    }
    command.args(["--config", r#"target.'cfg(unix)'.runner=["sudo","-E"]"#])
}

/// The program as root, through sudo where we are not.
pub(crate) fn as_root(program: impl AsRef<OsStr>) -> Command {
    if is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("sudo");
    command.arg("-E").arg(program);
    command
}

pub(crate) fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0)
}

/// PATH with the folders of system tools and of those that setup made at its end, for us and for those we start.
pub(crate) fn search_path() -> OsString {
    let path = env::var_os("PATH").unwrap_or_default();
    let folders = env::split_paths(&path).chain(SYSTEM_FOLDERS.map(PathBuf::from));
    let folders = folders.chain(setup::python::programs());
    env::join_paths(folders).unwrap_or(path)
}

pub(crate) fn find(program: &str) -> Option<PathBuf> {
    env::split_paths(&search_path())
        .map(|folder| folder.join(program))
        .find(|file| is_program(file))
}

/// Whether this is a file that may be executed.
pub(crate) fn is_program(file: &Path) -> bool {
    fs::metadata(file).is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_can_be_pasted_into_a_shell() {
        let mut command = Command::new("/usr/bin/cargo");
        command.args(["test", "--", "a b", "it's", ""]);
        assert_eq!(line(&command), r"cargo test -- 'a b' 'it'\''s' ''");
    }

    #[test]
    fn failure_keeps_the_programs_status() {
        for (script, code) in [("exit 7", 7), ("kill -TERM $$", 143)] {
            let error = quiet(Command::new("sh").args(["-c", script])).expect_err("it failed");
            assert_eq!(exit_code(&error), ExitCode::from(code));
        }
    }

    #[test]
    fn tools_are_found_outside_of_path_too() {
        assert!(find("sh").is_some());
        assert!(find("no-such-program").is_none());
    }
}
