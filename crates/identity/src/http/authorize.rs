//! Authorisation as a question of other components: may this application, this user or the holder of this key do that
//! with a data set?

use std::sync::Arc;

use axum::extract::State as Shared;
use serde::{Deserialize, Deserializer, Serialize};

use super::HttpState;
use super::answer::Answer;
use super::caller::{Caller, right_key};
use super::input::Json;
use super::problem::Problem;
use super::route::{Route, Verb};
use crate::id::{Id, Kind};
use crate::key::Key;
use crate::rules::{Ask, Decision, credential_good, decide};
use crate::store::{ACTION_CHARS_MAX, Store, SubjectFacts};

/// The question. One of the first three is there.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Question {
    #[serde(default, deserialize_with = "named")]
    application: Option<Id>,
    #[serde(default, deserialize_with = "named")]
    user: Option<Id>,
    /// A whole key, as somebody presented it.
    #[serde(default, deserialize_with = "named")]
    key: Option<String>,
    dataset: Id,
    action: String,
}

/// What is not there is not named; null names nobody.
fn named<'de, T: Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

/// Yes or no.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
enum Word {
    Allow,
    Deny,
}

/// The answer.
#[derive(Serialize)]
struct Verdict {
    decision: Word,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<Id>,
    #[serde(skip_serializing_if = "Option::is_none")]
    grant: Option<Id>,
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    until_ms: Option<i64>,
    reason: String,
}

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::new(Verb::Post, "/v1/authorize", authorize)
            .called(
                "decide",
                "May an application, a user or the holder of a key do something with a data set?",
            )
            .takes("Question")
            .gives(200, "The answer, with the reason for it.", "Verdict", &[]),
    ]
}

async fn authorize(
    Shared(state): Shared<HttpState>,
    caller: Caller,
    Json { value: question, sha256: _ }: Json<Question>,
) -> Result<Answer, Problem> {
    caller.need_authorize()?;
    if question.dataset.kind() != Kind::DataSet {
        return Err(Problem::invalid("dataset", format!("its id begins with {}", Kind::DataSet.prefix())));
    }
    // Counting ends early: what comes in may be long.
    if !(1..=ACTION_CHARS_MAX).contains(&question.action.chars().take(ACTION_CHARS_MAX + 1).count()) {
        return Err(Problem::invalid("action", format!("it has 1 to {ACTION_CHARS_MAX} characters")));
    }
    let verdict = match subject(state.store(), &question, caller.now_ms).await? {
        Ok(facts) => judge(&facts, &question, caller.now_ms),
        Err(reason) => denied(None, reason),
    };
    Ok(Answer::ok(&verdict))
}

fn judge(facts: &SubjectFacts, question: &Question, now_ms: i64) -> Verdict {
    let subject = facts.holder.id().clone();
    let ask = Ask::Action { dataset: &question.dataset, action: &question.action };
    match decide(facts, &ask, now_ms) {
        Decision::Refused(reason) => denied(Some(subject), reason.to_string()),
        Decision::Allowed(allowed) => Verdict {
            decision: Word::Allow,
            reason: format!("{} allows it", allowed.grant),
            subject: Some(subject),
            grant: Some(allowed.grant),
            role: Some(allowed.role),
            until_ms: allowed.until_ms,
        },
    }
}

fn denied(subject: Option<Id>, reason: String) -> Verdict {
    Verdict { decision: Word::Deny, subject, grant: None, role: None, until_ms: None, reason }
}

/// Whom the question is about; `Err` is why nobody.
async fn subject(
    store: &Store,
    question: &Question,
    now_ms: i64,
) -> Result<Result<Arc<SubjectFacts>, String>, Problem> {
    match (&question.application, &question.user, &question.key) {
        (Some(id), None, None) => of_id(store, id, Kind::App, "application").await,
        (None, Some(id), None) => of_id(store, id, Kind::User, "user").await,
        (None, None, Some(key)) => of_key(store, key, now_ms).await,
        _ => Err(Problem::invalid("", "one of application, user and key is wanted")),
    }
}

async fn of_id(
    store: &Store,
    id: &Id,
    kind: Kind,
    field: &'static str,
) -> Result<Result<Arc<SubjectFacts>, String>, Problem> {
    if id.kind() != kind {
        return Err(Problem::invalid(field, format!("its id begins with {}", kind.prefix())));
    }
    let facts = store.facts_of_subject(id).await?.map(Arc::new);
    Ok(facts.ok_or_else(|| format!("there is no such {field}")))
}

async fn of_key(
    store: &Store,
    presented: &str,
    now_ms: i64,
) -> Result<Result<Arc<SubjectFacts>, String>, Problem> {
    let parsed = match Key::parse(presented) {
        Ok(parsed) => parsed,
        Err(fault) => return Ok(Err(fault.to_string())),
    };
    let facts = right_key(store, &parsed).await?;
    Ok(match facts {
        None => Err("the key is not known".to_owned()),
        Some(facts) => match credential_good(&facts.credential, now_ms) {
            Ok(()) => Ok(facts.subject),
            Err(reason) => Err(reason.to_string()),
        },
    })
}
