//! The bench object in the kernel, with maps of a given size and whatever they are filled with.
use std::{collections::BTreeMap, fs, path::Path, sync::OnceLock};

use anyhow::{Context, Result, anyhow, bail};
use aya::{
    Ebpf, EbpfLoader,
    maps::{Map, MapData},
    programs::{ProgramError, TestRun as _, TestRunOptions, Xdp},
};
use gateway_common::{
    abi::{self, Settings, settings::replay_mode},
    decide::{
        Reason,
        rate::{Limits, Rate},
    },
    hash::HashKey,
    wire::Prefix,
};
use gateway_user::dataplane::{Maps, Plain, object::Capacity};

use super::plan::{self, Plan};

/// Where the build puts the bench object.
pub(crate) const OBJECT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/bpf/bench");
static BYTES: OnceLock<Vec<u8>> = OnceLock::new();

/// Reads the object that all instances are made of.
pub(crate) fn read(path: &Path) -> Result<()> {
    let bytes = fs::read(path).with_context(|| {
        let path = path.display();
        format!("no bench object at {path}: `cargo xtask build-ebpf` makes it")
    })?;
    BYTES.get_or_init(|| bytes);
    Ok(())
}

/// Places for sources that are listed beyond those that are varied over.
const ROOM: u32 = 16;
const KEY: HashKey = HashKey::new(0x5eed_cafe_f00d_beef);

/// A loaded object.
pub(crate) struct Instance {
    object: Ebpf,
    /// Its maps.
    pub(crate) maps: Maps,
    /// Sources to vary over.
    pub(crate) listed: u32,
}

/// What became of packets, summed over CPUs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Counts {
    pub(crate) checked: u64,
    pub(crate) untouched: u64,
    drops: [u64; Reason::COUNT],
}

impl Counts {
    /// Drops for a reason.
    pub(crate) fn of(&self, reason: Reason) -> u64 {
        self.drops.get(reason as usize).copied().unwrap_or(0)
    }

    /// What has happened since, in words.
    pub(crate) fn since(&self, before: &Self) -> String {
        let mut words = format!(
            "{} passed, {} untouched",
            self.checked - before.checked,
            self.untouched - before.untouched
        );
        for reason in Reason::ALL {
            let number = self.of(*reason) - before.of(*reason);
            if number > 0 {
                words += &format!(", {number} {}", reason.name());
            }
        }
        words
    }
}

/// A rate that is computed and never reached.
pub(crate) const AMPLE: Rate = Rate::per_second(1_000_000_000, (1 << 30) - 1);
/// A rate that is reached by the first packets.
pub(crate) const TIGHT: Rate = Rate::new(1_000_000_000_000, 1_000_000_000_000);

/// Both limits at once.
pub(crate) const fn limits(packets: Rate) -> Limits {
    Limits { packets, bytes: AMPLE }
}

/// What the filter's own hashes are keyed with.
pub(crate) const fn key() -> HashKey {
    KEY
}

fn settings(capacity: &Capacity) -> Settings {
    let mut settings = Settings {
        key: KEY,
        replay: replay_mode::PAIR,
        node: limits(AMPLE),
        lln: limits(AMPLE),
        agent: TIGHT,
        unproven: TIGHT,
        ..Settings::EMPTY
    };
    settings.lln_prefixes[0] = Prefix::new(plan::address(plan::NODE), 64);
    settings.dtls_ports[0] = plan::DTLS_PORT;
    settings.mapped_ports[0] = plan::DTLS_PORT;
    settings.agent_ports[0] = plan::AGENT_PORT;
    capacity.apply(&mut settings);
    settings
}

impl Instance {
    /// The object with room for so many sources; nothing is in its maps yet.
    pub(crate) fn new(listed: u32, plan: Plan) -> Result<Self> {
        let capacity = Capacity { sources: listed + ROOM, ..Capacity::default() };
        Self::sized(listed, plan, &capacity)
    }

