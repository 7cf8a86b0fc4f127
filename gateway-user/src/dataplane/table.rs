//! The allow-list in the kernel: leases, policies, filter bits.
//!
//! Order keeps every instant closed: what an entry needs (policy, clean counters, filter bit) is
//! written before the entry, an entry goes before what it used, and the generation grows last, on
//! which every association asks again. One process writes at a time: the one that has the
//! store of leases open.
use super::{
    Error, Maps, Plain, Result,
    bits::{Bit, Bits},
    maps::{Index, PerCpu, Table, named},
    slots::Slots,
};
use aya::maps::{MapError, PerCpuValues};
use gateway_common::{
    abi::{Control, PREFIX_LENGTHS_MAX, PREFIXES_MAX, PrefixKey, Settings, SourceState, filter},
    decide::{
        admission::{Lease, NODES_MAX, PORTS_MAX, Policy},
        reason::Counter,
    },
    wire::Address,
};
use ipnet::IpNet;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

pub use super::{
    grant::Grant,
    net::{lln, net_of, on_128_bits},
};

/// What a [`Grants::sync`] changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Entries that are new or different.
    pub written: usize,
    /// Entries that are gone.
    pub removed: usize,
}

/// Where an entry lies: exact addresses and prefixes have a map each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Place {
    Address(Address),
    Prefix(PrefixKey),
}

/// The allow-list's maps.
pub struct Grants {
    settings: Settings,
    control: Table<Control>,
    bits: Bits,
    sources: Index<Address, Lease>,
    prefixes: Index<PrefixKey, Lease>,
    policies: Table<Policy>,
    state: Table<SourceState>,
    passed: PerCpu<Counter>,
    /// What the maps hold: this process writes them under the allow-list's lock.
    leases: HashMap<Place, Lease>,
    /// Policies in use, and by how many leases.
    used: BTreeMap<u32, (Policy, usize)>,
    slots: Slots<Place>,
}

impl Place {
    fn of(net: &IpNet) -> Self {
        let prefix = on_128_bits(net);
        if net.prefix_len() == net.max_prefix_len() {
            Self::Address(prefix.address)
        } else {
            Self::Prefix(PrefixKey { address: prefix.address, length: prefix.length().into() })
        }
    }
}

/// Two expiries are the same if they differ by less than clocks jitter.
const JITTER_NS: u64 = 1_000_000_000;

impl Grants {
    /// The allow-list behind these maps.
    ///
    /// # Errors
    /// [`Error::Map`].
    pub fn open(maps: &Maps) -> Result<Self> {
        let mut grants = Self {
            settings: maps.settings()?,
            control: maps.table("CONTROL")?,
            bits: Bits::new(maps.table("BITS")?)?,
            sources: maps.sources()?,
            prefixes: maps.prefixes()?,
            policies: maps.policies()?,
            state: maps.source_state()?,
            passed: maps.source_passed()?,
            leases: HashMap::new(),
            used: BTreeMap::new(),
            slots: Slots::new(core::iter::empty()),
        };
        grants.load()?;
        Ok(grants)
    }

    fn load(&mut self) -> Result<()> {
        for entry in self.sources.iter() {
            let (address, lease) = entry.map_err(named("SOURCES"))?;
            self.leases.insert(Place::Address(address.0), lease.0);
        }
        for entry in self.prefixes.iter() {
            let (key, lease) = entry.map_err(named("PREFIXES"))?;
            self.leases.insert(Place::Prefix(key.0), lease.0);
        }
        for lease in self.leases.values() {
            let policy = self.policies.get(&lease.policy, 0).map_err(named("POLICIES"))?.0;
            self.used.entry(lease.policy).or_insert((policy, 0)).1 += 1;
        }
        let places: Vec<Place> = self.leases.keys().copied().collect();
        for place in &places {
            self.bits.count(self.bit(place));
        }
        let taken: HashSet<u32> = self.leases.values().map(|lease| lease.slot).collect();
        let next = self.control.get(&0, 0).map_err(named("CONTROL"))?.0.next_slot;
        self.slots = Slots::new((0..next).filter(|slot| !taken.contains(slot)));
        Ok(())
    }

    /// Whether an address lies in the LLN that the programs protect.
    pub fn in_lln(&self, address: &Address) -> bool {
        self.settings.in_lln(address)
    }

