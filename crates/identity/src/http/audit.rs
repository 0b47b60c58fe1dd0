//! The audit log, for reading.

use axum::extract::State as Shared;

use super::HttpState;
use super::answer::Answer;
use super::caller::Caller;
use super::input::Query;
use super::problem::Problem;
use super::query::{AuditQuery, Narrow};
use super::route::{Route, Verb};

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::new(Verb::Get, "/v1/audit", list)
            .called("listAudit", "The audit log, the newest entries first")
            .parameters(&["object", "actor", "sinceMs", "limit", "after"])
            .gives(200, "A part of the log.", "AuditPage", &[]),
    ]
}

async fn list(
    Shared(state): Shared<HttpState>,
    caller: Caller,
    Query(query): Query<AuditQuery>,
) -> Result<Answer, Problem> {
    let (filter, page) = query.narrow(&caller, state.store()).await?.into();
    Ok(Answer::ok(&state.store().audit(filter, page).await?))
}
