//! The lease table, sans-IO: requests and time in, what the kernel and the store must do out.
//!
//! After every call that changes something, [`Table::poll_change`] until it is empty. No call but
//! [`Table::set_allowed`], [`Table::review`] and [`Table::revoke_where`] costs more with more
//! leases.
use super::{Id, Lease, Refusal, Request, Terms, Way, merge};
use crate::{config::Identity, dataplane::table::Grant};
use core::{net::IpAddr, time::Duration};
use gateway_common::decide::admission::NEVER;
use ipnet::IpNet;
use std::collections::{BTreeSet, HashMap, VecDeque};

/// What has to be done outside.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// The kernel's entry for a source becomes this.
    Install(Grant),
    /// The kernel's entry for a source goes.
    Revoke(IpAddr),
    /// The store keeps this lease as it is now.
    Keep(Id),
    /// The store forgets this lease.
    Forget(Id),
}

/// Leases, and the allow-list's entries that they meet.
#[derive(Debug, Default)]
pub struct Table {
    leases: HashMap<Id, Lease>,
    holders: HashMap<(Way, String, IpAddr), Id>,
    held: HashMap<String, BTreeSet<Id>>,
    sources: HashMap<IpAddr, Source>,
    due: BTreeSet<(u64, IpAddr)>,
    allowed: HashMap<IpAddr, Grant>,
    /// Longest first, as the kernel looks them up.
    allowed_prefixes: Vec<Grant>,
    changes: VecDeque<Change>,
}

/// A source with leases.
#[derive(Debug, Default)]
struct Source {
    /// Oldest first.
    leases: Vec<Id>,
    due_ns: u64,
    /// The kernel's entry, if leases had a part in it.
    installed: Option<Grant>,
}

impl Table {
    /// Takes up leases from before a restart, without asking for changes.
    pub fn resume(&mut self, mut leases: Vec<Lease>, now: u64) {
        leases.sort_by_key(|lease| (lease.granted_ns, lease.id));
        let sources: BTreeSet<IpAddr> = leases.iter().map(|lease| lease.source).collect();
        for lease in leases {
            self.insert(lease);
        }
        sources.into_iter().for_each(|source| self.settle(source, now));
        self.changes.retain(|change| matches!(change, Change::Forget(_)));
    }

    /// Grants or renews a lease; one holder has one lease at an address. A lease that is asked for
    /// longer than allowed is granted for as long as is allowed.
    ///
    /// # Errors
    /// See [`Refusal`]; nothing has changed then.
    pub fn ask(&mut self, now: u64, request: &Request<'_>, fresh: Id) -> Result<Id, Refusal> {
        let terms = terms(request.policy, request.identity, request.nodes)?;
        if request.way == Way::Tunnel && !request.policy.tunnel {
            return Err(Refusal::Tunnel(request.identity.to_owned()));
        }
        let expires_ns = expiry(now, request)?;
        let holder = (request.way, request.identity.to_owned(), request.source);
        let present = self.holders.get(&holder).copied();
        if present.is_none() {
            self.may_hold_one_more(request)?;
        }
        if request.way != Way::Tunnel && !self.has_room(request.source, now, present, &terms) {
            return Err(Refusal::Crowded(request.source));
        }
        let id = present.unwrap_or(fresh);
        match self.leases.get_mut(&id) {
            Some(lease) => {
                lease.terms = terms;
                lease.asked = request.nodes.to_vec();
                lease.expires_ns = expires_ns;
                lease.credential.clone_from(&request.credential);
            }
            None => self.insert(Lease {
                id,
                identity: request.identity.to_owned(),
                way: request.way,
                source: request.source,
                asked: request.nodes.to_vec(),
                terms,
                granted_ns: now,
                expires_ns,
                credential: request.credential.clone(),
                in_force: true,
            }),
        }
        self.changes.push_back(Change::Keep(id));
        self.settle(request.source, now);
        Ok(id)
    }

    /// Ends a lease.
    pub fn revoke(&mut self, id: &Id, now: u64) -> Option<Lease> {
        let lease = self.remove(id)?;
        self.settle(lease.source, now);
        Some(lease)
    }

    /// Ends every lease for which `test` holds.
    pub fn revoke_where(&mut self, now: u64, test: impl Fn(&Lease) -> bool) -> Vec<Lease> {
        let ids: Vec<Id> =
            self.leases().filter(|lease| test(lease)).map(|lease| lease.id).collect();
        ids.iter().filter_map(|id| self.revoke(id, now)).collect()
    }

