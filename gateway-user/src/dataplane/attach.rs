//! Brings the filter up on interfaces, over whatever is pinned already, without a gap.
use super::{
    Error, Maps, Pins, Plain, Result,
    links::{self, Link},
    maps::named,
    object::{self, Capacity},
    pins, table,
};
use aya::{
    Ebpf,
    programs::{
        ProgramError, Xdp, XdpMode,
        links::{FdLink, PinnedLink},
        xdp::{XdpLink, XdpLinkId},
    },
};
use gateway_common::{
    abi::{self, INTERFACES_MAX, Interface, Settings},
    hash::HashKey,
};
use std::{fs, io, path::Path};

pub use super::hook::{Mode, Role};

/// What to bring up.
pub struct Plan {
    /// Constants of the programs; secret, interface and link kind are filled in here.
    pub settings: Settings,
    /// Sizes of the maps.
    pub capacity: Capacity,
    /// Interfaces and their sides.
    pub interfaces: Vec<(String, Role)>,
    /// How to attach.
    pub mode: Mode,
}

/// How an interface came under the filter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attached {
    /// The interface.
    pub name: String,
    /// Its side.
    pub role: Role,
    /// How the program hooks in; `None` on a link that was there and keeps its mode.
    pub mode: Option<Mode>,
    /// Whether the program replaced one of ours on a link that was there.
    pub replaced: bool,
    /// Why native mode was not to be had, when generic mode was taken instead.
    pub fallback: Option<String>,
}

/// The running filter, as far as this process holds it: program objects for the log.
pub struct Running {
    /// What was attached, in the plan's order.
    pub attached: Vec<Attached>,
    /// Interfaces that were under the filter and no longer are.
    pub released: Vec<String>,
    /// Whether maps of another layout or size were replaced.
    pub renewed: bool,
    /// The loaded objects.
    pub objects: Vec<Ebpf>,
}

/// Brings the filter up. `install` fills the allow-list before the first packet is judged.
///
/// # Errors
/// The first thing that does not work, by name; what was attached before stays attached. Where
/// nothing was and nothing is attached, nothing stays behind.
pub fn start(
    pins: &Pins,
    plan: &Plan,
    install: impl FnOnce(&Maps) -> Result<()>,
) -> Result<Running> {
    let fresh = !pins.exist();
    let result = bring_up(pins, plan, install);
    if result.is_err() && fresh && pins.hold_no_link() {
        // maps alone would look like a filter that runs
        pins.remove()?;
    }
    result
}

fn bring_up(
    pins: &Pins,
    plan: &Plan,
    install: impl FnOnce(&Maps) -> Result<()>,
) -> Result<Running> {
    pins.create()?;
    let links: Vec<(Link, Role)> = plan
        .interfaces
        .iter()
        .map(|(name, role)| Ok((links::find(name)?, *role)))
        .collect::<Result<_>>()?;
    // even from maps that are replaced: links keep their modes
    let before = Maps::Pinned(pins.clone()).interfaces().unwrap_or_default();
    let Home { pins: home, key, renewed } = Home::choose(pins, &plan.capacity)?;
    home.create()?;
    let mut settings = Settings { abi: abi::VERSION, key, ..plan.settings };
    plan.capacity.apply(&mut settings);
    let maps = prepare(&home, &settings, &plan.capacity)?;
    install(&maps)?;
    let mut running =
        Running { attached: Vec::new(), released: Vec::new(), renewed, objects: Vec::new() };
    let places = places(&maps, &links)?;
    for ((link, role), place) in links.iter().zip(&places) {
        let constants = Settings { interface: *place, raw_ip: u32::from(link.raw_ip), ..settings };
        let mut object = object::load(object::OBJECT, &constants, &plan.capacity, Some(&home))?;
        let program = object::verify(&mut object, role.program())?;
        follow(pins, &before, link)?;
        let attached = attach(pins, program, link, *role, plan.mode)?;
        describe(&maps, *place, link, &attached, mode_of(&before, link.ifindex))?;
        running.attached.push(attached);
        running.objects.push(object);
    }
    // what flows remember of their leases was found by the programs before these
    table::renew(&maps)?;
    running.released = release(pins, &maps, &places)?;
    if renewed {
        adopt(pins, &home)?;
    }
    Ok(running)
}

/// The mode that an interface was attached in, as its number.
fn mode_of(interfaces: &[(u32, Interface)], ifindex: u32) -> u32 {
    let mut all = interfaces.iter().map(|(_, interface)| interface);
    all.find(|interface| interface.ifindex == ifindex).map_or(0, |interface| interface.mode)
}

/// Where the maps are made or found, and with which secret.
struct Home {
    pins: Pins,
    key: HashKey,
    /// They replace those that do not fit.
    renewed: bool,
}

