//! Leases on the disk: what a restart finds again. Whoever has the store open is the one who may
//! write the kernel's allow-list.
use super::{End, Id, Record, Span};
use redb::{
    Database, DatabaseError, ReadableDatabase as _, ReadableTable as _, StorageError,
    TableDefinition, backends::FileBackend,
};
use serde::de::DeserializeOwned;
use std::{
    fs::{self, DirBuilder, OpenOptions},
    io,
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

/// The file's name in `state.directory`.
const NAME: &str = "leases.redb";
const LEASES: TableDefinition<'_, &[u8; 16], &[u8]> = TableDefinition::new("leases");
/// What else is kept, by name.
const OTHER: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("other");
/// The times of the allow-list's entries.
const SPANS: &str = "spans";
/// The last commit, as an end without anything left.
const SEEN: &str = "seen";
/// Pages that are kept in memory, in bytes: routers are small.
const CACHE: usize = 1 << 20;
const STEP: Duration = Duration::from_millis(20);

/// Why the store cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Another process has it open.
    #[error(
        "another gateway has {} open: end that one first, the filter stays in place",
        .0.display()
    )]
    Busy(PathBuf),
    /// The disk does not do it.
    #[error("cannot keep leases in {}", file.display())]
    Disk {
        /// The file.
        file: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The file is not what it should be.
    #[error("cannot keep leases in {}", file.display())]
    Database {
        /// The file.
        file: PathBuf,
        /// What the database says.
        source: Box<redb::Error>,
    },
}

/// The leases on the disk. A crash at any moment leaves what the last commit left.
#[derive(Debug)]
pub struct Store {
    file: PathBuf,
    database: Database,
}

/// Whether an error is about what a file holds rather than about the disk that it is on.
fn is_of_content(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof)
}

impl Store {
    /// Opens the store below `directory`, or makes an empty one; waits `patience` for another
    /// process to be done with it. A file that cannot be read is put aside: nobody is admitted
    /// because of it.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn open(directory: &Path, patience: Duration) -> Result<Self, Error> {
        let file = directory.join(NAME);
        let end = Instant::now() + patience;
        loop {
            match Self::attempt(&file) {
                Err(Error::Busy(_)) if Instant::now() < end => thread::sleep(STEP),
                Err(Error::Database { file, source }) => {
                    let aside = file.with_extension("broken");
                    tracing::error!(
                        "{} cannot be read ({source}): moved to {}, no lease is kept",
                        file.display(),
                        aside.display()
                    );
                    fs::rename(&file, aside).map_err(|source| Error::Disk { file, source })?;
                    return Self::attempt(&directory.join(NAME));
                }
                result => return result,
            }
        }
    }

    fn attempt(file: &Path) -> Result<Self, Error> {
        let disk = |source| Error::Disk { file: file.to_owned(), source };
        if let Some(directory) = file.parent() {
            DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(disk)?;
        }
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let handle = options.open(file).map_err(disk)?;
        let failed = |error: DatabaseError| {
            if matches!(error, DatabaseError::DatabaseAlreadyOpen) {
                return Error::Busy(file.to_owned());
            }
            // a full disk says nothing about the file: nothing may be put aside for it
            if let DatabaseError::Storage(StorageError::Io(source)) = &error
                && !is_of_content(source)
            {
                return disk(io::Error::new(source.kind(), source.to_string()));
            }
            Error::Database { file: file.to_owned(), source: Box::new(error.into()) }
        };
        let backend = FileBackend::new(handle).map_err(failed)?;
        let mut builder = Database::builder();
        let database =
            builder.set_cache_size(CACHE).create_with_backend(backend).map_err(failed)?;
        Ok(Self { file: file.to_owned(), database })
    }

    fn failed(&self, source: impl Into<redb::Error>) -> Error {
        Error::Database { file: self.file.clone(), source: Box::new(source.into()) }
    }

    /// Everything that is kept. A record that this version does not know is left out.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub fn load(&self) -> Result<Vec<Record>, Error> {
        let read = self.database.begin_read().map_err(|error| self.failed(error))?;
        let table = match read.open_table(LEASES) {
            Ok(table) => table,
            Err(redb::TableError::TableDoesNotExist(_)) => return Ok(Vec::new()),
            Err(error) => return Err(self.failed(error)),
        };
        let mut found = Vec::new();
        for entry in table.iter().map_err(|error| self.failed(error))? {
            let (_, value) = entry.map_err(|error| self.failed(error))?;
            found.extend(serde_json::from_slice::<Record>(value.value()));
        }
        Ok(found)
    }

    /// The times of the allow-list's entries.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub fn spans(&self) -> Result<Vec<Span>, Error> {
        Ok(self.other(SPANS)?.unwrap_or_default())
    }

    /// When something was committed last.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub fn seen(&self) -> Result<Option<End>, Error> {
        self.other(SEEN)
    }

    fn other<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, Error> {
        let read = self.database.begin_read().map_err(|error| self.failed(error))?;
        let table = match read.open_table(OTHER) {
            Ok(table) => table,
            Err(redb::TableError::TableDoesNotExist(_)) => return Ok(None),
            Err(error) => return Err(self.failed(error)),
        };
        let found = table.get(name).map_err(|error| self.failed(error))?;
        Ok(found.and_then(|bytes| serde_json::from_slice(bytes.value()).ok()))
    }

    /// Keeps and forgets leases in one step, down to the disk, and with them all `spans` if they
    /// have changed, and the time as it is `seen`.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub fn commit(
        &self,
        keep: &[Record],
        forget: &[Id],
        spans: Option<&[Span]>,
        seen: Option<&End>,
    ) -> Result<(), Error> {
        let write = self.database.begin_write().map_err(|error| self.failed(error))?;
        {
            let mut table = write.open_table(LEASES).map_err(|error| self.failed(error))?;
            for id in forget {
                table.remove(&id.0).map_err(|error| self.failed(error))?;
            }
            for record in keep {
                let Ok(bytes) = serde_json::to_vec(record) else { continue };
                table.insert(&record.id.0, bytes.as_slice()).map_err(|error| self.failed(error))?;
            }
        }
        let spans = spans.and_then(|spans| serde_json::to_vec(spans).ok());
        let seen = seen.and_then(|seen| serde_json::to_vec(seen).ok());
        for (name, bytes) in [(SPANS, spans), (SEEN, seen)] {
            let Some(bytes) = bytes else { continue };
            let mut table = write.open_table(OTHER).map_err(|error| self.failed(error))?;
            table.insert(name, bytes.as_slice()).map_err(|error| self.failed(error))?;
        }
        write.commit().map_err(|error| self.failed(error))
    }
}
