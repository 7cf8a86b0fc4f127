//! Pre-shared keys, as they lie in a file.
use crate::{
    config::auth::{Kind, Name},
    lease::Credential,
};
use sha2::{Digest as _, Sha256};
use std::{
    collections::{HashMap, HashSet},
    fs::File,
    io::{self, Read as _},
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

/// Bytes of a key: fewer could be guessed from one handshake that somebody has seen.
const KEY: core::ops::RangeInclusive<usize> = 16..=64;
/// Longest file, in bytes.
const LONGEST: u64 = 16 << 20;
/// What stands in place of an issuer where a lease has a key behind it.
const ISSUER: &str = "psk";

/// Why the file does not do.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It cannot be read.
    #[error(
        "cannot read {}: {source} (a line is identity:key, the key in hexadecimal)",
        file.display()
    )]
    Read {
        /// The file.
        file: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Others can read it.
    #[error(
        "{} has mode {mode:03o} and owner {owner}: only its owner, root or who \
         runs the agent, may read it (chown root, chmod 600)",
        file.display()
    )]
    Exposed {
        /// The file.
        file: PathBuf,
        /// Its permissions.
        mode: u32,
        /// Its owner's number.
        owner: u32,
    },
    /// A line makes no sense.
    #[error("{}:{line}: {problem}", file.display())]
    Line {
        /// The file.
        file: PathBuf,
        /// The line, counted from one.
        line: usize,
        /// What is wrong.
        problem: &'static str,
    },
}

/// A key. It is in no log and no listing.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Key(pub(crate) Vec<u8>);

impl core::fmt::Debug for Key {
    fn fmt(&self, out: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        out.write_str("Key")
    }
}

/// Keys by identity.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Keys(HashMap<String, Key>);

impl Keys {
    /// Reads a file.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn load(file: &Path) -> Result<Self, Error> {
        let read = |source| Error::Read { file: file.to_owned(), source };
        let mut handle = File::open(file).map_err(read)?;
        let meta = handle.metadata().map_err(read)?;
        let (mode, owner) = (meta.permissions().mode() & 0o777, meta.uid());
        let ours = owner == 0 || owner == nix::unistd::geteuid().as_raw();
        if mode & 0o077 != 0 || !ours {
            return Err(Error::Exposed { file: file.to_owned(), mode, owner });
        }
        let mut text = String::new();
        handle.by_ref().take(LONGEST).read_to_string(&mut text).map_err(read)?;
        Self::parse(&text).map_err(|(line, problem)| Error::Line {
            file: file.to_owned(),
            line,
            problem,
        })
    }

    /// Reads lines `identity:key`; empty ones and those that begin with `# ` say nothing.
    fn parse(text: &str) -> Result<Self, (usize, &'static str)> {
        let mut keys = HashMap::new();
        for (place, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line == "#" || line.starts_with("# ") {
                continue;
            }
            let (identity, key) = entry(line).map_err(|problem| (place + 1, problem))?;
            if keys.insert(identity, key).is_some() {
                return Err((place + 1, "this identity has a key already"));
            }
        }
        Ok(Self(keys))
    }

    /// The key of an identity, as bytes from the wire.
    pub(crate) fn of(&self, identity: &[u8]) -> Option<&Key> {
        self.0.get(core::str::from_utf8(identity).ok()?)
    }

    /// What stands for the key behind a lease: it changes when the key does.
    pub(crate) fn credential(&self, identity: &str) -> Option<Credential> {
        self.0.get(identity).map(|key| credential(identity, key))
    }

    /// Identities whose keys are gone, or others, in `next`.
    pub(crate) fn changed(&self, next: &Self) -> HashSet<String> {
        let gone = self.0.iter().filter(|(identity, key)| next.0.get(*identity) != Some(key));
        gone.map(|(identity, _)| identity.clone()).collect()
    }

    /// What stands for every key.
    pub(crate) fn credentials(&self) -> impl Iterator<Item = Credential> {
        self.0.iter().map(|(identity, key)| credential(identity, key))
    }
}

/// Whether a lease has a key behind it.
pub(crate) fn is_key(credential: &Credential) -> bool {
    credential.issuer == ISSUER
}

