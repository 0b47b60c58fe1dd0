//! Grants, and the rule that two organisations do not share a login role unawares.

use super::cells::{Cells, Column, Value};
use super::noun::{Noun, Words, stays};
use super::read::Conditions;
use super::write::{Write, statement};
use super::{Listed, Page, Store, StoreFault, Who, check};
use crate::id::{Id, Kind};
use crate::model::{Application, DataSet, Grant, GrantData, Meta, State, User};
use crate::rules::{RoleUse, role_conflict};

/// Most grants of one application or user: a decision looks at all of them.
const GRANTS_MAX: i64 = 1000;

/// Which grants.
#[derive(Clone, Debug, Default)]
pub struct GrantFilter {
    /// Of this application or user.
    pub subject: Option<Id>,
    /// On this data set.
    pub dataset: Option<Id>,
    /// Of applications and users of this organisation.
    pub org: Option<Id>,
    /// In this state.
    pub state: Option<State>,
}

impl Noun for Grant {
    type Data = GrantData;

    const WORDS: Words = Words {
        audit: "grant",
        people: "grant",
        table: "plimsoll_grants",
        key: "id",
        twice: "there is a grant of that id",
        columns: &["subject", "dataset", "db_role", "actions", "limits", "shared", "expires_ms", "state"],
    };

    fn read(cells: &mut Cells<'_>) -> Result<Grant, sqlx::Error> {
        let id = cells.id(Kind::Grant)?;
        let meta = cells.meta()?;
        let data = GrantData {
            subject: cells.any_id()?,
            dataset: cells.id(Kind::DataSet)?,
            role: cells.text()?,
            actions: cells.json()?,
            limits: cells.json()?,
            shared: cells.flag()?,
            expires_ms: cells.maybe_number()?,
            state: cells.state()?,
        };
        Ok(Grant { id, data, meta })
    }

    fn key(&self) -> &str {
        self.id.as_str()
    }

    fn data(&self) -> &GrantData {
        &self.data
    }

    fn meta(&self) -> &Meta {
        &self.meta
    }

    fn state(data: &GrantData) -> State {
        data.state
    }

    fn chosen(data: &GrantData) -> Vec<Column> {
        vec![
            ("subject", Value::id(&data.subject)),
            ("dataset", Value::id(&data.dataset)),
            ("db_role", Value::Text(data.role.clone())),
            ("actions", Value::json(&data.actions)),
            ("limits", Value::json(&data.limits)),
            ("shared", Value::flag(data.shared)),
            ("expires_ms", Value::MaybeNumber(data.expires_ms)),
            ("state", Value::state(data.state)),
        ]
    }

    fn check_stays(old: &GrantData, new: &GrantData) -> Result<(), StoreFault> {
        stays("subject", &old.subject, &new.subject)?;
        stays("dataset", &old.dataset, &new.dataset)?;
        stays("role", &old.role, &new.role)
    }
}

impl Store {
    /// Makes a grant.
    ///
    /// # Errors
    /// `Invalid`, `Conflict` (the subject or the data set is revoked, the subject has 1,000 grants, or another
    /// organisation has the login role on that database and not both say that they share it), `Down`.
    pub async fn create_grant(&self, data: GrantData, who: Who<'_>) -> Result<Grant, StoreFault> {
        check::grant(&data)?;
        let mut write = self.write(who).await?;
        let org = org_of_subject(&mut write, &data.subject).await?;
        let dataset = dataset_of(&mut write, &data).await?;
        check_count(&mut write, &data.subject).await?;
        let id = check::new_id(Kind::Grant, who.now_ms)?;
        let grant: Grant = write.insert(id.as_str(), &data, vec![("org", Value::id(&org))]).await?;
        check_role(&mut write, &dataset.data.database, &data, &org).await?;
        write.commit().await?;
        Ok(grant)
    }