    /// Holds every lease against changed policies: `policy_of` names the one of an identity. What
    /// is no longer allowed ends, the rest follows the policy.
    pub fn review<'p>(
        &mut self,
        now: u64,
        policy_of: impl Fn(&str) -> Option<&'p Identity>,
    ) -> Vec<Lease> {
        let keeps = |lease: &Lease| {
            let policy = policy_of(&lease.identity)?;
            let fits = lease.way != Way::Tunnel || policy.tunnel;
            terms(policy, &lease.identity, &lease.asked).ok().filter(|_| fits)
        };
        let ended = self.revoke_where(now, |lease| keeps(lease).is_none());
        let changed: Vec<(Id, Terms)> = self
            .leases()
            .filter_map(|lease| Some((lease.id, keeps(lease).filter(|new| *new != lease.terms)?)))
            .collect();
        for (id, terms) in changed {
            if let Some(lease) = self.leases.get_mut(&id) {
                lease.terms = terms;
                let source = lease.source;
                self.settle(source, now);
            }
        }
        ended
    }

    /// Takes over the allow-list. The kernel is to be given [`Table::grants`] then.
    pub fn set_allowed(&mut self, entries: Vec<Grant>, now: u64) {
        let is_address = |entry: &Grant| entry.source.prefix_len() == entry.source.max_prefix_len();
        let (exact, mut prefixes): (Vec<_>, Vec<_>) = entries.into_iter().partition(is_address);
        prefixes.sort_by_key(|entry| core::cmp::Reverse(entry.source.prefix_len()));
        self.allowed = exact.into_iter().map(|entry| (entry.source.addr(), entry)).collect();
        self.allowed_prefixes = prefixes;
        let sources: Vec<IpAddr> = self.sources.keys().copied().collect();
        sources.into_iter().for_each(|source| self.settle(source, now));
    }

    /// The whole table as entries of the kernel.
    pub fn grants(&self) -> Vec<Grant> {
        let leased = self.sources.values().filter_map(|source| source.installed.as_ref());
        let own = |address: &IpAddr| {
            self.sources.get(address).is_none_or(|source| source.installed.is_none())
        };
        let exact = self.allowed.iter().filter(|(address, _)| own(address)).map(|(_, grant)| grant);
        self.allowed_prefixes.iter().chain(exact).chain(leased).cloned().collect()
    }

    /// Ends what has lapsed.
    pub fn handle_timeout(&mut self, now: u64) {
        while let Some((due, source)) = self.due.first().copied().filter(|(due, _)| *due <= now) {
            self.due.remove(&(due, source));
            self.settle(source, now);
        }
    }

    /// When [`Table::handle_timeout`] has something to do.
    pub fn poll_timeout(&self) -> Option<u64> {
        self.due.first().map(|(due, _)| *due)
    }

    /// What has to be done next.
    pub fn poll_change(&mut self) -> Option<Change> {
        self.changes.pop_front()
    }

    /// A lease by name.
    pub fn lease(&self, id: &Id) -> Option<&Lease> {
        self.leases.get(id)
    }

    /// The leases of an identity.
    pub fn leases_of(&self, identity: &str) -> impl Iterator<Item = &Lease> {
        self.held.get(identity).into_iter().flatten().filter_map(|id| self.leases.get(id))
    }

    /// All leases, in no order.
    pub fn leases(&self) -> impl Iterator<Item = &Lease> {
        self.leases.values()
    }
}

/// Within the table.
impl Table {
    fn insert(&mut self, lease: Lease) {
        let holder = (lease.way, lease.identity.clone(), lease.source);
        self.holders.insert(holder, lease.id);
        self.held.entry(lease.identity.clone()).or_default().insert(lease.id);
        self.sources.entry(lease.source).or_default().leases.push(lease.id);
        self.leases.insert(lease.id, lease);
    }

    /// Takes a lease out; its source is to be settled.
    fn remove(&mut self, id: &Id) -> Option<Lease> {
        let lease = self.leases.remove(id)?;
        self.holders.remove(&(lease.way, lease.identity.clone(), lease.source));
        if let Some(held) = self.held.get_mut(&lease.identity) {
            held.remove(id);
            if held.is_empty() {
                self.held.remove(&lease.identity);
            }
        }
        if let Some(source) = self.sources.get_mut(&lease.source) {
            source.leases.retain(|other| other != id);
        }
        self.changes.push_back(Change::Forget(*id));
        Some(lease)
    }

    fn may_hold_one_more(&self, request: &Request<'_>) -> Result<(), Refusal> {
        let held = self.held.get(request.identity).map_or(0, BTreeSet::len);
        let most = request.policy.leases;
        let identity = || request.identity.to_owned();
        if held < most {
            Ok(())
        } else {
            Err(Refusal::TooMany { identity: identity(), held, most })
        }
    }

    /// Whether the source's entry can cover `terms` in place of the lease `except`.
    fn has_room(&self, source: IpAddr, now: u64, except: Option<Id>, terms: &Terms) -> bool {
        let base = self.base(source, now).map(terms_of);
        let ids = self.sources.get(&source).map_or(&[][..], |source| &source.leases);
        let others = ids.iter().filter(|id| Some(**id) != except).filter_map(|id| {
            let lease = self.leases.get(id)?;
            (lease.way != Way::Tunnel && lease.expires_ns > now).then(|| lease.terms.clone())
        });
        let mut parts = base.into_iter().chain(others);
        parts.try_fold(terms.clone(), |all, part| merge::join(&all, &part)).is_some()
    }

