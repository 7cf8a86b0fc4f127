//! What an authenticated client's request is answered with.
use super::{
    OPENAPI,
    holder::{Holder, Outcome},
    https::Shared,
    presented::Presented,
    problem::{self, Kind, Problem},
    rest::{self, Action, BODY_MAX, Refused},
};
use crate::lease::{View, Way};
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
        if matches!(action, Action::Describe) {
            return Ok(reply(StatusCode::OK, "application/json", OPENAPI.to_owned()));
        }
        if let Action::Explain(kind) = action {
            return Ok(ok(&kind.explanation()));
        }
        Ok(answer(self.holder(Way::Certificate).act(action).await?))
    }

    /// Who it is, for a lease of this way.
    pub(super) fn holder(&self, way: Way) -> Holder {
        Holder {
            registry: self.shared.registry().clone(),
            names: self.presented.names.clone(),
            way,
            source: self.source,
            credential: Some(self.presented.credential.clone()),
            proof_ends: Some(self.presented.ends),
        }
    }
}

fn answer(outcome: Outcome) -> Answer {
    match outcome {
        Outcome::Found(value) => ok(&value),
        Outcome::Granted(view) => lease(StatusCode::CREATED, &view),
        Outcome::Renewed(view) => lease(StatusCode::OK, &view),
        Outcome::Ended => reply(StatusCode::NO_CONTENT, "", String::new()),
    }
}

fn lease(status: StatusCode, view: &View) -> Answer {
    let mut answer = reply(status, "application/json", json!(view).to_string());
    if let Ok(place) = format!("/v1/leases/{}", view.id).parse() {
        answer.headers_mut().insert(header::LOCATION, place);
    }
    answer
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

/// A body ends its line: people read it in terminals.
fn reply(status: StatusCode, media: &'static str, mut body: String) -> Answer {
    if !body.is_empty() && !body.ends_with('\n') {
        body.push('\n');
    }
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
