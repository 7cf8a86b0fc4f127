//! GCM (NIST SP 800-38D) over the same AES, with the GHASH of RustCrypto.

use aes::{
    Aes128, Block,
    cipher::{BlockEncrypt, KeyInit},
};
use ghash::{GHash, universal_hash::UniversalHash};

use super::aead::{Direction, TAG_MAX, wipe};

/// En- or decrypts `data`, of less than a mebibyte, and returns the tag.
pub(super) fn gcm(
    key: &[u8; 16],
    nonce: &[u8; 12],
    additional: &[u8],
    direction: Direction,
    data: &mut [u8],
) -> [u8; TAG_MAX] {
    let aes = Aes128::new(key.into());
    let [mut hash_key, mut mask] = [Block::default(), at(nonce, 1)];
    aes.encrypt_block(&mut hash_key);
    aes.encrypt_block(&mut mask);
    let mut hash = GHash::new(&hash_key);
    hash.update_padded(additional);
    if direction == Direction::Open {
        hash.update_padded(data);
    }
    stream(&aes, nonce, data);
    if direction == Direction::Seal {
        hash.update_padded(data);
    }
    let bits = |bytes: &[u8]| ((bytes.len() as u64) << 3).to_be_bytes();
    let mut lengths = Block::default();
    for (place, byte) in lengths.iter_mut().zip(bits(additional).into_iter().chain(bits(data))) {
        *place = byte;
    }
    hash.update(&[lengths]);
    let mut tag = hash.finalize();
    for (tag, byte) in tag.iter_mut().zip(&mask) {
        *tag ^= byte;
    }
    wipe([&mut hash_key, &mut mask]);
    tag.into()
}

fn stream(aes: &Aes128, nonce: &[u8; 12], data: &mut [u8]) {
    let mut counter = 2_u16;
    let mut pair = [Block::default(); 2];
    for two in data.chunks_mut(32) {
        pair = [at(nonce, counter), at(nonce, counter.wrapping_add(1))];
        counter = counter.wrapping_add(2);
        aes.encrypt_blocks(&mut pair);
        for (byte, stream) in two.iter_mut().zip(pair.iter().flatten()) {
            *byte ^= stream;
        }
    }
    let [first, second] = &mut pair;
    wipe([first, second]);
}

fn at(nonce: &[u8; 12], counter: u16) -> Block {
    let mut block = Block::default();
    let counter = u32::from(counter).to_be_bytes();
    for (place, byte) in block.iter_mut().zip(nonce.iter().chain(&counter)) {
        *place = *byte;
    }
    block
}
