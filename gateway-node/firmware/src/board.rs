//! The board: serial lines, a clock and sleep. The only place with unsafe code.
//!
//! It is the LM3S6965 as QEMU emulates it: clocks and pins, which QEMU does not have, are not set.
#![expect(unsafe_code, reason = "registers at fixed addresses, and interrupts by number")]
use core::ptr::NonNull;
use core::sync::atomic::{AtomicU32, Ordering};

use arm_pl011_uart::{Interrupts, PL011Registers, Uart, UniqueMmioPointer};
use cortex_m::Peripherals;
use cortex_m::interrupt::{self, InterruptNumber};
use cortex_m::peripheral::syst::SystClkSource;
use cortex_m::peripheral::{NVIC, SYST};
use cortex_m_rt::exception;
use gateway_node::Instant;

/// Of SysTick, after reset.
pub const HERTZ: u32 = 12_500_000;
const TICK_MILLISECONDS: u32 = 10;
const TICK: u32 = HERTZ / 1000 * TICK_MILLISECONDS;

static TICKS: AtomicU32 = AtomicU32::new(0);

/// Serial line 0, by its place in the vector table.
#[derive(Clone, Copy)]
struct Uart0;

// SAFETY: the LM3S6965 has UART0 at interrupt 5, of 44.
unsafe impl InterruptNumber for Uart0 {
    fn number(self) -> u16 {
        5
    }
}

/// The board's parts that the node uses.
pub struct Board {
    /// Serial line 0: packets.
    pub line: Line,
    /// Serial line 1: words for whoever watches.
    pub console: Line,
}

/// A serial line.
pub struct Line(Uart<'static>);

impl Board {
    /// The board, once.
    pub fn take() -> Option<Self> {
        let mut core = Peripherals::take()?;
        core.SYST.set_clock_source(SystClkSource::Core);
        core.SYST.set_reload(TICK - 1);
        core.SYST.clear_current();
        core.SYST.enable_counter();
        core.SYST.enable_interrupt();
        // SAFETY: UART0 and UART1 lie at these addresses, apart and for ever, and as `take` gives
        // the core's peripherals only once, nothing else makes a pointer to them.
        let (line, console) = unsafe { (Line::at(0x4000_c000), Line::at(0x4000_d000)) };
        let mut board = Self { line, console };
        board.line.0.set_interrupt_masks(Interrupts::RXI | Interrupts::RTI);
        Some(board)
    }

    /// Sleeps until a byte waits on line 0 or the clock ticks, at once if one waits already.
    pub fn sleep(&mut self) {
        interrupt::free(|_| {
            // SAFETY: its handler only masks it again, and shares nothing with us.
            unsafe { NVIC::unmask(Uart0) };
            if self.line.0.is_rx_fifo_empty() {
                // also wakes for what `free` holds back
                cortex_m::asm::wfi();
            }
        });
    }
}

impl Line {
    /// # Safety
    /// There must be a PL011 at `address` that nobody else uses.
    unsafe fn at(address: usize) -> Self {
        let registers = NonNull::<PL011Registers>::without_provenance(
            // no register lies at address 0
            core::num::NonZero::new(address).unwrap_or(core::num::NonZero::<usize>::MAX),
        );
        // SAFETY: the caller says that the registers are there, and ours alone.
        Self(Uart::new(unsafe { UniqueMmioPointer::new(registers) }))
    }

    /// The next byte that has come.
    pub fn read(&mut self) -> Option<u8> {
        self.0.read_word().unwrap_or_default()
    }

    /// Sends a byte, as soon as there is room.
    pub fn write(&mut self, byte: u8) {
        while self.0.is_tx_fifo_full() {}
        self.0.write_word(byte);
    }
}

/// Milliseconds since the start, in steps of 10.
pub fn now() -> Instant {
    Instant(u64::from(TICKS.load(Ordering::Relaxed)) * u64::from(TICK_MILLISECONDS))
}

/// Clock cycles since the start: with `-icount shift=0` one for every 80 instructions.
/// Wraps after five minutes.
pub fn cycles() -> u32 {
    loop {
        let before = TICKS.load(Ordering::Relaxed);
        let left = SYST::get_current();
        if before == TICKS.load(Ordering::Relaxed) {
            return before.wrapping_mul(TICK).wrapping_add(TICK - 1 - left);
        }
    }
}

unsafe extern "C" {
    static mut __sheap: u32;
    static _stack_start: u32;
}

/// Most bytes of stack that were in use at once, since the start or [`paint_stack`].
pub fn stack_used() -> usize {
    let (mut bottom, top) = (&raw const __sheap, &raw const _stack_start);
    // SAFETY: both come from the linker, as ends of one piece of RAM that is the stack's, painted
    // before anything else ran; the loop ends at `top` at the latest.
    unsafe {
        while bottom < top && bottom.read_volatile() == cortex_m_rt::STACK_PAINT_VALUE {
            bottom = bottom.add(1);
        }
        usize::try_from(top.byte_offset_from(bottom)).unwrap_or_default()
    }
}

/// Forgets how much stack was used to get here.
pub fn paint_stack() {
    /// More than what is below the stack's pointer in this function, and in an interrupt.
    const MARGIN: usize = 256;
    let end = cortex_m::register::msp::read() as usize - MARGIN;
    let mut word = &raw mut __sheap;
    while word.addr() < end {
        // SAFETY: from the end of the variables to well below the stack's pointer, RAM is nobody's.
        unsafe {
            word.write_volatile(cortex_m_rt::STACK_PAINT_VALUE);
            word = word.add(1);
        }
    }
}

#[exception]
fn SysTick() {
    TICKS.fetch_add(1, Ordering::Relaxed);
}

/// Line 0 has something for whoever sleeps: the handler has nothing to do but let it sleep again.
#[exception]
unsafe fn DefaultHandler(_number: i16) {
    NVIC::mask(Uart0);
}

/// Starts anew, as a node that nobody watches must.
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    cortex_m::peripheral::SCB::sys_reset()
}
