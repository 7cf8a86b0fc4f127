//! What an agent looks after while it runs: files, addresses, keys, interfaces.
use super::{Error, own};
use crate::{
    config::Config,
    dataplane::{
        self, Maps, Pins,
        attach::{self, Running},
        clock,
        cookies::Keyring,
        links,
    },
};
use std::{fs, time::SystemTime};

/// What changes a file's content leaves a mark on.
type Stamp = Option<(SystemTime, u64)>;

pub(super) struct Keeper {
    pub(super) config: Config,
    seen: Stamp,
    /// Writes what the programs have to say to the log.
    journal: Vec<Box<dyn FnMut()>>,
    /// What was last said of an interface that came back.
    complaint: String,
}

impl Keeper {
    pub(super) fn new(config: Config, mut running: Running) -> Self {
        let mut journal: Vec<Box<dyn FnMut()>> = Vec::new();
        if config.log.kernel {
            for object in &mut running.objects {
                match aya_log::EbpfLogger::init(object) {
                    Ok(mut logger) => journal.push(Box::new(move || logger.flush())),
                    Err(error) => tracing::warn!("no log from the programs: {error}"),
                }
            }
        }
        let seen = stamp(&config);
        Self { config, seen, journal, complaint: String::new() }
    }

    /// Looks after everything; whether the allow-list file has changed.
    pub(super) fn tick(&mut self) -> bool {
        for flush in &mut self.journal {
            flush();
        }
        if let Err(error) = self.addresses() {
            tracing::error!("the router's own addresses are not up to date: {error}");
        }
        if let Err(error) = self.cookies() {
            tracing::error!("cookies are made with the key of the last minute: {error}");
        }
        let now = stamp(&self.config);
        core::mem::replace(&mut self.seen, now) != now
    }

    /// Whether somebody has taken the filter away.
    pub(super) fn is_detached(&self) -> bool {
        !self.pins().exist()
    }

    /// An interface that went away and came back: another one, which nothing filters yet.
    pub(super) fn returned(&self) -> Option<String> {
        let interfaces = Maps::open(&self.pins()).and_then(|maps| maps.interfaces()).ok()?;
        let gone = interfaces.iter().map(|(_, interface)| interface);
        let mut gone = gone.filter(|interface| !attach::is_present(interface));
        gone.find_map(|interface| links::find(&attach::name_of(interface)).ok())
            .map(|link| link.name)
    }

    /// Says why such an interface is not filtered, once for each reason: it is tried again.
    pub(super) fn complain(&mut self, name: &str, error: &Error) {
        let complaint =
            format!("interface {name} came back and is not filtered, trying again: {error}");
        if complaint != self.complaint {
            tracing::error!("{complaint}");
            self.complaint = complaint;
        }
    }

    fn pins(&self) -> Pins {
        Pins::new(&self.config.state.bpffs)
    }

    fn cookies(&self) -> dataplane::Result<bool> {
        let maps = Maps::open(&self.pins())?;
        Keyring::open(&maps)?.rotate(clock::monotonic())
    }

    fn addresses(&self) -> dataplane::Result<()> {
        own(&Maps::open(&self.pins())?)
    }
}

fn stamp(config: &Config) -> Stamp {
    let meta = fs::metadata(&config.state.allow).ok()?;
    Some((meta.modified().ok()?, meta.len()))
}
