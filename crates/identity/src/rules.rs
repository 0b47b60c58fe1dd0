//! Who may do what, from what the store knows: no clock, no database.
//!
//! A grant is of use if everything it depends on may be used: the subject and its organisation, the data set and the
//! organisation whose it is, the grant itself, and its time has not come.

use std::fmt;

use crate::id::Id;
use crate::model::{Credential, Grant, Limits, State};
use crate::store::{GrantFact, KeyFacts, SubjectFacts};

/// The action of entering a database.
const CONNECT: &str = "connect";
/// Every action.
const EVERYTHING: &str = "*";
/// Most login roles that a reason names.
const NAMED_MAX: usize = 5;

/// What is asked.
#[derive(Clone, Copy, Debug)]
pub enum Ask<'a> {
    /// To enter a database of the pooler's.
    Connect {
        /// As the client names it.
        database: &'a str,
        /// The user it gives: a login role, or the name or id of the subject.
        user: &'a str,
    },
    /// To do something with a data set.
    Action {
        /// With which.
        dataset: &'a Id,
        /// What.
        action: &'a str,
    },
}

/// The answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Yes, by a grant.
    Allowed(Allowed),
    /// No.
    Refused(Reason),
}

/// By what something is allowed, and how far.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Allowed {
    /// The grant.
    pub grant: Id,
    /// The data set.
    pub dataset: Id,
    /// The organisation of the subject.
    pub org: Id,
    /// The login role.
    pub role: String,
    /// Limits of the grant.
    pub limits: Limits,
    /// When the grant ends, milliseconds since 1970.
    pub until_ms: Option<i64>,
}

/// Why something is not allowed, one sentence for people each.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// The credential may not be used now, or ever again.
    #[error("the credential is {}", word(.0))]
    Credential(State),
    /// The credential has ended.
    #[error("the credential has expired")]
    CredentialExpired,
    /// The application or user may not be used.
    #[error("{subject} is {}", word(.state))]
    Subject {
        /// Its id.
        subject: Id,
        /// Its state.
        state: State,
    },
    /// The organisation of the application or user may not be used.
    #[error("the organisation of {subject} is {}", word(.state))]
    Org {
        /// Whose.
        subject: Id,
        /// Its state.
        state: State,
    },
    /// There is no grant on that database at all.
    #[error("{subject} has no grant on database {database:?}")]
    NoGrantOnDatabase {
        /// Who asks.
        subject: Id,
        /// For what.
        database: String,
    },
    /// There is no grant on that data set at all.
    #[error("{subject} has no grant on {dataset}")]
    NoGrantOnDataSet {
        /// Who asks.
        subject: Id,
        /// For what.
        dataset: Id,
    },
    /// There are grants, and none of them is of use; this is the first of them.
    #[error("grant {grant} is of no use now: {why}")]
    GrantUnusable {
        /// Which.
        grant: Id,
        /// Why.
        why: Unusable,
    },
    /// There are grants, but not for this action.
    #[error("no grant of {subject} allows {action:?}")]
    ActionNotGranted {
        /// Who asks.
        subject: Id,
        /// For what.
        action: String,
    },
    /// There are grants, but not with this login role.
    #[error("{subject} may not enter as {user:?}; it may as {}", listed(.roles))]
    RoleNotGranted {
        /// Who asks.
        subject: Id,
        /// As whom.
        user: String,
        /// As whom it may.
        roles: Vec<String>,
    },
    /// The name of the subject stands for several login roles.
    #[error("{subject} has several login roles there, so one has to be named: {}", listed(.roles))]
    SeveralRoles {
        /// Who asks.
        subject: Id,
        /// Which.
        roles: Vec<String>,
    },
}

/// Why a grant is of no use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    /// The grant itself may not be used.
    #[error("it is {}", word(.0))]
    Grant(State),
    /// Its time has come.
    #[error("it has expired")]
    Expired,
    /// The data set may not be used.
    #[error("its data set is {}", word(.0))]
    DataSet(State),
    /// The organisation whose data set it is may not be used.
    #[error("the organisation of its data set is {}", word(.0))]
    DataSetOrg(State),
}

/// One organisation's use of a login role on a database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoleUse {
    /// The organisation of who was granted it.
    pub org: Id,
    /// Whether the grant says that others may have it too.
    pub shared: bool,
}

