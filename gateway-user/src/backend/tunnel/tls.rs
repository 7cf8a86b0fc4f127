//! Outer TLS 1.3 with client certificates.
use super::channel::{Channel, Error, QUEUE};
use crate::tunnel::{frame::ALPN, stream};
use rustls::{ClientConfig, pki_types::ServerName};
use std::{io, net::SocketAddr, sync::Arc};
use tokio::{
    net::TcpStream,
    sync::mpsc::{self, Receiver, Sender},
};
use tokio_rustls::{TlsConnector, client::TlsStream};

/// Opens a channel to the router at `at`.
pub(super) async fn open(
    at: SocketAddr,
    name: ServerName<'static>,
    config: &Arc<ClientConfig>,
) -> Result<Channel, Error> {
    let stream = TcpStream::connect(at).await?;
    stream.set_nodelay(true)?;
    let connector = TlsConnector::from(Arc::clone(config));
    let stream = connector.connect(name, stream).await.map_err(|error| said(&error))?;
    if stream.get_ref().1.alpn_protocol() != Some(ALPN) {
        return Err(Error::NoTunnel(at.to_string()));
    }
    let (outgoing, out) = mpsc::channel(QUEUE);
    let (inside, incoming) = mpsc::channel(QUEUE);
    let task = tokio::spawn(run(stream, out, inside));
    Ok(Channel { incoming, outgoing, task })
}

async fn run(
    stream: TlsStream<TcpStream>,
    mut out: Receiver<Vec<u8>>,
    inside: Sender<Vec<u8>>,
) -> Error {
    let (mut reader, mut writer) = tokio::io::split(stream);
    let reading = async {
        loop {
            match stream::read(&mut reader).await {
                Ok(Some(frame)) => {
                    if inside.send(frame).await.is_err() {
                        return Error::Closed;
                    }
                }
                Ok(None) => return Error::Closed,
                Err(error) => return said(&error),
            }
        }
    };
    let writing = async {
        while let Some(frame) = out.recv().await {
            if let Err(error) = stream::write(&mut writer, &frame).await {
                return said(&error);
            }
        }
        Error::Closed
    };
    tokio::select! {
        over = reading => over,
        over = writing => over,
    }
}

/// What the router's alert means to a person.
fn said(error: &io::Error) -> Error {
    Error::Io(io::Error::new(error.kind(), error.to_string()))
}
