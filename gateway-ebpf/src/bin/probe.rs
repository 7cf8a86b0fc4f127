//! Temporary.
#![cfg_attr(target_arch = "bpf", no_std, no_main, feature(asm_experimental_arch))]
#[cfg(not(target_arch = "bpf"))]
fn main() {}
#[cfg(target_arch = "bpf")]
mod bpf {
    #![allow(unsafe_code, missing_docs, clippy::all)]
    use aya_ebpf::{btf_maps::Array, macros::{btf_map, xdp}, programs::XdpContext, bindings::xdp_md, EbpfContext};
    use core::arch::asm;
    #[btf_map]
    static ARR: Array<[u64; 16], 1> = Array::new();
    #[unsafe(no_mangle)]
    #[inline(never)]
    extern "C" fn f(ctx: *mut xdp_md) -> u32 { unsafe { core::ptr::read_volatile(&raw const (*ctx).ingress_ifindex) } }
    #[xdp] fn nocall(ctx: XdpContext) -> u32 { let c = ctx.as_ptr() as *mut xdp_md; let v = unsafe { core::ptr::read_volatile(&raw const (*c).ingress_ifindex) }; if v > 100 { 2 } else { 1 } }
    #[xdp] fn onecall(ctx: XdpContext) -> u32 { if f(ctx.as_ptr() as *mut xdp_md) > 100 { 2 } else { 1 } }
    #[xdp] fn twocall(ctx: XdpContext) -> u32 { let c = ctx.as_ptr() as *mut xdp_md; if f(c) + f(c) > 100 { 2 } else { 1 } }
    fn cas(w: *mut u64, old: u64, new: u64) -> bool { let found: u64; unsafe { asm!("r0 = cmpxchg_64({w} + 0, r0, {n})", w = in(reg) w, n = in(reg) new, inout("r0") old => found, options(nostack)); } found == old }
    fn add(w: *mut u64, v: u64) { unsafe { asm!("lock *(u64 *)({w} + 0) += {v}", w = in(reg) w, v = in(reg) v, options(nostack)); } }
    macro_rules! prog { ($n:ident, $k:literal, $v:ident, $i:ident, $b:block) => {
        #[xdp] fn $n(_: XdpContext) -> u32 { let Some(p) = ARR.get_ptr_mut(0) else { return 0 }; let $v = p as *mut u64;
            let mut $i = 0; while $i < $k { $b; $i += 1; } 1 } } }
    prog!(look, 0, v, i, { let _ = v; });
    prog!(add1, 1, v, i, { add(unsafe { v.add(i) }, 1) });
    prog!(add6, 6, v, i, { add(unsafe { v.add(i) }, 1) });
    prog!(plain6, 6, v, i, { unsafe { let w = v.add(i); w.write_volatile(w.read_volatile() + 1) } });
    prog!(cas1, 1, v, i, { unsafe { let w = v.add(i); let o = w.read_volatile(); if !cas(w, o, o + 1) { return 0 } } });
    prog!(cas6, 6, v, i, { unsafe { let w = v.add(i); let o = w.read_volatile(); if !cas(w, o, o + 1) { return 0 } } });
    #[xdp] fn casp6(_: XdpContext) -> u32 { let Some(p) = ARR.get_ptr_mut(0) else { return 0 }; let v = p as *mut u64;
        unsafe {
        let o = [v.read_volatile(), v.add(1).read_volatile(), v.add(2).read_volatile(), v.add(3).read_volatile(), v.add(4).read_volatile(), v.add(5).read_volatile()];
        let ok = cas(v, o[0], o[0] + 1) && cas(v.add(1), o[1], o[1]+1) && cas(v.add(2), o[2], o[2]+1) && cas(v.add(3), o[3], o[3]+1) && cas(v.add(4), o[4], o[4]+1) && cas(v.add(5), o[5], o[5]+1);
        if ok { 1 } else { 0 } } }
    #[panic_handler]
    fn panic(_: &core::panic::PanicInfo<'_>) -> ! { loop {} }
    #[unsafe(link_section = "license")]
    #[unsafe(no_mangle)]
    static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
}
