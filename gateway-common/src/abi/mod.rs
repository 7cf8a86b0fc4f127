//! The maps between kernel and user space: names, records, capacities, and who writes which.
//!
//! | map | key → value | written by |
//! | --- | --- | --- |
//! | `SETTINGS` | 0 → [`Settings`] | user |
//! | `INTERFACES` | index → [`Interface`] | user |
//! | `CONTROL` | 0 → [`Control`] | user |
//! | `BITS` | index → 64 filter bits | user |
//! | `SOURCES` | address → [`Lease`](crate::decide::admission::Lease) | user |
//! | `PREFIXES` | [`PrefixKey`] → [`Lease`](crate::decide::admission::Lease) | user |
//! | `POLICIES` | index → [`Policy`](crate::decide::admission::Policy) | user |
//! | `OWN` | address of the router → 1 | user |
//! | `SOURCE_STATE` | slot → [`SourceState`] | kernel (user clears a slot before it is handed out) |
//! | `NODES` | slot → [`NodeState`] | kernel |
//! | `SOURCE_PASSED` | slot → [`Counter`](crate::decide::reason::Counter), per CPU | kernel (as above) |
//! | `NODE_PASSED` | slot → [`Counter`](crate::decide::reason::Counter), per CPU | kernel |
//! | `LLN` | 0 → [`Budget`] | kernel |
//! | `AGENT` | slot → arrival time | kernel |
//! | `COOKIE_KEYS` | lowest bit of the key's number → [`CookieKey`] | user |
//! | `COOKIE_NODES` | node → 1: hellos to it need a cookie | user |
//! | `COOKIES` | slot → uses of a cookie | kernel |
//! | `ASSOCIATIONS` | place → [`Association`] | kernel |
//! | `SEEN` | page → [`Page`](crate::decide::replay::Page) | kernel |
//! | `DROPS` | interface → [`Drops`](crate::decide::reason::Drops), per CPU | kernel |
//! | `PASSED` | interface → [`Passed`], per CPU | kernel |
//! | `EVENTS` | ring of [`Event`] | kernel |
//!
//! A map has one writer, so renewing a lease never loses what the kernel remembers, nor the reverse.
pub mod filter;
pub mod record;
pub mod settings;

pub use record::*;
pub use settings::Settings;

/// Grows with every change to a record of this module; the agent replaces the maps of another one.
pub const VERSION: u32 = 5;

/// Names of the pinned maps, as in `/sys/fs/bpf/gateway/`.
pub const MAPS: [&str; 22] = [
    "SETTINGS",
    "INTERFACES",
    "CONTROL",
    "BITS",
    "SOURCES",
    "PREFIXES",
    "POLICIES",
    "OWN",
    "SOURCE_STATE",
    "NODES",
    "SOURCE_PASSED",
    "NODE_PASSED",
    "LLN",
    "AGENT",
    "COOKIE_KEYS",
    "COOKIE_NODES",
    "COOKIES",
    "ASSOCIATIONS",
    "SEEN",
    "DROPS",
    "PASSED",
    "EVENTS",
];

/// Interfaces that can be filtered at once.
pub const INTERFACES_MAX: u32 = 32;
/// Policies that can be in use at once.
pub const POLICIES_MAX: u32 = 1024;
/// Prefixes in the allow-list.
pub const PREFIXES_MAX: u32 = 4096;
/// Different prefix lengths in the allow-list: each costs every stranger's packet a look.
pub const PREFIX_LENGTHS_MAX: usize = 16;
/// Addresses of the router itself.
pub const OWN_MAX: u32 = 1024;
/// Sources in the allow-list unless configured otherwise.
pub const SOURCES_DEFAULT: u32 = 65_536;
/// Budgets that sources inside prefixes share by keyed hash.
pub const SHARED_SLOTS: u32 = 65_536;
/// Nodes with a budget of their own.
pub const NODES_MAX: u32 = 16_384;
/// Nodes that one hash value can tell apart.
pub const NODE_WAYS: u32 = 4;
/// Budgets that sources of the agent's own ports share by keyed hash.
pub const AGENT_SLOTS: u32 = 65_536;
/// Nodes before which a cookie is asked for.
pub const COOKIE_NODES_MAX: u32 = 1024;
/// Associations remembered unless configured otherwise.
pub const ASSOCIATIONS_DEFAULT: u32 = 65_536;
/// Pages of replay marks unless configured otherwise: 2^20 marks in 8 MiB.
pub const PAGES_DEFAULT: u32 = 4096;
/// Bytes of the event ring.
pub const EVENTS_BYTES: u32 = 1 << 18;
