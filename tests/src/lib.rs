//! A lab for the gateway: network namespaces, packets and real third-party peers.
//!
//! [`lab`] builds the networks and looks into them, [`packet`] makes and reads frames, [`peer`]
//! runs other people's DTLS and CoAP programs, [`need`] says what a machine lacks.

pub mod lab;
pub mod need;
pub mod packet;
pub mod peer;
