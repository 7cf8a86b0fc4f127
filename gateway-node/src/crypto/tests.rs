//! Against the published vectors and the general crates.

use aes_gcm::{
    Aes128Gcm,
    aead::{AeadInPlace, KeyInit, generic_array::GenericArray},
};
use ccm::{
    Ccm,
    consts::{U8, U12, U16},
};
use proptest::prelude::*;
use std::{vec, vec::Vec};

use super::{
    aead::{Direction, Seal},
    ccm::ccm as ours,
    prf::{Hmac, prf},
};
use crate::{Suite, testing::hex};

/// RFC 3610 §8, packet vectors 1 to 6: nonce number, bytes of additional data, bytes in all.
#[test]
fn ccm_gives_the_vectors_of_rfc_3610() {
    let key: [u8; 16] = core::array::from_fn(|i| 0xc0 + i as u8);
    for (first, head, total, sealed) in [
        (3, 8, 31, "588c979a61c663d2f066d0c2c0f989806d5f6b61dac38417e8d12cfdf926e0"),
        (4, 8, 32, "72c91a36e135f8cf291ca894085c87e3cc15c439c9e43a3ba091d56e10400916"),
        (5, 8, 33, "51b1e5f44a197d1da46b0f8e2d282ae871e838bb64da8596574adaa76fbd9fb0c5"),
        (6, 12, 31, "a28c6865939a9a79faaa5c4c2a9d4a91cdac8c96c861b9c9e61ef1"),
        (7, 12, 32, "dcf1fb7b5d9e23fb9d4e131253658ad86ebdca3e51e83f077d9c2d93"),
        (8, 12, 33, "6fc1b011f006568b5171a42d953d469b2570a4bd87405a0443ac91cb94"),
    ] {
        let nonce = [0, 0, 0, first, first - 1, first - 2, first - 3];
        let nonce: Vec<u8> = nonce.into_iter().chain(0xa0..=0xa5).collect();
        let bytes: Vec<u8> = (0..total).collect();
        let (additional, plain) = bytes.split_at(head);
        let mut data = plain.to_vec();
        let tag = ours(&key, &nonce, additional, 8, Direction::Seal, &mut data);
        data.extend(&tag[..8]);
        assert_eq!(data, hex(sealed));
        let (data, expected) = data.split_at_mut(plain.len());
        let tag = ours(&key, &nonce, additional, 8, Direction::Open, data);
        assert_eq!((&*data, &tag[..8]), (plain, &*expected));
    }
}

/// NIST SP 800-38C, example 1.
#[test]
fn ccm_gives_the_vector_of_sp_800_38c() {
    let key: [u8; 16] = core::array::from_fn(|i| 0x40 + i as u8);
    let mut data = hex("20212223");
    let nonce = hex("10111213141516");
    let tag = ours(&key, &nonce, &hex("0001020304050607"), 4, Direction::Seal, &mut data);
    assert_eq!((data, tag[..4].to_vec()), (hex("7162015b"), hex("4dac255d")));
}

/// RFC 4231 §4.2, §4.7.
#[test]
fn hmac_gives_the_vectors_of_rfc_4231() {
    let short = Hmac::new(&[0x0b; 20]).mac(&[b"Hi ", b"There"]);
    let expected = "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7";
    assert_eq!(short.to_vec(), hex(expected));
    let long =
        Hmac::new(&[0xaa; 131]).mac(&[b"Test Using Larger Than Block-Size Key - Hash Key First"]);
    let expected = "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54";
    assert_eq!(long.to_vec(), hex(expected));
}

/// The vector for TLS 1.2 P_SHA256 that the TLS working group's list has used since 2009.
#[test]
fn prf_gives_the_known_output() {
    let mut out = [0; 100];
    let (secret, seed) =
        (hex("9bbe436ba940f017b17652849a71db35"), hex("a0ba9f936cda311827a6f796ffd5198c"));
    let (first, second) = seed.split_at(5);
    prf(&secret, b"test label", [first, second], &mut out);
    let expected = concat!(
        "e3f229ba727be17b8d122620557cd453c2aab21d07c3d495329b52d4e61edb5a6b301791e90d35c9",
        "c9a46b4e14baf9af0fa022f7077def17abfd3797c0564bab4fbc91666e9def9b97fce34f796789ba",
        "a48082d122ee42c5a72e5a5110fff70187347b66"
    );
    assert_eq!(out.to_vec(), hex(expected));
}

type Sealer = fn(&[u8; 16], &[u8; 12], &[u8; 13], &mut [u8]) -> Vec<u8>;

fn general<A: KeyInit + AeadInPlace>(
    key: &[u8; 16],
    nonce: &[u8; 12],
    additional: &[u8; 13],
    data: &mut [u8],
) -> Vec<u8> {
    let aead = A::new(GenericArray::from_slice(key));
    let nonce = GenericArray::from_slice(nonce);
    aead.encrypt_in_place_detached(nonce, additional, data).expect("sealed").to_vec()
}

proptest! {
    #[test]
    fn aeads_agree_with_the_general_crates(
        key in any::<[u8; 16]>(),
        nonce in any::<[u8; 12]>(),
        additional in any::<[u8; 13]>(),
        plain in proptest::collection::vec(any::<u8>(), 0..400),
        flip in any::<(usize, u8)>(),
    ) {
        let crates: [(Suite, Sealer); 3] = [
            (Suite::Ccm8, general::<Ccm<aes::Aes128, U8, U12>>),
            (Suite::Ccm, general::<Ccm<aes::Aes128, U16, U12>>),
            #[cfg(feature = "gcm")]
            (Suite::Gcm, general::<Aes128Gcm>),
        ];
        for (suite, general) in crates {
            let seal = Seal { suite, key: &key, nonce: &nonce, additional: &additional };
            let (mut one, mut other) = (plain.clone(), plain.clone());
            let tag = seal.seal(&mut one)[..suite.tag()].to_vec();
            prop_assert_eq!(&tag, &general(&key, &nonce, &additional, &mut other));
            prop_assert_eq!(&one, &other);
            prop_assert!(seal.open(&mut other, &tag));
            prop_assert_eq!(&other, &plain);

            let mut whole = [one, tag].concat();
            let place = flip.0 % whole.len();
            whole[place] ^= flip.1 | 1;
            let (data, tag) = whole.split_at_mut(plain.len());
            prop_assert!(!seal.open(data, tag));
        }
    }
}

#[test]
fn tag_of_another_length_is_wrong() {
    let seal = Seal { suite: Suite::Ccm, key: &[0; 16], nonce: &[0; 12], additional: &[0; 13] };
    let mut data = vec![1, 2, 3];
    let tag = seal.seal(&mut data);
    assert!(!seal.open(&mut data.clone(), &tag[..8]));
    assert!(!seal.open(&mut data, &[]));
}