    /// What the kernel would find for a source without leases.
    fn base(&self, source: IpAddr, now: u64) -> Option<&Grant> {
        let lasts = |grant: &&Grant| grant.expires_ns > now;
        let covers = |grant: &&Grant| grant.source.contains(&source);
        let exact = self.allowed.get(&source).filter(lasts);
        exact.or_else(|| self.allowed_prefixes.iter().filter(lasts).find(covers))
    }

    /// Ends what has lapsed at a source and brings its entry in line with what is left.
    fn settle(&mut self, source: IpAddr, now: u64) {
        let Some(entry) = self.sources.get(&source) else { return };
        self.due.remove(&(entry.due_ns, source));
        let over = |id: &&Id| self.leases.get(id).is_none_or(|lease| lease.expires_ns <= now);
        let lapsed: Vec<Id> = entry.leases.iter().filter(over).copied().collect();
        for id in &lapsed {
            self.remove(id);
        }
        let (grant, due_ns) = self.merged(source, now);
        let Some(entry) = self.sources.get_mut(&source) else { return };
        let gone = entry.leases.is_empty();
        entry.due_ns = due_ns;
        let before = core::mem::replace(&mut entry.installed, grant.clone());
        if gone {
            self.sources.remove(&source);
        } else {
            self.due.insert((due_ns, source));
        }
        match (before, grant) {
            (before, Some(grant)) if before.as_ref() != Some(&grant) => {
                self.changes.push_back(Change::Install(grant));
            }
            (Some(_), None) => {
                let allowed = self.allowed.get(&source).filter(|grant| grant.expires_ns > now);
                let change = allowed.cloned().map_or(Change::Revoke(source), Change::Install);
                self.changes.push_back(change);
            }
            (_, Some(_)) | (None, None) => {}
        }
    }

    /// The source's entry, and when it has to change. An admitted prefix around the source counts
    /// for what it covers, not for how long: the kernel goes back to it by itself.
    fn merged(&mut self, source: IpAddr, now: u64) -> (Option<Grant>, u64) {
        let base = self.base(source, now).cloned();
        let ids = self.sources.get(&source).map_or_else(Vec::new, |entry| entry.leases.clone());
        let mut due_ns = base.as_ref().map_or(NEVER, |grant| grant.expires_ns);
        let own = base.as_ref().filter(|grant| grant.source == IpNet::from(source));
        let mut expires_ns = own.map_or(0, |grant| grant.expires_ns);
        let mut terms = base.as_ref().map(terms_of);
        let mut leased = false;
        for id in ids {
            let Some(lease) = self.leases.get_mut(&id) else { continue };
            due_ns = due_ns.min(lease.expires_ns);
            if lease.way == Way::Tunnel {
                continue;
            }
            let joined = match &terms {
                Some(terms) => merge::join(terms, &lease.terms),
                None => Some(lease.terms.clone()),
            };
            lease.in_force = joined.is_some();
            if lease.in_force {
                terms = joined;
                leased = true;
                expires_ns = expires_ns.max(lease.expires_ns);
            }
        }
        let grant = terms.filter(|_| leased).map(|terms| Grant {
            source: source.into(),
            nodes: terms.nodes,
            ports: terms.ports,
            limits: terms.limits,
            expires_ns,
        });
        (grant, due_ns)
    }
}

fn terms_of(grant: &Grant) -> Terms {
    Terms { nodes: grant.nodes.clone(), ports: grant.ports.clone(), limits: grant.limits }
}

/// What a policy gives to one who asks for these nodes.
fn terms(policy: &Identity, identity: &str, asked: &[IpNet]) -> Result<Terms, Refusal> {
    let covers = |node: &&IpNet| policy.nodes.iter().any(|allowed| allowed.contains(*node));
    let outside = asked.iter().find(|node| !policy.nodes.is_empty() && !covers(node));
    if let Some(node) = outside {
        let node = crate::config::prefix::show(node);
        return Err(Refusal::Node { node, identity: identity.to_owned() });
    }
    let nodes = if asked.is_empty() { &policy.nodes } else { asked };
    let mut ports = policy.ports.clone();
    ports.sort_unstable();
    ports.dedup();
    Ok(Terms { nodes: merge::distinct(nodes.to_vec()), ports, limits: policy.limits })
}

fn expiry(now: u64, request: &Request<'_>) -> Result<u64, Refusal> {
    let longest = request.policy.longest;
    let ttl = request.ttl.map_or(longest, |ttl| ttl.min(longest)).max(Duration::from_secs(1));
    let ttl_ns = u64::try_from(ttl.as_nanos()).unwrap_or(u64::MAX);
    let expires_ns = now.saturating_add(ttl_ns).min(request.proof_ends_ns);
    if expires_ns <= now {
        Err(Refusal::Ended(request.identity.to_owned()))
    } else {
        Ok(expires_ns)
    }
}
