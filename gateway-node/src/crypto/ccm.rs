//! CCM (RFC 3610) over AES-128, for short additional data and messages below a mebibyte.
//!
//! Our own, as the AES is constant-time and encrypts two blocks at the price of one: each call takes
//! the next block of the MAC and the next block of the key stream together, which the general
//! crates cannot. It is also a tenth of their size.

use aes::{
    Aes128, Block,
    cipher::{BlockEncrypt, KeyInit},
};

use super::aead::{Direction, TAG_MAX, wipe};

/// En- or decrypts `data` and returns the tag. `nonce` has 7 to 13 bytes, `additional` 1 to 14.
pub(super) fn ccm(
    key: &[u8; 16],
    nonce: &[u8],
    additional: &[u8],
    tag: usize,
    direction: Direction,
    data: &mut [u8],
) -> [u8; TAG_MAX] {
    let aes = Aes128::new(key.into());
    let mut counter = Block::default();
    fill(&mut counter, &[&[14_u8.wrapping_sub(nonce.len() as u8)], nonce]);
    let mut pair = [first(counter, tag, data.len()), counter];
    aes.encrypt_blocks(&mut pair);
    let [_, mut mask] = pair;

    let mut lengthened = Block::default();
    fill(&mut lengthened, &[&[0, additional.len() as u8], additional]);
    mix(&mut pair, &lengthened);
    step(&aes, &mut pair, &mut counter);
    for block in data.chunks_mut(16) {
        let [mac, stream] = &mut pair;
        for ((byte, mac), stream) in block.iter_mut().zip(mac).zip(stream) {
            let other = *byte ^ *stream;
            *mac ^= if direction == Direction::Seal { *byte } else { other };
            *byte = other;
        }
        step(&aes, &mut pair, &mut counter);
    }
    mix(&mut pair, &mask);
    let [mac, stream] = &mut pair;
    let tag = (*mac).into();
    wipe([mac, stream, &mut mask]);
    tag
}

/// B_0 (RFC 3610 §2.2): flags, nonce, length of the message.
fn first(counter: Block, tag: usize, length: usize) -> Block {
    let mut block = counter;
    if let [flags, .., high, low] = block.as_mut_slice() {
        *flags |= 0x40 | (((tag as u8).wrapping_sub(2) >> 1) << 3);
        [*high, *low] = (length as u16).to_be_bytes();
    }
    block
}

/// The MAC so far and the next counter, encrypted together.
fn step(aes: &Aes128, pair: &mut [Block; 2], counter: &mut Block) {
    if let [.., high, low] = counter.as_mut_slice() {
        [*high, *low] = u16::from_be_bytes([*high, *low]).wrapping_add(1).to_be_bytes();
    }
    let [_, stream] = pair;
    *stream = *counter;
    aes.encrypt_blocks(pair);
}

fn mix([mac, _]: &mut [Block; 2], block: &Block) {
    for (mac, byte) in mac.iter_mut().zip(block) {
        *mac ^= byte;
    }
}

fn fill(block: &mut Block, pieces: &[&[u8]]) {
    for (place, byte) in block.iter_mut().zip(pieces.iter().copied().flatten()) {
        *place = *byte;
    }
}
