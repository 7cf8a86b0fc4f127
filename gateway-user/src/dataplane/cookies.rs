//! The keys behind cookies: made and replaced here, used by the programs and by the agent's own
//! DTLS port. They lie in a pinned map, so that a restart of the agent ends no handshake.
use super::{
    Error, Maps, Plain, Result, clock,
    maps::{Index, Table, named},
};
use gateway_common::{
    abi::CookieKey,
    cookie::{
        self, Decision, Flow, KEYS, PERIOD_NS,
        hello::{self, First},
        reply::{HelloVerifyRequest, REQUEST},
    },
    frame::Offset,
    wire::{Address, parse::Ports},
};
use std::{
    collections::HashSet,
    net::{IpAddr, SocketAddr},
};

const KEYS_MAP: &str = "COOKIE_KEYS";
const NODES_MAP: &str = "COOKIE_NODES";

/// The live keys.
pub struct Keyring {
    table: Table<CookieKey>,
}

/// What a datagram to a DTLS port behind cookies is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Judged {
    /// It starts with something else than a ClientHello.
    Other,
    /// It is a ClientHello with a valid cookie: its sender gets what is sent to its address.
    Vouched,
    /// It is a ClientHello without one: this is for its sender.
    Answer([u8; REQUEST]),
    /// Nobody should look at it: a ClientHello in pieces, or no key to judge it with.
    Refused,
}

impl Keyring {
    /// The pinned keys.
    ///
    /// # Errors
    /// [`Error::Map`].
    pub fn open(maps: &Maps) -> Result<Self> {
        Ok(Self { table: maps.table(KEYS_MAP)? })
    }

    fn keys(&self) -> Result<[CookieKey; KEYS]> {
        let key = |place| Ok(self.table.get(&place, 0).map_err(named(KEYS_MAP))?.0);
        Ok([key(0)?, key(1)?])
    }

    /// Makes a new key if the present one has been in use for its time, at `now_ns` of the kernel's
    /// monotonic clock; whether it did. The present one stays valid for as long again.
    ///
    /// # Errors
    /// [`Error::Map`], [`Error::Random`].
    pub fn rotate(&mut self, now_ns: u64) -> Result<bool> {
        let [even, odd] = self.keys()?;
        let present = if even.made_ns > odd.made_ns { even } else { odd };
        if present.made_ns != 0 && now_ns.saturating_sub(present.made_ns) < PERIOD_NS {
            return Ok(false);
        }
        let number = present.number.wrapping_add(1);
        let random = || getrandom::u64().map_err(Error::Random);
        let key = CookieKey { secret: [random()?, random()?], number, made_ns: now_ns.max(1) };
        let place = u32::from(number % 2 != 0);
        self.table.set(place, Plain(key), 0).map_err(named(KEYS_MAP))?;
        Ok(true)
    }

    /// Judges a datagram that came from `source` to `destination`, as the programs do: the agent's
    /// own port asks this for what reached it, over an interface with the filter or another.
    ///
    /// # Errors
    /// [`Error::Map`].
    pub fn judge(
        &self,
        source: SocketAddr,
        destination: SocketAddr,
        datagram: &[u8],
    ) -> Result<Judged> {
        let Some(end) = Offset::START.advance(datagram.len()) else {
            return Ok(Judged::Refused);
        };
        let hello = match hello::first(datagram, Offset::START, end) {
            First::Other => return Ok(Judged::Other),
            First::Improper => return Ok(Judged::Refused),
            First::Hello(hello) => hello,
        };
        let flow = Flow {
            source: Address::from(source.ip()),
            destination: Address::from(destination.ip()),
            ports: Ports { source: source.port(), destination: destination.port() },
        };
        let [even, odd] = self.keys()?;
        let now = clock::monotonic();
        Ok(match cookie::decide([&even, &odd], now, &flow, &hello, &mut [0; 14]) {
            Decision::Vouched => Judged::Vouched,
            Decision::Missing(cookie) | Decision::Invalid(cookie) => {
                Judged::Answer(HelloVerifyRequest::new(&hello, &cookie).bytes())
            }
            Decision::NoKey => Judged::Refused,
        })
    }
}

/// Tells the programs before which nodes a cookie is asked for.
///
/// # Errors
/// [`Error::Map`].
pub fn guard(maps: &Maps, nodes: &[IpAddr]) -> Result<()> {
    let mut index: Index<Address, u32> = maps.index(NODES_MAP)?;
    let wanted: HashSet<Address> = nodes.iter().copied().map(Address::from).collect();
    let present: HashSet<Address> = index.keys().flatten().map(|key| key.0).collect();
    for node in wanted.difference(&present) {
        index.insert(Plain(*node), Plain(1), 0).map_err(named(NODES_MAP))?;
    }
    for node in present.difference(&wanted) {
        index.remove(&Plain(*node)).map_err(named(NODES_MAP))?;
    }
    Ok(())
}

/// The nodes that are guarded, in order.
///
/// # Errors
/// [`Error::Map`].
pub fn guarded(maps: &Maps) -> Result<Vec<IpAddr>> {
    let index: Index<Address, u32> = maps.index(NODES_MAP)?;
    let mut nodes: Vec<IpAddr> = index.keys().flatten().map(|key| IpAddr::from(key.0)).collect();
    nodes.sort_unstable();
    Ok(nodes)
}
