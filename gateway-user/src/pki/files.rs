//! The authority's files: whole, and secret where they must be.
use super::Error;
use std::{
    fs::{self, DirBuilder, File, OpenOptions, Permissions},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::Path,
};

/// The right to change the folder; ends when dropped, or with the process.
#[derive(Debug)]
pub(super) struct Lock {
    _file: File,
}

impl Lock {
    pub(super) fn take(folder: &Path) -> Result<Self, Error> {
        let name = folder.join(".lock");
        let failed = |source| Error::File { file: name.clone(), source };
        DirBuilder::new().recursive(true).mode(0o755).create(folder).map_err(failed)?;
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let file = options.open(&name).map_err(failed)?;
        file.lock().map_err(failed)?;
        Ok(Self { _file: file })
    }
}

pub(super) fn read(file: &Path) -> Result<String, Error> {
    fs::read_to_string(file).map_err(|source| Error::File { file: file.to_owned(), source })
}

/// A file that everybody may read.
pub(super) fn public(file: &Path, text: &str) -> Result<(), Error> {
    write(file, text, 0o644)
}

/// A file that only its owner may read, from its first byte on.
pub(super) fn secret(file: &Path, text: &str) -> Result<(), Error> {
    write(file, text, 0o600)
}

/// After a crash at any moment the file is the old one or the new one.
fn write(file: &Path, text: &str, mode: u32) -> Result<(), Error> {
    let attempt = || -> io::Result<()> {
        let folder = file.parent().unwrap_or_else(|| Path::new("."));
        let mut builder = tempfile::Builder::new();
        let mut staged = builder
            .prefix(".new-")
            .permissions(Permissions::from_mode(0o600))
            .tempfile_in(folder)?;
        staged.write_all(text.as_bytes())?;
        staged.as_file().set_permissions(Permissions::from_mode(mode))?;
        staged.as_file().sync_all()?;
        staged.persist(file)?;
        File::open(folder)?.sync_all()
    };
    attempt().map_err(|source| Error::File { file: file.to_owned(), source })
}

/// A name as a file's: what is special in a path becomes a hyphen.
pub(super) fn stem(name: &str) -> Result<String, Error> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_' | '@');
    let stem: String = name.chars().map(|c| if plain(c) { c } else { '-' }).collect();
    let good = (1..=200).contains(&stem.len()) && !stem.starts_with('.') && stem != "ca";
    if good { Ok(stem) } else { Err(Error::FileName(name.to_owned())) }
}
