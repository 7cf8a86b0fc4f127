//! The proxies that a user would pick instead: they end TLS at the router, with keys.
use std::{
    fs,
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::Command,
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

use crate::process::Process;

/// A proxy under measurement behind a TLS client that is not measured.
pub(crate) struct Ready {
    pub(crate) proxy: Process,
    /// Where bytes go in.
    pub(crate) port: u16,
    pub(crate) client: Client,
}

/// The TLS client in front of a proxy, and their files.
pub(crate) struct Client {
    _process: Process,
    _files: TempDir,
}

const START: Duration = Duration::from_secs(10);

/// stunnel with TLS 1.2, PSK and CCM_8, in front of a TCP service.
pub(crate) fn stunnel(service: u16) -> Result<Ready> {
    let files = TempDir::new()?;
    let secret = files.path().join("psk");
    private(&secret, "node:30313233343536373839616263646566\n")?;
    let (inner, port) = (free_port()?, free_port()?);
    let suite = "ciphers = PSK-AES128-CCM8:@SECLEVEL=0";
    let server = format!("{suite}\nPSKsecrets = {}\n", secret.display());
    let proxy = tunnel(&files, "server", "", inner, service, &server)?;
    let client = format!("{server}PSKidentity = node\n");
    let client = tunnel(&files, "client", "client = yes\n", port, inner, &client)?;
    ready(proxy, client, port, files)
}

/// haproxy with TLS 1.2, ECDSA and GCM, in front of a TCP service.
pub(crate) fn haproxy(service: u16) -> Result<Ready> {
    let files = TempDir::new()?;
    let (inner, port) = (free_port()?, free_port()?);
    let pem = certificate(files.path())?;
    let config = files.path().join("haproxy.cfg");
    let text = format!(
        "global\n nbthread 1\n maxconn 9000\n tune.ssl.cachesize 0\n\
         defaults\n mode tcp\n timeout connect 5s\n timeout client 600s\n timeout server 600s\n\
         listen tls\n bind 127.0.0.1:{inner} ssl crt {} ssl-max-ver TLSv1.2 no-tls-tickets \
         ciphers ECDHE-ECDSA-AES128-GCM-SHA256\n server echo 127.0.0.1:{service}\n",
        pem.display()
    );
    fs::write(&config, text)?;
    let proxy = Process::start(Command::new("haproxy").args(["-db", "-f"]).arg(&config))?;
    let suite = "ciphers = ECDHE-ECDSA-AES128-GCM-SHA256\nsslVersionMax = TLSv1.2\n";
    let client = tunnel(&files, "client", "client = yes\n", port, inner, suite)?;
    ready(proxy, client, port, files)
}

/// A stunnel without session resumption, so that each connection shakes hands in full.
fn tunnel(
    files: &TempDir,
    name: &str,
    role: &str,
    accept: u16,
    connect: u16,
    service: &str,
) -> Result<Process> {
    let config = files.path().join(name);
    let text = format!(
        "foreground = quiet\npid =\ndebug = 0\nsocket = l:TCP_NODELAY=1\nsocket = r:TCP_NODELAY=1\n\
         sslVersionMax = TLSv1.2\nsessionResume = no\n[tunnel]\n{role}\
         accept = 127.0.0.1:{accept}\nconnect = 127.0.0.1:{connect}\n{service}"
    );
    private(&config, &text)?;
    Process::start(Command::new("stunnel").arg(&config))
}

fn ready(proxy: Process, client: Process, port: u16, files: TempDir) -> Result<Ready> {
    let (start, at) = (Instant::now(), SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
    while TcpStream::connect(at).is_err() {
        ensure!(start.elapsed() < START, "no proxy on {at} after {START:?}");
        sleep(Duration::from_millis(20));
    }
    Ok(Ready { proxy, port, client: Client { _process: client, _files: files } })
}

fn certificate(folder: &Path) -> Result<PathBuf> {
    let (key, certificate) = (folder.join("key.pem"), folder.join("certificate.pem"));
    let mut openssl = Command::new("openssl");
    openssl.args("req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 9".split(' '));
    openssl.args(["-subj", "/CN=bench", "-keyout"]).arg(&key).arg("-out").arg(&certificate);
    let made = openssl.output().context("cannot start openssl")?;
    ensure!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let both = [fs::read(&certificate)?, fs::read(&key)?].concat();
    let pem = folder.join("both.pem");
    private(&pem, &String::from_utf8(both)?)?;
    Ok(pem)
}

/// A file that only its owner reads: stunnel refuses others.
fn private(path: &Path, text: &str) -> Result<()> {
    use std::{io::Write as _, os::unix::fs::OpenOptionsExt as _};
    let mut options = fs::OpenOptions::new();
    let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(path)?;
    Ok(file.write_all(text.as_bytes())?)
}

/// A port that was free a moment ago.
fn free_port() -> Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}
