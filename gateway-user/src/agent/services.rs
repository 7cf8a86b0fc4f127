//! What the agent serves besides the filter, started and reloaded.
use super::{Error, Options, mapping::Mapping, prefixes, syn_cookies};
use crate::{
    auth::{
        https::{Https, Prepared},
        material::Current,
        psk::{self, Psk},
    },
    config::Config,
    control,
    dataplane::attach::Running,
    lease::{Ledger, Registry},
    tunnel::{Hub, Rules},
};
use std::time::Instant;
use tokio::net::UnixListener;

/// What the agent serves besides the filter: it ends with the agent.
pub struct Services {
    pub(super) mapping: Mapping,
    pub(super) questions: UnixListener,
    pub(super) registry: Registry,
    pub(super) https: Option<Https>,
    pub(super) psk: Psk,
    hub: Hub,
    current: Current,
}

impl Services {
    /// Starts to map and to answer questions. The filter runs already.
    ///
    /// # Errors
    /// [`Error::Mapping`], [`Error::Routing`], [`Error::Control`], [`Error::Https`],
    /// [`Error::Psk`].
    pub fn start(config: &Config, ledger: Ledger) -> Result<Self, Error> {
        let questions = control::listen(&config.state.runtime)?;
        let prepared = Prepared::new(config)?;
        let keys = psk::Prepared::new(config)?;
        let mapping = Mapping::start(config, &prefixes(config)?)?;
        let registry = Registry::start(ledger);
        syn_cookies::arm(config);
        let hub = Hub::new(Instant::now());
        hub.set(Rules::new(config, prefixes(config)?));
        let current = Current::default();
        let https = Https::start(prepared, registry.clone(), hub.clone(), current.clone())?;
        let psk = Psk::start(keys, registry.clone(), hub.clone(), current.clone())?;
        Ok(Self { mapping, questions, registry, https, psk, hub, current })
    }

    /// Puts the filter on its interfaces, and has the mapping look at them again.
    pub(super) async fn attach(&mut self, config: &Config) -> Result<Running, Error> {
        let next = config.clone();
        let running = self.registry.call(move |ledger| ledger.attach(&next)).await??;
        // the filter and the mapping each keep what was in force; the filter has the new one by now
        let mapped = prefixes(config).and_then(|nets| self.mapping.reload(config, &nets));
        if let Err(error) = mapped {
            tracing::error!("the TLS mapping was not reloaded, what was in force stays: {error}");
        }
        Ok(running)
    }

    pub(super) async fn reload(&mut self, options: &Options) -> Result<(Config, Running), Error> {
        let config = options.configure()?;
        let prepared = Prepared::new(&config)?;
        let keys = psk::Prepared::new(&config)?;
        let running = self.attach(&config).await?;
        syn_cookies::arm(&config);
        self.hub.set(Rules::new(&config, prefixes(&config)?));
        self.psk.reload(keys)?;
        match &mut self.https {
            Some(_) if !config.auth.takes_certificates() => self.https = None,
            Some(https) => https.reload(prepared)?,
            None => {
                let (registry, hub) = (self.registry.clone(), self.hub.clone());
                self.https = Https::start(prepared, registry, hub, self.current.clone())?;
            }
        }
        Ok((config, running))
    }
}
