//! Everything that leases touch, in one hand: table, kernel, store, allow-list.
//!
//! Who has the store open has the right to write the kernel's allow-list; there is never a second.
use super::{Change, Credential, Error, Id, Lease, Refusal, Request, Span, Table, Way, kept::Kept};
use crate::{
    agent, allow,
    auth::psk::keys,
    config::{Config, auth::Name, prefix},
    dataplane::{
        Maps, Pins,
        attach::Running,
        clock,
        table::{Changes, Grant, Grants, on_128_bits},
    },
};
use core::{net::IpAddr, time::Duration};
use ipnet::IpNet;
use std::{collections::HashSet, sync::Arc, time::SystemTime};

/// An authenticated back-end's wish.
#[derive(Clone, Debug)]
pub struct Wish {
    /// Names that it has proved.
    pub names: Vec<Name>,
    /// How.
    pub way: Way,
    /// The address that was seen.
    pub source: IpAddr,
    /// Nodes; none means all of its policy.
    pub nodes: Vec<IpNet>,
    /// How long; none means as long as its policy allows.
    pub ttl: Option<Duration>,
    /// The certificate behind it.
    pub credential: Option<Credential>,
    /// When that ends.
    pub proof_ends: Option<SystemTime>,
}

/// The one hand.
pub struct Ledger {
    config: Arc<Config>,
    table: Table,
    kept: Kept,
    kernel: Option<Grants>,
    revoked: HashSet<Credential>,
    /// A change did not reach the kernel: everything is to be compared.
    behind: bool,
    /// Entries of the allow-list wait for the wall clock.
    waits: bool,
}

impl Ledger {
    /// Takes up what was kept, waiting `patience` for another process that has it.
    ///
    /// # Errors
    /// [`Error::Store`], [`Error::Allow`], [`Error::Clock`].
    pub fn open(config: &Config, patience: Duration) -> Result<Self, Error> {
        let mut ledger = Self {
            config: Arc::new(config.clone()),
            table: Table::default(),
            kept: Kept::open(&config.state.directory, patience)?,
            kernel: None,
            revoked: HashSet::new(),
            behind: false,
            waits: false,
        };
        let clocks = ledger.kept.clocks()?;
        let leases = ledger.kept.leases(&clocks)?;
        ledger.table.resume(leases, clocks.now_ns);
        ledger.allowed()?;
        ledger.review(clocks.now_ns);
        ledger.settle();
        Ok(ledger)
    }

    /// Takes over the allow-list file, as it is in force at this instant.
    fn allowed(&mut self) -> Result<(), Error> {
        let clocks = self.kept.clocks()?;
        let list = allow::List::load(&self.config.state.allow)?;
        let spans = &mut self.kept.spans;
        spans.retain(list.entries());
        let mut waiting = 0;
        let grants = list.entries().iter().filter_map(|entry| {
            let expires_ns = match (entry.expires, entry.lasting) {
                (_, Some(_)) => spans.end(entry, &clocks)?,
                (Some(_), None) if !clocks.set => {
                    waiting += 1;
                    return None;
                }
                (expires, None) => clock::instant(expires),
            };
            (expires_ns > clocks.now_ns).then(|| agent::grant(entry, &self.config, expires_ns))
        });
        let grants = grants.collect();
        waiting += spans.waiting(&clocks);
        self.table.set_allowed(grants, clocks.now_ns);
        if waiting > 0 && !self.waits {
            tracing::warn!(
                "the clock is behind what it was before the reboot: {waiting} entries of the \
                 allow-list that end some time wait until it is set"
            );
        }
        self.waits = waiting > 0;
        Ok(())
    }

    fn review(&mut self, now: u64) {
        let auth = &self.config.auth;
        let of = |identity: &str| {
            auth.identities.iter().find(|policy| policy.name.covers_text(identity))
        };
        for lease in self.table.review(now, of) {
            tracing::info!(identity = lease.identity, "lease of {} ended: no policy", lease.source);
        }
    }