    /// Makes the allow-list these grants and nothing else. What stays keeps its budgets, counters
    /// and replay memory.
    ///
    /// # Errors
    /// [`Error::Full`] when there is no room, [`Error::Map`].
    pub fn sync(&mut self, grants: &[Grant]) -> Result<Changes> {
        let wanted: HashSet<Place> = grants.iter().map(|grant| Place::of(&grant.source)).collect();
        let gone: Vec<Place> =
            self.leases.keys().filter(|place| !wanted.contains(place)).copied().collect();
        for place in &gone {
            self.delete(place)?;
        }
        if !gone.is_empty() {
            self.bump()?;
        }
        let mut written = 0;
        for grant in grants {
            written += usize::from(self.put(grant, JITTER_NS)?);
        }
        if !gone.is_empty() {
            self.bits.rebuild()?;
        }
        // even if nothing changed: whoever wrote before may have been killed in between
        self.announce_lengths()?;
        if written > 0 || !gone.is_empty() {
            self.bump()?;
        }
        Ok(Changes { written, removed: gone.len() })
    }

    /// Adds or replaces one entry, at a cost that does not depend on how many there are; whether
    /// that changed anything. What is there keeps its budget, counters and replay memory.
    ///
    /// # Errors
    /// As [`Grants::sync`].
    pub fn grant(&mut self, grant: &Grant) -> Result<bool> {
        let changed = self.put(grant, 0)?;
        if changed {
            self.bump()?;
        }
        Ok(changed)
    }

    /// Removes one entry; whether there was one. Its budget rests: the same source gets it back as
    /// it was, unless another has needed the slot since.
    ///
    /// # Errors
    /// [`Error::Map`].
    pub fn revoke(&mut self, source: &IpNet) -> Result<bool> {
        let place = Place::of(source);
        let present = self.leases.contains_key(&place);
        if present {
            self.delete(&place)?;
            self.bump()?;
        }
        Ok(present)
    }

    fn delete(&mut self, place: &Place) -> Result<()> {
        match place {
            Place::Address(address) => {
                self.sources.remove(&Plain(*address)).map_err(named("SOURCES"))?;
            }
            Place::Prefix(key) => {
                self.prefixes.remove(&Plain(*key)).map_err(named("PREFIXES"))?;
            }
        }
        if let Some(lease) = self.leases.remove(place) {
            self.unuse(lease.policy);
            self.slots.rest(*place, lease.slot);
            self.bits.release(self.bit(place))?;
        }
        Ok(())
    }

    fn unuse(&mut self, policy: u32) {
        if let Some((_, leases)) = self.used.get_mut(&policy) {
            *leases -= 1;
            if *leases == 0 {
                self.used.remove(&policy);
            }
        }
    }

    /// Writes an entry, unless it is there already and ends within `jitter_ns` of the same time.
    fn put(&mut self, grant: &Grant, jitter_ns: u64) -> Result<bool> {
        let place = Place::of(&grant.source);
        let policy = policy_of(grant);
        let expires_ns = grant.expires_ns;
        let present = self.leases.get(&place).copied();
        if let Some(lease) = present {
            let same = self.used.get(&lease.policy).is_some_and(|used| used.0 == policy);
            if same && lease.expires_ns.abs_diff(expires_ns) <= jitter_ns {
                return Ok(false);
            }
        }
        let slot = match present {
            Some(lease) => lease.slot,
            None => self.slot(&place)?,
        };
        let lease = Lease { expires_ns, policy: self.policy(&policy)?, slot };
        self.bits.set(self.bit(&place))?;
        self.write(&place, lease)?;
        self.used.entry(lease.policy).or_insert((policy, 0)).1 += 1;
        match self.leases.insert(place, lease) {
            Some(before) => self.unuse(before.policy),
            None => self.bits.count(self.bit(&place)),
        }
        if matches!(place, Place::Prefix(_)) {
            self.announce_lengths()?;
        }
        Ok(true)
    }

    fn write(&mut self, place: &Place, lease: Lease) -> Result<()> {
        let (name, full, result) = match place {
            Place::Address(address) => {
                let full = self.no_room();
                ("SOURCES", full, self.sources.insert(Plain(*address), Plain(lease), 0))
            }
            Place::Prefix(key) => {
                let full = Error::Full {
                    what: "the allow-list of prefixes",
                    capacity: PREFIXES_MAX,
                    remedy: "merge prefixes or remove some",
                };
                ("PREFIXES", full, self.prefixes.insert(Plain(*key), Plain(lease), 0))
            }
        };
        result.map_err(|error| if is_full(&error) { full } else { named(name)(error) })
    }

    const fn no_room(&self) -> Error {
        Error::Full {
            what: "the allow-list",
            capacity: self.settings.sources,
            remedy: "raise sources.capacity",
        }
    }

    /// The index of a policy with this content, made in a place that no lease refers to.
    fn policy(&mut self, wanted: &Policy) -> Result<u32> {
        if let Some((index, _)) = self.used.iter().find(|(_, (policy, _))| policy == wanted) {
            return Ok(*index);
        }
        let capacity = self.policies.len();
        let Some(free) = (0..capacity).find(|index| !self.used.contains_key(index)) else {
            let remedy = "use the same nodes, ports and rates for several entries";
            return Err(Error::Full { what: "the table of different policies", capacity, remedy });
        };
        // a policy that was just given up may still be in the hands of a packet
        self.bump()?;
        self.policies.set(free, Plain(*wanted), 0).map_err(named("POLICIES"))?;
        Ok(free)
    }

