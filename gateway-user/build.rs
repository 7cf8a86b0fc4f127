//! Embeds the BPF object that `cargo xtask build-ebpf` made; `BPF_OBJECT` names another one.
use std::{env, error::Error, fs, path::PathBuf};

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-env-changed=BPF_OBJECT");
    let built = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?).join("../target/bpf/gateway");
    let object = env::var_os("BPF_OBJECT").map_or(built, PathBuf::from);
    println!("cargo:rerun-if-changed={}", object.display());
    let out = PathBuf::from(env::var("OUT_DIR")?).join("gateway.o");
    fs::copy(&object, out).map_err(|error| {
        let object = object.display();
        format!("no BPF object at {object} ({error}): run `cargo xtask build-ebpf` first")
    })?;
    Ok(())
}