impl Home {
    fn choose(pins: &Pins, capacity: &Capacity) -> Result<Self> {
        if let Some((settings, present)) = present(pins)
            && present == *capacity
        {
            return Ok(Self { pins: pins.clone(), key: settings.key, renewed: false });
        }
        if !pins.exist() {
            return Ok(Self { pins: pins.clone(), key: random()?, renewed: false });
        }
        pins.next().remove()?;
        Ok(Self { pins: pins.next(), key: random()?, renewed: true })
    }
}

/// The settings and sizes of pinned maps that this version understands.
fn present(pins: &Pins) -> Option<(Settings, Capacity)> {
    let maps = Maps::open(pins).ok()?;
    let settings = maps.settings().ok()?;
    Some((settings, Capacity::of(&settings)))
}

fn random() -> Result<HashKey> {
    getrandom::u64().map(HashKey::new).map_err(Error::Random)
}

/// Makes (or finds) the pinned maps and writes the settings for everyone to read.
fn prepare(home: &Pins, settings: &Settings, capacity: &Capacity) -> Result<Maps> {
    object::load(object::OBJECT, settings, capacity, Some(home))?;
    let maps = Maps::Pinned(home.clone());
    let mut table = maps.table::<Settings>("SETTINGS")?;
    table.set(0, Plain(*settings), 0).map_err(named("SETTINGS"))?;
    Ok(maps)
}

/// A place among the counters for each interface: the one that it had, else a free one.
fn places(maps: &Maps, links: &[(Link, Role)]) -> Result<Vec<u32>> {
    let present = maps.interfaces()?;
    let mut taken: Vec<u32> = present.iter().map(|(place, _)| *place).collect();
    links
        .iter()
        .map(|(link, role)| {
            let same = present.iter().find(|(_, interface)| {
                interface.role == role.number() && name_of(interface) == link.name
            });
            let place = same.map(|(place, _)| *place);
            let free = place.or_else(|| (0..INTERFACES_MAX).find(|free| !taken.contains(free)));
            let place = free.ok_or(Error::Full {
                what: "the list of interfaces",
                capacity: INTERFACES_MAX,
                remedy: "filter fewer interfaces",
            })?;
            taken.push(place);
            Ok(place)
        })
        .collect()
}

/// The name of an interface.
pub fn name_of(interface: &Interface) -> String {
    let end = interface.name.iter().position(|byte| *byte == 0).unwrap_or(interface.name.len());
    String::from_utf8_lossy(interface.name.get(..end).unwrap_or_default()).into_owned()
}

/// Whether an interface is still the one that the filter was attached to, whatever its name is
/// now: one that went away and came back is another.
pub fn is_present(interface: &Interface) -> bool {
    let all = nix::net::if_::if_nameindex();
    all.is_ok_and(|all| all.iter().any(|link| link.index() == interface.ifindex))
}

/// Writes down what an interface is; `kept` is the mode of a link that was there.
fn describe(maps: &Maps, place: u32, link: &Link, attached: &Attached, kept: u32) -> Result<()> {
    let mut name = [0; 16];
    for (to, from) in name.iter_mut().zip(link.name.bytes().take(15)) {
        *to = from;
    }
    let interface = Interface {
        ifindex: link.ifindex,
        role: attached.role.number(),
        raw_ip: u32::from(link.raw_ip),
        mode: attached.mode.map_or(kept, Mode::number),
        name,
    };
    let mut table = maps.table::<Interface>("INTERFACES")?;
    table.set(place, Plain(interface), 0).map_err(named("INTERFACES"))
}

/// Gives the pins of an interface that was renamed its new name: the link is still there.
fn follow(pins: &Pins, before: &[(u32, Interface)], link: &Link) -> Result<()> {
    let mut all = before.iter().map(|(_, interface)| interface);
    let Some(old) = all.find(|old| old.ifindex == link.ifindex).map(name_of) else {
        return Ok(());
    };
    if pins.link(&link.name).exists() {
        return Ok(());
    }
    for (from, to) in
        [(pins.link(&old), pins.link(&link.name)), (pins.program(&old), pins.program(&link.name))]
    {
        if from.exists() {
            fs::rename(&from, &to).map_err(|source| pin_error(&to, source))?;
        }
    }
    Ok(())
}

