//! Moves the core's bytes: TCP on one side, UDP on the other, time from the clock.
//!
//! One thread owns every connection and waits for all of their sockets at once. Per record that is
//! one call to read and one to write, as in a relay that looks at nothing; buffers are the thread's
//! and not the connections', which hold nothing while they are idle.
//!
//! Deviation: this is mio, on which tokio rests, and not tokio. A task, two registrations and a
//! timer for each connection are more memory than all the rest of it, and a wake-up through the
//! scheduler for each record is more time than the mapping takes.
mod accept;
pub(crate) mod budget;
mod connection;
mod count;
mod io;
mod listen;
mod load;
mod plan;
mod report;
mod timer;
mod worker;

pub use budget::Budgets;
pub use count::{Counters, meaning};
pub use listen::Doors;
pub use plan::{Plan, Target};
pub use report::{Listening, Live, Report};

use crate::dataplane::Admission;
use gateway_common::decide::Reason;
use mio::{Poll, Token, Waker, net::TcpListener};
use std::{
    collections::BTreeMap,
    io as sys,
    net::{IpAddr, SocketAddr},
    sync::mpsc,
    thread::JoinHandle,
};
use tokio::sync::oneshot;

/// What keeps connections from being mapped.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An address or port that cannot be listened on.
    #[error("cannot listen on {at} (mapper.listen, mapper.ports)")]
    Listen {
        /// Which.
        at: SocketAddr,
        /// Why.
        #[source]
        source: sys::Error,
    },
    /// The socket for nodes' own addresses.
    #[error(
        "no socket for nodes' own addresses: it takes CAP_NET_ADMIN; or set \
         mapper.transparent = false"
    )]
    Transparent(#[source] sys::Error),
    /// The kernel gives no poll or no thread.
    #[error("the mapping's thread does not start")]
    Start(#[source] sys::Error),
    /// The thread has ended.
    #[error("the mapping's thread has ended")]
    Gone,
}

/// How a back-end named the node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    Address,
    Name,
    Port,
}

impl Way {
    const fn name(self) -> &'static str {
        match self {
            Self::Address => "address",
            Self::Name => "name",
            Self::Port => "port",
        }
    }
}

/// Who may reach which node.
pub trait Admit: Send {
    /// A number that changes when an answer of [`Admit::admit`] may have changed.
    fn generation(&self) -> u64;

    /// Until when `source` may reach `node` at `port`, on the kernel's monotonic clock in ns.
    ///
    /// # Errors
    /// Why it may not.
    fn admit(&self, source: IpAddr, node: IpAddr, port: u16) -> Result<u64, Reason>;
}

/// The allow-list in the kernel. What cannot be read admits nobody.
impl Admit for Admission {
    fn generation(&self) -> u64 {
        Self::generation(self).unwrap_or(u64::MAX)
    }

    fn admit(&self, source: IpAddr, node: IpAddr, port: u16) -> Result<u64, Reason> {
        Self::admit(self, source, node, port).unwrap_or(Err(Reason::NoLease))
    }
}

/// What the thread is told.
enum Command {
    Open(usize, TcpListener, bool),
    Close(usize),
    Plan(Box<Plan>),
    Admission(Box<dyn Admit>),
    Report(oneshot::Sender<Report>),
    Stop,
}

/// A socket that is listened on: the thread's number for it, and its address.
#[derive(Clone, Copy, Debug)]
struct Open {
    id: usize,
    address: SocketAddr,
}

/// Connections between back-ends and nodes. They end with it, by reset.
pub struct Driver {
    commands: mpsc::Sender<Command>,
    waker: Waker,
    thread: Option<JoinHandle<()>>,
    own: BTreeMap<SocketAddr, Open>,
    transparent: BTreeMap<IpAddr, Open>,
    next: usize,
}

impl core::fmt::Debug for Driver {
    fn fmt(&self, out: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        out.debug_struct("Driver").field("own", &self.own).finish_non_exhaustive()
    }
}

/// The thread's own token.
const WAKE: Token = Token(0);

