//! Passwords of users: they go in and never come out.

use axum::extract::State as Shared;
use plimsoll_types::Secret;
use serde::Deserialize;

use super::HttpState;
use super::answer::Answer;
use super::caller::Caller;
use super::input::{Json, PathText};
use super::problem::Problem;
use super::resource::{Guarded, found};
use super::route::{Route, Verb};
use crate::model::User;
use crate::password::PasswordFault;

const PATH: &str = "/v1/users/{id}/password";

/// No `Debug`: nobody prints it by mistake.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewPassword {
    password: String,
}

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::new(Verb::Put, PATH, put)
            .called("setPassword", "Give a user another password")
            .path_id("UserId")
            .takes("NewPassword")
            .gives_nothing(204, "It is set."),
        Route::new(Verb::Delete, PATH, remove)
            .called("removePassword", "Take the password of a user away")
            .path_id("UserId")
            .gives_nothing(204, "There is none any more."),
    ]
}

async fn put(
    Shared(state): Shared<HttpState>,
    caller: Caller,
    PathText(id): PathText,
    Json { value: NewPassword { password }, sha256: _ }: Json<NewPassword>,
) -> Result<Answer, Problem> {
    let user: User = found(&state, &id).await?;
    user.may_change(&caller, state.store(), None).await?;
    let password = Secret::new(password.into_bytes());
    let phc = state.passwords().hash(password, state.chance()?).await.map_err(refused)?;
    state.store().set_user_password(&user.id, Some(&phc), caller.who()).await?;
    Ok(Answer::done())
}

async fn remove(
    Shared(state): Shared<HttpState>,
    caller: Caller,
    PathText(id): PathText,
) -> Result<Answer, Problem> {
    let user: User = found(&state, &id).await?;
    user.may_change(&caller, state.store(), None).await?;
    state.store().set_user_password(&user.id, None, caller.who()).await?;
    Ok(Answer::done())
}

fn refused(fault: PasswordFault) -> Problem {
    match fault {
        PasswordFault::TooShort | PasswordFault::TooLong => Problem::invalid("password", fault.to_string()),
        PasswordFault::Busy => Problem::too_many(fault, 1),
        PasswordFault::Unreadable | PasswordFault::Failed => {
            tracing::warn!("identity API: {fault}");
            Problem::unavailable()
        }
    }
}