    /// The slot that the source had, with what it has spent, else one that no lease has. Counters
    /// start anew.
    fn slot(&mut self, place: &Place) -> Result<u32> {
        if let Some(slot) = self.slots.back_again(place) {
            let budget = self.state.get(&slot, 0).map_err(named("SOURCE_STATE"))?.0.budget;
            self.reset(slot, SourceState { budget, ..SourceState::default() })?;
            return Ok(slot);
        }
        let mut control = self.control.get(&0, 0).map_err(named("CONTROL"))?.0;
        let slot = if control.next_slot < self.settings.sources {
            control.next_slot += 1;
            self.control.set(0, Plain(control), 0).map_err(named("CONTROL"))?;
            control.next_slot - 1
        } else {
            self.slots.longest_free().ok_or_else(|| self.no_room())?
        };
        self.reset(slot, SourceState::default())?;
        Ok(slot)
    }

    fn reset(&mut self, slot: u32, state: SourceState) -> Result<()> {
        self.state.set(slot, Plain(state), 0).map_err(named("SOURCE_STATE"))?;
        let passed = self.passed.get(&slot, 0).map_err(named("SOURCE_PASSED"))?;
        let zeros: Vec<_> = passed.iter().map(|_| Plain(Counter::default())).collect();
        PerCpuValues::try_from(zeros)
            .map_err(MapError::IoError)
            .and_then(|zeros| self.passed.set(slot, zeros, 0))
            .map_err(named("SOURCE_PASSED"))
    }

    fn bit(&self, place: &Place) -> Bit {
        let key = self.settings.key;
        let filter::Bits { word, mask } = match place {
            Place::Address(address) => filter::address(key, address),
            Place::Prefix(prefix) => {
                filter::prefix(key, &prefix.address, u8::try_from(prefix.length).unwrap_or(128))
            }
        };
        (word & self.settings.bits_mask, mask)
    }

    /// Tells the programs which prefix lengths there are, longest first.
    fn announce_lengths(&mut self) -> Result<()> {
        let lengths: BTreeSet<u8> = self
            .leases
            .keys()
            .filter_map(|place| match place {
                Place::Address(_) => None,
                Place::Prefix(key) => u8::try_from(key.length).ok(),
            })
            .collect();
        if lengths.len() > PREFIX_LENGTHS_MAX {
            return Err(Error::Full {
                what: "the list of different prefix lengths",
                capacity: PREFIX_LENGTHS_MAX as u32,
                remedy: "use fewer different lengths",
            });
        }
        let mut control = self.control.get(&0, 0).map_err(named("CONTROL"))?.0;
        control.prefix_lengths = [0; PREFIX_LENGTHS_MAX];
        for (place, length) in control.prefix_lengths.iter_mut().zip(lengths.iter().rev()) {
            *place = *length;
        }
        control.prefix_count = lengths.len() as u32;
        self.control.set(0, Plain(control), 0).map_err(named("CONTROL"))?;
        self.bits.tell_of_prefixes(!lengths.is_empty())
    }

    fn bump(&mut self) -> Result<()> {
        bump(&mut self.control)
    }
}

/// Has every association ask for its lease again.
///
/// # Errors
/// [`Error::Map`].
pub fn renew(maps: &Maps) -> Result<()> {
    bump(&mut maps.table("CONTROL")?)
}

fn bump(control: &mut Table<Control>) -> Result<()> {
    let mut record = control.get(&0, 0).map_err(named("CONTROL"))?.0;
    record.generation += 1;
    control.set(0, Plain(record), 0).map_err(named("CONTROL"))
}

fn is_full(error: &MapError) -> bool {
    const E2BIG: i32 = nix::libc::E2BIG;
    matches!(error, MapError::SyscallError(call)
        if call.io_error.raw_os_error() == Some(E2BIG))
}

/// The policy of a grant. Lists that are too long were refused where they were read.
fn policy_of(grant: &Grant) -> Policy {
    let mut policy = Policy { limits: grant.limits, ..Policy::ANY };
    for (place, node) in policy.nodes.iter_mut().zip(&grant.nodes) {
        *place = on_128_bits(node);
    }
    for (place, port) in policy.ports.iter_mut().zip(&grant.ports) {
        *place = *port;
    }
    policy.node_count = grant.nodes.len().min(NODES_MAX) as u32;
    policy.port_count = grant.ports.len().min(PORTS_MAX) as u32;
    policy
}