impl Driver {
    /// Starts the thread; nothing is listened on yet.
    ///
    /// # Errors
    /// [`Error::Start`].
    pub fn start(plan: Plan, admission: Box<dyn Admit>) -> Result<Self, Error> {
        let poll = Poll::new().map_err(Error::Start)?;
        let waker = Waker::new(poll.registry(), WAKE).map_err(Error::Start)?;
        let (commands, orders) = mpsc::channel();
        let thread = std::thread::Builder::new().name(String::from("mapper"));
        // its buffers are made where they are used
        let run = move || worker::Worker::new(poll, orders, plan, admission).run();
        let thread = thread.spawn(run).map_err(Error::Start)?;
        Ok(Self {
            commands,
            waker,
            thread: Some(thread),
            own: BTreeMap::new(),
            transparent: BTreeMap::new(),
            next: 0,
        })
    }

    /// Puts another configuration into force. Sockets that stay are not touched, connections live
    /// on; after an error everything is as it was.
    ///
    /// # Errors
    /// [`Error::Listen`], [`Error::Transparent`], [`Error::Gone`].
    pub fn apply(&mut self, plan: Plan, doors: &Doors) -> Result<(), Error> {
        let missing = doors.own.iter().filter(|at| !self.own.contains_key(at));
        let own: Vec<_> =
            missing.map(|at| Ok((*at, listen::own(*at)?))).collect::<Result<_, Error>>()?;
        let missing = doors.transparent.iter().filter(|at| !self.transparent.contains_key(at));
        let transparent: Vec<_> =
            missing.map(|at| Ok((*at, listen::transparent(*at)?))).collect::<Result<_, Error>>()?;
        self.tell(Command::Plan(Box::new(plan)))?;
        for (at, socket) in own {
            let open = self.open(socket, false)?;
            self.own.insert(at, open);
        }
        for (at, socket) in transparent {
            let open = self.open(socket, true)?;
            self.transparent.insert(at, open);
        }
        self.close(doors)
    }

    /// Has another allow-list asked from now on.
    ///
    /// # Errors
    /// [`Error::Gone`].
    pub fn admit_by(&self, admission: Box<dyn Admit>) -> Result<(), Error> {
        self.tell(Command::Admission(admission))
    }

    /// The sockets for nodes' own addresses.
    pub fn transparent(&self) -> Vec<SocketAddr> {
        self.transparent.values().map(|open| open.address).collect()
    }

    /// The sockets of the router's own.
    pub fn own(&self) -> Vec<SocketAddr> {
        self.own.values().map(|open| open.address).collect()
    }

    /// Whether the thread has ended, which only a fault of its own makes it do.
    pub fn has_ended(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Asks for a report, which comes at once.
    ///
    /// # Errors
    /// [`Error::Gone`].
    pub fn report(&self) -> Result<oneshot::Receiver<Report>, Error> {
        let (answer, report) = oneshot::channel();
        self.tell(Command::Report(answer))?;
        Ok(report)
    }

    fn open(&mut self, socket: TcpListener, transparent: bool) -> Result<Open, Error> {
        let address = socket.local_addr().map_err(Error::Start)?;
        let id = self.next;
        self.next += 1;
        self.tell(Command::Open(id, socket, transparent))?;
        Ok(Open { id, address })
    }

    fn close(&mut self, doors: &Doors) -> Result<(), Error> {
        let mut gone = Vec::new();
        self.own.retain(|at, open| keep(doors.own.contains(at), open, &mut gone));
        self.transparent.retain(|at, open| keep(doors.transparent.contains(at), open, &mut gone));
        gone.into_iter().try_for_each(|id| self.tell(Command::Close(id)))
    }

    fn tell(&self, command: Command) -> Result<(), Error> {
        self.commands.send(command).map_err(|_| Error::Gone)?;
        self.waker.wake().map_err(|_| Error::Gone)
    }
}

fn keep(wanted: bool, open: &Open, gone: &mut Vec<usize>) -> bool {
    if !wanted {
        gone.push(open.id);
    }
    wanted
}

impl Drop for Driver {
    fn drop(&mut self) {
        let _ = self.tell(Command::Stop);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests;
