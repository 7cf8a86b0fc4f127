//! A copy of the filter and of its state, to run packets through: nothing of it reaches the wire,
//! nothing that it counts or remembers reaches the original.
use super::{
    Error, Maps, Result,
    attach::Role,
    object::{self, Capacity},
};
use aya::{
    Ebpf,
    maps::{Map, MapData},
    programs::{TestRun as _, TestRunOptions, Xdp},
};
use gateway_common::{
    abi::{
        self, Association, Budget, Control, CookieKey, NodeState, PrefixKey, Settings, SourceState,
    },
    decide::{
        Reason,
        admission::{Lease, Policy},
        reason::Drops,
        replay::Page,
    },
    wire::Address,
};
use std::collections::BTreeMap;

/// A loaded copy.
pub struct Replica {
    object: Ebpf,
    maps: Maps,
    settings: Settings,
}

/// What became of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It passed every check.
    Checked,
    /// It is not the filter's business, and passed.
    Untouched,
    /// It was dropped.
    Dropped(Reason),
}

/// What a program did with a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ran {
    /// What became of it.
    pub verdict: Verdict,
    /// What it told the kernel: the number of an XDP action.
    pub action: u32,
    /// The frame as it left it.
    pub output: Vec<u8>,
}

impl Replica {
    /// A filter with these constants and empty maps.
    ///
    /// # Errors
    /// [`Error::Load`], [`Error::Program`].
    pub fn new(settings: &Settings, capacity: &Capacity) -> Result<Self> {
        let mut settings = *settings;
        capacity.apply(&mut settings);
        let mut object = object::load(object::OBJECT, &settings, capacity, None)?;
        for role in [Role::Wan, Role::Lln] {
            object::verify(&mut object, role.program())?;
        }
        let mut own = BTreeMap::new();
        for name in abi::MAPS {
            if let Some(map) = object.map(name) {
                own.insert(name.to_owned(), duplicate(name, map)?);
            }
        }
        let maps = Maps::Own(own);
        let mut table = maps.table::<Settings>("SETTINGS")?;
        table.set(0, super::Plain(settings), 0).map_err(super::maps::named("SETTINGS"))?;
        Ok(Self { object, maps, settings })
    }

    /// A copy of a running filter as it stands, seen from one of its interfaces.
    ///
    /// # Errors
    /// As [`Replica::new`], and [`Error::Map`].
    pub fn of(live: &Maps, place: u32, raw_ip: bool) -> Result<Self> {
        let mut settings = live.settings()?;
        settings.interface = place;
        settings.raw_ip = raw_ip.into();
        let copy = Self::new(&settings, &Capacity::of(&settings))?;
        copy.table::<Control>(live, "CONTROL")?;
        copy.table::<u64>(live, "BITS")?;
        copy.table::<Policy>(live, "POLICIES")?;
        copy.table::<SourceState>(live, "SOURCE_STATE")?;
        copy.table::<NodeState>(live, "NODES")?;
        copy.table::<Budget>(live, "LLN")?;
        copy.table::<u64>(live, "AGENT")?;
        copy.table::<Association>(live, "ASSOCIATIONS")?;
        copy.table::<Page>(live, "SEEN")?;
        copy.table::<CookieKey>(live, "COOKIE_KEYS")?;
        copy.table::<u64>(live, "COOKIES")?;
        copy.index::<Address, u32>(live, "COOKIE_NODES")?;
        copy.index::<Address, Lease>(live, "SOURCES")?;
        copy.index::<PrefixKey, Lease>(live, "PREFIXES")?;
        copy.index::<Address, u32>(live, "OWN")?;
        Ok(copy)
    }

    fn table<V: super::maps::Record>(&self, live: &Maps, name: &'static str) -> Result<()> {
        let from = live.table::<V>(name)?;
        let mut to = self.maps.table::<V>(name)?;
        for index in 0..from.len() {
            let value = from.get(&index, 0).map_err(super::maps::named(name))?;
            if value.0.as_bytes().iter().any(|byte| *byte != 0) {
                to.set(index, value, 0).map_err(super::maps::named(name))?;
            }
        }
        Ok(())
    }

    fn index<K, V>(&self, live: &Maps, name: &'static str) -> Result<()>
    where
        K: super::maps::Record,
        V: super::maps::Record,
    {
        let from = live.index::<K, V>(name)?;
        let mut to = self.maps.index::<K, V>(name)?;
        for entry in from.iter() {
            let (key, value) = entry.map_err(super::maps::named(name))?;
            to.insert(key, value, 0).map_err(super::maps::named(name))?;
        }
        Ok(())
    }

    /// The copy's maps.
    pub fn maps(&self) -> &Maps {
        &self.maps
    }

    /// The copy's constants.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Runs a frame through one side's program.
    ///
    /// # Errors
    /// [`Error::Program`]; [`Error::Map`].
    pub fn run(&mut self, role: Role, frame: &[u8]) -> Result<Verdict> {
        Ok(self.send(role, frame)?.verdict)
    }

    /// The same, with what the kernel would send or hand on.
    ///
    /// # Errors
    /// As [`Replica::run`].
    pub fn send(&mut self, role: Role, frame: &[u8]) -> Result<Ran> {
        let before = self.counts()?;
        let mut out = vec![0; frame.len() + 256];
        let mut options = TestRunOptions::new();
        options.data_in = Some(frame);
        options.data_out = Some(&mut out);
        let name = role.program();
        let program: &mut Xdp = object::verify(&mut self.object, name)?;
        let ran = program.test_run(options);
        let ran = ran.map_err(|source| Error::Program { name, source })?;
        out.truncate(ran.data_size_out as usize);
        let verdict = self.verdict(&before)?;
        Ok(Ran { verdict, action: ran.return_value, output: out })
    }

    fn verdict(&self, before: &(Drops, abi::Passed)) -> Result<Verdict> {
        let after = self.counts()?;
        for reason in Reason::ALL {
            if after.0.of(*reason) != before.0.of(*reason) {
                return Ok(Verdict::Dropped(*reason));
            }
        }
        if after.1.checked == before.1.checked {
            Ok(Verdict::Untouched)
        } else {
            Ok(Verdict::Checked)
        }
    }

    fn counts(&self) -> Result<(Drops, abi::Passed)> {
        let place = self.settings.interface;
        Ok((self.maps.drops(place)?, self.maps.passed(place)?))
    }
}

fn duplicate(name: &'static str, map: &Map) -> Result<MapData> {
    use std::os::fd::AsFd as _;
    let named = super::maps::named(name);
    let (Map::Array(data)
    | Map::HashMap(data)
    | Map::LruHashMap(data)
    | Map::PerCpuArray(data)
    | Map::RingBuf(data)) = map
    else {
        return Err(named(aya::maps::MapError::InvalidName { name: name.to_owned() }));
    };
    let fd = data.fd().as_fd().try_clone_to_owned();
    MapData::from_fd(fd.map_err(|error| named(aya::maps::MapError::IoError(error)))?).map_err(named)
}
