//! `curl` as a complete client of the agent's REST interface, and certificates to use it with.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::lab::{Namespace, gateway::binary};

/// Certificates in a folder, made by `gateway pki`.
#[derive(Debug)]
pub struct Pki {
    folder: PathBuf,
}

impl Pki {
    /// A new authority in `folder`.
    pub fn init(folder: &Path) -> Result<Self> {
        let pki = Self { folder: folder.to_owned() };
        pki.run(&["init"])?;
        Ok(pki)
    }

    /// Runs a `gateway pki` command that must succeed.
    pub fn run(&self, words: &[&str]) -> Result<Value> {
        let mut command = Command::new(binary());
        command.env_remove("GATEWAY_CONFIG").env("NO_COLOR", "1");
        command.args(["pki", "--json", "--dir"]).arg(&self.folder).args(words);
        let output = command.output().context("start gateway pki")?;
        let error = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "gateway pki {words:?}: {error}");
        Ok(serde_json::from_slice(&output.stdout)?)
    }

    /// Issues a certificate to a back-end; further words are options.
    pub fn issue(&self, name: &str, options: &[&str]) -> Result<()> {
        self.run(&[&["issue", name], options].concat()).map(drop)
    }

    /// One of its files.
    pub fn file(&self, name: &str) -> String {
        self.folder.join(name).display().to_string()
    }
}

/// What the agent answered.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The media type.
    pub media: String,
    /// The body; null if it is no JSON.
    pub body: Value,
}

/// A client at an address of a namespace.
#[derive(Clone, Debug)]
pub struct Client<'a> {
    namespace: &'a Namespace,
    base: String,
    options: Vec<String>,
}

impl<'a> Client<'a> {
    /// A client that knows the router's authority and has no certificate.
    pub fn new(namespace: &'a Namespace, router: &str, ca: &Pki) -> Self {
        let options = vec!["--cacert".to_owned(), ca.file("ca.crt")];
        Self { namespace, base: format!("https://{router}"), options }
    }

    /// With a certificate.
    pub fn certificate(mut self, pki: &Pki, name: &str) -> Self {
        let [certificate, key] = ["crt", "key"].map(|end| pki.file(&format!("{name}.{end}")));
        self.options.extend(["--cert".to_owned(), certificate, "--key".to_owned(), key]);
        self
    }

    /// From one of the namespace's addresses.
    pub fn from(mut self, address: impl ToString) -> Self {
        self.options.extend(["--interface".to_owned(), address.to_string()]);
        self
    }

    /// Sends a request; further words are options of curl.
    pub fn ask(&self, method: &str, path: &str, words: &[&str]) -> Result<Answer> {
        let mut command = self.namespace.command("curl");
        command.args(["--silent", "--show-error", "--max-time", "20", "--request", method]);
        command.args(["--write-out", "\n%{http_code} %{content_type}"]).args(&self.options);
        command.args(words).arg(format!("{}{path}", self.base));
        let output = command.output().context("start curl")?;
        let (text, error) =
            (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        ensure!(output.status.success(), "curl {method} {path}: {}: {error}", output.status);
        let (body, last) = text.rsplit_once('\n').context("no status line")?;
        let (status, media) = last.split_once(' ').context("no status")?;
        Ok(Answer {
            status: status.parse()?,
            media: media.to_owned(),
            body: serde_json::from_str(body).unwrap_or(Value::Null),
        })
    }

    /// Asks for a lease with these terms, which must be granted or renewed.
    pub fn lease(&self, terms: &str) -> Result<Value> {
        let answer = self.ask("POST", "/v1/leases", &["--json", terms])?;
        ensure!(matches!(answer.status, 200 | 201), "{answer:?}");
        Ok(answer.body)
    }

    /// Asks for a lease that must be refused with a problem document: its kind.
    pub fn refused(&self, terms: &str) -> Result<String> {
        let answer = self.ask("POST", "/v1/leases", &["--json", terms])?;
        kind(&answer)
    }
}

/// The kind of a problem document.
pub fn kind(answer: &Answer) -> Result<String> {
    ensure!(answer.media == "application/problem+json", "{answer:?}");
    ensure!(answer.body["status"] == answer.status, "{answer:?}");
    let address = answer.body["type"].as_str().context("no type")?;
    Ok(address.rsplit('/').next().unwrap_or_default().to_owned())
}
