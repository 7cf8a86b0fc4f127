//! The fast path: two XDP programs as lists of stages. [`wan`] and [`lln`] are the pages to read.
//!
//! On the host this crate is empty, so that the workspace builds and lints without a BPF toolchain.
#![cfg_attr(target_arch = "bpf", no_std, feature(asm_experimental_arch))]

#[cfg(target_arch = "bpf")]
mod atomic;
#[cfg(target_arch = "bpf")]
mod cookie;
#[cfg(target_arch = "bpf")]
mod flows;
#[cfg(target_arch = "bpf")]
pub mod frame;
#[cfg(target_arch = "bpf")]
mod journal;
#[cfg(target_arch = "bpf")]
pub mod kernel;
#[cfg(target_arch = "bpf")]
mod lane;
#[cfg(target_arch = "bpf")]
pub mod lln;
#[cfg(target_arch = "bpf")]
pub mod maps;
#[cfg(target_arch = "bpf")]
mod own;
#[cfg(target_arch = "bpf")]
mod settings;
#[cfg(target_arch = "bpf")]
pub mod settle;
#[cfg(target_arch = "bpf")]
mod stage;
#[cfg(target_arch = "bpf")]
mod tcp;
#[cfg(target_arch = "bpf")]
pub mod wan;
