//! The primitives: AEADs over AES, and the PRF over SHA-256.

pub(crate) mod aead;
mod ccm;
#[cfg(feature = "gcm")]
mod gcm;
pub(crate) mod prf;

#[cfg(test)]
mod tests;
