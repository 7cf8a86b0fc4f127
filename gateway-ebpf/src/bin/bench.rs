//! The benchmark's object: the real programs, their floors, and programs that rewrite each packet
//! for the next run, because a packet run twice is a replay. What rewriting costs, a program that
//! only rewrites tells. It comes after the verdict: a load that overlaps a store of the same
//! nanosecond waits for it, which no packet from a device does. `tests/src/bin/bench` loads it.
#![cfg_attr(target_arch = "bpf", no_std, no_main, feature(asm_experimental_arch))]

#[cfg(not(target_arch = "bpf"))]
fn main() {}

#[cfg(target_arch = "bpf")]
mod bpf {
    #![expect(
        unsafe_code,
        reason = "symbols that the kernel and the loader look for by name, and packets written to"
    )]
    use aya_ebpf::{
        bindings::xdp_action::{XDP_ABORTED, XDP_DROP, XDP_PASS},
        btf_maps::PerCpuArray,
        helpers::generated::{bpf_get_smp_processor_id, bpf_redirect},
        macros::{btf_map, xdp},
        programs::XdpContext,
    };
    use core::arch::asm;
    use gateway_common::{
        hash::mix,
        wire::parse::{self, Link, Upper},
    };
    use gateway_ebpf::{frame::XdpFrame, kernel::fixed, lln, settle, wan};

    /// What the loader sets; `tests/src/bin/bench/plan.rs` is the same.
    #[repr(C)]
    struct Plan {
        /// Sources to vary over: the first so many.
        listed: u64,
        /// From one record of a CPU to its next.
        stride: u64,
        /// From one CPU's records to the next CPU's.
        lane: u64,
        /// `flood`: one of the `SOURCE` constants.
        source: u64,
        /// `flood`: one of the `RECORD` constants.
        record: u64,
        /// `flood`: which interface to send to.
        out: u64,
    }

    #[unsafe(no_mangle)]
    static PLAN: Plan = Plan { listed: 1, stride: 1, lane: 0, source: 0, record: 0, out: 0 };

    macro_rules! plan {
        ($field:ident) => {{
            // SAFETY: a field of a static; volatile because the loader replaces its bytes.
            unsafe { (&raw const PLAN.$field).read_volatile() }
        }};
    }

    /// The source stays as it is.
    const SOURCE_KEPT: u64 = 0;
    /// One of the listed, each in its turn.
    const SOURCE_LISTED: u64 = 1;
    /// One that was never there before.
    const SOURCE_STRANGE: u64 = 2;
    /// The same, and from another /64 each time.
    const SOURCE_FORGED: u64 = 3;
    /// The record stays as it is.
    const RECORD_KEPT: u64 = 0;
    /// A new number and a new tag.
    const RECORD_NEW: u64 = 1;

    /// Addresses from this number on are in no list.
    const STRANGERS: u64 = 1 << 40;
    /// Where the frame's fields are: Ethernet, IPv6, UDP, a DTLS record with 40 bytes of body.
    const HOP_LIMIT: usize = 21;
    const SOURCE: usize = 22;
    const EPOCH: usize = 65;
    const TAG: usize = 107;
    const LENGTH: usize = 115;

    /// Packets that this CPU has rewritten.
    #[btf_map]
    static COUNT: PerCpuArray<u64, 1> = PerCpuArray::new();

    #[inline(always)]
    fn number(word: u64) -> u64 {
        mix(word.wrapping_add(0x9e37_79b9_7f4a_7c15))
    }

    /// One store instruction; Rust has no unaligned store that BPF compiles to one.
    macro_rules! store {
        ($address:expr, $value:expr, $instruction:literal) => {{
            // SAFETY: `rewrite` has compared the frame's end with the last byte that it writes.
            unsafe {
                asm!($instruction, address = in(reg) $address, value = in(reg) $value, options(nostack));
            }
        }};
    }

    #[inline(always)]
    fn next() -> u64 {
        let Some(count) = COUNT.get_ptr_mut(0) else { return 0 };
        // SAFETY: this CPU's own word.
        let count = unsafe { &mut *count };
        *count += 1;
        *count
    }

    /// Makes the frame another one; whether it has the expected length.
    #[inline(always)]
    fn rewrite(ctx: &XdpContext, source: u64, record: u64) -> bool {
        let start = ctx.data();
        if start + LENGTH > ctx.data_end() {
            return false;
        }
        let (count, listed) = (next(), plan!(listed));
        if listed == 0 {
            return false;
        }
        let mut sequence = count * plan!(stride);
        if plan!(lane) != 0 {
            // SAFETY: reads a number.
            sequence += u64::from(unsafe { bpf_get_smp_processor_id() }) * plan!(lane);
        }
        if source != SOURCE_KEPT {
            let index = if source == SOURCE_LISTED {
                sequence = count / listed + 1;
                count % listed * 7919 % listed
            } else {
                STRANGERS + count
            };
            store!(start + SOURCE + 8, number(index), "*(u64 *)({address} + 0) = {value}");
            if source == SOURCE_FORGED {
                let prefix = (0x2001_0db8 << 32 | number(count) >> 32).to_be();
                store!(start + SOURCE, prefix, "*(u64 *)({address} + 0) = {value}");
            }
        }
        if record == RECORD_NEW {
            let numbers = (1 << 48 | sequence & 0xffff_ffff_ffff).to_be();
            store!(start + EPOCH, numbers, "*(u64 *)({address} + 0) = {value}");
            store!(start + TAG, number(count), "*(u64 *)({address} + 0) = {value}");
        }
        true
    }

    /// A program that filters and then rewrites, and one that only rewrites.
    macro_rules! programs {
        ($filtering:ident, $rewriting:ident, $source:ident, $record:ident) => {
            #[xdp]
            #[inline(always)]
            fn $filtering(ctx: XdpContext) -> u32 {
                let frame = XdpFrame::new(&ctx);
                let verdict = wan::run(&frame);
                if rewrite(&ctx, $source, $record) { verdict } else { XDP_ABORTED }
            }

            #[xdp]
            #[inline(always)]
            fn $rewriting(ctx: XdpContext) -> u32 {
                if rewrite(&ctx, $source, $record) { XDP_DROP } else { XDP_ABORTED }
            }
        };
    }

    // a new record of the same source, of another listed one; a source never seen, a forged one
    programs!(record_wan, record, SOURCE_KEPT, RECORD_NEW);
    programs!(peer_wan, peer, SOURCE_LISTED, RECORD_NEW);
    programs!(stranger_wan, stranger, SOURCE_STRANGE, RECORD_KEPT);
    programs!(forger_wan, forger, SOURCE_FORGED, RECORD_KEPT);

    /// The floor.
    #[xdp]
    #[inline(always)]
    fn drop(_: XdpContext) -> u32 {
        XDP_DROP
    }

    /// The floor of what passes.
    #[xdp]
    #[inline(always)]
    fn pass(_: XdpContext) -> u32 {
        XDP_PASS
    }

    /// The parser, with nobody who wants to know.
    #[xdp]
    #[inline(always)]
    fn parse(ctx: XdpContext) -> u32 {
        let frame = XdpFrame::new(&ctx);
        let Ok(Some(ip)) = parse::network(&frame, Link::Ethernet) else {
            return XDP_ABORTED;
        };
        let (source, destination) = (ip.source.raw_words(), ip.destination.raw_words());
        for word in [source.0, source.1, destination.0, destination.1, ip.length.into()] {
            fixed(word);
        }
        let Ok(Upper::Udp { ports, payload, end }) = parse::transport(&frame, &ip) else {
            return XDP_ABORTED;
        };
        for word in [ports.source.into(), ports.destination.into(), payload.get(), end.get()] {
            fixed(word as u64);
        }
        XDP_DROP
    }

    /// The filter as it is.
    #[xdp]
    #[inline(always)]
    fn wan(ctx: XdpContext) -> u32 {
        let frame = XdpFrame::new(&ctx);
        wan::run(&frame)
    }

    /// The filter's other side.
    #[xdp]
    #[inline(always)]
    fn lln(ctx: XdpContext) -> u32 {
        let frame = XdpFrame::new(&ctx);
        settle::settle(&frame, lln::lln(&frame))
    }

    /// Sends what it rewrites.
    #[xdp]
    #[inline(always)]
    fn flood(ctx: XdpContext) -> u32 {
        if !rewrite(&ctx, plan!(source), plan!(record)) {
            return XDP_ABORTED;
        }
        let start = ctx.data();
        if start + LENGTH > ctx.data_end() {
            return XDP_ABORTED;
        }
        // a frame comes round again as its receiver left it
        store!(start + HOP_LIMIT, 64, "*(u8 *)({address} + 0) = {value}");
        let out = plan!(out);
        if out == 0 {
            return XDP_DROP;
        }
        // SAFETY: remembers a number for when this program has returned.
        unsafe { bpf_redirect(out as u32, 0) as u32 }
    }

    #[panic_handler]
    fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
        loop {}
    }

    #[unsafe(link_section = "license")]
    #[unsafe(no_mangle)]
    static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
}
