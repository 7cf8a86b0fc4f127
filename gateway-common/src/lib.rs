//! What the kernel, the agent and the tests share: how a packet is read, how its fate is decided,
//! and how the maps between kernel and user space are laid out.
//!
//! | module | holds | may use |
//! | --- | --- | --- |
//! | [`frame`] | bounded access to a packet, implemented once for XDP and once for `[u8]` | – |
//! | [`hash`] | the keyed hash behind filter bits, buckets and fingerprints | – |
//! | [`wire`] | headers, the one parser | `frame` |
//! | [`decide`] | every decision, as a function of plain values | `wire`, `hash` |
//! | [`mapping`] | TLS 1.2 ↔ DTLS 1.2, field by field, for router and node | `wire` |
//! | [`cookie`] | stateless cookies of DTLS: reading hellos, judging them, answering | `wire`, `hash` |
//! | [`abi`] | map names, records, capacities, who writes which map | `frame` to `decide` |
//!
//! No `unsafe`, no allocation, no clock: the code that the kernel's verifier accepts is the code
//! that property tests and fuzzers run on the host.
#![no_std]
#![forbid(unsafe_code)]

pub mod abi;
pub mod cookie;
pub mod decide;
pub mod frame;
pub mod hash;
pub mod mapping;
pub mod wire;
