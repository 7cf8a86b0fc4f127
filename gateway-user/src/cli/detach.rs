//! `gateway detach`.
use super::Context;
use crate::{agent::syn_cookies, dataplane::Error, mapper::routing::Routing};
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
        let steered = Routing::new(&context.config()?.state.runtime).remove()?;
        let restored = syn_cookies::restore(&context.config()?.state.runtime)?;
        let pins = context.pins()?;
        if !pins.directory().exists() {
            if self.if_running {
                return Ok(());
            }
            return Err(Error::NotRunning(pins.directory().to_owned()).into());
        }
        let removed = pins.remove()?;
        let routing = if steered { " and the routing to the TLS mapping" } else { "" };
        let switch = if restored { "net.ipv4.tcp_syncookies is 0 again\n" } else { "" };
        let text = format!(
            "the filter{routing} is gone: {} pins removed under {}; the allow-list file stays\n\
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
