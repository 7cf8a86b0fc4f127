//! A lab for the gateway: network namespaces, packets and real third-party peers.
//!
//! [`lab`] builds the networks and looks into them, [`packet`] makes and reads frames, [`peer`]
//! runs other people's DTLS, TLS and CoAP programs, [`analysis`] reads what was captured of a
//! mapped session, [`need`] says what a machine lacks, [`readme`] what people
//! are told to type.

pub mod analysis;
pub mod lab;
pub mod need;
pub mod packet;
pub mod peer;
pub mod readme;
