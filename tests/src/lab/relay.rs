//! A man on the path of a TCP connection, who takes TLS records apart.

use std::{
    io::{self, Read, Write},
    mem,
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    os::fd::AsRawFd,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::{Context, Result};
use gateway_common::mapping::record::{TLS_HEADER, TlsHeader};
use nix::libc;

use super::netns::Namespace;

const TICK: Duration = Duration::from_millis(20);

/// Who sent a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sender {
    /// Who connected to the relay.
    Client,
    /// Whom the relay connected to.
    Server,
}

/// A TLS record on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Content type.
    pub content: u8,
    /// Version.
    pub version: u16,
    /// What follows the header.
    pub fragment: Vec<u8>,
}

impl Record {
    /// As it is on the wire.
    pub fn bytes(&self) -> Vec<u8> {
        let length = self.fragment.len() as u16;
        let header = TlsHeader { content: self.content, version: self.version, length };
        [&header.write()[..], &self.fragment].concat()
    }

    fn read(stream: &mut TcpStream) -> io::Result<Self> {
        let mut header = [0; TLS_HEADER];
        stream.read_exact(&mut header)?;
        let TlsHeader { content, version, length } = TlsHeader::read(&header);
        let mut fragment = vec![0; length.into()];
        stream.read_exact(&mut fragment)?;
        Ok(Self { content, version, fragment })
    }
}

type Edit = Arc<Mutex<dyn FnMut(Sender, Record) -> Vec<Record> + Send>>;

/// A relay that listens until it is dropped.
#[derive(Debug)]
pub struct Relay {
    ending: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Relay {
    /// Carries connections to `listen` in `namespace` on to `target`, `edit` in between.
    pub fn start(
        namespace: &Namespace,
        listen: SocketAddr,
        target: SocketAddr,
        edit: impl FnMut(Sender, Record) -> Vec<Record> + Send + 'static,
    ) -> Result<Self> {
        let listener = namespace.enter(|| TcpListener::bind(listen));
        let listener = listener.with_context(|| format!("relay on {listen}"))?;
        listener.set_nonblocking(true)?;
        let ending = Arc::new(AtomicBool::new(false));
        let (end, edit): (_, Edit) = (Arc::clone(&ending), Arc::new(Mutex::new(edit)));
        let path = namespace.path();
        let thread = thread::spawn(move || {
            let file = std::fs::File::open(path).expect("the namespace is there");
            nix::sched::setns(file, nix::sched::CloneFlags::CLONE_NEWNET).expect("may enter it");
            while !end.load(Ordering::Relaxed) {
                match listener.accept() {
                    Ok((client, _)) => carry(client, target, &edit),
                    Err(_) => thread::sleep(TICK),
                }
            }
        });
        Ok(Self { ending, thread: Some(thread) })
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.ending.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Starts both directions of a connection; they end with it.
fn carry(client: TcpStream, target: SocketAddr, edit: &Edit) {
    let _ = client.set_nonblocking(false);
    let Ok(server) = TcpStream::connect(target) else { return };
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let (Ok(back), Ok(front)) = (client.try_clone(), server.try_clone()) else { return };
    for (from, to, sender) in [(client, server, Sender::Client), (front, back, Sender::Server)] {
        let edit = Arc::clone(edit);
        thread::spawn(move || direction(from, to, sender, &edit));
    }
}

fn direction(mut from: TcpStream, mut to: TcpStream, sender: Sender, edit: &Edit) {
    loop {
        match Record::read(&mut from) {
            Ok(record) => {
                let records = {
                    let mut edit = edit.lock().unwrap_or_else(PoisonError::into_inner);
                    edit(sender, record)
                };
                let bytes: Vec<u8> = records.iter().flat_map(Record::bytes).collect();
                if to.write_all(&bytes).is_err() {
                    break reset(&from);
                }
            }
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                let _ = to.shutdown(Shutdown::Write);
                break;
            }
            Err(_) => break reset(&to),
        }
    }
}

/// Breaks a connection off: a reset on one side is one on the other.
fn reset(stream: &TcpStream) {
    let nobody = libc::sockaddr { sa_family: libc::AF_UNSPEC as u16, sa_data: [0; 14] };
    let size = mem::size_of_val(&nobody) as libc::socklen_t;
    // SAFETY: the pointer is to a sockaddr that lives here, and size is its size.
    unsafe { libc::connect(stream.as_raw_fd(), &raw const nobody, size) };
}
