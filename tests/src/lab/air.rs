//! The air between router and node, in our hands: every datagram can be lost, doubled, delayed,
//! changed or joined by others, in an order that a seed decides.

use std::{
    cmp::Reverse,
    collections::BinaryHeap,
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::Result;

use super::{netns::Namespace, socket::PacketSocket};
use crate::packet::Datagram;

const TICK: Duration = Duration::from_millis(5);
const ROOM: usize = 1 << 16;

/// Which way a datagram goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Toward {
    /// From the router to the node.
    Node,
    /// From the node to the router.
    Router,
}

/// A datagram that leaves the air, at once or later.
#[derive(Clone, Debug)]
pub struct Departure {
    /// What leaves.
    pub datagram: Datagram,
    /// How long it is held.
    pub after: Duration,
}

impl From<Datagram> for Departure {
    fn from(datagram: Datagram) -> Self {
        Self { datagram, after: Duration::ZERO }
    }
}

/// What the air does to a datagram: what leaves in its place.
pub type Edit = Box<dyn FnMut(Toward, Datagram) -> Vec<Departure> + Send>;

/// A bridge between the router's link and the node's; what is not UDP passes as it is.
pub struct Air {
    edit: Arc<Mutex<Edit>>,
    ending: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
    /// Devices `a0`, towards the router, and `a1`, towards the node.
    pub namespace: Namespace,
}

impl Air {
    /// Bridges `a0` and `a1` of `namespace`.
    pub(super) fn start(namespace: Namespace) -> Result<Self> {
        let edit: Arc<Mutex<Edit>> = Arc::new(Mutex::new(Box::new(untouched)));
        let ending = Arc::new(AtomicBool::new(false));
        let mut threads = Vec::new();
        for (from, to, toward) in [("a0", "a1", Toward::Node), ("a1", "a0", Toward::Router)] {
            let inside = PacketSocket::open(namespace.device(from), true)?;
            inside.set_timeout(TICK)?;
            let outside = PacketSocket::open(namespace.device(to), false)?;
            let (edit, ending) = (Arc::clone(&edit), Arc::clone(&ending));
            threads.push(thread::spawn(move || carry(&inside, &outside, toward, &edit, &ending)));
        }
        Ok(Self { edit, ending, threads, namespace })
    }

    /// From now on does this to every datagram.
    pub fn set(&self, edit: impl FnMut(Toward, Datagram) -> Vec<Departure> + Send + 'static) {
        *self.edit.lock().unwrap_or_else(PoisonError::into_inner) = Box::new(edit);
    }

    /// From now on does nothing.
    pub fn clear(&self) {
        self.set(untouched);
    }
}

impl fmt::Debug for Air {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Air").field("namespace", &self.namespace).finish_non_exhaustive()
    }
}

impl Drop for Air {
    fn drop(&mut self) {
        self.ending.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

fn untouched(_: Toward, datagram: Datagram) -> Vec<Departure> {
    vec![datagram.into()]
}

/// Frames that are held, the first due on top; equal ones in the order in which they came.
type Held = BinaryHeap<Reverse<(Instant, u64, Vec<u8>)>>;

fn carry(
    inside: &PacketSocket,
    outside: &PacketSocket,
    toward: Toward,
    edit: &Mutex<Edit>,
    ending: &AtomicBool,
) {
    let (mut held, mut number, mut buffer) = (Held::new(), 0, vec![0; ROOM]);
    while !ending.load(Ordering::Relaxed) {
        if let Ok(received) = inside.receive(&mut buffer)
            && !received.outgoing
        {
            let now = Instant::now();
            for (frame, after) in edited(&buffer[..received.length], toward, edit) {
                number += 1;
                held.push(Reverse((now + after, number, frame)));
            }
        }
        while held.peek().is_some_and(|Reverse((due, ..))| *due <= Instant::now()) {
            let Some(Reverse((_, _, frame))) = held.pop() else { break };
            // A link that is going down loses frames, as links do.
            let _ = outside.send(&frame);
        }
    }
}

fn edited(frame: &[u8], toward: Toward, edit: &Mutex<Edit>) -> Vec<(Vec<u8>, Duration)> {
    let Some(datagram) = Datagram::from_frame(frame) else {
        return vec![(frame.to_vec(), Duration::ZERO)];
    };
    let mut edit = edit.lock().unwrap_or_else(PoisonError::into_inner);
    let departures = edit(toward, datagram.clone());
    let frame = |departure: Departure| {
        let bytes = if departure.datagram == datagram {
            frame.to_vec()
        } else {
            let (to, from) = (mac(frame, 0), mac(frame, 6));
            departure.datagram.packet().ethernet(from, to).build()
        };
        (bytes, departure.after)
    };
    departures.into_iter().map(frame).collect()
}

fn mac(frame: &[u8], at: usize) -> [u8; 6] {
    frame.get(at..at + 6).and_then(|bytes| bytes.try_into().ok()).unwrap_or_default()
}

/// Loss, duplication and re-ordering, each in so many of a thousand datagrams.
#[derive(Clone, Copy, Debug)]
pub struct Noise {
    /// Datagrams that are lost.
    pub loss: u32,
    /// Datagrams that come twice, the second time later.
    pub doubled: u32,
    /// Datagrams that others overtake.
    pub late: u32,
    /// Which ones.
    pub seed: u64,
}

impl Noise {
    /// What a late datagram waits at most.
    const LATE: u64 = 400;

    /// The edit for [`Air::set`].
    pub fn edit(self) -> impl FnMut(Toward, Datagram) -> Vec<Departure> + Send + 'static {
        let mut state = self.seed;
        move |_, datagram| {
            let mut hits = |permille: u32| random(&mut state) % 1000 < u64::from(permille);
            let (lost, doubled, late) = (hits(self.loss), hits(self.doubled), hits(self.late));
            let mut wait = || Duration::from_millis(random(&mut state) % Self::LATE);
            let mut departures = Vec::new();
            if !lost {
                let after = if late { wait() } else { Duration::ZERO };
                departures.push(Departure { datagram: datagram.clone(), after });
            }
            if doubled {
                departures.push(Departure { datagram, after: wait() });
            }
            departures
        }
    }
}

/// SplitMix64.
fn random(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}
