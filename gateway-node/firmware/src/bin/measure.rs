//! Sizes and instructions of the engine's parts.
#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(not(target_os = "none"))]
fn main() {}

#[cfg(target_os = "none")]
mod measure {
    use gateway_firmware::board::Board;

    #[cortex_m_rt::entry]
    fn main() -> ! {
        let _ = Board::take();
        cortex_m::peripheral::SCB::sys_reset()
    }
}
