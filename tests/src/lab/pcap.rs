//! Classic pcap files, so that tshark can read what a test saw or made.

use std::{
    fs::File,
    io::{BufWriter, Write},
    path::Path,
    time::{SystemTime, UNIX_EPOCH},
};

use anyhow::Result;

use super::capture::Captured;

/// Link type of frames with an Ethernet header.
pub const ETHERNET: u32 = 1;
/// Link type of packets that begin with their IP header.
pub const RAW_IP: u32 = 101;

const MAGIC: u32 = 0xa1b2_c3d4;
const VERSION: u32 = 2 | 4 << 16;
const SNAP: u32 = 1 << 18;

/// Writes captured frames with their times.
pub fn write(path: &Path, link_type: u32, frames: &[Captured]) -> Result<()> {
    let mut file = BufWriter::new(File::create(path)?);
    put(&mut file, &[MAGIC, VERSION, 0, 0, SNAP, link_type])?;
    for frame in frames {
        let at = frame.at.duration_since(UNIX_EPOCH)?;
        let length = u32::try_from(frame.bytes.len())?;
        put(&mut file, &[u32::try_from(at.as_secs())?, at.subsec_micros(), length, length])?;
        file.write_all(&frame.bytes)?;
    }
    Ok(file.flush()?)
}

/// Writes made-up frames, all at the present time.
pub fn write_frames(path: &Path, link_type: u32, frames: &[Vec<u8>]) -> Result<()> {
    let at = SystemTime::now();
    let stamp = |bytes: &Vec<u8>| Captured { at, outgoing: true, bytes: bytes.clone() };
    write(path, link_type, &frames.iter().map(stamp).collect::<Vec<_>>())
}

fn put(file: &mut impl Write, words: &[u32]) -> Result<()> {
    words.iter().try_for_each(|word| Ok(file.write_all(&word.to_ne_bytes())?))
}
