//! SYN cookies: a flood of SYNs with forged sources must not fill the queues of the agent's own TCP
//! ports (RFC 4987 §3.6). The kernel makes them, if its switch, which is for IPv6 too, is on.
use crate::config::Config;
use std::{
    fs, io,
    path::{Path, PathBuf},
};

const SWITCH: &str = "/proc/sys/net/ipv4/tcp_syncookies";
/// What the agent sets: cookies once a queue is full. Another value but 0 is somebody's choice.
const ON: &str = "1";

/// Where the value lies that was there before, until the machine restarts, which ends both.
fn memory(runtime: &Path) -> PathBuf {
    runtime.join("tcp_syncookies.before")
}

/// Switches SYN cookies on if the agent has TCP ports and they are off.
pub(super) fn arm(config: &Config) {
    if config.socket_ports().is_empty() {
        return;
    }
    match switch_on(Path::new(SWITCH), &memory(&config.state.runtime)) {
        Ok(false) => {}
        Ok(true) => tracing::info!(
            "SYN cookies were off: net.ipv4.tcp_syncookies = {ON} until `gateway detach`"
        ),
        Err(error) => tracing::warn!(
            "SYN cookies are off and cannot be switched on ({error}): a flood of SYNs will shut \
             back-ends out; set net.ipv4.tcp_syncookies = {ON}"
        ),
    }
}

/// Puts back what was found, unless somebody has changed it since; whether it did.
///
/// # Errors
/// The system's.
pub fn restore(runtime: &Path) -> io::Result<bool> {
    switch_back(Path::new(SWITCH), &memory(runtime))
}

/// A kernel without the switch has no TCP, or no cookies that could be had.
fn read(switch: &Path) -> Option<String> {
    fs::read_to_string(switch).ok().map(|value| value.trim().to_owned())
}

fn switch_on(switch: &Path, memory: &Path) -> io::Result<bool> {
    let Some(before) = read(switch).filter(|value| value == "0") else {
        return Ok(false);
    };
    fs::write(memory, &before)?;
    fs::write(switch, ON)?;
    Ok(read(switch).as_deref() == Some(ON))
}

fn switch_back(switch: &Path, memory: &Path) -> io::Result<bool> {
    let before = match fs::read_to_string(memory) {
        Ok(before) => before,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    };
    let ours = read(switch).as_deref() == Some(ON);
    if ours {
        fs::write(switch, before)?;
    }
    fs::remove_file(memory)?;
    Ok(ours)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(value: &str) -> (tempfile::TempDir, PathBuf, PathBuf) {
        let folder = tempfile::tempdir().expect("a folder");
        let (switch, memory) = (folder.path().join("switch"), memory(folder.path()));
        fs::write(&switch, format!("{value}\n")).expect("a switch");
        (folder, switch, memory)
    }

    #[test]
    fn what_was_off_is_on_until_it_is_put_back() {
        let (_folder, switch, memory) = files("0");
        assert!(switch_on(&switch, &memory).expect("a switch"));
        assert_eq!(read(&switch).as_deref(), Some(ON));
        assert!(!switch_on(&switch, &memory).expect("on already"));
        assert!(switch_back(&switch, &memory).expect("what was there before"));
        assert_eq!(read(&switch).as_deref(), Some("0"));
        assert!(!switch_back(&switch, &memory).expect("nothing to put back"));
    }

    #[test]
    fn what_somebody_chose_stays() {
        for value in ["1", "2"] {
            let (_folder, switch, memory) = files(value);
            assert!(!switch_on(&switch, &memory).expect("a switch"));
            assert!(!switch_back(&switch, &memory).expect("nothing to put back"));
            assert_eq!(read(&switch).as_deref(), Some(value));
        }
        let (_folder, switch, memory) = files("0");
        assert!(switch_on(&switch, &memory).expect("a switch"));
        fs::write(&switch, "2\n").expect("a switch");
        assert!(!switch_back(&switch, &memory).expect("it was changed since"));
        assert_eq!(read(&switch).as_deref(), Some("2"));
    }
}
