//! A typed handle for each pinned map.
use super::{Error, Pins, Plain, Result};
use aya::maps::{Array, HashMap, Map, MapData, MapError, PerCpuArray, RingBuf};
use gateway_common::{
    abi::{
        self, Association, Control, Interface, NodeState, Passed, PrefixKey, Settings, SourceState,
    },
    decide::{
        admission::{Lease, Policy},
        reason::{Counter, Drops},
    },
    wire::Address,
};
use std::os::fd::AsFd as _;
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// Where handles come from: pins, or a replica's own maps.
#[derive(Debug)]
pub enum Maps {
    /// Pinned maps.
    Pinned(Pins),
    /// The maps of an object that is loaded in this process, by name.
    Own(std::collections::BTreeMap<String, MapData>),
}

/// A record that maps hold.
pub trait Record: FromBytes + IntoBytes + Immutable + Copy + 'static {}
impl<T: FromBytes + IntoBytes + Immutable + Copy + 'static> Record for T {}

/// An array map.
pub type Table<V> = Array<MapData, Plain<V>>;
/// A hash map.
pub type Index<K, V> = HashMap<MapData, Plain<K>, Plain<V>>;
/// An array map with a value for each CPU.
pub type PerCpu<V> = PerCpuArray<MapData, Plain<V>>;

/// An error with the map's name.
pub fn named(name: &'static str) -> impl Fn(MapError) -> Error {
    move |source| Error::Map { name, source }
}

/// Settings of another size are those of another version.
fn layout(error: Error, pins: &Pins) -> Error {
    let other = matches!(error, Error::Map { source: MapError::InvalidValueSize { .. }, .. });
    if other { Error::Layout(pins.directory().to_owned()) } else { error }
}

impl Maps {
    /// The pinned maps.
    ///
    /// # Errors
    /// [`Error::NotRunning`] without pins, [`Error::Version`] and [`Error::Layout`] with pins of
    /// another version.
    pub fn open(pins: &Pins) -> Result<Self> {
        if !pins.exist() {
            return Err(Error::NotRunning(pins.directory().to_owned()));
        }
        let maps = Self::Pinned(pins.clone());
        let found = maps.settings().map_err(|error| layout(error, pins))?.abi;
        if found == abi::VERSION { Ok(maps) } else { Err(Error::Version { found }) }
    }

    /// A map's descriptor.
    ///
    /// # Errors
    /// [`Error::Map`].
    pub fn data(&self, name: &'static str) -> Result<MapData> {
        match self {
            Self::Pinned(pins) => MapData::from_pin(pins.map(name)).map_err(named(name)),
            Self::Own(maps) => {
                let map =
                    maps.get(name).ok_or_else(|| MapError::InvalidName { name: name.to_owned() });
                let fd = map.and_then(|map| {
                    map.fd().as_fd().try_clone_to_owned().map_err(MapError::IoError)
                });
                let fd = fd.map_err(named(name))?;
                MapData::from_fd(fd).map_err(named(name))
            }
        }
    }

    fn map(&self, name: &'static str) -> Result<Map> {
        Map::from_map_data(self.data(name)?).map_err(named(name))
    }

    /// An array map by name.
    ///
    /// # Errors
    /// [`Error::Map`].
    pub fn table<V: Record>(&self, name: &'static str) -> Result<Table<V>> {
        Array::try_from(self.map(name)?).map_err(named(name))
    }

    /// A hash map by name.
    ///
    /// # Errors
    /// [`Error::Map`].
    pub fn index<K: Record, V: Record>(&self, name: &'static str) -> Result<Index<K, V>> {
        HashMap::try_from(self.map(name)?).map_err(named(name))
    }

    /// A per-CPU array map by name.
    ///
    /// # Errors
    /// [`Error::Map`].
    pub fn per_cpu<V: Record>(&self, name: &'static str) -> Result<PerCpu<V>> {
        PerCpuArray::try_from(self.map(name)?).map_err(named(name))
    }

    /// What the programs were loaded with.
    ///
    /// # Errors
    /// [`Error::Map`].
    pub fn settings(&self) -> Result<Settings> {
        Ok(self.table::<Settings>("SETTINGS")?.get(&0, 0).map_err(named("SETTINGS"))?.0)
    }

    /// The generation and prefix lengths.
    ///
    /// # Errors
    /// [`Error::Map`].
    pub fn control(&self) -> Result<Control> {
        Ok(self.table::<Control>("CONTROL")?.get(&0, 0).map_err(named("CONTROL"))?.0)
    }

