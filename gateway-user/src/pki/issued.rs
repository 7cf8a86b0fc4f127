//! What was issued, and what was revoked of it.
use super::{Error, files};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// A certificate that was issued.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Issued {
    /// Its serial number in hexadecimal.
    pub serial: String,
    /// Whose it is.
    pub name: String,
    /// Whether it is a router's.
    pub server: bool,
    /// When it ends, in seconds since 1970.
    pub expires: i64,
    /// When it was revoked, in seconds since 1970.
    pub revoked: Option<i64>,
}

/// Whether a certificate still counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// It does.
    Valid,
    /// It has ended.
    Expired,
    /// It was revoked.
    Revoked,
}

impl Status {
    /// Its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Valid => "valid",
            Self::Expired => "expired",
            Self::Revoked => "revoked",
        }
    }
}

impl Issued {
    /// Whether it counts at `now`, in seconds since 1970.
    pub const fn status(&self, now: i64) -> Status {
        match self.revoked {
            Some(_) => Status::Revoked,
            None if self.expires < now => Status::Expired,
            None => Status::Valid,
        }
    }
}

const NAME: &str = "issued.json";

pub(super) fn load(folder: &Path) -> Result<Vec<Issued>, Error> {
    let file = folder.join(NAME);
    let text = files::read(&file)?;
    serde_json::from_str(&text).map_err(|source| Error::Damaged { file, source })
}

pub(super) fn save(folder: &Path, list: &[Issued]) -> Result<(), Error> {
    let file = folder.join(NAME);
    let text = serde_json::to_string_pretty(list);
    let text = text.map_err(|source| Error::Damaged { file: file.clone(), source })?;
    files::public(&file, &format!("{text}\n"))
}