/// Why two grants cannot be beside each other.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RoleConflict {
    /// The other one does not share.
    #[error("{0} has it for itself (its grants do not say shared = true)")]
    Theirs(Id),
    /// This one does not.
    #[error("{0} has it too, so this grant has to say shared = true")]
    Mine(Id),
}

/// Whether a credential is good at a time.
///
/// # Errors
/// It is not; why.
pub fn credential_good(credential: &Credential, now_ms: i64) -> Result<(), Reason> {
    match credential.data.state {
        State::Active if has_ended(credential.data.expires_ms, now_ms) => Err(Reason::CredentialExpired),
        State::Active => Ok(()),
        state @ (State::Disabled | State::Revoked) => Err(Reason::Credential(state)),
    }
}

/// Whether a subject may be used at all: itself and its organisation.
///
/// # Errors
/// It may not; why.
pub fn subject_good(facts: &SubjectFacts) -> Result<(), Reason> {
    let subject = facts.holder.id();
    match (facts.holder.state(), facts.org.data.state) {
        (State::Active, State::Active) => Ok(()),
        (state @ (State::Disabled | State::Revoked), _) => {
            Err(Reason::Subject { subject: subject.clone(), state })
        }
        (State::Active, state @ (State::Disabled | State::Revoked)) => {
            Err(Reason::Org { subject: subject.clone(), state })
        }
    }
}

/// Whether what a token depends on beside its subject is good at a time: the key it was had with, and the application it
/// was issued to (`None`: it is its subject's own).
///
/// # Errors
/// It is not; why, for people.
pub(crate) fn around_good(
    subject: &SubjectFacts,
    key: Option<&KeyFacts>,
    client: Option<&SubjectFacts>,
    now_ms: i64,
) -> Result<(), String> {
    if let Some(key) = key {
        let (key_id, app) = (&key.credential.key_id, client.unwrap_or(subject).holder.id());
        credential_good(&key.credential, now_ms).map_err(|why| format!("key {key_id}: {why}"))?;
        if key.subject.holder.id() != app {
            return Err(format!("key {key_id} is not of {app}"));
        }
    }
    client.map_or(Ok(()), subject_good).map_err(|why| why.to_string())
}

/// Whether a grant is one to enter its database.
pub(crate) fn allows_connect(grant: &Grant) -> bool {
    allows(grant, CONNECT)
}

/// Whether a grant is of use at a time, as far as it does not depend on its subject.
///
/// # Errors
/// It is not; why.
pub fn grant_good(fact: &GrantFact, now_ms: i64) -> Result<(), Unusable> {
    let states = (fact.grant.data.state, fact.dataset.data.state, fact.dataset_org_state);
    match states {
        (State::Active, State::Active, State::Active) if has_ended(fact.grant.data.expires_ms, now_ms) => {
            Err(Unusable::Expired)
        }
        (State::Active, State::Active, State::Active) => Ok(()),
        (state @ (State::Disabled | State::Revoked), _, _) => Err(Unusable::Grant(state)),
        (_, state @ (State::Disabled | State::Revoked), _) => Err(Unusable::DataSet(state)),
        (_, _, state @ (State::Disabled | State::Revoked)) => Err(Unusable::DataSetOrg(state)),
    }
}

/// Whether a subject may do something at a time. Its credential has been looked at before.
pub fn decide(facts: &SubjectFacts, ask: &Ask<'_>, now_ms: i64) -> Decision {
    let answer = subject_good(facts).and_then(|()| match ask {
        Ask::Connect { database, user } => connect(facts, database, user, now_ms),
        Ask::Action { dataset, action } => act(facts, dataset, action, now_ms),
    });
    match answer {
        Ok(fact) => Decision::Allowed(Allowed {
            grant: fact.grant.id.clone(),
            dataset: fact.dataset.id.clone(),
            org: facts.org.id.clone(),
            role: fact.grant.data.role.clone(),
            limits: fact.grant.data.limits.clone(),
            until_ms: fact.grant.data.expires_ms,
        }),
        Err(reason) => Decision::Refused(reason),
    }
}

/// Whether two uses of one login role on one database get along: within an organisation always, between two if both
/// say so.
pub fn role_conflict(mine: &RoleUse, other: &RoleUse) -> Option<RoleConflict> {
    match (mine.org == other.org, mine.shared, other.shared) {
        (true, _, _) | (false, true, true) => None,
        (false, _, false) => Some(RoleConflict::Theirs(other.org.clone())),
        (false, false, true) => Some(RoleConflict::Mine(other.org.clone())),
    }
}

