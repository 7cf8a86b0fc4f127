//! How much stack a loaded program takes, read from its instructions.

use std::{
    collections::{BTreeMap, BTreeSet},
    os::fd::{AsRawFd as _, BorrowedFd},
};

use nix::libc;

/// An instruction as the kernel hands it back.
struct Instruction {
    opcode: u8,
    target: u8,
    source: u8,
    offset: i16,
    immediate: i32,
}

const FRAME_POINTER: u8 = 10;
const CLASS_LDX: u8 = 1;
const ADD_IMMEDIATE: u8 = 0x07;
/// `target = source`.
const COPY: u8 = 0xbf;
const CALL: u8 = 0x85;
/// A call's source register when it calls another function of the program.
const PSEUDO_CALL: u8 = 1;

/// Bytes of stack over the deepest chain of calls.
pub fn deepest(program: BorrowedFd<'_>, size: u32) -> u32 {
    let code = instructions(program, size);
    let mut starts = BTreeSet::from([0]);
    starts.extend((0..code.len()).filter_map(|at| callee(&code, at)));
    let ends = starts.iter().skip(1).copied().chain([code.len()]);
    let functions: BTreeMap<usize, usize> = starts.iter().copied().zip(ends).collect();
    depth(&code, &functions, 0)
}

fn depth(code: &[Instruction], functions: &BTreeMap<usize, usize>, start: usize) -> u32 {
    let body = start..functions[&start];
    let below = body.clone().filter_map(|at| callee(code, at));
    let below = below.map(|next| depth(code, functions, next)).max().unwrap_or(0);
    let own = body.map(|at| reach(code, at)).max().unwrap_or(0);
    // the kernel counts in units of 16 bytes where it compiles to machine code
    own.max(1).next_multiple_of(16) + below
}

/// The function that an instruction calls: the compiler to machine code moves the distance to it
/// into the offset.
fn callee(code: &[Instruction], at: usize) -> Option<usize> {
    let call = &code[at];
    (call.opcode == CALL && call.source == PSEUDO_CALL)
        .then(|| at.checked_add_signed(isize::from(call.offset) + 1))?
}

/// How far below the frame pointer an instruction reaches.
fn reach(code: &[Instruction], at: usize) -> u32 {
    let instruction = &code[at];
    let class = instruction.opcode & 7;
    let base = if class == CLASS_LDX { instruction.source } else { instruction.target };
    let memory = (1..=3).contains(&class) && base == FRAME_POINTER && instruction.offset < 0;
    // a slot's address is a copy of the frame pointer, less a number right after
    let copy = at.checked_sub(1).and_then(|before| code.get(before));
    let copied = copy.is_some_and(|copy| {
        (copy.opcode, copy.source, copy.target) == (COPY, FRAME_POINTER, instruction.target)
    });
    if memory {
        instruction.offset.unsigned_abs().into()
    } else if copied && instruction.opcode == ADD_IMMEDIATE && instruction.immediate < 0 {
        instruction.immediate.unsigned_abs()
    } else {
        0
    }
}

fn instructions(program: BorrowedFd<'_>, size: u32) -> Vec<Instruction> {
    let mut code = vec![0u8; size as usize];
    // struct bpf_prog_info up to xlated_prog_insns (linux/bpf.h)
    let mut info = [0u64; 32];
    // jited_prog_len:4 | xlated_prog_len:4, after type:4 id:4 tag:8
    info[2] = u64::from(size) << 32;
    info[4] = code.as_mut_ptr() as u64;
    // union bpf_attr: bpf_fd:4 info_len:4 info:8
    let attributes =
        [program.as_raw_fd() as u64 | (size_of_val(&info) as u64) << 32, info.as_mut_ptr() as u64];
    const OBJ_GET_INFO_BY_FD: libc::c_int = 15;
    // SAFETY: both structures live, zeroed where unused, and say how long their buffers are.
    let result = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            OBJ_GET_INFO_BY_FD,
            attributes.as_ptr(),
            size_of_val(&attributes),
        )
    };
    assert_eq!(result, 0, "{}", std::io::Error::last_os_error());
    let one = |bytes: &[u8]| Instruction {
        opcode: bytes[0],
        target: bytes[1] & 15,
        source: bytes[1] >> 4,
        offset: i16::from_ne_bytes([bytes[2], bytes[3]]),
        immediate: i32::from_ne_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]),
    };
    code.chunks_exact(8).map(one).collect()
}