fn credential(identity: &str, key: &Key) -> Credential {
    let mut hash = Sha256::new();
    hash.update(identity.as_bytes());
    hash.update([0]);
    hash.update(&key.0);
    let serial = hash.finalize().iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    Credential { issuer: ISSUER.to_owned(), serial }
}

/// The names that an identity proves: as it is, and as a host name, so that `*.example` covers it.
pub(crate) fn names(identity: &str) -> Vec<Name> {
    [Kind::Uri, Kind::Dns].into_iter().filter_map(|kind| Name::new(kind, identity)).collect()
}

fn entry(line: &str) -> Result<(String, Key), &'static str> {
    let (identity, key) =
        line.rsplit_once(':').ok_or("expected identity:key, the key in hexadecimal")?;
    if identity.starts_with('#') || Name::new(Kind::Uri, identity).is_none() {
        return Err("the identity must be 1 to 256 printable ASCII characters without spaces");
    }
    let plain = key.len() % 2 == 0 && key.bytes().all(|byte| byte.is_ascii_hexdigit());
    if !plain || !KEY.contains(&(key.len() / 2)) {
        return Err("the key must be 16 to 64 bytes in hexadecimal (openssl rand -hex 16)");
    }
    let byte = |at| u8::from_str_radix(key.get(at..at + 2).unwrap_or("0"), 16).unwrap_or(0);
    Ok((identity.to_owned(), Key((0..key.len()).step_by(2).map(byte).collect())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{self, Permissions};

    const LINE: &str = "pump-7.example:000102030405060708090a0b0c0d0eff\n";

    #[test]
    fn a_line_is_an_identity_and_a_key() {
        let keys = Keys::parse(&format!("# pumps\n\n{LINE}urn:dev:1:{}\n", "aB".repeat(64)));
        let keys = keys.unwrap();
        assert_eq!(keys.of(b"pump-7.example").unwrap().0.last(), Some(&0xff));
        assert_eq!(keys.of(b"urn:dev:1").unwrap().0, [0xab; 64]);
        assert_eq!((keys.of(b"pump-7"), keys.of(b"\xff")), (None, None));
        assert_eq!(keys.credentials().count(), 2);
        assert!(keys.credentials().all(|credential| is_key(&credential)));
    }

    #[test]
    fn a_key_that_changes_is_another_credential() {
        let of = |text: &str| Keys::parse(text).unwrap().credential("pump-7.example").unwrap();
        assert_ne!(of(LINE), of(&LINE.replace("ff", "fe")));
        assert_eq!(of(LINE), of(&LINE.replace("ff", "FF")));
    }

    #[test]
    fn wrong_lines_are_named() {
        let key = "00".repeat(16);
        for (text, line, part) in [
            ("pump".to_owned(), 1, "identity:key"),
            (format!("{LINE}pump:00"), 2, "16 to 64 bytes"),
            (format!("pump:{}", "0g".repeat(16)), 1, "hexadecimal"),
            (format!("a b:{key}"), 1, "printable"),
            (format!("#70756d70:{key}"), 1, "printable"),
            (format!("{LINE}{LINE}"), 2, "already"),
        ] {
            let (place, problem) = Keys::parse(&text).unwrap_err();
            assert!(place == line && problem.contains(part), "{text:?}: {place} {problem}");
        }
    }

    #[test]
    fn a_file_that_others_can_read_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("psk.txt");
        fs::write(&file, LINE).unwrap();
        for mode in [0o640, 0o604, 0o602] {
            fs::set_permissions(&file, Permissions::from_mode(mode)).unwrap();
            let error = Keys::load(&file).unwrap_err().to_string();
            assert!(error.contains(&format!("mode {mode:o}")) && error.contains("chmod 600"));
        }
        fs::set_permissions(&file, Permissions::from_mode(0o600)).unwrap();
        assert_eq!(Keys::load(&file).unwrap(), Keys::parse(LINE).unwrap());
        let error = Keys::load(&folder.path().join("none")).unwrap_err().to_string();
        assert!(error.contains("cannot read"), "{error}");
    }
}