    /// The interfaces under the filter, with their places.
    ///
    /// # Errors
    /// [`Error::Map`].
    pub fn interfaces(&self) -> Result<Vec<(u32, Interface)>> {
        let table = self.table::<Interface>("INTERFACES")?;
        let mut found = Vec::new();
        for place in 0..table.len() {
            let interface = table.get(&place, 0).map_err(named("INTERFACES"))?.0;
            if interface.ifindex != 0 {
                found.push((place, interface));
            }
        }
        Ok(found)
    }

    /// Drops on an interface, summed over CPUs.
    ///
    /// # Errors
    /// [`Error::Map`].
    pub fn drops(&self, place: u32) -> Result<Drops> {
        let values = self.per_cpu::<Drops>("DROPS")?.get(&place, 0).map_err(named("DROPS"))?;
        Ok(sum(values.iter().map(|value| value.0)))
    }

    /// What passed on an interface, summed over CPUs.
    ///
    /// # Errors
    /// [`Error::Map`].
    pub fn passed(&self, place: u32) -> Result<Passed> {
        let values = self.per_cpu::<Passed>("PASSED")?.get(&place, 0).map_err(named("PASSED"))?;
        Ok(sum(values.iter().map(|value| value.0)))
    }

    /// The allow-list's addresses.
    ///
    /// # Errors
    /// [`Error::Map`].
    pub fn sources(&self) -> Result<Index<Address, Lease>> {
        self.index("SOURCES")
    }

    /// The allow-list's prefixes.
    ///
    /// # Errors
    /// [`Error::Map`].
    pub fn prefixes(&self) -> Result<Index<PrefixKey, Lease>> {
        self.index("PREFIXES")
    }

    /// Policies.
    ///
    /// # Errors
    /// [`Error::Map`].
    pub fn policies(&self) -> Result<Table<Policy>> {
        self.table("POLICIES")
    }

    /// What passed of each source, on each CPU.
    ///
    /// # Errors
    /// [`Error::Map`].
    pub fn source_passed(&self) -> Result<PerCpu<Counter>> {
        self.per_cpu("SOURCE_PASSED")
    }

    /// What passed to a node's slot, summed over CPUs.
    ///
    /// # Errors
    /// [`Error::Map`].
    pub fn node_passed(&self, slot: u32) -> Result<Counter> {
        total(&self.per_cpu("NODE_PASSED")?, slot).map_err(named("NODE_PASSED"))
    }

    /// Sources' other counters and budgets.
    ///
    /// # Errors
    /// [`Error::Map`].
    pub fn source_state(&self) -> Result<Table<SourceState>> {
        self.table("SOURCE_STATE")
    }

    /// Nodes and their budgets.
    ///
    /// # Errors
    /// [`Error::Map`].
    pub fn nodes(&self) -> Result<Table<NodeState>> {
        self.table("NODES")
    }

    /// Flows between back-ends and nodes.
    ///
    /// # Errors
    /// [`Error::Map`].
    pub fn associations(&self) -> Result<Table<Association>> {
        self.table("ASSOCIATIONS")
    }

    /// How many flows there are.
    ///
    /// # Errors
    /// [`Error::Map`].
    pub fn associations_in_use(&self) -> Result<usize> {
        let table = self.associations()?;
        let mut used = 0;
        for place in 0..table.len() {
            let tag = table.get(&place, 0).map_err(named("ASSOCIATIONS"))?.0.tag;
            used += usize::from(tag > Association::TAKEN);
        }
        Ok(used)
    }

    /// The ring of sampled drops.
    ///
    /// # Errors
    /// [`Error::Map`].
    pub fn events(&self) -> Result<RingBuf<MapData>> {
        RingBuf::try_from(self.map("EVENTS")?).map_err(named("EVENTS"))
    }
}

/// A counter, summed over CPUs.
///
/// # Errors
/// That of the look-up.
pub fn total(counters: &PerCpu<Counter>, slot: u32) -> core::result::Result<Counter, MapError> {
    Ok(sum(counters.get(&slot, 0)?.iter().map(|counter| counter.0)))
}

/// The sum of records that are nothing but counters.
fn sum<T: Record>(values: impl Iterator<Item = T>) -> T {
    let mut total = T::new_zeroed();
    for value in values {
        let (counters, _) = value.as_bytes().as_chunks::<{ size_of::<Counter>() }>();
        let mut bytes = total.as_bytes().to_vec();
        let (totals, _) = bytes.as_chunks_mut::<{ size_of::<Counter>() }>();
        for (total, value) in totals.iter_mut().zip(counters) {
            let (a, b) = (zerocopy::transmute!(*total), zerocopy::transmute!(*value));
            let (a, b): (Counter, Counter) = (a, b);
            let both = Counter { packets: a.packets + b.packets, bytes: a.bytes + b.bytes };
            *total = zerocopy::transmute!(both);
        }
        if let Ok(sum) = T::read_from_bytes(&bytes) {
            total = sum;
        }
    }
    total
}
