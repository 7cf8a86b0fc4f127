//! The object that the agent loads: the programs `wan` and `lln`.
#![cfg_attr(target_arch = "bpf", no_std, no_main)]

#[cfg(not(target_arch = "bpf"))]
fn main() {}

#[cfg(target_arch = "bpf")]
mod bpf {
    #![expect(unsafe_code, reason = "symbols that the kernel and the loader look for by name")]
    use aya_ebpf::{macros::xdp, programs::XdpContext};
    use gateway_ebpf::{frame::XdpFrame, lln, settle, wan};

    /// Internet side.
    #[xdp]
    #[inline(always)]
    fn wan(ctx: XdpContext) -> u32 {
        let frame = XdpFrame::new(&ctx);
        wan::run(&frame)
    }

    /// Node side.
    #[xdp]
    #[inline(always)]
    fn lln(ctx: XdpContext) -> u32 {
        let frame = XdpFrame::new(&ctx);
        settle::settle(&frame, lln::lln(&frame))
    }

    #[panic_handler]
    fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
        loop {}
    }

    #[unsafe(link_section = "license")]
    #[unsafe(no_mangle)]
    static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
}
