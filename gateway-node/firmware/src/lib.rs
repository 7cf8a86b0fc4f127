//! A node without an operating system, on a Cortex-M3 with 64 KiB of RAM: what its programs share.
//!
//! | program            | is                                                                   |
//! |--------------------|----------------------------------------------------------------------|
//! | `firmware`         | the node: CoAP over DTLS and HTTP over mapped TLS, on port 5684       |
//! | `firmware-plain`   | the same without security, CoAP on port 5683: what security costs     |
//! | `firmware-measure` | the sizes of the engine's parts, to be read out of it                |
//!
//! IPv6 packets come and go over a serial line framed as [`slip`], as Contiki-NG's border routers
//! speak it to their radios, so that a tun device on a host makes the node a host of its network.
//! On the host itself the programs are empty.
#![no_std]

#[cfg(target_os = "none")]
pub mod board;
pub mod coap;
pub mod connection;
pub mod engine;
#[cfg(target_os = "none")]
pub mod host;
pub mod http;
pub mod packet;
pub mod slip;
#[cfg(target_os = "none")]
pub mod stopwatch;
