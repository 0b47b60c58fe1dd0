//! How lists are asked for, and which part of them somebody gets to see.

use std::future::Future;

use serde::Deserialize;

use super::caller::Caller;
use super::problem::Problem;
use crate::id::Id;
use crate::model::{Scope, State};
use crate::store::{
    AppFilter, AuditFilter, CredentialFilter, DataSetFilter, GrantFilter, OrgFilter, Page, Store, UserFilter,
};

/// Items in a part of a list when nothing is said.
const LIMIT: u32 = 50;

/// Most items in a part.
const LIMIT_MAX: u32 = 200;

/// Makes a question as wide as who asks may see; what is wider is refused.
pub(super) trait Narrow: Sized {
    fn narrow(self, caller: &Caller, store: &Store) -> impl Future<Output = Result<Self, Problem>> + Send;
}

fn limit() -> u32 {
    LIMIT
}

/// Which part of a list: refused before the store is asked.
fn check_page(limit: u32, after: Option<&str>) -> Result<(), Problem> {
    if !(1..=LIMIT_MAX).contains(&limit) {
        return Err(Problem::bad_request(format!("limit: it is 1 to {LIMIT_MAX}")));
    }
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    if after.is_some_and(|after| after.len() > 64 || !after.bytes().all(fits)) {
        return Err(Problem::bad_request("after: it is not what a list ended with"));
    }
    Ok(())
}

/// The organisation whose things are listed: an administrator of one sees this one.
fn narrow_org(org: Option<Id>, caller: &Caller) -> Result<Option<Id>, Problem> {
    if caller.has(Scope::Admin) {
        return Ok(org);
    }
    let org = org.unwrap_or_else(|| caller.org.clone());
    caller.need_org(&org)?;
    Ok(Some(org))
}

/// Which organisations.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct OrgQuery {
    name: Option<String>,
    state: Option<State>,
    #[serde(default = "limit")]
    limit: u32,
    after: Option<String>,
}

impl Narrow for OrgQuery {
    async fn narrow(self, caller: &Caller, _store: &Store) -> Result<OrgQuery, Problem> {
        check_page(self.limit, self.after.as_deref())?;
        caller.need_admin()?;
        Ok(self)
    }
}

impl From<OrgQuery> for (OrgFilter, Page) {
    fn from(query: OrgQuery) -> (OrgFilter, Page) {
        (OrgFilter { name: query.name, state: query.state }, Page { after: query.after, limit: query.limit })
    }
}

/// What belongs to an organisation is asked for in the same way.
macro_rules! of_org {
    ($(#[$doc:meta])* $query:ident, $filter:ident, $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Deserialize)]
        #[serde(deny_unknown_fields)]
        pub(super) struct $query {
            $name: Option<String>,
            org: Option<Id>,
            state: Option<State>,
            #[serde(default = "limit")]
            limit: u32,
            after: Option<String>,
        }

        impl Narrow for $query {
            async fn narrow(self, caller: &Caller, _store: &Store) -> Result<$query, Problem> {
                check_page(self.limit, self.after.as_deref())?;
                Ok($query { org: narrow_org(self.org, caller)?, ..self })
            }
        }

        impl From<$query> for ($filter, Page) {
            fn from(query: $query) -> ($filter, Page) {
                let filter = $filter { $name: query.$name, org: query.org, state: query.state };
                (filter, Page { after: query.after, limit: query.limit })
            }
        }
    };
}

of_org!(
    /// Which data sets.
    DataSetQuery,
    DataSetFilter,
    name
);
of_org!(
    /// Which users.
    UserQuery,
    UserFilter,
    login
);
of_org!(
    /// Which applications.
    AppQuery,
    AppFilter,
    name
);

/// Which grants.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct GrantQuery {
    subject: Option<Id>,
    dataset: Option<Id>,
    org: Option<Id>,
    state: Option<State>,
    #[serde(default = "limit")]
    limit: u32,
    after: Option<String>,
}

impl Narrow for GrantQuery {
    async fn narrow(self, caller: &Caller, store: &Store) -> Result<GrantQuery, Problem> {
        check_page(self.limit, self.after.as_deref())?;
        if caller.has(Scope::Admin) {
            return Ok(self);
        }
        // Whoever owns a data set sees who else may enter it.
        if let (Some(dataset), None) = (&self.dataset, &self.org)
            && let Ok(dataset) = store.dataset(dataset).await
            && caller.need_org(&dataset.data.org).is_ok()
        {
            return Ok(self);
        }
        Ok(GrantQuery { org: narrow_org(self.org, caller)?, ..self })
    }
}

impl From<GrantQuery> for (GrantFilter, Page) {
    fn from(query: GrantQuery) -> (GrantFilter, Page) {
        let GrantQuery { subject, dataset, org, state, limit, after } = query;
        (GrantFilter { subject, dataset, org, state }, Page { after, limit })
    }
}

/// Which keys.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct KeyQuery {
    name: Option<String>,
    app: Option<Id>,
    org: Option<Id>,
    state: Option<State>,
    #[serde(default = "limit")]
    limit: u32,
    after: Option<String>,
}

impl Narrow for KeyQuery {
    async fn narrow(self, caller: &Caller, _store: &Store) -> Result<KeyQuery, Problem> {
        check_page(self.limit, self.after.as_deref())?;
        Ok(KeyQuery { org: narrow_org(self.org, caller)?, ..self })
    }
}

impl From<KeyQuery> for (CredentialFilter, Page) {
    fn from(query: KeyQuery) -> (CredentialFilter, Page) {
        let KeyQuery { name, app, org, state, limit, after } = query;
        (CredentialFilter { app, org, name, kind: None, state }, Page { after, limit })
    }
}

/// Which entries of the audit log.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AuditQuery {
    object: Option<String>,
    actor: Option<String>,
    since_ms: Option<i64>,
    #[serde(default = "limit")]
    limit: u32,
    after: Option<String>,
}

impl Narrow for AuditQuery {
    async fn narrow(self, caller: &Caller, _store: &Store) -> Result<AuditQuery, Problem> {
        check_page(self.limit, self.after.as_deref())?;
        let number = |after: &String| after.parse::<i64>().is_ok();
        if !self.after.as_ref().is_none_or(number) {
            return Err(Problem::bad_request("after: it is not what a list ended with"));
        }
        caller.need_admin()?;
        Ok(self)
    }
}

impl From<AuditQuery> for (AuditFilter, Page) {
    fn from(query: AuditQuery) -> (AuditFilter, Page) {
        let AuditQuery { object, actor, since_ms, limit, after } = query;
        (AuditFilter { object, actor, since_ms }, Page { after, limit })
    }
}
