//! Questions of the command line, the allow-list file.
use super::{Error, mapping};
use crate::{
    control::{self, Question},
    dataplane::{
        clock,
        table::{Changes, Grant},
    },
    lease::{self, Registry, View},
    mapper::driver::Report,
};
use serde_json::{Value, json};
use tokio::{net::UnixStream, sync::oneshot};

/// Answers the one question of a client.
pub(super) async fn serve(
    mut client: UnixStream,
    report: Option<oneshot::Receiver<Report>>,
    registry: Registry,
) {
    let Some(question) = control::question(&mut client).await else { return };
    let value = match question {
        Question::Connections => mapping::connections(report).await,
        Question::Sync
        | Question::Grants
        | Question::Over
        | Question::Leases
        | Question::Revoke(_) => answer(&registry, question).await,
    };
    control::answer(&mut client, &value).await;
}

/// Answers a question about leases.
async fn answer(registry: &Registry, question: Question) -> Value {
    let result = match question {
        Question::Sync => sync(registry).await.map(|_| json!({})),
        Question::Grants => registry.call(|ledger| json!(ledger.grants())).await,
        Question::Over => registry.call(|ledger| json!(ledger.over())).await,
        Question::Leases => registry.call(|ledger| views(ledger.leases())).await,
        Question::Revoke(id) => {
            let ended = registry.call(move |ledger| ledger.release(&id, |_| true)).await;
            ended.map(|lease| json!({ "ended": views(lease.iter()) }))
        }
        Question::Connections => Ok(json!({})),
    };
    result.unwrap_or_else(|error| json!({ "error": error.to_string() }))
}

/// The leases in an answer.
pub(super) fn read(answer: Value) -> Vec<View> {
    serde_json::from_value(answer).unwrap_or_default()
}

/// The kernel's allow-list in an answer.
pub(super) fn read_grants(answer: Value) -> Result<Vec<Grant>, Error> {
    Ok(serde_json::from_value(answer).map_err(control::Error::Answer)?)
}

/// What an agent's answer says went wrong.
pub(super) fn refusal(answer: &Value) -> Option<Error> {
    answer["error"].as_str().map(|text| Error::Said(text.to_owned()))
}

/// What leases look like, in the order of their holders.
pub(super) fn views<'a>(leases: impl Iterator<Item = &'a lease::Lease>) -> Value {
    let now = clock::monotonic();
    let mut views: Vec<View> = leases.map(|lease| View::new(lease, now)).collect();
    views.sort_by(|a, b| (&a.identity, a.source, a.id).cmp(&(&b.identity, b.source, b.id)));
    json!(views)
}

async fn sync(registry: &Registry) -> Result<Changes, lease::Error> {
    registry.call(lease::Ledger::follow).await?
}

/// Follows a changed allow-list file.
pub(super) async fn follow(registry: Registry) {
    match sync(&registry).await {
        Ok(Changes { written: 0, removed: 0 }) => {}
        Ok(Changes { written, removed }) => {
            tracing::info!(written, removed, "allow-list in force");
        }
        Err(error) => {
            tracing::error!("allow-list not taken over, what was in force stays: {error}");
        }
    }
}
