//! What an authenticated client's request is answered with.
use super::{
    OPENAPI,
    https::Shared,
    presented::Presented,
    problem::{self, Kind, Problem},
    rest::{self, Action, BODY_MAX, Refused},
};
use crate::{
    dataplane::clock,
    lease::{Id, Lease, View, Way, Wish},
};
use core::{net::IpAddr, time::Duration};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::{
    Request, Response, StatusCode,
    body::{Bytes, Incoming},
    header::{self, HeaderValue},
};
use serde_json::{Value, json};
use std::sync::Arc;
use tokio::time::timeout;

/// For a request's body.
const BODY: Duration = Duration::from_secs(10);

/// An answer.
pub(super) type Answer = Response<Full<Bytes>>;

/// A client that has proved what it is.
pub(super) struct Client {
    pub(super) shared: Arc<Shared>,
    pub(super) source: IpAddr,
    pub(super) presented: Presented,
}

impl Client {
    /// Answers a request, whatever it is.
    pub(super) async fn respond(&self, request: Request<Incoming>) -> Answer {
        let revoked = self.shared.is_revoked(&self.presented.credential);
        let result = if revoked {
            Err(Problem::new(Kind::Revoked, "this certificate was revoked").into())
        } else {
            self.answer(request).await
        };
        let mut answer = result.unwrap_or_else(|refused| refuse(&refused));
        if revoked {
            answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        answer
    }

    async fn answer(&self, request: Request<Incoming>) -> Result<Answer, Refused> {
        let (head, body) = request.into_parts();
        let body = read_body(body).await?;
        let media =
            head.headers.get(header::CONTENT_TYPE).map(|value| value.to_str().unwrap_or("?"));
        let action = rest::read(head.method.as_str(), head.uri.path(), media, &body)?;
        self.act(action).await.map_err(Refused::from)
    }

    async fn act(&self, action: Action) -> Result<Answer, Problem> {
        match action {
            Action::Health => Ok(ok(&self.health().await?)),
            Action::Describe => Ok(reply(StatusCode::OK, "application/json", OPENAPI.to_owned())),
            Action::Explain(kind) => Ok(ok(&kind.explanation())),
            Action::List => Ok(ok(&json!({ "leases": self.leases().await? }))),
            Action::Grant(terms) => self.grant(terms).await,
            Action::Show(id) => Ok(ok(&json!(self.lease(id).await?))),
            Action::Renew(id, terms) => {
                let lease = self.lease(id).await?;
                if lease.source != self.source || lease.way != Way::Certificate {
                    let (theirs, ours) = (lease.source, self.source);
                    let text = format!("the lease is for {theirs}, the request came from {ours}");
                    return Err(Problem::new(Kind::OtherAddress, text));
                }
                self.grant(terms).await
            }
            Action::End(id) => {
                let names = self.names();
                let own = move |lease: &Lease| names.contains(&lease.identity);
                let ended =
                    self.shared.registry().call(move |ledger| ledger.release(&id, own)).await?;
                let lease = ended.ok_or_else(|| rest::no_lease(id))?;
                tracing::info!(identity = lease.identity, "lease of {} given back", lease.source);
                Ok(reply(StatusCode::NO_CONTENT, "", String::new()))
            }
        }
    }

    fn names(&self) -> Vec<String> {
        self.presented.names.iter().map(|name| name.text.clone()).collect()
    }

    async fn health(&self) -> Result<Value, Problem> {
        let held = self.leases().await?.len();
        Ok(json!({
            "status": "ok",
            "names": self.names(),
            "source": self.source,
            "leases": held,
        }))
    }

    async fn leases(&self) -> Result<Vec<View>, Problem> {
        let names = self.names();
        let views = self.shared.registry().call(move |ledger| {
            let now = clock::monotonic();
            let own = ledger.leases_of(&names);
            own.map(|lease| View::new(lease, now)).collect::<Vec<_>>()
        });
        Ok(views.await?)
    }

    async fn lease(&self, id: Id) -> Result<View, Problem> {
        let names = self.names();
        let found = self.shared.registry().call(move |ledger| {
            let lease = ledger.lease(&id).filter(|lease| names.contains(&lease.identity))?;
            Some(View::new(lease, clock::monotonic()))
        });
        found.await?.ok_or_else(|| rest::no_lease(id))
    }

    async fn grant(&self, terms: rest::Terms) -> Result<Answer, Problem> {
        let wish = Wish {
            names: self.presented.names.clone(),
            way: Way::Certificate,
            source: self.source,
            nodes: terms.nodes,
            ttl: terms.ttl,
            credential: Some(self.presented.credential.clone()),
            proof_ends: Some(self.presented.ends),
        };
        let work = self.shared.registry().call(move |ledger| {
            let now = clock::monotonic();
            ledger.ask(&wish).map(|lease| (lease.granted_ns >= now, View::new(&lease, now)))
        });
        let (new, view) = work.await??;
        let status = if new { StatusCode::CREATED } else { StatusCode::OK };
        if new {
            tracing::info!(identity = view.identity, "lease of {} granted", view.source);
        }
        let mut answer = reply(status, "application/json", json!(view).to_string());
        if let Ok(place) = format!("/v1/leases/{}", view.id).parse() {
            answer.headers_mut().insert(header::LOCATION, place);
        }
        Ok(answer)
    }
}

async fn read_body(body: Incoming) -> Result<Bytes, Problem> {
    match timeout(BODY, Limited::new(body, BODY_MAX).collect()).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(Problem::new(
            Kind::TooLarge,
            format_args!("the body has more than {BODY_MAX} bytes"),
        )),
        Ok(Err(error)) => Err(Problem::new(Kind::BadRequest, error)),
        Err(_) => Err(Problem::new(Kind::Timeout, "the body did not come in time")),
    }
}

fn refuse(refused: &Refused) -> Answer {
    let problem = &refused.problem;
    let status = StatusCode::from_u16(problem.kind.status());
    let status = status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut answer = reply(status, problem::MEDIA_TYPE, problem.document().to_string());
    if let Some(allow) = refused.allow {
        answer.headers_mut().insert(header::ALLOW, HeaderValue::from_static(allow));
    }
    answer
}

fn ok(value: &Value) -> Answer {
    reply(StatusCode::OK, "application/json", value.to_string())
}

fn reply(status: StatusCode, media: &'static str, body: String) -> Answer {
    let mut answer = Response::new(Full::new(Bytes::from(body)));
    *answer.status_mut() = status;
    if !media.is_empty() {
        let headers = answer.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media));
    }
    // what a lease says is true for this client and this moment only
    let never = HeaderValue::from_static("no-store");
    answer.headers_mut().insert(header::CACHE_CONTROL, never);
    answer
}
