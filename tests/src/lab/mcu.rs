//! A microcontroller: the node's firmware in QEMU, a host of its namespace's network.
//!
//! The board speaks IPv6 over a serial line ([`slip`]). QEMU gives the line as a socket, and what
//! comes and goes there leaves and arrives on a tun device, as with Contiki-NG's `tunslip6`.

use std::{
    fs::File,
    io::{self, Read, Write},
    net::Ipv6Addr,
    os::{
        fd::AsFd,
        unix::net::{UnixListener, UnixStream},
    },
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use gateway_firmware::slip::{self, Decoder};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use tempfile::TempDir;

use super::{Child, Namespace, link, until, until_some};

/// The emulator.
pub const QEMU: &str = "qemu-system-arm";

const START: Duration = Duration::from_secs(20);
const STALLED: Duration = Duration::from_secs(5);
const POLL_MILLISECONDS: u16 = 100;
const SEED: usize = 32;
const MTU: usize = 1280;

/// How the emulated clock goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// With the host's, as fast as it can.
    Real,
    /// One nanosecond an instruction, so that time counts instructions.
    Counted,
}

/// A running board; it ends with its handle.
#[derive(Debug)]
pub struct Microcontroller {
    /// QEMU, which prints what the board says on its console.
    pub console: Child,
    over: Arc<AtomicBool>,
    line: Option<JoinHandle<()>>,
    _folder: TempDir,
}

/// Where `cargo xtask firmware` puts the program `name`.
pub fn image(name: &str) -> Result<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("repository")?;
    let file = root.join("target/firmware").join(name);
    ensure!(file.exists(), "no {}: run `cargo xtask firmware`", file.display());
    Ok(file)
}

impl Microcontroller {
    /// Boots `image` behind a new tun device, and returns once it answers ping at `address`.
    pub fn boot(
        namespace: &Namespace,
        device: &str,
        address: Ipv6Addr,
        image: &Path,
        pace: Pace,
    ) -> Result<Self> {
        let tun = link::tun(namespace, device)?;
        namespace.device(device).mtu(MTU as u32)?;
        namespace.device(device).route(&format!("{address}/128"), None)?;
        let board = Self::start(namespace, tun, image, pace)?;
        ensure!(until(START, || namespace.pings(address)), "the board does not answer ping");
        Ok(board)
    }

    fn start(namespace: &Namespace, tun: File, image: &Path, pace: Pace) -> Result<Self> {
        let folder = TempDir::with_prefix("gateway-mcu")?;
        let socket = folder.path().join("line");
        let listener = UnixListener::bind(&socket)?;
        listener.set_nonblocking(true)?;
        let console = Child::spawn(command(namespace, &socket, image, pace))?;
        let over = Arc::new(AtomicBool::new(false));
        let mut board = Self { console, over, line: None, _folder: folder };
        let line = until_some(START, || listener.accept().ok());
        let (line, _) = line.context("the emulator does not open the line")?;
        line.set_nonblocking(false)?;
        line.set_write_timeout(Some(STALLED))?;
        board.seed(&line)?;
        let over = Arc::clone(&board.over);
        board.line = Some(thread::spawn(move || drop(carry(tun, line, &over))));
        Ok(board)
    }

    /// The emulated board has no source of randomness: its first frame is its seed.
    fn seed(&mut self, mut line: &UnixStream) -> Result<()> {
        self.console.wait_for_line("up", START)?;
        let mut seed = [0; SEED];
        File::open("/dev/urandom")?.read_exact(&mut seed)?;
        line.write_all(&slip::encode(&seed).collect::<Vec<_>>())?;
        self.console.wait_for_line("seeded", START).map(drop)
    }

    /// How often the board has started: more than once means that it panicked.
    pub fn starts(&self) -> usize {
        self.console.output().lines().filter(|line| *line == "up").count()
    }
}

impl Drop for Microcontroller {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        self.console.kill();
        if let Some(line) = self.line.take() {
            let _ = line.join();
        }
    }
}

fn command(namespace: &Namespace, socket: &Path, image: &Path, pace: Pace) -> Command {
    let mut command = namespace.command(QEMU);
    command.args("-M lm3s6965evb -display none -monitor none".split(' '));
    command.arg("-chardev").arg(format!("socket,id=line,path={}", socket.display()));
    command.args("-serial chardev:line -serial stdio".split(' '));
    if pace == Pace::Counted {
        command.args(["-icount", "shift=0"]);
    }
    command.arg("-kernel").arg(image);
    command
}

/// Carries packets both ways until either end closes.
fn carry(mut tun: File, mut line: UnixStream, over: &AtomicBool) -> io::Result<()> {
    let mut decoder = Decoder::<MTU>::default();
    let mut chunk = [0; 2 * MTU];
    while !over.load(Ordering::Relaxed) {
        let (from_tun, from_line) = wait(&tun, &line)?;
        if from_tun {
            let length = tun.read(&mut chunk)?;
            line.write_all(&slip::encode(&chunk[..length]).collect::<Vec<_>>())?;
        }
        if from_line {
            let length = line.read(&mut chunk)?;
            if length == 0 {
                return Ok(());
            }
            for &byte in &chunk[..length] {
                if let Some(packet) = decoder.push(byte) {
                    tun.write_all(packet)?;
                }
            }
        }
    }
    Ok(())
}

fn wait(tun: &File, line: &UnixStream) -> io::Result<(bool, bool)> {
    let mut ends =
        [tun.as_fd(), line.as_fd()].map(|descriptor| PollFd::new(descriptor, PollFlags::POLLIN));
    poll(&mut ends, PollTimeout::from(POLL_MILLISECONDS))?;
    Ok((ends[0].any().unwrap_or(false), ends[1].any().unwrap_or(false)))
}