fn connect<'f>(
    facts: &'f SubjectFacts,
    database: &str,
    user: &str,
    now_ms: i64,
) -> Result<&'f GrantFact, Reason> {
    let there = |fact: &&GrantFact| fact.dataset.data.database == database;
    let good = good_grants(facts, there, CONNECT, now_ms, || Reason::NoGrantOnDatabase {
        subject: facts.holder.id().clone(),
        database: database.to_owned(),
    })?;
    if let Some(fact) = longest(good.iter().copied().filter(|fact| fact.grant.data.role == user)) {
        return Ok(fact);
    }
    let mut roles: Vec<String> = good.iter().map(|fact| fact.grant.data.role.clone()).collect();
    roles.sort_unstable();
    roles.dedup();
    let subject = facts.holder.id().clone();
    if user != facts.holder.name() && user != subject.as_str() {
        return Err(Reason::RoleNotGranted { subject, user: user.to_owned(), roles });
    }
    match (roles.as_slice(), longest(good.iter().copied())) {
        ([_], Some(fact)) => Ok(fact),
        _ => Err(Reason::SeveralRoles { subject, roles }),
    }
}

fn act<'f>(
    facts: &'f SubjectFacts,
    dataset: &Id,
    action: &str,
    now_ms: i64,
) -> Result<&'f GrantFact, Reason> {
    let there = |fact: &&GrantFact| fact.dataset.id == *dataset;
    let none = || Reason::NoGrantOnDataSet { subject: facts.holder.id().clone(), dataset: dataset.clone() };
    let good = good_grants(facts, there, action, now_ms, none)?;
    longest(good.iter().copied()).ok_or_else(none)
}

/// The grants that are there, of use, and for the action; at least one.
fn good_grants<'f>(
    facts: &'f SubjectFacts,
    there: impl Fn(&&'f GrantFact) -> bool,
    action: &str,
    now_ms: i64,
    none: impl Fn() -> Reason,
) -> Result<Vec<&'f GrantFact>, Reason> {
    let there: Vec<&GrantFact> = facts.grants.iter().filter(there).collect();
    let first = there.first().ok_or_else(none)?;
    let allowing: Vec<&GrantFact> =
        there.iter().copied().filter(|fact| allows(&fact.grant, action)).collect();
    let Some(first_allowing) = allowing.first() else {
        return Err(match grant_good(first, now_ms) {
            Err(why) => Reason::GrantUnusable { grant: first.grant.id.clone(), why },
            Ok(()) => {
                Reason::ActionNotGranted { subject: facts.holder.id().clone(), action: action.to_owned() }
            }
        });
    };
    let good: Vec<&GrantFact> =
        allowing.iter().copied().filter(|fact| grant_good(fact, now_ms).is_ok()).collect();
    match grant_good(first_allowing, now_ms) {
        Err(why) if good.is_empty() => {
            Err(Reason::GrantUnusable { grant: first_allowing.grant.id.clone(), why })
        }
        Err(_) | Ok(()) => Ok(good),
    }
}

fn allows(grant: &Grant, action: &str) -> bool {
    grant.data.actions.iter().any(|granted| granted == action || granted == EVERYTHING)
}

/// Of several the one that holds longest, and of these the oldest.
fn longest<'f>(facts: impl Iterator<Item = &'f GrantFact>) -> Option<&'f GrantFact> {
    facts.min_by_key(|fact| {
        let end = fact.grant.data.expires_ms.unwrap_or(i64::MAX);
        (std::cmp::Reverse(end), fact.grant.id.clone())
    })
}

/// At its very end something has ended.
fn has_ended(expires_ms: Option<i64>, now_ms: i64) -> bool {
    expires_ms.is_some_and(|end| end <= now_ms)
}

fn word(state: &State) -> &'static str {
    match state {
        State::Active => "active",
        State::Disabled => "disabled",
        State::Revoked => "revoked",
    }
}

fn listed(roles: &[String]) -> impl fmt::Display {
    let mut text =
        roles.iter().take(NAMED_MAX).map(|role| format!("{role:?}")).collect::<Vec<_>>().join(", ");
    if let Some(more) = roles.len().checked_sub(NAMED_MAX).filter(|more| *more > 0) {
        text.push_str(&format!(" and {more} more"));
    }
    text
}

#[cfg(test)]
mod tests;