/// Puts the program on the interface's pinned link, or on a new one.
fn attach(pins: &Pins, program: &mut Xdp, link: &Link, role: Role, mode: Mode) -> Result<Attached> {
    let path = pins.link(&link.name);
    let mut attached =
        Attached { name: link.name.clone(), role, mode: None, replaced: false, fallback: None };
    if path.exists() && replace(program, &path, &link.name)? {
        attached.replaced = true;
    } else {
        let (id, mode, fallback) = attach_new(program, link, mode)?;
        (attached.mode, attached.fallback) = (Some(mode), fallback);
        let error = |source| Error::Attach { interface: link.name.clone(), mode: "any", source };
        let held = program.take_link(id).map_err(error)?;
        let held =
            FdLink::try_from(held).map_err(|source| pin_error(&path, io::Error::other(source)))?;
        held.pin(&path).map_err(|source| pin_error(&path, io::Error::other(source)))?;
    }
    let path = pins.program(&link.name);
    remove_file(&path)?;
    program.pin(&path).map_err(|source| pin_error(&path, io::Error::other(source)))?;
    Ok(attached)
}

/// Replaces the program of a pinned link; `false` if the link's interface is gone, and the pin
/// with it. A link that takes no program for another reason keeps the one it has.
fn replace(program: &mut Xdp, path: &Path, interface: &str) -> Result<bool> {
    let pinned =
        PinnedLink::from_pin(path).map_err(|source| pin_error(path, io::Error::other(source)))?;
    let link = XdpLink::try_from(FdLink::from(pinned))
        .map_err(|source| pin_error(path, io::Error::other(source)))?;
    match program.attach_to_link(link) {
        Ok(id) => {
            // the pin holds the link from here on: `gateway detach` must find no other holder
            drop(program.take_link(id));
            Ok(true)
        }
        Err(error) if code(&error) == Some(nix::libc::ENOLINK) => {
            remove_file(path)?;
            Ok(false)
        }
        Err(source) => {
            Err(Error::Attach { interface: interface.to_owned(), mode: "its present", source })
        }
    }
}

fn attach_new(
    program: &mut Xdp,
    link: &Link,
    mode: Mode,
) -> Result<(XdpLinkId, Mode, Option<String>)> {
    let mut attempt = |how| program.attach_to_if_index(link.ifindex, how);
    let refused = |mode, source: ProgramError| {
        if is_busy(&source) {
            Error::Busy { interface: link.name.clone() }
        } else {
            Error::Attach { interface: link.name.clone(), mode, source }
        }
    };
    match mode {
        Mode::Native => {
            attempt(XdpMode::Driver).map(|id| (id, mode, None)).map_err(|e| refused("native", e))
        }
        Mode::Generic => {
            attempt(XdpMode::Skb).map(|id| (id, mode, None)).map_err(|e| refused("generic", e))
        }
        Mode::Auto => match attempt(XdpMode::Driver) {
            Ok(id) => Ok((id, Mode::Native, None)),
            Err(error) if is_busy(&error) => Err(refused("native", error)),
            Err(error) => {
                let why = chain(&error);
                let id = attempt(XdpMode::Skb).map_err(|error| refused("generic", error))?;
                Ok((id, Mode::Generic, Some(why)))
            }
        },
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text = format!("{text}: {cause}");
        next = cause.source();
    }
    text
}

fn is_busy(error: &ProgramError) -> bool {
    matches!(code(error), Some(nix::libc::EBUSY | nix::libc::EEXIST))
}

/// The system's number of an error, from wherever it is.
fn code(error: &ProgramError) -> Option<i32> {
    let mut next: Option<&dyn std::error::Error> = Some(error);
    while let Some(cause) = next {
        if let Some(io) = cause.downcast_ref::<io::Error>() {
            return io.raw_os_error();
        }
        next = cause.source();
    }
    None
}

/// Takes the filter off interfaces that the plan no longer names.
fn release(pins: &Pins, maps: &Maps, kept: &[u32]) -> Result<Vec<String>> {
    let mut released = Vec::new();
    let mut table = maps.table::<Interface>("INTERFACES")?;
    let mut names = Vec::new();
    for (place, interface) in maps.interfaces()? {
        if kept.contains(&place) {
            names.push(name_of(&interface));
        } else {
            table.set(place, Plain(Interface::default()), 0).map_err(named("INTERFACES"))?;
        }
    }
    let links = fs::read_dir(pins.links()).map_err(|source| pin_error(&pins.links(), source))?;
    for entry in links.flatten() {
        let name = pins::interface_name(&entry.file_name().to_string_lossy());
        if !names.contains(&name) {
            remove_file(&entry.path())?;
            remove_file(&pins.program(&name))?;
            released.push(name);
        }
    }
    Ok(released)
}

/// Puts the new maps' pins in the place of the old ones.
fn adopt(pins: &Pins, next: &Pins) -> Result<()> {
    for name in abi::MAPS {
        let (from, to) = (next.map(name), pins.map(name));
        fs::rename(&from, &to).map_err(|source| pin_error(&to, source))?;
    }
    next.remove()?;
    Ok(())
}

fn pin_error(path: &Path, source: io::Error) -> Error {
    Error::Pin { path: path.to_owned(), source }
}

fn remove_file(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(pin_error(path, error)),
    }
}
