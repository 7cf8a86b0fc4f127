//! `gateway backend tunnel`: the back-end's end of a tunnel.
use super::{Context, backend::End};
use crate::backend::{
    client::Files,
    tunnel::{Credentials, Doors, Event, Tunnel},
};
use anyhow::{Context as _, bail};
use clap::Args;
use serde_json::json;
use std::{net::SocketAddr, path::PathBuf};

#[derive(Debug, Args)]
pub(super) struct TunnelArgs {
    /// The router's host and port: its port for DTLS with a pre-shared key or --dtls, else for
    /// HTTPS
    #[arg(long, value_name = "HOST:PORT")]
    router: String,
    /// Node that a local port leads to, such as [2001:db8:1::10]:5684; several times for several,
    /// each at the next port
    #[arg(long = "node", value_name = "ADDRESS:PORT", required = true, value_parser = place)]
    nodes: Vec<SocketAddr>,
    /// Local address and UDP port of the first node
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:5684", value_parser = place)]
    listen: SocketAddr,
    /// Own identity, for a tunnel over DTLS
    #[arg(long, value_name = "NAME", requires = "psk_file", conflicts_with = "cert")]
    psk_identity: Option<String>,
    /// File with its key, a line identity:key in hexadecimal, which only its owner may read
    #[arg(long, value_name = "FILE", requires = "psk_identity")]
    psk_file: Option<PathBuf>,
    /// Own certificate chain, PEM, for a tunnel over TLS, or DTLS with --dtls
    #[arg(long, value_name = "FILE", requires_all = ["key", "ca"])]
    cert: Option<PathBuf>,
    /// Its key, PEM
    #[arg(long, value_name = "FILE", requires = "cert")]
    key: Option<PathBuf>,
    /// Authority of the router's certificate, PEM
    #[arg(long, value_name = "FILE", requires = "cert")]
    ca: Option<PathBuf>,
    /// Have the certificate tunnel over DTLS: no record waits for one before it that is lost. The
    /// keys must be ECDSA
    #[arg(long, requires = "cert")]
    dtls: bool,
}

/// An address and a port; that IPv6 needs brackets then is not known to everybody.
fn place(text: &str) -> Result<SocketAddr, String> {
    let wanted = "expected an address and a port, such as [2001:db8:1::10]:5684";
    text.parse().map_err(|_| wanted.to_owned())
}

impl TunnelArgs {
    pub(super) fn run(self, context: &Context) -> anyhow::Result<()> {
        let credentials = self.credentials()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(self.serve(context, credentials))
    }

    fn credentials(&self) -> anyhow::Result<Credentials> {
        if let (Some(identity), Some(file)) = (&self.psk_identity, &self.psk_file) {
            return Ok(Credentials::psk(identity, file)?);
        }
        if let (Some(certificate), Some(key), Some(ca)) = (&self.cert, &self.key, &self.ca) {
            let files =
                Files { certificate: certificate.clone(), key: key.clone(), ca: ca.clone() };
            let read = if self.dtls { Credentials::datagrams } else { Credentials::certificate };
            return Ok(read(&files)?);
        }
        bail!("who is this? name --psk-identity and --psk-file, or --cert, --key and --ca")
    }

    async fn serve(self, context: &Context, credentials: Credentials) -> anyhow::Result<()> {
        let mut end = End::listen()?;
        let doors = Doors::open(self.listen, &self.nodes).await;
        let doors = doors.map_err(|(at, error)| (format!("cannot listen on {at}"), error));
        let doors = match doors {
            Ok(doors) => doors,
            Err((text, error)) => return Err(error).context(text),
        };
        for (local, node) in doors.places() {
            let value = json!({ "state": "listening", "local": local, "node": node });
            context.print_line(&format!("{local} leads to node {node}"), &value)?;
        }
        let router = self.router.clone();
        let mut printed = Ok(());
        let tunnel = Tunnel::new(self.router, credentials, doors);
        let running = tunnel.run(|event| {
            if printed.is_ok() {
                printed = report(context, &router, event);
            }
        });
        tokio::select! {
            () = running => {}
            () = end.wait() => {}
        }
        printed
    }
}

fn report(context: &Context, router: &str, event: &Event) -> anyhow::Result<()> {
    match event {
        Event::Open => context.print_line(
            &format!("tunnel to {router} open"),
            &json!({ "state": "open", "router": router }),
        ),
        Event::Down { error, wait } => {
            let seconds = wait.as_secs_f64();
            let text = format!("no tunnel to {router} ({error}); again in {seconds:.1} s");
            context.print_line(
                &text,
                &json!({ "state": "down", "router": router, "error": error, "wait": seconds }),
            )
        }
        Event::Refused { flow, why } => {
            let node = SocketAddr::new(flow.node, flow.port);
            context.print_line(
                &format!("the router refuses what is for {node}: {why}"),
                &json!({ "state": "refused", "node": node, "why": why }),
            )
        }
    }
}
