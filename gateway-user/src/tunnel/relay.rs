//! The router's end of a tunnel: frames in, datagrams to nodes, and back.
use super::{
    frame::{Flow, Frame},
    rules::{self, Budget, Refusal, Rules},
};
use crate::{
    auth::{Holder, Problem},
    dataplane::clock,
    lease::{self, Id, Lease},
    mapper::driver::budget,
};
use core::net::{Ipv4Addr, Ipv6Addr};
use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, Weak},
    time::{Duration, Instant},
};
use tokio::{
    net::UdpSocket,
    sync::mpsc,
    task::JoinHandle,
    time::{MissedTickBehavior, interval},
};

/// How often a tunnel's lease and flows are looked at: a revoked one ends so soon.
const TICK: Duration = Duration::from_secs(1);
/// A back-end's end that has not been heard for so long is gone.
const SILENCE: Duration = Duration::from_mins(1);
/// How long before its end a lease is renewed.
const AHEAD: Duration = Duration::from_mins(2);
/// Frames that wait for a tunnel's task; more are lost, as on a way that is too narrow.
pub const QUEUE: usize = 64;

/// Sends a frame to the back-end, or loses it.
pub type Outlet = Arc<dyn Fn(Vec<u8>) + Send + Sync>;

/// What all tunnels share.
#[derive(Clone)]
pub struct Hub(Arc<Inner>);

struct Inner {
    rules: RwLock<Option<Arc<Rules>>>,
    /// What is spent of a lease's rate, by however many tunnels use it.
    budgets: Mutex<HashMap<Id, Weak<Mutex<Budget>>>>,
    /// What is spent of the nodes' budgets and the LLN's: tunnels leave the router behind the
    /// filter, which keeps the same for what it forwards.
    lln: Mutex<budget::Budget>,
}

impl Hub {
    /// No tunnel yet, and none before there are rules.
    pub fn new(now: Instant) -> Self {
        let lln = Mutex::new(budget::Budget::new(now));
        Self(Arc::new(Inner { rules: RwLock::default(), budgets: Mutex::default(), lln }))
    }

    /// Puts other rules into force, for tunnels that are open too.
    pub fn set(&self, rules: Rules) {
        lock(&self.0.lln).set(rules.budgets);
        let rules = Some(Arc::new(rules));
        *self.0.rules.write().unwrap_or_else(PoisonError::into_inner) = rules;
    }

    fn rules(&self) -> Option<Arc<Rules>> {
        self.0.rules.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Spends a datagram of what its node and the LLN bear.
    fn spend(&self, flow: &Flow, length: usize) -> Result<(), Refusal> {
        let (mut lln, now) = (lock(&self.0.lln), Instant::now());
        if !lln.wait(flow.node, length, now).is_zero() {
            return Err(Refusal::Rate);
        }
        lln.spend(flow.node, length, now);
        Ok(())
    }

    fn budget(&self, id: Id) -> Arc<Mutex<Budget>> {
        let mut budgets = lock(&self.0.budgets);
        budgets.retain(|_, budget| budget.strong_count() > 0);
        let budget = budgets.get(&id).and_then(Weak::upgrade).unwrap_or_default();
        budgets.insert(id, Arc::downgrade(&budget));
        budget
    }

    /// Serves a tunnel until its frames end, its lease does, or nothing is heard for long.
    ///
    /// # Errors
    /// [`Problem`] when there is no lease for it.
    pub(crate) async fn serve(
        &self,
        holder: Holder,
        mut frames: mpsc::Receiver<Vec<u8>>,
        outlet: Outlet,
    ) -> Result<(), Problem> {
        let lease = ask(&holder).await?;
        tracing::info!(identity = lease.identity, "tunnel from {} opened", lease.source);
        let budget = self.budget(lease.id);
        let (hub, now) = (self.clone(), Instant::now());
        let flows = HashMap::new();
        let mut relay = Relay { hub, holder, lease, budget, flows, outlet, heard: now };
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let lasts = tokio::select! {
                frame = frames.recv() => match frame {
                    Some(frame) => {
                        relay.frame(&frame);
                        true
                    }
                    None => false,
                },
                _ = tick.tick() => relay.tick().await,
            };
            if !lasts {
                break;
            }
        }
        relay.close().await;
        Ok(())
    }
}

async fn ask(holder: &Holder) -> Result<Lease, Problem> {
    let wish = holder.wish(crate::auth::rest::Terms::default());
    Ok(holder.registry.call(move |ledger| ledger.ask(&wish)).await??)
}

/// One tunnel.
struct Relay {
    hub: Hub,
    holder: Holder,
    lease: Lease,
    budget: Arc<Mutex<Budget>>,
    flows: HashMap<Flow, Socket>,
    outlet: Outlet,
    heard: Instant,
}