    /// A grant.
    ///
    /// # Errors
    /// `Missing`, `Down`.
    pub async fn grant(&self, id: &Id) -> Result<Grant, StoreFault> {
        self.find(id.as_str()).await
    }

    /// Changes a grant, if its version is the expected one.
    ///
    /// # Errors
    /// `Missing`, `Stale`, `Invalid`, `Conflict` (it is revoked, or another organisation has the login role on that
    /// database and not both say that they share it), `Down`.
    pub async fn change_grant(
        &self,
        id: &Id,
        expect: Option<i64>,
        data: GrantData,
        who: Who<'_>,
    ) -> Result<Grant, StoreFault> {
        check::grant(&data)?;
        let mut write = self.write(who).await?;
        let old: Grant = write.current(id.as_str(), expect).await?;
        let grant = write.replace(old, &data).await?;
        let dataset: DataSet = write.current(data.dataset.as_str(), None).await?;
        let org = org_of_grant(&mut write, id).await?;
        check_role(&mut write, &dataset.data.database, &data, &org).await?;
        write.commit().await?;
        Ok(grant)
    }

    /// Removes a grant.
    ///
    /// # Errors
    /// `Missing`, `Stale`, `Down`.
    pub async fn delete_grant(&self, id: &Id, expect: Option<i64>, who: Who<'_>) -> Result<(), StoreFault> {
        let mut write = self.write(who).await?;
        let old: Grant = write.current(id.as_str(), expect).await?;
        write.remove(&old).await?;
        write.commit().await
    }

    /// Whether applications or users of an organisation have a login role on a data set, now or later.
    ///
    /// # Errors
    /// `Down`.
    pub async fn has_role(&self, dataset: &Id, role: &str, org: &Id) -> Result<bool, StoreFault> {
        if check::is_db_name(role).is_err() {
            return Ok(false);
        }
        let sql = "SELECT id FROM plimsoll_grants WHERE dataset = $1 AND db_role = $2 AND org = $3 \
                   AND state <> 'revoked' LIMIT 1";
        let values = vec![Value::id(dataset), Value::Text(role.to_owned()), Value::id(org)];
        Ok(statement(sql.to_owned(), values).fetch_optional(&self.reads).await?.is_some())
    }

    /// Grants, in the order in which they were made.
    ///
    /// # Errors
    /// `Invalid` (the page), `Down`.
    pub async fn grants(&self, filter: GrantFilter, page: Page) -> Result<Listed<Grant>, StoreFault> {
        let subject = filter.subject.as_ref().map(Value::id);
        let dataset = filter.dataset.as_ref().map(Value::id);
        let org = filter.org.as_ref().map(Value::id);
        let start = Conditions::default();
        let conditions = match (&subject, &dataset) {
            (Some(_), _) => {
                start.equals("subject", subject).also_equals("dataset", dataset).also_equals("org", org)
            }
            (None, Some(_)) => start.equals("dataset", dataset).also_equals("org", org),
            (None, None) => start.equals("org", org),
        };
        self.list(conditions.equals("state", filter.state.map(Value::state)), page).await
    }
}

/// The organisation of who shall have a grant.
async fn org_of_subject(write: &mut Write<'_>, subject: &Id) -> Result<Id, StoreFault> {
    let found = match subject.kind() {
        Kind::App => {
            write.find::<Application>(subject.as_str()).await?.map(|app| (app.data.org, app.data.state))
        }
        Kind::User => {
            write.find::<User>(subject.as_str()).await?.map(|user| (user.data.org, user.data.state))
        }
        Kind::Org | Kind::DataSet | Kind::Grant => None,
    };
    match found {
        None => Err(StoreFault::Invalid {
            field: "subject",
            why: "there is no such application or user".to_owned(),
        }),
        Some((_, State::Revoked)) => {
            Err(StoreFault::Conflict { why: "the application or user is revoked".to_owned() })
        }
        Some((org, State::Active | State::Disabled)) => Ok(org),
    }
}

