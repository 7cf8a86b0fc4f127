//! Transcripts as the client has them: dimpl's own have a cookie with a mark behind it.
use super::engine::{MARK, STRETCHED};
use dimpl::{
    CryptoError, HashAlgorithm, SignatureAlgorithm,
    crypto::{Buf, HashContext, HashProvider, SignatureVerifier, rust_crypto},
};
use std::sync::LazyLock;

/// Hashes of transcripts: where a marked cookie is in the hello, the client's own stands there.
#[derive(Debug)]
pub(super) struct Hashes(&'static dyn HashProvider);

pub(super) static HASHES: LazyLock<Hashes> =
    LazyLock::new(|| Hashes(rust_crypto::default_provider().hash_provider));

impl HashProvider for Hashes {
    fn create_hash(&self, algorithm: HashAlgorithm) -> Box<dyn HashContext> {
        Box::new(Transcript(self.0.create_hash(algorithm)))
    }
}

struct Transcript(Box<dyn HashContext>);

impl core::fmt::Debug for Transcript {
    fn fmt(&self, out: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        out.write_str("Transcript")
    }
}

impl HashContext for Transcript {
    fn update(&mut self, data: &[u8]) {
        match original(data) {
            Some(original) => self.0.update(&original),
            None => self.0.update(data),
        }
    }

    fn clone_and_finalize(&self, out: &mut Buf) {
        self.0.clone_and_finalize(out);
    }
}

/// A transcript with the client's own hello, if it begins with one that was padded.
pub(super) fn original(data: &[u8]) -> Option<Vec<u8>> {
    const HEAD: usize = 12;
    let (head, rest) = data.split_at_checked(HEAD)?;
    let [1, a, b, c, ..] = *head else { return None };
    let at = 35 + usize::from(*rest.get(34)?);
    let (before, behind) = rest.split_at_checked(at)?;
    let (cookie, behind) = behind.strip_prefix(&[STRETCHED as u8])?.split_at_checked(STRETCHED)?;
    let cookie = cookie.strip_suffix(MARK.as_slice())?;
    let length = u32::from_be_bytes([0, a, b, c]).checked_sub(MARK.len() as u32)?.to_be_bytes();
    let parts: [&[u8]; 9] = [
        &[1],
        &length[1..],
        head.get(4..6)?,
        &[0; 3],
        &length[1..],
        before,
        &[cookie.len() as u8],
        cookie,
        behind,
    ];
    Some(parts.concat())
}

/// Signatures under transcripts (RFC 5246 §7.4.8), which the client has made of its own.
#[derive(Debug)]
pub(super) struct Signatures(&'static dyn SignatureVerifier);

pub(super) static SIGNATURES: LazyLock<Signatures> =
    LazyLock::new(|| Signatures(rust_crypto::default_provider().signature_verification));

impl SignatureVerifier for Signatures {
    fn verify_signature(
        &self,
        certificate: &[u8],
        data: &[u8],
        signature: &[u8],
        hash: HashAlgorithm,
        algorithm: SignatureAlgorithm,
    ) -> Result<(), CryptoError> {
        let original = original(data);
        let data = original.as_deref().unwrap_or(data);
        self.0.verify_signature(certificate, data, signature, hash, algorithm)
    }
}
