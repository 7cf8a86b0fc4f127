//! The agent: brings the filter up, keeps it in step with its files, leaves it in place at the end.
mod answers;
mod hand;
mod keeper;
mod mapping;
mod services;
pub mod syn_cookies;

use crate::{
    allow,
    auth::{
        https::{self, Https},
        psk,
    },
    config::{self, AttachMode, Config},
    control,
    dataplane::{
        self, Maps, Pins, Plain,
        attach::{self, Mode, Plan, Role, Running},
        btf, clock,
        cookies::{self, Keyring},
        links,
        maps::named,
        object::Capacity,
        table::{self, Grant, Grants},
    },
    lease::{self, Ledger},
    mapper::{driver, routing},
};
use gateway_common::{
    abi::{Settings, settings::LLN_PREFIXES_MAX},
    wire::{Address, Prefix},
};
use hand::PATIENCE;
use ipnet::IpNet;
use keeper::Keeper;
use std::{collections::HashSet, path::PathBuf, time::Duration};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    time::{MissedTickBehavior, interval},
};

pub use hand::{leases, leases_of_agent, over, revoke, start_once, sync};
pub use services::Services;

/// What keeps the agent from its work.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The configuration.
    #[error(transparent)]
    Config(#[from] config::Error),
    /// The allow-list.
    #[error(transparent)]
    Allow(#[from] allow::Error),
    /// The kernel.
    #[error(transparent)]
    Dataplane(#[from] dataplane::Error),
    /// No interface to filter.
    #[error("no {0} interface: name one with --{0} or in the configuration, interfaces.{0}")]
    NoInterface(&'static str),
    /// The LLN is nowhere.
    #[error(
        "no prefix of the LLN: interface {0} has no global address to take it from, \
         set lln.prefixes in the configuration"
    )]
    NoPrefix(String),
    /// The LLN has too many prefixes.
    #[error(
        "{0} prefixes on the LLN's interfaces, at most {LLN_PREFIXES_MAX} are possible: \
         choose them with lln.prefixes in the configuration"
    )]
    Prefixes(usize),
    /// The TLS mapping.
    #[error(transparent)]
    Mapping(#[from] driver::Error),
    /// What leads to it.
    #[error(transparent)]
    Routing(#[from] routing::Error),
    /// Questions from the command line.
    #[error(transparent)]
    Control(#[from] control::Error),
    /// Leases.
    #[error(transparent)]
    Lease(Box<lease::Error>),
    /// Authentication.
    #[error(transparent)]
    Https(#[from] https::Error),
    /// Authentication with pre-shared keys.
    #[error(transparent)]
    Psk(#[from] psk::Error),
    /// What the running agent says.
    #[error("{0}")]
    Said(String),
    /// Signals cannot be waited for.
    #[error("signals")]
    Signal(#[source] std::io::Error),
}

impl From<lease::Error> for Error {
    fn from(error: lease::Error) -> Self {
        match error {
            lease::Error::Allow(error) => Self::Allow(error),
            lease::Error::Dataplane(error) => Self::Dataplane(error),
            lease::Error::Agent(error) => *error,
            other @ (lease::Error::Store(_)
            | lease::Error::Clock(_)
            | lease::Error::Unknown(_)
            | lease::Error::Refused(_)
            | lease::Error::Gone) => Self::Lease(Box::new(other)),
        }
    }
}

/// What the command line adds to the configuration.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The configuration file; none means the defaults.
    pub config: Option<PathBuf>,
    /// Interfaces on the Internet's side, instead of the configuration's.
    pub wan: Vec<String>,
    /// Interfaces on the LLN's side, instead of the configuration's.
    pub lln: Vec<String>,
}

impl Options {
    /// The configuration that results.
    ///
    /// # Errors
    /// [`Error::Config`].
    pub fn configure(&self) -> Result<Config, Error> {
        let mut config = match &self.config {
            Some(path) => Config::load(path)?,
            None => Config::default(),
        };
        if !self.wan.is_empty() {
            config.interfaces.wan.clone_from(&self.wan);
        }
        if !self.lln.is_empty() {
            config.interfaces.lln.clone_from(&self.lln);
        }
        Ok(config)
    }
}

/// One entry as a grant that ends at this instant of the monotonic clock.
pub fn grant(entry: &allow::Entry, config: &Config, expires_ns: u64) -> Grant {
    Grant {
        source: entry.source,
        nodes: entry.nodes.clone(),
        ports: entry.ports.clone(),
        limits: entry.limits(config.rates.source),
        expires_ns,
    }
}

fn plan(config: &Config) -> Result<Plan, Error> {
    let sides =
        [(&config.interfaces.wan, Role::Wan, "wan"), (&config.interfaces.lln, Role::Lln, "lln")];
    let mut interfaces = Vec::new();
    for (names, role, key) in sides {
        if names.is_empty() {
            return Err(Error::NoInterface(key));
        }
        interfaces.extend(names.iter().map(|name| (name.clone(), role)));
    }
    config::check_interfaces(config)?;
    Ok(Plan {
        settings: Settings { rcv_nxt: sequence_field(), ..settings(config, &prefixes(config)?) },
        capacity: Capacity {
            sources: config.sources.capacity,
            associations: config.replay.associations,
            pages: config.replay.pages,
        },
        interfaces,
        mode: match config.interfaces.mode {
            AttachMode::Auto => Mode::Auto,
            AttachMode::Native => Mode::Native,
            AttachMode::Generic => Mode::Generic,
        },
    })
}

/// Where the kernel keeps a connection's next number, for resets to be compared with.
fn sequence_field() -> u32 {
    btf::rcv_nxt().unwrap_or_else(|| {
        tracing::warn!(
            "the kernel has no type information (BTF) of its TCP sockets: resets pass whatever \
             their numbers, and the kernel alone judges them (RFC 5961)"
        );
        0
    })
}

/// The LLN's prefixes: the configuration's, else those of the addresses on its interfaces.
fn prefixes(config: &Config) -> Result<Vec<IpNet>, Error> {
    if !config.lln.prefixes.is_empty() {
        return Ok(config.lln.prefixes.clone());
    }
    let names = &config.interfaces.lln;
    let found: Vec<IpNet> = names.iter().flat_map(|name| links::prefixes(name)).collect();
    match found.len() {
        0 => Err(Error::NoPrefix(names.join(", "))),
        n if n > LLN_PREFIXES_MAX => Err(Error::Prefixes(n)),
        _ => Ok(found),
    }
}

/// The configuration as the programs' constants; secret and interface are the loader's.
pub fn settings(config: &Config, prefixes: &[IpNet]) -> Settings {
    let mut settings = Settings {
        log: config.log.kernel.into(),
        replay: config.replay.mode.code(),
        max_datagram: config.lln.max_datagram,
        node: config.rates.node,
        lln: config.rates.lln,
        agent: config.rates.agent,
        unproven: config.rates.unproven,
        lln_prefixes: [Prefix::NONE; LLN_PREFIXES_MAX],
        ..Settings::EMPTY
    };
    for (place, prefix) in settings.lln_prefixes.iter_mut().zip(prefixes) {
        *place = table::on_128_bits(prefix);
    }
    let fill = |places: &mut [u16], ports: &[u16]| {
        for (place, port) in places.iter_mut().zip(ports) {
            *place = *port;
        }
    };
    fill(&mut settings.dtls_ports, &config.lln.dtls_ports);
    if config.mapper.enabled && config.mapper.transparent {
        fill(&mut settings.mapped_ports, &config.lln.mapped_ports);
    }
    fill(&mut settings.mapper_ports, &config.mapper.own_ports());
    fill(&mut settings.agent_ports, &config.agent_ports());
    fill(&mut settings.socket_ports, &config.socket_ports());
    fill(&mut settings.cookie_ports, &config.cookie_ports());
    settings.cookie_nodes = u32::from(!config.cookies.nodes.is_empty());
    settings
}

/// Brings the filter up, with the allow-list and the leases that were kept.
///
/// # Errors
/// See [`Error`].
pub fn start(config: &Config) -> Result<(Ledger, Running), Error> {
    let mut ledger = Ledger::open(config, PATIENCE)?;
    let running = ledger.attach(config)?;
    ledger.commit();
    Ok((ledger, running))
}

/// Loads, attaches and fills the allow-list, which the caller may write.
pub(crate) fn attach(config: &Config, grants: &[Grant]) -> Result<(Running, Grants), Error> {
    let plan = plan(config)?;
    tracing::info!("loading: the kernel checks the programs, which takes a few seconds");
    let mut kernel = None;
    let pins = Pins::new(&config.state.bpffs);
    let running = attach::start(&pins, &plan, |maps| {
        own(maps)?;
        cookies::guard(maps, &config.cookies.nodes)?;
        Keyring::open(maps)?.rotate(clock::monotonic())?;
        let table = kernel.insert(Grants::open(maps)?);
        table.sync(grants).map(drop)
    })?;
    let kernel = match kernel {
        Some(kernel) => kernel,
        None => Grants::open(&Maps::open(&pins)?)?,
    };
    Ok((running, kernel))
}

/// Tells the programs which addresses are the router's own.
fn own(maps: &Maps) -> dataplane::Result<()> {
    let mut index = maps.index::<Address, u32>("OWN")?;
    let wanted: HashSet<Address> = links::own_addresses().into_iter().map(Address::from).collect();
    let present: HashSet<Address> = index.keys().flatten().map(|key| key.0).collect();
    for address in wanted.difference(&present) {
        index.insert(Plain(*address), Plain(1), 0).map_err(named("OWN"))?;
    }
    for address in present.difference(&wanted) {
        index.remove(&Plain(*address)).map_err(named("OWN"))?;
    }
    Ok(())
}

/// How often files, addresses and the kernel's log are looked at.
const TICK: Duration = Duration::from_millis(500);

/// What the agent is told while it runs.
#[derive(Debug)]
pub struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
}

impl Signals {
    /// Listens from now on: what comes before [`keep`] waits for it.
    ///
    /// # Errors
    /// [`Error::Signal`].
    pub fn listen() -> Result<Self, Error> {
        let listen = |kind| signal(kind).map_err(Error::Signal);
        Ok(Self {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
            hangup: listen(SignalKind::hangup())?,
        })
    }
}

/// Keeps the filter in step until it is told to end or the filter is detached; else that stays.
/// Mapped connections end.
///
/// # Errors
/// None so far. A mistake in a changed file is logged, and what was in force stays.
pub async fn keep(
    options: &Options,
    config: Config,
    running: Running,
    mut services: Services,
    mut signals: Signals,
) -> Result<(), Error> {
    let mut keeper = Keeper::new(config, running);
    let mut tick = interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = signals.interrupt.recv() => return Ok(()),
            _ = signals.terminate.recv() => return Ok(()),
            _ = signals.hangup.recv() => match services.reload(options).await {
                Ok((config, running)) => {
                    keeper = Keeper::new(config, running);
                    tracing::info!("configuration reloaded");
                }
                Err(error) => tracing::error!("not reloaded, what was in force stays: {error}"),
            },
            client = services.questions.accept() => if let Ok((client, _)) = client {
                let (report, registry) = (services.mapping.report(), services.registry.clone());
                tokio::spawn(answers::serve(client, report, registry));
            },
            _ = tick.tick() => {
                if keeper.is_detached() {
                    tracing::warn!("the filter was detached: there is nothing to keep");
                    return Ok(());
                }
                if keeper.tick() {
                    tokio::spawn(answers::follow(services.registry.clone()));
                }
                if let Some(name) = keeper.returned() {
                    match services.attach(&keeper.config).await {
                        Ok(running) => {
                            tracing::warn!("interface {name} came back: it is filtered again");
                            keeper = Keeper::new(keeper.config, running);
                        }
                        Err(error) => keeper.complain(&name, &error),
                    }
                }
                services.https.iter_mut().for_each(Https::tick);
                services.psk.tick();
                services.mapping.revive(&keeper.config);
            }
        }
    }
}
