//! tshark, with a key and without.

use std::{path::Path, process::Command};

use anyhow::{Context, Result, ensure};

use crate::peer::Psk;

/// What was decrypted of a TLS connection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plaintext {
    /// What the client said.
    pub from_client: Vec<u8>,
    /// What the server said.
    pub from_server: Vec<u8>,
}

impl Plaintext {
    /// What the client said, as text.
    pub fn request(&self) -> String {
        String::from_utf8_lossy(&self.from_client).into_owned()
    }

    /// What the server said, as text.
    pub fn response(&self) -> String {
        String::from_utf8_lossy(&self.from_server).into_owned()
    }

    /// Whether nothing was decrypted.
    pub fn is_empty(&self) -> bool {
        self.from_client.is_empty() && self.from_server.is_empty()
    }
}

/// What tshark decrypts of the first TLS connection with `port` in a capture.
pub fn decrypt(pcap: &Path, port: u16, psk: Option<&Psk>) -> Result<Plaintext> {
    let mut command = tshark(pcap, port, psk);
    command.args(["-q", "-z", "follow,tls,raw,0"]);
    let text = output(&mut command)?;
    let mut plaintext = Plaintext::default();
    for line in text.lines() {
        let to = match line.strip_prefix('\t') {
            Some(_) => &mut plaintext.from_server,
            None => &mut plaintext.from_client,
        };
        to.extend(bytes(line.trim()).unwrap_or_default());
    }
    Ok(plaintext)
}

/// What tshark says of each frame with TLS or DTLS in a capture: protocol, bytes, messages.
pub fn messages(pcap: &Path, port: u16) -> Result<Vec<String>> {
    let mut command = tshark(pcap, port, None);
    command.args(["-Y", "tls or dtls", "-T", "fields", "-E", "separator= "]);
    for field in ["_ws.col.Protocol", "frame.len", "_ws.col.Info"] {
        command.args(["-e", field]);
    }
    Ok(output(&mut command)?.lines().map(|line| line.trim().to_owned()).collect())
}

fn tshark(pcap: &Path, port: u16, psk: Option<&Psk>) -> Command {
    let mut command = Command::new("tshark");
    command.arg("-n").arg("-r").arg(pcap);
    command.args(["-d", &format!("tcp.port=={port},tls")]);
    command.args(["-d", &format!("udp.port=={port},dtls")]);
    if let Some(psk) = psk {
        command.args(["-o", &format!("tls.psk:{}", psk.hex())]);
        command.args(["-o", &format!("dtls.psk:{}", psk.hex())]);
    }
    command
}

fn output(command: &mut Command) -> Result<String> {
    let result = command.output().with_context(|| format!("start {command:?}"))?;
    let said = String::from_utf8_lossy(&result.stderr);
    ensure!(result.status.success(), "{command:?}: {}: {said}", result.status);
    Ok(String::from_utf8(result.stdout)?)
}

/// Bytes of a line that is nothing but hexadecimal digits.
fn bytes(line: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> =
        line.chars().map(|digit| u8::try_from(digit.to_digit(16)?).ok()).collect();
    let digits = digits.filter(|digits| digits.len().is_multiple_of(2))?;
    Some(digits.as_chunks().0.iter().map(|[high, low]| high << 4 | low).collect())
}
