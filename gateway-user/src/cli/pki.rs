//! `gateway pki`: a small certificate authority.
use super::{Context, show};
use crate::{
    config::units,
    pki::{Algorithm, Authority, Issued, Order},
};
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use std::{
    path::PathBuf,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

#[derive(Debug, Args)]
pub(super) struct Pki {
    /// Folder of the authority
    #[arg(long, global = true, value_name = "FOLDER", default_value = "/etc/gateway/pki")]
    dir: PathBuf,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make an authority: its key, its certificate and an empty revocation list
    Init(Init),
    /// Issue a certificate with a key of its own
    Issue(Issue),
    /// Revoke a certificate; leases that hang on it end when the router has the new list
    Revoke(Revoke),
    /// What was issued
    List,
    /// Write the revocation list anew before it is past its next update (30 days)
    Refresh,
}

#[derive(Debug, Args)]
struct Init {
    /// Name of the authority
    #[arg(long, default_value = "gateway")]
    name: String,
    /// How long it lasts
    #[arg(long = "for", value_name = "TIME", default_value = "3650days", value_parser = units::duration)]
    lasting: Duration,
    /// An Ed25519 key, rather than ECDSA on P-256
    #[arg(long)]
    ed25519: bool,
}

#[derive(Debug, Args)]
struct Issue {
    /// Whose: a host name, a URI or an email address, which is what a policy names
    name: String,
    /// For a router, rather than a back-end; NAME may be its address
    #[arg(long)]
    server: bool,
    /// Further name or address of a router; several times for several
    #[arg(long = "also", value_name = "NAME", requires = "server")]
    also: Vec<String>,
    /// How long it lasts [default: 30days; of a router 90days]
    #[arg(long = "for", value_name = "TIME", value_parser = units::duration)]
    lasting: Option<Duration>,
    /// An Ed25519 key, rather than ECDSA on P-256
    #[arg(long)]
    ed25519: bool,
    /// Name of its files, without ending [default: NAME; of a router, router]
    #[arg(long, value_name = "NAME")]
    out: Option<String>,
}

#[derive(Debug, Args)]
struct Revoke {
    /// A name, which means all of its certificates, or a serial number
    which: String,
}

const fn algorithm(ed25519: bool) -> Algorithm {
    if ed25519 { Algorithm::Ed25519 } else { Algorithm::P256 }
}

impl Pki {
    pub(super) fn run(self, context: &Context) -> anyhow::Result<()> {
        let folder = self.dir;
        match self.command {
            Command::Init(init) => {
                Authority::init(&folder, &init.name, init.lasting, algorithm(init.ed25519))?;
                let certificate = folder.join("ca.crt");
                let text = format!("authority made: {}\n", certificate.display());
                let crl = folder.join("ca.crl");
                context.print(&text, &json!({ "certificate": certificate, "crl": crl }))
            }
            Command::Issue(issue) => issue.run(context, &Authority::open(&folder)?),
            Command::Revoke(Revoke { which }) => {
                let ended = Authority::open(&folder)?.revoke(&which)?;
                let line =
                    |issued: &Issued| format!("revoked {} ({})\n", issued.serial, issued.name);
                let text: String = ended.iter().map(line).collect();
                context.print(&text, &json!({ "revoked": values(&ended) }))
            }
            Command::List => {
                let list = Authority::open(&folder)?.list()?;
                context.print(&table(&list), &json!({ "issued": values(&list) }))
            }
            Command::Refresh => {
                let crl = Authority::open(&folder)?.refresh()?;
                context.print(&format!("written {}\n", crl.display()), &json!({ "crl": crl }))
            }
        }
    }
}

impl Issue {
    fn run(self, context: &Context, authority: &Authority) -> anyhow::Result<()> {
        const DAY: Duration = Duration::from_hours(24);
        let usual = if self.server { DAY * 90 } else { DAY * 30 };
        let router = self.server.then(|| "router".to_owned());
        let made = authority.issue(&Order {
            name: self.name,
            also: self.also,
            server: self.server,
            valid: self.lasting.unwrap_or(usual),
            algorithm: algorithm(self.ed25519),
            out: self.out.or(router),
        })?;
        let (certificate, key) = (&made.certificate, &made.key);
        let text = format!("{}\n{}\n", certificate.display(), key.display());
        let issued = value(&made.issued);
        context.print(&text, &json!({ "issued": issued, "certificate": certificate, "key": key }))
    }
}

fn now() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_secs()).unwrap_or(i64::MAX)
}

fn instant(seconds: i64) -> String {
    let since = Duration::from_secs(u64::try_from(seconds).unwrap_or(0));
    units::show_instant(UNIX_EPOCH + since)
}

fn values(list: &[Issued]) -> Vec<Value> {
    list.iter().map(value).collect()
}

fn value(issued: &Issued) -> Value {
    json!({
        "serial": issued.serial,
        "name": issued.name,
        "server": issued.server,
        "status": issued.status(now()).as_str(),
        "expires": instant(issued.expires),
        "revoked": issued.revoked.map(instant),
    })
}

fn table(list: &[Issued]) -> String {
    if list.is_empty() {
        return String::from("nothing was issued\n");
    }
    let row = |issued: &Issued| {
        vec![
            issued.serial.clone(),
            issued.name.clone(),
            if issued.server { "router" } else { "back-end" }.to_owned(),
            issued.status(now()).as_str().to_owned(),
            instant(issued.expires),
        ]
    };
    show::table(&["SERIAL", "NAME", "FOR", "STATUS", "EXPIRES"], list.iter().map(row).collect())
}
