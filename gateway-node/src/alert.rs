//! Alerts (RFC 5246 §7.2) that the server sends or looks for.

/// Level of an alert that ends nothing by itself; close_notify has it too.
pub(crate) const WARNING: u8 = 1;
/// Level of an alert that ends the session.
pub(crate) const FATAL: u8 = 2;

pub(crate) const CLOSE_NOTIFY: u8 = 0;
pub(crate) const HANDSHAKE_FAILURE: u8 = 40;
pub(crate) const ILLEGAL_PARAMETER: u8 = 47;
pub(crate) const PROTOCOL_VERSION: u8 = 70;
pub(crate) const INTERNAL_ERROR: u8 = 80;
pub(crate) const NO_RENEGOTIATION: u8 = 100;
pub(crate) const NO_APPLICATION_PROTOCOL: u8 = 120;