    /// Brings the filter up, or into step with a changed configuration, with every lease in place.
    ///
    /// # Errors
    /// Those of the agent; what was in force stays.
    pub fn attach(&mut self, config: &Config) -> Result<Running, agent::Error> {
        let _lock = allow::lock(&config.state.allow)?;
        let before = core::mem::replace(&mut self.config, Arc::new(config.clone()));
        let now = clock::monotonic();
        let attached = self.allowed().map_err(agent::Error::from).and_then(|()| {
            self.review(now);
            self.table.handle_timeout(now);
            self.settle();
            let (running, kernel) = agent::attach(config, &self.table.grants())?;
            self.kernel = Some(kernel);
            Ok(running)
        });
        if attached.is_err() {
            self.config = before;
            self.behind = true;
        }
        attached
    }

    /// Puts the allow-list file into force, with every lease beside it.
    ///
    /// # Errors
    /// [`Error::Allow`], [`Error::Dataplane`].
    pub fn follow(&mut self) -> Result<Changes, Error> {
        let _lock = allow::lock(&self.config.state.allow)?;
        self.allowed()?;
        self.table.handle_timeout(clock::monotonic());
        self.settle();
        let grants = self.table.grants();
        // another command may have brought up other maps
        let maps = Maps::open(&Pins::new(&self.config.state.bpffs))?;
        let kernel = self.kernel.insert(Grants::open(&maps)?);
        self.behind = false;
        Ok(kernel.sync(&grants)?)
    }

    /// Grants or renews a lease; it is in force when this returns.
    ///
    /// # Errors
    /// [`Error::Unknown`], [`Error::Refused`]; [`Error::Dataplane`] when the kernel has no room.
    pub fn ask(&mut self, wish: &Wish) -> Result<Lease, Error> {
        let unknown = || Error::Unknown(wish.names.clone());
        let config = Arc::clone(&self.config);
        let (policy, name) = config.auth.policy(&wish.names).ok_or_else(unknown)?;
        if wish.credential.as_ref().is_some_and(|own| self.revoked.contains(own)) {
            return Err(Refusal::Revoked(name.text.clone()).into());
        }
        self.reachable(wish.source)?;
        let now = clock::monotonic();
        let request = Request {
            policy,
            identity: &name.text,
            way: wish.way,
            source: wish.source,
            nodes: &wish.nodes,
            ttl: wish.ttl,
            credential: wish.credential.clone(),
            proof_ends_ns: clock::instant(wish.proof_ends),
        };
        let id = self.table.ask(now, &request, fresh()?)?;
        if let Err(error) = self.apply() {
            self.table.revoke(&id, now);
            self.settle();
            return Err(error);
        }
        self.table.lease(&id).cloned().ok_or_else(unknown)
    }

    /// Whether packets of this source could reach nodes through this router.
    fn reachable(&self, source: IpAddr) -> Result<(), Error> {
        let local = match source {
            IpAddr::V4(v4) => v4.is_link_local(),
            IpAddr::V6(v6) => v6.is_unicast_link_local(),
        };
        let address = on_128_bits(&IpNet::from(source)).address;
        let inside = self.kernel.as_ref().is_some_and(|kernel| kernel.in_lln(&address));
        let good = !local && !inside && prefix::unicast(&source.to_string()).is_ok();
        if good { Ok(()) } else { Err(Refusal::Source(source).into()) }
    }

    /// Ends a lease, if `test` holds for it.
    pub fn release(&mut self, id: &Id, test: impl Fn(&Lease) -> bool) -> Option<Lease> {
        self.table.lease(id).filter(|lease| test(lease))?;
        let lease = self.table.revoke(id, clock::monotonic());
        self.settle();
        lease
    }

    /// Ends every lease of these certificates, and grants them none from now on.
    pub fn revoke_certificates(&mut self, certificates: HashSet<Credential>) -> usize {
        self.revoked = certificates;
        let list = &self.revoked;
        let revoked =
            |lease: &Lease| lease.credential.as_ref().is_some_and(|own| list.contains(own));
        let ended = self.table.revoke_where(clock::monotonic(), revoked);
        for lease in &ended {
            let (identity, source) = (&lease.identity, lease.source);
            tracing::info!(identity, "lease of {source} ended: its certificate is revoked");
        }
        self.settle();
        ended.len()
    }

