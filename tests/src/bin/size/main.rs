//! `cargo xtask size`: what the node's engine needs of a Cortex-M3, beside its targets.
//!
//! [`flash`] and RAM are read from the programs, [`run`] has them work for real clients in QEMU,
//! where time counts instructions. Nothing is asserted: a target that is missed is printed so.
mod flash;
mod run;
mod table;

use std::process::ExitCode;

use anyhow::{Result, ensure};
use clap::Parser;
use tests::lab::mcu;

use table::{Limit, Row};

/// Measures the node on a Cortex-M3.
#[derive(Parser)]
#[command(name = "cargo xtask size")]
struct Args {
    /// Only what can be read from the programs: needs neither root nor QEMU
    #[arg(long)]
    still: bool,
    /// One JSON object
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    match size(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("size: error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn size(args: &Args) -> Result<()> {
    let mut rows = still()?;
    if !args.still {
        ensure!(nix::unistd::geteuid().is_root(), "running it takes root: or try --still");
        rows.extend(running()?);
    }
    if args.json {
        println!("{:#}", table::json(&rows));
    } else {
        print!("{}", table::text(&rows));
    }
    Ok(())
}

fn still() -> Result<Vec<Row>> {
    let node = flash::Program::read(&mcu::image("firmware")?)?;
    let plain = flash::Program::read(&mcu::image("firmware-plain")?)?;
    let sizes = flash::Program::read(&mcu::image("firmware-measure")?)?;
    let [session, handshake, resumable, record, whole] = sizes.words("::SIZES")?;
    let library = node.named(flash::LIBRARY) - plain.named(flash::LIBRARY);
    let chance = node.named(flash::CHANCE);
    let engine = node.flash - plain.flash - library - chance;
    Ok(vec![
        Row::bytes("flash: node with board and application", node.flash),
        Row::bytes("flash: the same without security", plain.flash),
        Row::bytes("flash: random source", chance),
        Row::bytes("flash: what a C library has (memmove, shifts)", library),
        Row::bytes("flash: engine, which is the rest", engine).target(Limit::Most(16.0 * 1024.0)),
        Row::bytes("flash: of it AES, CCM, SHA-256, HMAC, PRF", node.named(flash::CRYPTO))
            .target(Limit::Most(5.2 * 1024.0)),
        Row::bytes("RAM: a connected session", session.into()).target(Limit::Most(256.0)),
        Row::bytes("RAM: a handshake", handshake.into()).target(Limit::Most(1024.0)),
        Row::bytes("RAM: a session to resume", resumable.into()),
        Row::bytes("RAM: a record on its way, up to 1232 bytes", record.into()),
        Row::bytes("RAM: engine with one of each", whole.into()),
    ])
}

/// Instructions that tinydtls 0.8.6 takes to seal 64 bytes, keys set up included (-Os, same core).
const TINYDTLS_SEAL: f64 = 10_728.0;

fn running() -> Result<Vec<Row>> {
    let native = run::native()?;
    let mapped = run::mapped()?;
    let ratio = |a: u64, b: u64| a as f64 / b as f64;
    let most = |name, value, limit| Row::ratio(name, value).target(Limit::Most(limit));
    let mut rows = vec![
        Row::instructions("DTLS: a handshake", native.handshake),
        Row::instructions("mapped TLS: a handshake", mapped.handshake),
        most("a handshake, mapped / native", ratio(mapped.handshake, native.handshake), 1.35),
        Row::instructions("DTLS: to send 64 bytes", native.send),
        Row::instructions("mapped TLS: to send 64 bytes", mapped.send),
        most(
            "to send 64 bytes, DTLS / tinydtls's sealing",
            native.send as f64 / TINYDTLS_SEAL,
            3.0,
        ),
        Row::instructions("DTLS: to receive 64 bytes", native.receive),
        Row::instructions("mapped TLS: to receive 64 bytes", mapped.receive),
        most("a record in and out, mapped / native", ratio(mapped.record(), native.record()), 1.02),
        Row::bytes("RAM: most stack at work", native.stack.max(mapped.stack)),
    ];
    // most come along with a record, and count with it
    let alone = (mapped.confirmation > 0).then_some(mapped.confirmation);
    rows.extend(alone.map(|cost| Row::instructions("mapped TLS: to read a confirmation", cost)));
    Ok(rows)
}
