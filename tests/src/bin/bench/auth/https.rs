//! A back-end that asks for leases over TLS 1.3 with its certificate.
use std::{
    io::{Read, Write},
    net::{IpAddr, Ipv6Addr, SocketAddr, TcpStream},
    path::Path,
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned,
    client::Resumption,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
    version::TLS13,
};
use socket2::{Domain, Protocol, Socket, Type};
use tests::{
    lab::topology::{ROUTER, at},
    peer::curl::Pki,
};

use super::site::{HTTPS, IDENTITY};

/// Nothing takes longer here than this, unless the agent stalls.
const PATIENCE: Duration = Duration::from_secs(10);

/// What all connections have in common.
pub(super) struct Tls(Arc<ClientConfig>);

/// A connection that is kept alive.
pub(super) struct Connection(StreamOwned<ClientConnection, TcpStream>);

impl Tls {
    /// Nothing of a connection is used for the next one: each shakes hands in full.
    pub(super) fn new(pki: &Pki) -> Result<Self> {
        let mut roots = RootCertStore::empty();
        for certificate in chain(&pki.file("ca.crt"))? {
            roots.add(certificate)?;
        }
        let file = pki.file(&format!("{IDENTITY}.key"));
        let key = PrivateKeyDer::from_pem_file(&file).with_context(|| file)?;
        let own = chain(&pki.file(&format!("{IDENTITY}.crt")))?;
        let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(&[&TLS13])?
            .with_root_certificates(roots)
            .with_client_auth_cert(own, key)?;
        config.resumption = Resumption::disabled();
        Ok(Self(Arc::new(config)))
    }

    /// Connects from an address; hands are shaken with the first request.
    pub(super) fn open(&self, from: Ipv6Addr) -> Result<Connection> {
        let socket = Socket::new(Domain::IPV6, Type::STREAM, Some(Protocol::TCP))?;
        socket.bind(&SocketAddr::from((from, 0)).into())?;
        socket.set_tcp_nodelay(true)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.connect_timeout(&at(ROUTER, HTTPS).into(), PATIENCE).context("connecting")?;
        let session =
            ClientConnection::new(Arc::clone(&self.0), ServerName::from(IpAddr::from(ROUTER)))?;
        Ok(Connection(StreamOwned::new(session, socket.into())))
    }
}

fn chain(file: &str) -> Result<Vec<CertificateDer<'static>>> {
    let read = || CertificateDer::pem_file_iter(Path::new(file))?.collect();
    let found: Result<Vec<_>, rustls::pki_types::pem::Error> = read();
    found.with_context(|| file.to_owned())
}

impl Connection {
    /// Asks for a lease or its renewal, and gets it.
    pub(super) fn lease(&mut self) -> Result<()> {
        let terms = super::clients::TERMS;
        let request = format!(
            "POST /v1/leases HTTP/1.1\r\nHost: [{ROUTER}]:{HTTPS}\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{terms}",
            terms.len()
        );
        self.0.write_all(request.as_bytes())?;
        let (mut bytes, mut chunk) = (Vec::new(), [0; 4096]);
        loop {
            if let Some(status) = whole(&bytes)? {
                let answer = String::from_utf8_lossy(&bytes);
                ensure!(matches!(status, 200 | 201), "no lease over HTTPS: {answer}");
                return Ok(());
            }
            let read = self.0.read(&mut chunk).context("no answer over HTTPS")?;
            ensure!(read > 0, "the agent hung up before its answer ended");
            bytes.extend_from_slice(chunk.get(..read).unwrap_or_default());
        }
    }

    /// Ends it as a client does that has what it wanted.
    pub(super) fn close(mut self) -> Result<()> {
        self.0.conn.send_close_notify();
        Ok(self.0.flush()?)
    }
}

/// The status of an answer that is there to its end.
fn whole(bytes: &[u8]) -> Result<Option<u16>> {
    let text = String::from_utf8_lossy(bytes);
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return Ok(None) };
    let head = head.to_ascii_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
    let length: usize = length.context("an answer without a length")?.trim().parse()?;
    let status = head.split(' ').nth(1).context("an answer without a status")?;
    Ok((body.len() >= length).then_some(status.parse()?))
}

#[cfg(test)]
mod answers {
    use super::whole;

    #[test]
    fn an_answer_counts_once_all_of_it_is_there() {
        let answer = b"HTTP/1.1 201 Created\r\nContent-Length: 2\r\n\r\n{}";
        assert_eq!(whole(answer).unwrap(), Some(201));
        for cut in 0..answer.len() {
            assert_eq!(whole(&answer[..cut]).unwrap(), None, "{cut}");
        }
    }
}
