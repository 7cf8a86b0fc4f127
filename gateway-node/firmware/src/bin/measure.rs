//! The engine's sizes as this core has them: read out of the program, which never runs.
#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(not(target_os = "none"))]
fn main() {}

#[cfg(target_os = "none")]
mod measure {
    use core::mem::size_of;

    use gateway_firmware::engine::{Chance, Keys};
    use gateway_node::Server;

    /// Bytes of an engine with so many of each.
    const fn engine<const S: usize, const H: usize, const M: usize, const N: usize>() -> usize {
        size_of::<Server<Keys, Chance, S, H, M, N, 1_232, 1_800>>()
    }

    const ONE: usize = engine::<1, 1, 1, 1>();

    /// Bytes more for a session, a handshake, a session to resume, a record; then the whole with
    /// one of each.
    #[used]
    static SIZES: [usize; 5] = [
        engine::<2, 1, 1, 1>() - ONE,
        engine::<1, 2, 1, 1>() - ONE,
        engine::<1, 1, 2, 1>() - ONE,
        engine::<1, 1, 1, 2>() - ONE,
        ONE,
    ];

    #[cortex_m_rt::entry]
    fn main() -> ! {
        core::hint::black_box(&SIZES);
        cortex_m::peripheral::SCB::sys_reset()
    }
}
