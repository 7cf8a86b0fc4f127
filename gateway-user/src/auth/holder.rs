//! A back-end that has proved who it is, whatever it speaks: what it asks for is done here.
use super::{
    problem::{Kind, Problem},
    rest::{self, Action, Terms},
};
use crate::{
    config::auth::Name,
    dataplane::clock,
    lease::{Credential, Id, Lease, Registry, View, Way, Wish},
};
use core::net::IpAddr;
use serde_json::{Value, json};
use std::time::SystemTime;

/// Who asks, from where, and how that was proved.
#[derive(Clone)]
pub(crate) struct Holder {
    pub(crate) registry: Registry,
    pub(crate) names: Vec<Name>,
    pub(crate) way: Way,
    pub(crate) source: IpAddr,
    pub(crate) credential: Option<Credential>,
    /// When what proves the names ends.
    pub(crate) proof_ends: Option<SystemTime>,
}

/// What came of a request.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Outcome {
    /// A document.
    Found(Value),
    /// A new lease.
    Granted(View),
    /// A lease that was there, from now on with these terms.
    Renewed(View),
    /// The lease has ended.
    Ended,
}

impl Holder {
    /// Does what is asked for; descriptions are for who serves them.
    ///
    /// # Errors
    /// [`Problem`].
    pub(crate) async fn act(&self, action: Action) -> Result<Outcome, Problem> {
        match action {
            Action::Health => Ok(Outcome::Found(self.health().await?)),
            Action::Describe | Action::Explain(_) => {
                Err(Problem::new(Kind::NotFound, "nothing is there"))
            }
            Action::List => Ok(Outcome::Found(json!({ "leases": self.leases().await? }))),
            Action::Grant(terms) => self.grant(terms).await,
            Action::Show(id) => Ok(Outcome::Found(json!(self.lease(id).await?))),
            Action::Renew(id, terms) => self.renew(id, terms).await,
            Action::End(id) => self.end(id).await,
        }
    }

    /// Its names, each once: a name may be there as one of several kinds.
    fn texts(&self) -> Vec<String> {
        let mut texts: Vec<String> = Vec::new();
        for name in &self.names {
            if !texts.contains(&name.text) {
                texts.push(name.text.clone());
            }
        }
        texts
    }

    async fn health(&self) -> Result<Value, Problem> {
        let held = self.leases().await?.len();
        Ok(json!({
            "status": "ok",
            "names": self.texts(),
            "source": self.source,
            "leases": held,
        }))
    }

    async fn leases(&self) -> Result<Vec<View>, Problem> {
        let names = self.texts();
        let views = self.registry.call(move |ledger| {
            let now = clock::monotonic();
            let own = ledger.leases_of(&names);
            own.map(|lease| View::new(lease, now)).collect::<Vec<_>>()
        });
        Ok(views.await?)
    }

    async fn lease(&self, id: Id) -> Result<View, Problem> {
        let names = self.texts();
        let found = self.registry.call(move |ledger| {
            let lease = ledger.lease(&id).filter(|lease| names.contains(&lease.identity))?;
            Some(View::new(lease, clock::monotonic()))
        });
        found.await?.ok_or_else(|| rest::no_lease(id))
    }

    async fn renew(&self, id: Id, terms: Terms) -> Result<Outcome, Problem> {
        let lease = self.lease(id).await?;
        if lease.source != self.source || lease.way != self.way {
            let (theirs, ours) = (lease.source, self.source);
            let (by, now) = (lease.way.as_str(), self.way.as_str());
            let text =
                format!("the lease is for {theirs} by {by}, the request came from {ours} by {now}");
            return Err(Problem::new(Kind::OtherAddress, text));
        }
        self.grant(terms).await
    }

    async fn end(&self, id: Id) -> Result<Outcome, Problem> {
        let names = self.texts();
        let own = move |lease: &Lease| names.contains(&lease.identity);
        let ended = self.registry.call(move |ledger| ledger.release(&id, own)).await?;
        let lease = ended.ok_or_else(|| rest::no_lease(id))?;
        tracing::info!(identity = lease.identity, "lease of {} given back", lease.source);
        Ok(Outcome::Ended)
    }

    async fn grant(&self, terms: Terms) -> Result<Outcome, Problem> {
        let wish = self.wish(terms);
        let work = self.registry.call(move |ledger| {
            let now = clock::monotonic();
            ledger.ask(&wish).map(|lease| (lease.granted_ns >= now, View::new(&lease, now)))
        });
        let (new, view) = work.await??;
        if new {
            let way = view.way.as_str();
            tracing::info!(identity = view.identity, way, "lease of {} granted", view.source);
            return Ok(Outcome::Granted(view));
        }
        Ok(Outcome::Renewed(view))
    }

    /// What it wishes for.
    pub(crate) fn wish(&self, terms: Terms) -> Wish {
        Wish {
            names: self.names.clone(),
            way: self.way,
            source: self.source,
            nodes: terms.nodes,
            ttl: terms.ttl,
            credential: self.credential.clone(),
            proof_ends: self.proof_ends,
        }
    }
}