    /// Ends every lease whose pre-shared key is not among `valid`: gone, or another one.
    pub fn retain_keys(&mut self, valid: &HashSet<Credential>) -> usize {
        let gone = |lease: &Lease| {
            lease.credential.as_ref().is_some_and(|own| keys::is_key(own) && !valid.contains(own))
        };
        let ended = self.table.revoke_where(clock::monotonic(), gone);
        for lease in &ended {
            let (identity, source) = (&lease.identity, lease.source);
            tracing::info!(identity, "lease of {source} ended: its key is gone");
        }
        self.settle();
        ended.len()
    }

    /// All leases.
    pub fn leases(&self) -> impl Iterator<Item = &Lease> {
        self.table.leases()
    }

    /// The leases of these identities.
    pub fn leases_of<'a>(&'a self, identities: &'a [String]) -> impl Iterator<Item = &'a Lease> {
        identities.iter().flat_map(|identity| self.table.leases_of(identity))
    }

    /// A lease by name.
    pub fn lease(&self, id: &Id) -> Option<&Lease> {
        self.table.lease(id)
    }

    /// What the kernel should have.
    pub fn grants(&self) -> Vec<Grant> {
        self.table.grants()
    }

    /// Entries of the allow-list whose time is over.
    pub fn over(&self) -> Vec<Span> {
        self.kept.clocks().map(|clocks| self.kept.spans.over(&clocks)).unwrap_or_default()
    }

    /// How long until [`Ledger::tick`] has something to do.
    pub fn wait(&self) -> Duration {
        const LONGEST: Duration = Duration::from_secs(10);
        let now = clock::monotonic();
        let due =
            self.table.poll_timeout().map(|due| Duration::from_nanos(due.saturating_sub(now)));
        due.unwrap_or(LONGEST).min(LONGEST)
    }

    /// Whoever sets the wall clock moves the dates of the allow-list and what is kept for a reboot.
    /// Leases, and entries that last for a time, are as they were.
    fn watch(&mut self) {
        let step = self.kept.take_step(&self.table);
        if let Some(step) = step {
            let (way, by) = (if step > 0 { "forward" } else { "back" }, step.unsigned_abs() / 1000);
            tracing::info!("the clock was set {way} by {by} s: dates of the allow-list follow it");
        }
        let over = self.waits && self.kept.clocks().is_ok_and(|clocks| clocks.set);
        self.behind |= self.kernel.is_some() && (step.is_some() || over);
    }

    /// Ends what has lapsed.
    pub fn tick(&mut self) {
        self.watch();
        self.table.handle_timeout(clock::monotonic());
        self.settle();
        if core::mem::take(&mut self.behind)
            && let Err(error) = self.follow()
        {
            self.behind = true;
            tracing::error!("the kernel's allow-list is behind: {error}");
        }
    }

    /// Tells the store what has changed, down to the disk.
    pub fn commit(&mut self) {
        self.kept.commit(&self.table);
    }

    /// As [`Ledger::apply`], for changes that make the allow-list smaller.
    fn settle(&mut self) {
        if let Err(error) = self.apply() {
            tracing::error!("the kernel's allow-list is behind: {error}");
            self.behind = true;
        }
    }

    /// Does what the table wants done; all of it, even if something fails.
    fn apply(&mut self) -> Result<(), Error> {
        let mut result = Ok(());
        while let Some(change) = self.table.poll_change() {
            let kernel = self.kernel.as_mut();
            let done = match change {
                Change::Install(grant) => kernel.map(|kernel| kernel.grant(&grant)),
                Change::Revoke(source) => kernel.map(|kernel| kernel.revoke(&source.into())),
                Change::Keep(id) => {
                    self.kept.keep(id);
                    None
                }
                Change::Forget(id) => {
                    self.kept.forget(id);
                    None
                }
            };
            if let Some(Err(error)) = done {
                result = result.and(Err(error.into()));
            }
        }
        result
    }
}

fn fresh() -> Result<Id, Error> {
    let mut id = [0; 16];
    getrandom::fill(&mut id)
        .map_err(|error| Error::Dataplane(crate::dataplane::Error::Random(error)))?;
    Ok(Id(id))
}
