//! What the examples share: keys and where they come from, the kernel's random bytes.

use std::{
    fs::File,
    io::{self, Read},
    os::unix::fs::MetadataExt,
    path::Path,
    str::FromStr,
};

use gateway_node::{Psk, Random};

/// An identity and its key.
pub(crate) type Identity = (Vec<u8>, Key);

/// A key of 1 to 64 bytes; written as hexadecimal digits, never printed.
#[derive(Clone)]
pub(crate) struct Key(Vec<u8>, Psk);

impl Key {
    pub(crate) fn psk(&self) -> Psk {
        self.1.clone()
    }
}

impl AsRef<[u8]> for Key {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl FromStr for Key {
    type Err = String;

    fn from_str(digits: &str) -> Result<Self, String> {
        let (pairs, rest) = digits.as_bytes().as_chunks::<2>();
        let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|d| u8::try_from(d).ok());
        let byte = |[high, low]: &[u8; 2]| Some(digit(*high)? << 4 | digit(*low)?);
        let bytes: Option<Vec<u8>> = pairs.iter().map(byte).collect();
        let bytes = bytes.filter(|_| rest.is_empty()).ok_or("not pairs of hexadecimal digits")?;
        let psk = Psk::new(&bytes).ok_or("not 1 to 64 bytes")?;
        Ok(Self(bytes, psk))
    }
}

/// Lines `identity:key`; empty ones and those that begin with `#` are skipped.
pub(crate) fn read(path: &Path) -> Result<Vec<Identity>, String> {
    let named = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
    let mut file = File::open(path).map_err(|error| named(&error))?;
    let mode = file.metadata().map_err(|error| named(&error))?.mode();
    if mode & 0o077 != 0 {
        return Err(named(&"others may read or change it: chmod 600 it first"));
    }
    let mut text = String::new();
    file.read_to_string(&mut text).map_err(|error| named(&error))?;
    let lines = text.lines().enumerate().filter(|(_, l)| !l.is_empty() && !l.starts_with('#'));
    let entry = |(number, line): (usize, &str)| {
        let wrong = |why: &str| named(&format!("line {}: {why}", number + 1));
        let (identity, key) = line.rsplit_once(':').ok_or_else(|| wrong("not identity:key"))?;
        let key = key.trim().parse().map_err(|why: String| wrong(&why))?;
        Ok((identity.as_bytes().to_vec(), key))
    };
    lines.map(entry).collect()
}

/// The keys of clients: typed ones, each with its identity, and those of a file.
pub(crate) fn of_clients(
    identities: &[String],
    keys: &[Key],
    file: Option<&Path>,
) -> Result<Vec<(Vec<u8>, Psk)>, String> {
    let (names, count) = (identities.len(), keys.len());
    if names != count {
        return Err(format!(
            "{names} --psk-identity and {count} --psk: each --psk-identity needs its --psk, and the \
             reverse"
        ));
    }
    let typed = identities.iter().map(|name| name.as_bytes().to_vec()).zip(keys.iter().cloned());
    let mut all: Vec<Identity> = typed.collect();
    all.extend(file.map(read).transpose()?.unwrap_or_default());
    if all.is_empty() {
        return Err("no client could connect: give --keys, or --psk-identity and --psk".into());
    }
    Ok(all.into_iter().map(|(identity, key)| (identity, key.psk())).collect())
}

/// The kernel's random bytes.
#[derive(Debug)]
pub(crate) struct Kernel(File);

impl Kernel {
    pub(crate) fn open() -> io::Result<Self> {
        File::open("/dev/urandom").map(Self)
    }
}

impl Random for Kernel {
    fn fill(&mut self, bytes: &mut [u8]) {
        self.0.read_exact(bytes).expect("random bytes of the kernel");
    }
}
