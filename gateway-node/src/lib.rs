//! DTLS 1.2-PSK server for constrained nodes, with the extension that lets a border router without
//! keys map TLS to it (E2E §V-B).
#![no_std]
#![forbid(unsafe_code)]
