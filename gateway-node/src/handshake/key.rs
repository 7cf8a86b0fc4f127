//! From the pre-shared key to the records' keys (RFC 4279 §2, RFC 5246 §6.3 and §8.1, RFC 7627).

use zeroize::{Zeroize, Zeroizing};

use crate::{Psk, crypto::prf::prf, psk::PSK_MAX, record::Key};

/// Bytes in a master secret.
pub(crate) const MASTER: usize = 48;

/// Bytes in what Finished proves.
pub(crate) const VERIFY_DATA: usize = 12;

/// A master secret; wiped when dropped.
#[derive(Clone)]
pub(crate) struct Master(pub(crate) [u8; MASTER]);

impl Default for Master {
    fn default() -> Self {
        Self([0; MASTER])
    }
}

impl Drop for Master {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

/// The randoms of a handshake.
#[derive(Clone, Copy, Default)]
pub(crate) struct Randoms {
    pub(crate) client: [u8; 32],
    pub(crate) server: [u8; 32],
}

/// What both sides seal with.
#[derive(Clone, Default)]
pub(crate) struct Keys {
    pub(crate) client: Key,
    pub(crate) server: Key,
}

impl Master {
    /// The master secret of a full handshake; `session_hash` under Extended Master Secret.
    pub(crate) fn derive(psk: &Psk, randoms: &Randoms, session_hash: Option<&[u8; 32]>) -> Self {
        let mut premaster = Zeroizing::new([0; 2 * (2 + PSK_MAX)]);
        let length = premaster_secret(psk.as_bytes(), premaster.as_mut_slice());
        let premaster = premaster.get(..length).unwrap_or_default();
        let mut master = Self::default();
        match session_hash {
            Some(hash) => prf(premaster, b"extended master secret", [hash, &[]], &mut master.0),
            None => {
                let seed: [&[u8]; 2] = [&randoms.client, &randoms.server];
                prf(premaster, b"master secret", seed, &mut master.0);
            }
        }
        master
    }

    /// The key block.
    pub(crate) fn keys(&self, randoms: &Randoms) -> Keys {
        let mut block = Zeroizing::new([0; 40]);
        prf(&self.0, b"key expansion", [&randoms.server, &randoms.client], block.as_mut_slice());
        let mut keys = Keys::default();
        let Keys { client, server } = &mut keys;
        let places: [&mut [u8]; 4] =
            [&mut client.key, &mut server.key, &mut client.iv, &mut server.iv];
        for (place, byte) in places.into_iter().flatten().zip(block.iter()) {
            *place = *byte;
        }
        keys
    }

    /// verify_data of the side that `label` names.
    pub(crate) fn verify_data(&self, label: &[u8; 15], hash: &[u8; 32]) -> [u8; VERIFY_DATA] {
        let mut data = [0; VERIFY_DATA];
        prf(&self.0, label, [hash, &[]], &mut data);
        data
    }
}

/// Labels of Finished (RFC 5246 §7.4.9).
pub(crate) const CLIENT_FINISHED: &[u8; 15] = b"client finished";
pub(crate) const SERVER_FINISHED: &[u8; 15] = b"server finished";

/// length | zeros | length | key (RFC 4279 §2).
fn premaster_secret(psk: &[u8], out: &mut [u8]) -> usize {
    let half = psk.len() + 2;
    let [_, length] = (psk.len() as u16).to_be_bytes();
    for (place, byte) in out.iter_mut().skip(1).step_by(half).zip([length; 2]) {
        *place = byte;
    }
    for (place, byte) in out.iter_mut().skip(half + 2).zip(psk) {
        *place = *byte;
    }
    2 * half
}
