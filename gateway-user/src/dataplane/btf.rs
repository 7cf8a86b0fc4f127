//! Where the running kernel keeps a field: read from its own type information (BTF).
use std::fs;

const VMLINUX: &str = "/sys/kernel/btf/vmlinux";
const MAGIC: u16 = 0xeb9f;
/// Bytes of a type before what its kind adds, and of a structure's member.
const WORDS: usize = 12;

const STRUCT: u32 = 4;

/// Bytes from the start of the kernel's `struct tcp_sock` to its `rcv_nxt`, if it tells.
pub fn rcv_nxt() -> Option<u32> {
    offset(&fs::read(VMLINUX).ok()?, "tcp_sock", "rcv_nxt")
}

struct Btf<'a> {
    types: &'a [u8],
    strings: &'a [u8],
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    let (word, _) = bytes.get(at..)?.split_first_chunk()?;
    Some(u32::from_ne_bytes(*word))
}

impl<'a> Btf<'a> {
    fn read(bytes: &'a [u8]) -> Option<Self> {
        let (magic, _) = bytes.split_first_chunk()?;
        if u16::from_ne_bytes(*magic) != MAGIC {
            return None;
        }
        // magic:2 version:1 flags:1 | header length | types: offset, length | strings: the same
        let number = |at| word(bytes, at).map(|word| word as usize);
        let base = number(4)?;
        let section = |offset: usize, length: usize| {
            let start = base.checked_add(offset)?;
            bytes.get(start..start.checked_add(length)?)
        };
        Some(Self {
            types: section(number(8)?, number(12)?)?,
            strings: section(number(16)?, number(20)?)?,
        })
    }

    fn is_named(&self, name: u32, wanted: &str) -> bool {
        let rest = self.strings.get(name as usize..).unwrap_or_default();
        rest.strip_prefix(wanted.as_bytes()).is_some_and(|rest| rest.first() == Some(&0))
    }
}

/// Bytes that a type's kind and number of elements add to it.
fn more(kind: u32, elements: usize) -> Option<usize> {
    Some(match kind {
        // integers, variables, declaration tags: a word
        1 | 14 | 17 => 4,
        // arrays: three
        3 => 12,
        // structures, unions, data sections, 64-bit enumerations: three an element
        4 | 5 | 15 | 19 => 12 * elements,
        // enumerations, prototypes: two an element
        6 | 13 => 8 * elements,
        2 | 7..=12 | 16 | 18 => 0,
        _ => return None,
    })
}

/// Bytes from the start of a structure to one of its own fields, which must be whole bytes.
fn offset(bytes: &[u8], structure: &str, field: &str) -> Option<u32> {
    let btf = Btf::read(bytes)?;
    let mut at = 0;
    while at < btf.types.len() {
        let (name, info) = (word(btf.types, at)?, word(btf.types, at + 4)?);
        let (kind, elements) = (info >> 24 & 0x1f, info as usize & 0xffff);
        let size = more(kind, elements)?;
        at += WORDS;
        if kind == STRUCT && btf.is_named(name, structure) {
            let members = btf.types.get(at..at + size)?;
            return member(&btf, members, info >> 31 != 0, field);
        }
        at += size;
    }
    None
}

fn member(btf: &Btf<'_>, members: &[u8], has_bitfields: bool, field: &str) -> Option<u32> {
    let found = members
        .chunks_exact(WORDS)
        .find(|member| word(member, 0).is_some_and(|name| btf.is_named(name, field)))?;
    let place = word(found, 8)?;
    // with bit fields in the structure, the upper byte is the field's width, 0 for whole bytes
    let bits = if has_bitfields && place >> 24 == 0 { place & 0xff_ffff } else { place };
    (bits % 8 == 0).then_some(bits / 8)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_running_kernel_tells() {
        let bytes = fs::read(VMLINUX).expect("a kernel with type information");
        let at = offset(&bytes, "tcp_sock", "rcv_nxt").expect("the field");
        assert!((1000..4096).contains(&at), "{at}");
        assert_eq!(offset(&bytes, "tcp_sock", "no_such_field"), None);
        assert_eq!(offset(&bytes, "no_such_struct", "rcv_nxt"), None);
        assert_eq!(offset(&bytes, "in6_addr", "in6_u"), Some(0));
    }

    proptest! {
        #[test]
        fn no_bytes_panic(mut bytes: Vec<u8>, magic: bool) {
            if magic && bytes.len() >= 24 {
                bytes[..2].copy_from_slice(&MAGIC.to_ne_bytes());
                bytes[4..8].copy_from_slice(&24u32.to_ne_bytes());
                bytes[8..24].fill(0);
                bytes[12] = 255;
            }
            let _ = offset(&bytes, "a", "b");
        }
    }
}
