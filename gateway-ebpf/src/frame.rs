//! The one place that reads packet memory.
#![expect(unsafe_code, reason = "packet memory is two numbers that the kernel hands over")]
use crate::kernel::{self, fixed};
use aya_ebpf::{EbpfContext, bindings::xdp_md, programs::XdpContext};
use core::{arch::asm, ffi::c_void, hint::assert_unchecked};
use gateway_common::{
    frame::{Frame, Offset, Window},
    wire::Address,
};

/// A received frame, from its first to its last byte.
pub struct XdpFrame {
    start: usize,
    end: usize,
    ctx: *mut xdp_md,
}

impl XdpFrame {
    /// The frame of a program's context.
    #[inline(always)]
    pub fn new(ctx: &XdpContext) -> Self {
        Self { start: ctx.data(), end: ctx.data_end(), ctx: ctx.ctx }
    }

    /// The frame of a context, in a function that gets nothing else.
    #[inline(always)]
    pub fn of(ctx: *mut xdp_md) -> Self {
        Self::new(&XdpContext::new(ctx))
    }

    /// The context, for such a function.
    #[inline(always)]
    pub fn context(&self) -> *mut xdp_md {
        self.ctx
    }

    /// Bytes in the frame.
    #[inline(always)]
    pub fn length(&self) -> u64 {
        (self.end - self.start) as u64
    }

    /// The address of `SIZE` bytes at `at`, if they lie in the frame.
    #[inline(always)]
    fn locate<const SIZE: usize>(&self, at: Offset) -> Option<usize> {
        let address = self.start + at.get();
        let mut stop = address;
        // Computed and compared just so: the verifier learns nothing from `address < end`, and
        // refuses `end - size`, which the compiler knows to be the same.
        // SAFETY: adds two numbers.
        unsafe {
            asm!("{stop} += {size}", stop = inout(reg) stop, size = const SIZE,
                 options(pure, nomem, nostack));
        }
        if stop > self.end { None } else { Some(address) }
    }
}

impl EbpfContext for XdpFrame {
    fn as_ptr(&self) -> *mut c_void {
        self.ctx.cast()
    }
}

/// One load instruction. Rust has no unaligned load that BPF compiles to one.
macro_rules! load {
    ($frame:ident, $at:ident, $size:literal, $instruction:literal) => {{
        let address = $frame.locate::<$size>($at)?;
        let value: u64;
        // SAFETY: `locate` has compared these bytes with the frame's end, which the kernel fixes
        // for the run of the program; the instruction needs no alignment.
        unsafe {
            asm!($instruction, value = out(reg) value, address = in(reg) address,
                 options(pure, readonly, nostack));
        }
        value
    }};
}

/// `N` bytes of packet memory.
#[derive(Clone, Copy)]
pub struct XdpWindow<const N: usize>(usize);

/// One load instruction from a window.
macro_rules! read {
    ($window:ident, $at:ident, $offset:literal, $size:literal, $instruction:literal) => {{
        const {
            let end = $at + $offset + $size;
            assert!(end <= N, "the window ends before this");
        }
        let address = $window.0;
        let value: u64;
        // SAFETY: `window` has compared `N` bytes with the frame's end, as for `load`.
        unsafe {
            asm!($instruction, value = out(reg) value, address = in(reg) address,
                 at = const $at + $offset, options(pure, readonly, nostack));
            // the instruction leaves the other bits zero
            assert_unchecked($size >= 8 || value >> ($size * 8 % 64) == 0);
        }
        value
    }};
}

impl<const N: usize> Window for XdpWindow<N> {
    type Part<const M: usize> = XdpWindow<M>;
    #[inline(always)]
    fn part<const AT: usize, const M: usize>(self) -> XdpWindow<M> {
        const { assert!(AT + M <= N, "the window ends before this") };
        XdpWindow(self.0 + AT)
    }
    #[inline(always)]
    fn byte<const AT: usize>(self) -> u8 {
        read!(self, AT, 0, 1, "{value} = *(u8 *)({address} + {at})") as u8
    }
    #[inline(always)]
    fn short<const AT: usize>(self) -> u16 {
        u16::from_be(read!(self, AT, 0, 2, "{value} = *(u16 *)({address} + {at})") as u16)
    }
    #[inline(always)]
    fn word<const AT: usize>(self) -> u64 {
        u64::from_be(read!(self, AT, 0, 8, "{value} = *(u64 *)({address} + {at})"))
    }
    #[inline(always)]
    fn afresh(self) -> Self {
        Self(fixed(self.0 as u64) as usize)
    }
    #[inline(always)]
    fn address<const AT: usize>(self) -> Address {
        let high = read!(self, AT, 0, 8, "{value} = *(u64 *)({address} + {at})");
        let low = read!(self, AT, 8, 8, "{value} = *(u64 *)({address} + {at})");
        Address::from_raw(high, low)
    }
}

impl Frame for XdpFrame {
    type Window<'a, const N: usize> = XdpWindow<N>;
    #[inline(always)]
    fn window<const N: usize>(&self, at: Offset) -> Option<XdpWindow<N>> {
        self.locate::<N>(at).map(XdpWindow)
    }
    #[inline(always)]
    fn holds(&self, at: Offset, length: u16) -> bool {
        at.get() as u64 + u64::from(length) <= self.length()
    }
    #[inline(always)]
    fn byte(&self, at: Offset) -> Option<u8> {
        Some(load!(self, at, 1, "{value} = *(u8 *)({address} + 0)") as u8)
    }
    #[inline(always)]
    fn short(&self, at: Offset) -> Option<u16> {
        Some(u16::from_be(load!(self, at, 2, "{value} = *(u16 *)({address} + 0)") as u16))
    }
    #[inline(always)]
    fn half(&self, at: Offset) -> Option<u32> {
        Some(u32::from_be(load!(self, at, 4, "{value} = *(u32 *)({address} + 0)") as u32))
    }
    #[inline(always)]
    fn word(&self, at: Offset) -> Option<u64> {
        Some(u64::from_be(load!(self, at, 8, "{value} = *(u64 *)({address} + 0)")))
    }
    #[inline(always)]
    fn address(&self, at: Offset) -> Option<Address> {
        let high = load!(self, at, 16, "{value} = *(u64 *)({address} + 0)");
        let low = load!(self, at, 16, "{value} = *(u64 *)({address} + 8)");
        Some(Address::from_raw(high, low))
    }
    #[inline(always)]
    fn before(&self, end: Offset, by: usize) -> Option<Offset> {
        // a distance back from a checked address is one that the verifier does not follow
        let at = end.back(by)?;
        Some(kernel::position(at.get()))
    }
}