    /// The object with maps for the programs that only rewrite, which need none.
    pub(crate) fn small(plan: Plan) -> Result<Self> {
        let capacity = Capacity { sources: ROOM, associations: 64, pages: 1 };
        Self::sized(plan.listed as u32, plan, &capacity)
    }

    fn sized(listed: u32, plan: Plan, capacity: &Capacity) -> Result<Self> {
        let bytes = BYTES.get().context("the object was not read")?;
        let (settings, plan) = (Plain(settings(capacity)), Plain(plan));
        let mut loader = EbpfLoader::new();
        loader.override_global("CONFIG", &settings, true);
        loader.override_global("PLAN", &plan, true);
        for (name, size) in capacity.sizes() {
            loader.map_max_entries(name, size);
        }
        let mut object = loader.load(bytes)?;
        let mut own = BTreeMap::new();
        for name in abi::MAPS.into_iter().chain(["COUNT"]) {
            let map = object.take_map(name).with_context(|| format!("no map {name}"))?;
            own.insert(name.to_owned(), data(map)?);
        }
        Ok(Self { object, maps: Maps::Own(own), listed })
    }

    /// Has the kernel verify a program, once.
    pub(crate) fn prepare(&mut self, name: &str) -> Result<&mut Xdp> {
        let program = self.object.program_mut(name);
        let program = program.with_context(|| format!("no program {name}"))?;
        let program: &mut Xdp = program.try_into()?;
        if program.fd().is_err() {
            program.load().map_err(|error| refused(name, &error))?;
        }
        Ok(program)
    }

    /// A program that was prepared.
    pub(crate) fn program(&self, name: &str) -> Result<&Xdp> {
        let program = self.object.program(name);
        Ok(program.with_context(|| format!("no program {name}"))?.try_into()?)
    }

    /// What became of all packets so far.
    pub(crate) fn counts(&self) -> Result<Counts> {
        let (drops, passed) = (self.maps.drops(0)?, self.maps.passed(0)?);
        let mut counts = Counts {
            checked: passed.checked.packets,
            untouched: passed.untouched.packets,
            drops: [0; Reason::COUNT],
        };
        for (count, reason) in counts.drops.iter_mut().zip(Reason::ALL) {
            *count = drops.of(*reason).packets;
        }
        Ok(counts)
    }

    /// Bytes of all maps, in the kernel's own words.
    pub(crate) fn memory(&self) -> Result<u64> {
        let Maps::Own(maps) = &self.maps else { bail!("maps of its own") };
        maps.values().map(memlock).sum()
    }
}

/// The verifier's last words; all of them are megabytes.
fn refused(name: &str, error: &ProgramError) -> anyhow::Error {
    let text = error.to_string();
    let lines: Vec<&str> = text.trim().lines().collect();
    let last = lines.get(lines.len().saturating_sub(10)..).unwrap_or_default();
    anyhow!("the kernel refused program {name}:\n{}", last.join("\n"))
}

fn data(map: Map) -> Result<MapData> {
    match map {
        Map::Array(data)
        | Map::HashMap(data)
        | Map::LruHashMap(data)
        | Map::PerCpuArray(data)
        | Map::RingBuf(data) => Ok(data),
        other => bail!("{other:?}"),
    }
}

fn memlock(map: &MapData) -> Result<u64> {
    use std::os::fd::{AsFd as _, AsRawFd as _};
    let text = fs::read_to_string(format!("/proc/self/fdinfo/{}", map.fd().as_fd().as_raw_fd()))?;
    let word = text.lines().find_map(|line| line.strip_prefix("memlock:"));
    Ok(word.context("no memlock")?.trim().parse()?)
}

/// Runs a frame through a program `repeat` times; what the last run returned.
pub(crate) fn run(program: &Xdp, frame: &[u8], repeat: u32) -> Result<u32> {
    let mut options = TestRunOptions::new();
    options.data_in = Some(frame);
    options.repeat = repeat;
    Ok(program.test_run(options)?.return_value)
}
