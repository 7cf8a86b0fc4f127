//! A wall clock that tests set, for chosen programs alone: `libfaketime` answers them. Their monotonic
//! clock, and everybody else's wall clock, go on as they are.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use tempfile::TempDir;

const LIBRARY: &str = "faketime/libfaketimeMT.so.1";

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
            ("FAKETIME_DISABLE_SHM", "1".to_owned()),
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

/// Debian keeps it in a folder that is named after the machine's kind.
fn library() -> Result<PathBuf> {
    let folders = fs::read_dir("/usr/lib")?.flatten().map(|entry| entry.path());
    let mut places = folders.chain(["/usr/lib", "/usr/lib64"].map(PathBuf::from));
    let found = places.find(|folder: &PathBuf| Path::new(folder).join(LIBRARY).is_file());
    Ok(found.context("no libfaketimeMT.so.1 under /usr/lib: install faketime")?.join(LIBRARY))
}
