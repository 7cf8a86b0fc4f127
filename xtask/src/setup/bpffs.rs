//! The file system that pinned maps and links lie in.
use std::fs;

use anyhow::{Context as _, Result};

use crate::sh;

pub(crate) const MOUNT_POINT: &str = "/sys/fs/bpf";

pub(crate) fn mount() -> Result<()> {
    if is_mounted()? {
        return Ok(());
    }
    sh::run(sh::as_root("mount").args(["-t", "bpf", "bpffs", MOUNT_POINT])).with_context(|| {
        format!("no bpffs on {MOUNT_POINT}: mount it, in a container give it CAP_SYS_ADMIN")
    })
}

fn is_mounted() -> Result<bool> {
    let mounts = "/proc/self/mounts";
    let text = fs::read_to_string(mounts).with_context(|| format!("cannot read {mounts}"))?;
    Ok(text.lines().any(is_bpffs))
}

/// Whether a line of /proc/self/mounts (device, mount point, type, …) is the one we look for.
fn is_bpffs(line: &str) -> bool {
    let mut fields = line.split(' ').skip(1);
    fields.next() == Some(MOUNT_POINT) && fields.next() == Some("bpf")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_bpffs_on_its_own_folder_counts() {
        assert!(is_bpffs("bpffs /sys/fs/bpf bpf rw,relatime 0 0"));
        assert!(!is_bpffs("tmpfs /sys/fs/bpf tmpfs rw 0 0"));
        assert!(!is_bpffs("bpffs /run/bpf bpf rw 0 0"));
    }
}
