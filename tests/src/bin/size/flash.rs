//! What a program takes of flash, by section and by symbol.
use std::{fs, path::Path};

use anyhow::{Context, Result};
use object::{Object, ObjectSection, ObjectSymbol, SectionKind};

/// Parts of names of the random source, which is the board's and not the engine's.
pub(crate) const CHANCE: &[&str] = &["Chance", "rand_chacha::", "chacha20::", "rand_core::"];

/// Parts of names of what a C library has: memcpy, memmove, 64-bit shifts.
pub(crate) const LIBRARY: &[&str] = &["compiler_builtins::", " __aeabi_"];

/// Parts of names of AES, CCM, SHA-256, HMAC and the PRF.
pub(crate) const CRYPTO: &[&str] = &[
    "<aes::",
    " aes::",
    "sha2::",
    "digest::",
    "block_buffer::",
    "cipher::",
    "gateway_node::crypto::",
];

/// A program for the board.
pub(crate) struct Program {
    /// Bytes of flash: code, constants, first values of variables, vectors.
    pub(crate) flash: u64,
    symbols: Vec<Symbol>,
}

struct Symbol {
    name: String,
    size: u64,
    bytes: Vec<u8>,
}

impl Program {
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let file = fs::read(path).with_context(|| format!("read {}", path.display()))?;
        let elf = object::File::parse(&*file).with_context(|| format!("{}", path.display()))?;
        let flash = elf.sections().filter(is_in_flash).map(|section| section.size()).sum();
        let symbols = elf.symbols().filter(|symbol| symbol.size() > 0);
        Ok(Self {
            flash,
            symbols: symbols.filter_map(|symbol| Symbol::read(&elf, &symbol)).collect(),
        })
    }

    /// Bytes of the symbols whose names have one of the parts.
    pub(crate) fn named(&self, parts: &[&str]) -> u64 {
        let named = |symbol: &&Symbol| {
            let name = format!(" {}", symbol.name);
            parts.iter().any(|part| name.contains(part))
        };
        self.symbols.iter().filter(named).map(|symbol| symbol.size).sum()
    }

    /// The words of a constant array.
    pub(crate) fn words<const N: usize>(&self, name: &str) -> Result<[u32; N]> {
        let symbol = self.symbols.iter().find(|symbol| symbol.name.ends_with(name));
        let bytes = &symbol.with_context(|| format!("no symbol {name}"))?.bytes;
        let words: Vec<u32> = bytes
            .chunks_exact(4)
            .filter_map(|word| word.try_into().ok().map(u32::from_le_bytes))
            .collect();
        words.try_into().ok().with_context(|| format!("{name} has another length"))
    }
}

impl Symbol {
    fn read(elf: &object::File<'_>, symbol: &object::Symbol<'_, '_>) -> Option<Self> {
        let name = format!("{:#}", rustc_demangle::demangle(symbol.name().ok()?));
        let section = elf.section_by_index(symbol.section_index()?).ok()?;
        let bytes = section.data_range(symbol.address(), symbol.size()).ok()?;
        Some(Self { name, size: symbol.size(), bytes: bytes.unwrap_or_default().to_vec() })
    }
}

fn is_in_flash(section: &object::Section<'_, '_>) -> bool {
    let constant =
        matches!(section.kind(), SectionKind::ReadOnlyData | SectionKind::ReadOnlyString);
    constant || matches!(section.kind(), SectionKind::Text | SectionKind::Data)
}
