//! A wall clock that tests set, for chosen programs alone: `libfaketime` answers them. Their monotonic
//! clock, and everybody else's wall clock, go on as they are.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use tempfile::TempDir;

const LIBRARY: &str = "faketime/libfaketimeMT.so.1";
/// What it keeps in shared memory; a process id follows.
const KINDS: [&str; 2] = ["faketime_shm_", "sem.faketime_sem_"];

/// The clock; it shows the right time until it is set.
#[derive(Debug)]
pub struct WallClock {
    folder: TempDir,
    library: PathBuf,
}

impl WallClock {
    /// A clock that is right.
    pub fn new() -> Result<Self> {
        let clock = Self { folder: TempDir::new()?, library: library()? };
        clock.set(0)?;
        Ok(clock)
    }

    /// Sets it so many seconds before or after the right time.
    pub fn set(&self, offset: i64) -> Result<()> {
        // in one step: whoever looks sees one time or the other
        let next = self.folder.path().join("next");
        fs::write(&next, format!("{offset:+}\n"))?;
        Ok(fs::rename(next, self.file())?)
    }

    /// What a program's environment must have to go by this clock.
    pub fn environment(&self) -> Vec<(String, String)> {
        let words = [
            ("LD_PRELOAD", self.library.display().to_string()),
            ("FAKETIME_TIMESTAMP_FILE", self.file().display().to_string()),
            ("FAKETIME_NO_CACHE", "1".to_owned()),
            ("DONT_FAKE_MONOTONIC", "1".to_owned()),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
            ("NO_FAKE_STAT", "1".to_owned()),
        ];
        words.map(|(name, value)| (name.to_owned(), value)).to_vec()
    }

    /// The same as a shell has it typed.
    pub fn exports(&self) -> String {
        let line = |(name, value): (String, String)| format!("export {name}={value}\n");
        self.environment().into_iter().map(line).collect()
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("offset")
    }
}

impl Drop for WallClock {
    fn drop(&mut self) {
        sweep();
    }
}

/// Removes the shared memory that the library has left of programs that are gone.
fn sweep() {
    for entry in fs::read_dir("/dev/shm").into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let pid = KINDS.iter().find_map(|kind| name.strip_prefix(kind));
        if pid.is_some_and(|pid| !Path::new("/proc").join(pid).exists()) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// Debian keeps it in a folder that is named after the machine's kind.
fn library() -> Result<PathBuf> {
    let folders = fs::read_dir("/usr/lib")?.flatten().map(|entry| entry.path());
    let mut places = folders.chain(["/usr/lib", "/usr/lib64"].map(PathBuf::from));
    let found = places.find(|folder: &PathBuf| Path::new(folder).join(LIBRARY).is_file());
    Ok(found.context("no libfaketimeMT.so.1 under /usr/lib: install faketime")?.join(LIBRARY))
}
