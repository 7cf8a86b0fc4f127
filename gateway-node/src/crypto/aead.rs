//! The AEADs of the suites behind one door.

use aes::Block;
use subtle::ConstantTimeEq;
use zeroize::Zeroize;

use crate::Suite;

use super::ccm::ccm;
#[cfg(feature = "gcm")]
use super::gcm::gcm;

/// Bytes in a tag of any suite, at most.
pub(crate) const TAG_MAX: usize = 16;

/// A key with all that is not secret about one record.
pub(crate) struct Seal<'a> {
    pub(crate) suite: Suite,
    pub(crate) key: &'a [u8; 16],
    pub(crate) nonce: &'a [u8; 12],
    pub(crate) additional: &'a [u8; 13],
}

/// Which way a message goes through a cipher.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Direction {
    Seal,
    Open,
}

/// Wipes blocks that the key was used on.
pub(super) fn wipe<const N: usize>(blocks: [&mut Block; N]) {
    for block in blocks {
        block.as_mut_slice().zeroize();
    }
}

impl Suite {
    /// Bytes in a tag.
    pub(crate) const fn tag(self) -> usize {
        match self {
            Self::Ccm8 => 8,
            Self::Ccm => 16,
            #[cfg(feature = "gcm")]
            Self::Gcm => 16,
        }
    }
}

impl Seal<'_> {
    /// Encrypts `data`, and returns the tag, of which the suite sends its first bytes.
    pub(crate) fn seal(&self, data: &mut [u8]) -> [u8; TAG_MAX] {
        self.run(Direction::Seal, data)
    }

    /// Decrypts `data`. What it then holds is to be used only if the tag is right.
    #[must_use]
    pub(crate) fn open(&self, data: &mut [u8], tag: &[u8]) -> bool {
        let mut expected = self.run(Direction::Open, data);
        let length = self.suite.tag();
        let right = expected.get(..length).is_some_and(|expected| expected.ct_eq(tag).into());
        expected.zeroize();
        right
    }

    fn run(&self, direction: Direction, data: &mut [u8]) -> [u8; TAG_MAX] {
        match self.suite {
            Suite::Ccm8 | Suite::Ccm => {
                ccm(self.key, self.nonce, self.additional, self.suite.tag(), direction, data)
            }
            #[cfg(feature = "gcm")]
            Suite::Gcm => gcm(self.key, self.nonce, self.additional, direction, data),
        }
    }
}
