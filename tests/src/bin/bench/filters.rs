//! The filters that are compared, put on the router's interface and taken off again.
use std::{fmt::Write as _, io::Write as _, path::Path};

use anyhow::{Context, Result};
use aya::{
    maps::{Map, MapData, PerCpuHashMap, PerCpuValues},
    programs::{XdpMode, xdp::XdpLinkId},
    util::nr_cpus,
};

use super::{
    fill,
    instance::{AMPLE, Instance, TIGHT},
    plan::{self, ROUTER, source},
    wires::Wires,
};

/// A filter and what it is set to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Filter {
    /// No filter.
    None,
    /// A program that drops everything.
    Drop,
    /// A program that parses and then drops everything: what reading a frame that another CPU has
    /// written costs any filter.
    Parse,
    /// A program that passes everything.
    Pass,
    /// Ours, with limits that are never reached.
    Ours,
    /// Ours, with limits that are reached at once.
    OursTight,
    /// nftables in netdev's ingress: allow-list, then a limit for each source.
    Nft,
    /// The same with limits that are reached at once.
    NftTight,
    /// xdp-filter with the same allow-list.
    Ready,
}

const XDP_FILTER_MAP: &str = "/sys/fs/bpf/xdp-filter/filter_ipv6";
/// xdp-filter's bit for an address as a source.
const AS_SOURCE: u64 = 1;

/// All filters, for one wire.
pub(crate) struct Filters {
    ours: Instance,
    ruleset: [String; 2],
    link: Option<(&'static str, XdpLinkId)>,
}

impl Filters {
    /// With so many sources in each list.
    pub(crate) fn new(wires: &Wires, listed: u32) -> Result<Self> {
        let mut ours = Instance::new(listed, plan::Plan::of(listed))?;
        for name in ["drop", "parse", "pass", "wan"] {
            ours.prepare(name)?;
        }
        fill::leases(&ours)?;
        fill::own(&ours, ROUTER)?;
        let rules = |limit| ruleset(&wires.name, listed, limit);
        let ruleset =
            [rules("1000000/second burst 1000000 packets"), rules("1/minute burst 1 packets")];
        Ok(Self { ours, ruleset, link: None })
    }

    /// Entries that the flood's sources could have added, and bytes of all maps.
    pub(crate) fn growth(&self) -> Result<(usize, u64)> {
        Ok((self.ours.maps.associations_in_use()?, self.ours.memory()?))
    }

    /// Packets that were none of our filter's business, so far.
    pub(crate) fn untouched(&self) -> Result<u64> {
        Ok(self.ours.counts()?.untouched)
    }

    /// Puts a filter on.
    pub(crate) fn on(&mut self, filter: Filter, wires: &Wires) -> Result<()> {
        match filter {
            Filter::None => Ok(()),
            Filter::Drop => self.attach("drop", wires),
            Filter::Parse => self.attach("parse", wires),
            Filter::Pass => self.attach("pass", wires),
            Filter::Ours | Filter::OursTight => {
                let tight = filter == Filter::OursTight;
                fill::policies(&self.ours, if tight { TIGHT } else { AMPLE })?;
                fill::associations(&self.ours, self.ours.listed)?;
                self.attach("wan", wires)
            }
            Filter::Nft => nft(wires, &self.ruleset[0]),
            Filter::NftTight => nft(wires, &self.ruleset[1]),
            Filter::Ready => xdp_filter(wires, self.ours.listed),
        }
    }

    /// Takes it off.
    pub(crate) fn off(&mut self, filter: Filter, wires: &Wires) -> Result<()> {
        match filter {
            Filter::None => Ok(()),
            Filter::Nft | Filter::NftTight => nft(wires, "flush ruleset\n"),
            Filter::Ready => {
                let unload = ["xdp-filter", "unload", &wires.name];
                wires.router.run(&unload).map(drop)
            }
            Filter::Drop | Filter::Parse | Filter::Pass | Filter::Ours | Filter::OursTight => {
                if let Some((program, link)) = self.link.take() {
                    self.ours.prepare(program)?.detach(link)?;
                }
                Ok(())
            }
        }
    }

    fn attach(&mut self, name: &'static str, wires: &Wires) -> Result<()> {
        let index = wires.router.device(&wires.name).index()?;
        let program = self.ours.prepare(name)?;
        let link = wires.router.enter(|| program.attach_to_if_index(index, XdpMode::Driver))?;
        self.link = Some((name, link));
        Ok(())
    }
}

/// The same policy in nftables' words.
fn ruleset(device: &str, listed: u32, limit: &str) -> String {
    let mut elements = String::new();
    for number in 0..listed {
        let _ = write!(elements, "{}, ", source(number.into()));
    }
    format!(
        "table netdev bench {{
            set listed {{ type ipv6_addr; size {listed}; elements = {{ {elements} }}; }}
            set limited {{ type ipv6_addr; size 65535; flags dynamic,timeout; timeout 60s; }}
            chain ingress {{
                type filter hook ingress device {device} priority 0; policy accept;
                ip6 saddr != @listed drop
                update @limited {{ ip6 saddr limit rate over {limit} }} drop
            }}
        }}\n"
    )
}

fn nft(wires: &Wires, rules: &str) -> Result<()> {
    let mut file = tempfile::NamedTempFile::new()?;
    file.write_all(rules.as_bytes())?;
    let path = file.path().to_str().context("a path")?;
    wires.router.run(&["nft", "-f", path]).map(drop)
}

fn xdp_filter(wires: &Wires, listed: u32) -> Result<()> {
    let words = "xdp-filter load -m native -p deny -f ipv6";
    let mut words: Vec<&str> = words.split(' ').collect();
    words.push(&wires.name);
    wires.router.run(&words)?;
    let map = MapData::from_pin(Path::new(XDP_FILTER_MAP))?;
    let mut map: PerCpuHashMap<MapData, [u8; 16], u64> =
        PerCpuHashMap::try_from(Map::PerCpuHashMap(map))?;
    let cpus = nr_cpus().map_err(|(_, error)| error)?;
    for number in 0..listed {
        let flags = PerCpuValues::try_from(vec![AS_SOURCE; cpus])?;
        map.insert(source(number.into()).octets(), flags, 0)?;
    }
    Ok(())
}
