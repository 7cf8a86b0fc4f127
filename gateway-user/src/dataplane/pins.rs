//! Where programs, links and maps are pinned.
use super::{Error, Result};
use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// The directory of pins, usually `/sys/fs/bpf/gateway`.
#[derive(Clone, Debug)]
pub struct Pins {
    directory: PathBuf,
}

/// `f_type` of the BPF file system (`linux/magic.h`).
const BPF_FS_MAGIC: i64 = 0xcafe_4a11;

impl Pins {
    /// Pins in `directory`.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self { directory: directory.into() }
    }

    /// The directory.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Makes the directory.
    ///
    /// # Errors
    /// [`Error::NoBpffs`] elsewhere than on a BPF file system.
    pub fn create(&self) -> Result<()> {
        let parent = self.directory.ancestors().find(|path| path.exists());
        let on_bpffs = parent
            .and_then(|path| nix::sys::statfs::statfs(path).ok())
            .is_some_and(|stat| stat.filesystem_type().0 == BPF_FS_MAGIC);
        if !on_bpffs {
            return Err(Error::NoBpffs(self.directory.clone()));
        }
        for path in [self.directory.clone(), self.links(), self.programs()] {
            fs::create_dir_all(&path).map_err(|source| Error::Pin { path, source })?;
        }
        Ok(())
    }

    /// Where a map is pinned.
    pub fn map(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// Where links are pinned.
    pub fn links(&self) -> PathBuf {
        self.directory.join("links")
    }

    /// Where programs are pinned.
    pub fn programs(&self) -> PathBuf {
        self.directory.join("programs")
    }

    /// Where the link of an interface is pinned.
    pub fn link(&self, interface: &str) -> PathBuf {
        self.links().join(pin_name(interface))
    }

    /// Where the program of an interface is pinned.
    pub fn program(&self, interface: &str) -> PathBuf {
        self.programs().join(pin_name(interface))
    }

    /// Where maps of another layout wait until they replace the present ones.
    pub fn next(&self) -> Self {
        Self::new(self.directory.join("next"))
    }

    /// Whether anything is pinned.
    pub fn exist(&self) -> bool {
        self.map("SETTINGS").exists()
    }

    /// Whether no interface is under the filter, as far as pins say.
    pub fn hold_no_link(&self) -> bool {
        fs::read_dir(self.links()).is_ok_and(|mut links| links.next().is_none())
    }

    /// Removes every pin, and with the links' pins the filter. Returns what was removed.
    ///
    /// # Errors
    /// The first pin that cannot be removed.
    pub fn remove(&self) -> Result<Vec<String>> {
        let mut removed = Vec::new();
        // links first: a filter without its maps must not remain
        remove_tree(&self.links(), &mut removed)?;
        remove_tree(&self.directory, &mut removed)?;
        Ok(removed)
    }
}

/// The BPF file system takes no dots in names.
fn pin_name(interface: &str) -> String {
    interface.replace('.', "%2e")
}

/// The interface that a pin's name stands for.
pub fn interface_name(pin: &str) -> String {
    pin.replace("%2e", ".")
}

fn remove_tree(directory: &Path, removed: &mut Vec<String>) -> Result<()> {
    let pin = |source: io::Error| Error::Pin { path: directory.to_owned(), source };
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(pin(error)),
    };
    for entry in entries {
        let path = entry.map_err(pin)?.path();
        if path.is_dir() {
            remove_tree(&path, removed)?;
        } else {
            fs::remove_file(&path).map_err(|source| Error::Pin { path: path.clone(), source })?;
            removed.push(path.display().to_string());
        }
    }
    fs::remove_dir(directory).map_err(pin)
}
