//! The file: read whole, replaced whole, one writer at a time.
use super::Error;
use core::time::Duration;
use std::{
    fs::{self, File, OpenOptions, Permissions, TryLockError},
    io::{self, Write as _},
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    thread,
    time::Instant,
};
use tempfile::NamedTempFile;

/// How long [`lock`] waits.
const PATIENCE: Duration = Duration::from_secs(5);
const STEP: Duration = Duration::from_millis(10);

/// The right to change the allow-list; ends when dropped, or with the process.
#[derive(Debug)]
#[must_use = "the lock ends when this is dropped"]
pub struct Guard {
    _file: File,
}

/// Waits until nobody else changes the allow-list at `path`: takes `<path>.lock`.
///
/// # Errors
/// [`Error::Busy`] after five seconds, [`Error::Lock`].
pub fn lock(path: impl AsRef<Path>) -> Result<Guard, Error> {
    lock_within(path.as_ref(), PATIENCE)
}

fn lock_within(path: &Path, patience: Duration) -> Result<Guard, Error> {
    let name = lock_name(&target(path));
    let failed = |source| Error::Lock { file: name.clone(), source };
    let file = open_lock(&name).map_err(failed)?;
    let end = Instant::now() + patience;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(Guard { _file: file }),
            Err(TryLockError::Error(source)) => return Err(failed(source)),
            Err(TryLockError::WouldBlock) if Instant::now() < end => thread::sleep(STEP),
            Err(TryLockError::WouldBlock) => return Err(Error::Busy { file: name }),
        }
    }
}

/// Opens the lock for its owner only: whoever may open it may hold it.
fn open_lock(name: &Path) -> io::Result<File> {
    fs::create_dir_all(directory(name))?;
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    options.mode(0o600).open(name)
}

fn lock_name(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    PathBuf::from(name)
}

/// Reads the text; a missing file is an empty one.
pub(super) fn read(path: &Path) -> Result<String, Error> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(text),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        Err(source) => Err(Error::Read { file: path.to_owned(), source }),
    }
}

/// Replaces the file: after a crash at any moment it is the old one or the new one.
pub(super) fn write(path: &Path, text: &str) -> Result<(), Error> {
    let path = target(path);
    stage(&path, text)
        .and_then(|staged| commit(staged, &path))
        .map_err(|source| Error::Write { file: path, source })
}

/// Writes the text beside the file, down to the disk.
fn stage(path: &Path, text: &str) -> io::Result<NamedTempFile> {
    fs::create_dir_all(directory(path))?;
    let mut staged =
        tempfile::Builder::new().prefix(".allow-").suffix(".tmp").tempfile_in(directory(path))?;
    staged.write_all(text.as_bytes())?;
    staged.as_file().set_permissions(Permissions::from_mode(0o644))?;
    staged.as_file().sync_all()?;
    Ok(staged)
}

/// Gives the staged file its name, down to the disk.
fn commit(staged: NamedTempFile, path: &Path) -> io::Result<()> {
    staged.persist(path)?;
    File::open(directory(path))?.sync_all()
}

/// The file behind symbolic links, which stay.
fn target(path: &Path) -> PathBuf {
    fs::canonicalize(path).unwrap_or_else(|_| path.to_owned())
}

fn directory(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        Some(_) | None => Path::new("."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    #[test]
    fn the_old_file_is_whole_until_the_new_one_is() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("etc/gateway/allow.toml");
        write(&path, "# old\n").unwrap();
        let staged = stage(&path, "# new\n").unwrap();
        assert_eq!(read(&path).unwrap(), "# old\n");
        assert_eq!(fs::read_to_string(staged.path()).unwrap(), "# new\n");
        assert_eq!(staged.path().parent(), path.parent());
        commit(staged, &path).unwrap();
        assert_eq!(read(&path).unwrap(), "# new\n");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o644);
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }

    #[test]
    fn a_symbolic_link_stays_one() {
        let directory = tempfile::tempdir().unwrap();
        let (real, link) = (directory.path().join("real"), directory.path().join("link"));
        write(&real, "# old\n").unwrap();
        std::os::unix::fs::symlink(&real, &link).unwrap();
        write(&link, "# new\n").unwrap();
        assert_eq!(read(&real).unwrap(), "# new\n");
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    }

    #[test]
    fn two_never_write_at_once() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("allow.toml");
        let guard = lock(&path).unwrap();
        let error = lock_within(&path, Duration::ZERO).unwrap_err();
        assert!(error.to_string().ends_with("is changing the allow-list"), "{error}");
        drop(guard);
        let _guard = lock_within(&path, Duration::ZERO).unwrap();
    }

    fn text_of(letter: char) -> String {
        format!("# {}\n", letter.to_string().repeat(100_000))
    }

    const VICTIM: &str = "GATEWAY_TEST_ALLOW";

    fn write_for_ever(path: &Path) -> ! {
        loop {
            write(path, &text_of('a')).unwrap();
            write(path, &text_of('b')).unwrap();
        }
    }

    /// Runs itself again, as the victim.
    #[test]
    fn a_kill_leaves_the_old_or_the_new_file() {
        if let Some(path) = std::env::var_os(VICTIM) {
            write_for_ever(Path::new(&path));
        }
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("allow.toml");
        for round in 0..10 {
            let _ = fs::remove_file(&path);
            let mut victim = Command::new(std::env::current_exe().unwrap())
                .args(["--exact", "allow::store::tests::a_kill_leaves_the_old_or_the_new_file"])
                .env(VICTIM, &path)
                .stdout(Stdio::null())
                .spawn()
                .unwrap();
            let end = Instant::now() + Duration::from_secs(10);
            while read(&path).unwrap().is_empty() && Instant::now() < end {
                thread::yield_now();
            }
            thread::sleep(Duration::from_millis(20 + round));
            victim.kill().unwrap();
            victim.wait().unwrap();
            let text = read(&path).unwrap();
            assert!(text == text_of('a') || text == text_of('b'), "{} bytes", text.len());
        }
    }
}
