//! `gateway detach`.
use super::Context;
use crate::{
    agent::syn_cookies,
    dataplane::{Error, Pins},
    mapper::routing::Routing,
};
use clap::Args;
use serde_json::json;

#[derive(Debug, Args)]
pub(super) struct Detach {
    /// Succeed when there is nothing to remove
    #[arg(long)]
    if_running: bool,
}

impl Detach {
    pub(super) fn run(self, context: &Context) -> anyhow::Result<()> {
        // connections to nodes must not be steered to nobody, nor reach the nodes unfiltered
        let state = context.config()?.state;
        let steered = Routing::new(&state.runtime).remove()?;
        let restored = syn_cookies::restore(&state.runtime)?;
        let pins = Pins::new(&state.bpffs);
        if !pins.directory().exists() {
            if self.if_running {
                return Ok(());
            }
            return Err(Error::NotRunning(pins.directory().to_owned()).into());
        }
        let removed = pins.remove()?;
        let gone = if steered {
            "the filter and the routing to the TLS mapping are gone"
        } else {
            "the filter is gone"
        };
        let switch = if restored { "net.ipv4.tcp_syncookies is 0 again\n" } else { "" };
        let text = format!(
            "{gone}: {} pins removed under {}; the allow-list file stays\n\
             {switch}",
            removed.len(),
            pins.directory().display()
        );
        context.print(
            &text,
            &json!({ "removed": removed, "routing": steered, "syn_cookies": restored }),
        )
    }
}
