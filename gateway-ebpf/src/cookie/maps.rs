//! What cookies are made with, for which nodes they are asked, and how often they were used.
#![expect(unsafe_code, reason = "map values are shared memory")]
use aya_ebpf::{
    btf_maps::{Array, HashMap, PerCpuArray},
    macros::btf_map,
};
use gateway_common::{
    abi::{COOKIE_NODES_MAX, CookieKey},
    cookie::{
        KEYS, Message,
        hello::ClientHello,
        reply::{Answer, Packet4, Packet6},
        spent::SLOTS,
    },
    wire::Address,
};

// Written by the user side.
#[btf_map]
static COOKIE_KEYS: Array<CookieKey, KEYS> = Array::new();
#[btf_map]
static COOKIE_NODES: HashMap<Address, u32, { COOKIE_NODES_MAX as usize }> = HashMap::new();

// Written by the programs.
#[btf_map]
static COOKIES: Array<u64, { SLOTS as usize }> = Array::new();
#[btf_map]
static REPLY: PerCpuArray<Reply, 1> = PerCpuArray::new();

/// A hello on its way to its verdict, and the answer from there to its sending, which must come
/// last: the frame is gone then. The stack has no room for them.
#[repr(C)]
pub(crate) struct Reply {
    /// The hello.
    pub(crate) hello: ClientHello,
    /// What is hashed of it.
    pub(crate) message: Message,
    /// What to say.
    pub(crate) answer: Answer,
    /// Where the hello's datagram starts in the frame, past the UDP header.
    pub(crate) payload: usize,
    /// Where the packet is put together.
    pub(crate) six: Packet6,
    /// The same, for IPv4.
    pub(crate) four: Packet4,
}

/// The keys in their places.
#[inline(always)]
pub(crate) fn keys() -> Option<[&'static CookieKey; KEYS]> {
    let (even, odd) = (COOKIE_KEYS.get_ptr(0)?, COOKIE_KEYS.get_ptr(1)?);
    // SAFETY: an array's slots stay where they are; a key that is just being replaced makes a
    // cookie that nobody takes, no more.
    Some(unsafe { [&*even, &*odd] })
}

/// Whether hellos to this node need a cookie.
#[inline(always)]
pub(crate) fn is_guarded(node: &Address) -> bool {
    COOKIE_NODES.get_ptr(node).is_some()
}

/// How often the cookies of a slot were used.
#[inline(always)]
pub(crate) fn uses(slot: u32) -> Option<*mut u64> {
    COOKIES.get_ptr_mut(slot)
}

/// Where this CPU keeps its answer.
#[inline(always)]
pub(crate) fn reply() -> Option<&'static mut Reply> {
    // SAFETY: this CPU's own slot, and a program is not interrupted by another on the same CPU.
    REPLY.get_ptr_mut(0).map(|reply| unsafe { &mut *reply })
}
