//! The parser alone, for a test that compares what it makes of a frame with the host's.
#![cfg_attr(target_arch = "bpf", no_std, no_main)]

#[cfg(target_arch = "bpf")]
#[path = "../summary.rs"]
mod summary;

#[cfg(not(target_arch = "bpf"))]
fn main() {}

#[cfg(target_arch = "bpf")]
mod bpf {
    #![expect(unsafe_code, reason = "map memory, and symbols that the loader looks for by name")]
    use super::summary::{Summary, WORDS, summarize};
    use aya_ebpf::{
        bindings::xdp_action::{XDP_ABORTED, XDP_PASS},
        btf_maps::Array,
        macros::{btf_map, xdp},
        programs::XdpContext,
    };
    use gateway_common::wire::parse::Link;
    use gateway_ebpf::frame::XdpFrame;

    #[btf_map]
    static SUMMARY: Array<Summary, 1> = Array::new();

    #[inline(always)]
    fn run(ctx: &XdpContext, link: Link) -> u32 {
        let Some(summary) = SUMMARY.get_ptr_mut(0) else {
            return XDP_ABORTED;
        };
        // SAFETY: the test runs one frame at a time and reads when it is done.
        let summary = unsafe { &mut *summary };
        *summary = [0; WORDS];
        summarize(&XdpFrame::new(ctx), link, summary);
        XDP_PASS
    }

    /// Frames with an Ethernet header.
    #[xdp]
    #[inline(always)]
    fn ethernet(ctx: XdpContext) -> u32 {
        run(&ctx, Link::Ethernet)
    }

    /// Frames without.
    #[xdp]
    #[inline(always)]
    fn ip(ctx: XdpContext) -> u32 {
        run(&ctx, Link::Ip)
    }

    #[panic_handler]
    fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
        loop {}
    }

    #[unsafe(link_section = "license")]
    #[unsafe(no_mangle)]
    static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
}