async fn dataset_of(write: &mut Write<'_>, data: &GrantData) -> Result<DataSet, StoreFault> {
    match write.find::<DataSet>(data.dataset.as_str()).await? {
        None => Err(StoreFault::Invalid { field: "dataset", why: "there is no such data set".to_owned() }),
        Some(dataset) if dataset.data.state == State::Revoked => {
            Err(StoreFault::Conflict { why: "the data set is revoked".to_owned() })
        }
        Some(dataset) => Ok(dataset),
    }
}

async fn check_count(write: &mut Write<'_>, subject: &Id) -> Result<(), StoreFault> {
    let sql = "SELECT COUNT(*) FROM plimsoll_grants WHERE subject = $1".to_owned();
    let row = write.first_row(sql, vec![Value::id(subject)]).await?;
    let count = row.map(|row| Cells::of(&row).number()).transpose()?.unwrap_or(0);
    if count < GRANTS_MAX {
        return Ok(());
    }
    Err(StoreFault::Conflict { why: format!("it has {GRANTS_MAX} grants: delete those that are revoked") })
}

async fn org_of_grant(write: &mut Write<'_>, grant: &Id) -> Result<Id, StoreFault> {
    let sql = "SELECT org FROM plimsoll_grants WHERE id = $1".to_owned();
    let row = write.first_row(sql, vec![Value::id(grant)]).await?;
    let row = row.ok_or(StoreFault::Missing { what: Grant::WORDS.people })?;
    Ok(Cells::of(&row).id(Kind::Org)?)
}

/// Applies the rule of login roles to one grant. What is revoked has no say; what has ended has, since its end can be
/// moved.
async fn check_role(
    write: &mut Write<'_>,
    database: &str,
    data: &GrantData,
    org: &Id,
) -> Result<(), StoreFault> {
    if data.state == State::Revoked {
        return Ok(());
    }
    let mine = RoleUse { org: org.clone(), shared: data.shared };
    check_role_use(write, database, &data.role, &mine).await
}

/// The same to all grants on a data set, for the database which it is now a part of.
pub(super) async fn check_roles_of_dataset(
    write: &mut Write<'_>,
    dataset: &DataSet,
) -> Result<(), StoreFault> {
    let sql = "SELECT DISTINCT db_role, org, shared FROM plimsoll_grants \
               WHERE dataset = $1 AND state <> 'revoked'";
    for row in write.rows(sql.to_owned(), vec![Value::id(&dataset.id)]).await? {
        let mut cells = Cells::of(&row);
        let role = cells.text()?;
        let mine = RoleUse { org: cells.id(Kind::Org)?, shared: cells.flag()? };
        check_role_use(write, &dataset.data.database, &role, &mine).await?;
    }
    Ok(())
}

async fn check_role_use(
    write: &mut Write<'_>,
    database: &str,
    role: &str,
    mine: &RoleUse,
) -> Result<(), StoreFault> {
    // Of the others the one that shares least: whoever gets along with it gets along with all.
    let sql = "SELECT g.org, g.shared FROM plimsoll_grants AS g JOIN plimsoll_datasets AS d ON d.id = g.dataset \
               WHERE d.db = $1 AND g.db_role = $2 AND g.state <> 'revoked' AND COALESCE(g.org, '') <> $3 \
               ORDER BY g.shared LIMIT 1";
    let values = vec![Value::Text(database.to_owned()), Value::Text(role.to_owned()), Value::id(&mine.org)];
    let Some(row) = write.first_row(sql.to_owned(), values).await? else { return Ok(()) };
    let mut cells = Cells::of(&row);
    let other = RoleUse { org: cells.id(Kind::Org)?, shared: cells.flag()? };
    match role_conflict(mine, &other) {
        None => Ok(()),
        Some(conflict) => Err(StoreFault::Conflict {
            why: format!("login role {role:?} on database {database:?}: {conflict}"),
        }),
    }
}
