//! A tunnel over TLS: two bytes of length before each frame, in network order.
use super::{
    frame::{Flow, Frame},
    relay::{self, Hub, Outlet},
};
use crate::auth::Holder;
use core::net::Ipv6Addr;
use std::{io, sync::Arc};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    sync::mpsc,
};

/// Reads the next frame; nothing at the end.
///
/// # Errors
/// Those of the stream.
pub async fn read(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<Vec<u8>>> {
    let length = match stream.read_u16().await {
        Ok(length) => length,
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut frame = vec![0; length.into()];
    stream.read_exact(&mut frame).await?;
    Ok(Some(frame))
}

/// Writes a frame.
///
/// # Errors
/// Those of the stream, and a frame that is too long for its length.
pub async fn write(stream: &mut (impl AsyncWrite + Unpin), frame: &[u8]) -> io::Result<()> {
    let length = u16::try_from(frame.len()).map_err(io::Error::other)?;
    let whole = [&length.to_be_bytes()[..], frame].concat();
    stream.write_all(&whole).await?;
    stream.flush().await
}

/// Serves the router's end of a tunnel until either end is over.
pub(crate) async fn serve(stream: impl AsyncRead + AsyncWrite + Unpin, hub: &Hub, holder: Holder) {
    let (mut reader, mut writer) = tokio::io::split(stream);
    let (frames, inbox) = mpsc::channel(relay::QUEUE);
    let (back, mut out) = mpsc::channel::<Vec<u8>>(relay::QUEUE);
    let outlet: Outlet = Arc::new(move |frame| {
        let _ = back.try_send(frame);
    });
    let reading = async {
        while let Ok(Some(frame)) = read(&mut reader).await {
            // TCP slows its sender down, so nothing has to be lost here
            if frames.send(frame).await.is_err() {
                break;
            }
        }
        drop(frames);
    };
    let writing = async {
        while let Some(frame) = out.recv().await {
            if write(&mut writer, &frame).await.is_err() {
                break;
            }
        }
        let _ = writer.shutdown().await;
    };
    let serving = async {
        if let Err(problem) = hub.serve(holder, inbox, Arc::clone(&outlet)).await {
            let flow = Flow { number: 0, node: Ipv6Addr::UNSPECIFIED.into(), port: 0 };
            outlet(Frame::Refused(flow, problem.detail()).bytes());
        }
        drop(outlet);
    };
    // the reader's end ends the relay, the relay's end the writer
    tokio::pin!(reading);
    let both = async { tokio::join!(serving, writing) };
    tokio::pin!(both);
    tokio::select! {
        () = &mut reading => drop(both.await),
        _ = &mut both => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn frames_keep_their_bounds() {
        let (mut one, mut other) = tokio::io::duplex(64);
        let written = tokio::spawn(async move {
            for frame in [&[1; 100][..], &[], &[2, 3]] {
                write(&mut one, frame).await.unwrap();
            }
            assert!(write(&mut one, &[0; 65_536]).await.is_err());
        });
        let mut found = Vec::new();
        while let Some(frame) = read(&mut other).await.unwrap() {
            found.push(frame);
        }
        written.await.unwrap();
        assert_eq!(found, [vec![1; 100], vec![], vec![2, 3]]);
    }
}
