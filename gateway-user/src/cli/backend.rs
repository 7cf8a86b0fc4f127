//! `gateway backend`: the back-end's side.
use super::{Context, tunnel::TunnelArgs};
use crate::{
    backend::{
        Client, Hold,
        client::Files,
        hold::{Outcome, State},
    },
    config::units,
};
use anyhow::bail;
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use std::{
    net::IpAddr,
    path::PathBuf,
    time::{Duration, Instant},
};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    time::sleep_until,
};

#[derive(Debug, Subcommand)]
pub(super) enum Backend {
    /// Get a lease from a router and keep it open; ends with SIGTERM or Ctrl-C, and the lease too
    Hold(HoldArgs),
    /// Open local UDP ports that lead to nodes, through an authenticated tunnel to a router
    Tunnel(TunnelArgs),
}

#[derive(Debug, Args)]
pub(super) struct HoldArgs {
    /// The router, such as https://router.example:4433
    #[arg(long, value_name = "URL")]
    router: String,
    /// Own certificate chain, PEM
    #[arg(long, value_name = "FILE")]
    cert: PathBuf,
    /// Its key, PEM
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// Authority of the router's certificate, PEM
    #[arg(long, value_name = "FILE")]
    ca: PathBuf,
    /// Node, or prefix of nodes, to be reached; several times for several [default: all allowed]
    #[arg(long = "node", value_name = "ADDRESS")]
    nodes: Vec<String>,
    /// How long a lease is to last, such as 10m; it is renewed at half its life
    /// [default: as long as is allowed]
    #[arg(long, value_parser = units::duration)]
    ttl: Option<Duration>,
    /// Own address to ask from, and to be admitted with
    #[arg(long, value_name = "ADDRESS")]
    bind: Option<IpAddr>,
    /// Leave the lease open at the end, until it lapses
    #[arg(long)]
    keep: bool,
    /// Get one lease, and end; it lapses by itself
    #[arg(long)]
    once: bool,
}

impl Backend {
    pub(super) fn run(self, context: &Context) -> anyhow::Result<()> {
        let args = match self {
            Self::Hold(args) => args,
            Self::Tunnel(args) => return args.run(context),
        };
        let files =
            Files { certificate: args.cert.clone(), key: args.key.clone(), ca: args.ca.clone() };
        let client = Client::new(&args.router, &files, args.bind)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(args.hold(context, &client))
    }
}

impl HoldArgs {
    async fn hold(self, context: &Context, client: &Client) -> anyhow::Result<()> {
        let mut end = End::listen()?;
        let mut hold = Hold::new(Instant::now());
        loop {
            let outcome = tokio::select! {
                outcome = self.next(&hold, client) => outcome,
                () = end.wait() => break,
            };
            let lasts = outcome.lasts;
            let mut chance = [0; 4];
            // without chance all back-ends come at once, which is no reason to end
            let _ = getrandom::fill(&mut chance);
            if hold.handle_outcome(Instant::now(), outcome, u32::from_ne_bytes(chance)) {
                self.report(context, &hold, lasts)?;
            }
            if self.once {
                return match hold.state() {
                    State::Held { .. } => Ok(()),
                    State::Starting | State::Refused { .. } | State::Unreachable { .. } => {
                        bail!("no lease from {}", self.router)
                    }
                };
            }
        }
        self.end(context, &hold, client).await
    }

    async fn next(&self, hold: &Hold, client: &Client) -> Outcome {
        sleep_until(hold.poll_timeout().into()).await;
        client.grant(self.ttl, &self.nodes).await
    }

    async fn end(&self, context: &Context, hold: &Hold, client: &Client) -> anyhow::Result<()> {
        let State::Held { id, source, .. } = hold.state() else { return Ok(()) };
        if self.keep {
            return Ok(());
        }
        let released = client.release(id).await;
        let text = if released {
            format!("lease {id} for {source} given back")
        } else {
            format!("lease {id} for {source} could not be given back: it lapses by itself")
        };
        let state = if released { "released" } else { "left" };
        context.print_line(&text, &json!({ "state": state, "id": id, "source": source }))
    }

    fn report(&self, context: &Context, hold: &Hold, lasts: Duration) -> anyhow::Result<()> {
        let (text, value): (String, Value) = match hold.state() {
            State::Starting => return Ok(()),
            State::Held { id, source, nodes } => {
                let reach = if nodes.is_empty() { "all nodes".to_owned() } else { nodes.join(" ") };
                let span = humantime::format_duration(lasts);
                let text =
                    format!("lease {id}: {source} may reach {reach}, for {span} unless renewed");
                let seconds = lasts.as_secs();
                let value = json!({
                    "state": "held", "id": id, "source": source, "nodes": nodes, "expires_in": seconds,
                });
                (text, value)
            }
            State::Refused { kind, detail } => (
                format!("refused ({kind}): {detail}"),
                json!({ "state": "refused", "problem": kind, "detail": detail }),
            ),
            State::Unreachable { error } => {
                let held = hold.is_held(Instant::now());
                let next = if self.once { "" } else { ", trying again" };
                let lease = if held { "the lease lasts for now" } else { "no lease" };
                (
                    format!("no answer from the router ({error}); {lease}{next}"),
                    json!({ "state": "unreachable", "error": error, "held": held }),
                )
            }
        };
        context.print_line(&text, &value)
    }
}

/// What ends it.
pub(super) struct End {
    interrupt: Signal,
    terminate: Signal,
}

impl End {
    pub(super) fn listen() -> anyhow::Result<Self> {
        let listen = |kind| signal(kind);
        Ok(Self {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
        })
    }

    pub(super) async fn wait(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
