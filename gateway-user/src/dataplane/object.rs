//! The BPF object: embedded, loaded with an interface's constants and with maps that are pinned.
use super::{Error, Pins, Plain, Result};
use aya::{
    Ebpf, EbpfLoader,
    programs::{ProgramError, Xdp},
};
use gateway_common::abi::{self, Settings, filter};

/// The object that the build made.
pub static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/gateway.o"));

/// How large the maps are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capacity {
    /// Addresses in the allow-list.
    pub sources: u32,
    /// Associations, a power of two.
    pub associations: u32,
    /// Pages of replay marks, a power of two.
    pub pages: u32,
}

impl Default for Capacity {
    fn default() -> Self {
        Self {
            sources: abi::SOURCES_DEFAULT,
            associations: abi::ASSOCIATIONS_DEFAULT,
            pages: abi::PAGES_DEFAULT,
        }
    }
}

impl Capacity {
    /// Sizes of the maps that depend on it.
    pub fn sizes(&self) -> [(&'static str, u32); 6] {
        [
            ("SOURCES", self.sources),
            ("SOURCE_STATE", self.sources.saturating_add(abi::SHARED_SLOTS)),
            ("SOURCE_PASSED", self.sources),
            ("BITS", filter::words(self.sources)),
            ("ASSOCIATIONS", self.associations),
            ("SEEN", self.pages),
        ]
    }

    /// The settings' fields that follow from it.
    pub fn apply(&self, settings: &mut Settings) {
        settings.sources = self.sources;
        settings.bits_mask = filter::words(self.sources) - 1;
        settings.seen_mask = self.pages - 1;
        settings.associations_mask = self.associations - 1;
    }

    /// What settings were made with.
    pub fn of(settings: &Settings) -> Self {
        Self {
            sources: settings.sources,
            associations: settings.associations_mask + 1,
            pages: settings.seen_mask + 1,
        }
    }
}

/// Loads the object with these constants. With `pins`, maps that are pinned there are used and
/// others are made and pinned; without, all are the object's own.
///
/// # Errors
/// [`Error::Load`].
pub fn load(
    bytes: &[u8],
    settings: &Settings,
    capacity: &Capacity,
    pins: Option<&Pins>,
) -> Result<Ebpf> {
    let plain = Plain(*settings);
    let mut loader = EbpfLoader::new();
    loader.override_global("CONFIG", &plain, true);
    for (name, size) in capacity.sizes() {
        loader.map_max_entries(name, size);
    }
    if let Some(pins) = pins {
        for name in abi::MAPS {
            loader.map_pin_path(name, pins.map(name));
        }
    }
    loader.load(bytes).map_err(Error::Load)
}

/// Hands a program to the kernel's verifier.
///
/// # Errors
/// [`Error::Program`] with the verifier's own words.
pub fn verify<'a>(object: &'a mut Ebpf, name: &'static str) -> Result<&'a mut Xdp> {
    let error = |source| Error::Program { name, source };
    let program = object.program_mut(name);
    let program = program.ok_or(ProgramError::NotLoaded).map_err(error)?;
    let program: &mut Xdp = program.try_into().map_err(error)?;
    if program.fd().is_err() {
        program.load().map_err(|error| refusal(name, error))?;
    }
    Ok(program)
}

/// Lines of the verifier's log that a person gets to see: what it stumbled over is at the end.
const LOG_LINES: usize = 24;

fn refusal(name: &'static str, error: ProgramError) -> Error {
    let ProgramError::LoadError { io_error, verifier_log } = error else {
        return Error::Program { name, source: error };
    };
    let log = verifier_log.to_string();
    let lines: Vec<&str> = log.lines().collect();
    let end = lines.get(lines.len().saturating_sub(LOG_LINES)..).unwrap_or_default();
    Error::Refused { name, source: io_error, log: end.join("\n") }
}