/// A flow's socket, from which the node sees the router.
struct Socket {
    sender: std::net::UdpSocket,
    reader: JoinHandle<()>,
    used: Arc<Mutex<Instant>>,
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

impl Relay {
    fn frame(&mut self, bytes: &[u8]) {
        self.heard = Instant::now();
        match Frame::read(bytes) {
            Some(Frame::Ping) => (self.outlet)(Frame::Pong.bytes()),
            Some(Frame::Datagram(flow, inner)) => match self.datagram(flow, inner) {
                // who is over its rate knows that by what is lost, as everywhere
                Ok(()) | Err(Refusal::Rate) => {}
                Err(refusal) => {
                    (self.outlet)(Frame::Refused(flow, &refusal.to_string()).bytes());
                }
            },
            Some(Frame::Pong | Frame::Refused(..)) | None => {}
        }
    }

    fn datagram(&mut self, flow: Flow, inner: &[u8]) -> Result<(), Refusal> {
        let rules = self.hub.rules().ok_or(Refusal::Outside)?;
        rules.permit(&self.lease.terms, &flow, inner)?;
        let (limits, now) = (self.lease.terms.limits, clock::monotonic());
        lock(&self.budget).charge(&limits, now, &flow, inner)?;
        self.hub.spend(&flow, rules::length(&flow, inner))?;
        if !self.flows.contains_key(&flow) {
            if self.flows.len() >= rules.flows {
                return Err(Refusal::Flows);
            }
            let socket = Socket::open(flow, &self.outlet).map_err(|error| {
                tracing::warn!("no socket towards {}: {error}", flow.node);
                Refusal::Socket
            })?;
            self.flows.insert(flow, socket);
        }
        if let Some(socket) = self.flows.get(&flow) {
            touch(&socket.used);
            // what the link has no room for is lost, as on the way
            let _ = socket.sender.send(inner);
        }
        Ok(())
    }

    /// Renews the lease before it ends, ends flows that nobody uses; whether the tunnel lasts.
    async fn tick(&mut self) -> bool {
        lock(&self.hub.0.lln).sweep(Instant::now());
        let idle = self.hub.rules().map_or(Duration::ZERO, |rules| rules.idle);
        self.flows.retain(|_, socket| lock(&socket.used).elapsed() < idle);
        if self.heard.elapsed() > SILENCE {
            return false;
        }
        let id = self.lease.id;
        let found = self.holder.registry.call(move |ledger| ledger.lease(&id).cloned()).await;
        // its policy may have changed
        let Ok(Some(lease)) = found else { return false };
        self.lease = lease;
        let left = self.lease.expires_ns.saturating_sub(clock::monotonic());
        if Duration::from_nanos(left) < AHEAD
            && let Ok(lease) = ask(&self.holder).await
        {
            self.lease = lease;
        }
        true
    }

    /// Gives the lease back, unless another tunnel uses it.
    async fn close(self) {
        let (id, registry) = (self.lease.id, self.holder.registry.clone());
        tracing::info!(identity = self.lease.identity, "tunnel from {} closed", self.lease.source);
        if Arc::strong_count(&self.budget) == 1 {
            let tunnel = |lease: &Lease| lease.way == lease::Way::Tunnel;
            let _ = registry.call(move |ledger| ledger.release(&id, tunnel)).await;
        }
    }
}

impl Socket {
    fn open(flow: Flow, outlet: &Outlet) -> std::io::Result<Self> {
        let any: SocketAddr = if flow.node.is_ipv4() {
            (Ipv4Addr::UNSPECIFIED, 0).into()
        } else {
            (Ipv6Addr::UNSPECIFIED, 0).into()
        };
        let socket = std::net::UdpSocket::bind(any)?;
        socket.connect((flow.node, flow.port))?;
        socket.set_nonblocking(true)?;
        let sender = socket.try_clone()?;
        let inner = UdpSocket::from_std(socket)?;
        let used = Arc::new(Mutex::new(Instant::now()));
        let reader = tokio::spawn(read(inner, flow, Arc::clone(outlet), Arc::clone(&used)));
        Ok(Self { sender, reader, used })
    }
}

/// What a node answers goes back the same way.
async fn read(socket: UdpSocket, flow: Flow, outlet: Outlet, used: Arc<Mutex<Instant>>) {
    /// A node that is not there is asked again by the application, not by this loop.
    const PAUSE: Duration = Duration::from_millis(20);
    let mut buffer = vec![0; 1 << 16];
    loop {
        match socket.recv(&mut buffer).await {
            Ok(length) => {
                touch(&used);
                let inner = buffer.get(..length).unwrap_or_default();
                outlet(Frame::Datagram(flow, inner).bytes());
            }
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
}

fn touch(used: &Mutex<Instant>) {
    *lock(used) = Instant::now();
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
