//! Users and their passwords.

use serde_json::json;

use super::cells::{Cells, Column, Value};
use super::noun::{Noun, Words, select_list, stays};
use super::read::Conditions;
use super::write::statement;
use super::{Listed, Page, Store, StoreFault, Who, check, orgs};
use crate::id::{Id, Kind};
use crate::model::{Meta, State, User, UserData};

/// Which users.
#[derive(Clone, Debug, Default)]
pub struct UserFilter {
    /// With this login: one at most.
    pub login: Option<String>,
    /// Of this organisation.
    pub org: Option<Id>,
    /// In this state.
    pub state: Option<State>,
}

impl Noun for User {
    type Data = UserData;

    const WORDS: Words = Words {
        audit: "user",
        people: "user",
        table: "plimsoll_users",
        key: "id",
        twice: "there is a user of that login",
        columns: &["org", "login", "scopes", "state", "has_password"],
    };

    fn read(cells: &mut Cells<'_>) -> Result<User, sqlx::Error> {
        let id = cells.id(Kind::User)?;
        let meta = cells.meta()?;
        let data = UserData {
            org: cells.id(Kind::Org)?,
            login: cells.text()?,
            scopes: cells.json()?,
            state: cells.state()?,
        };
        Ok(User { id, data, has_password: cells.flag()?, meta })
    }

    fn key(&self) -> &str {
        self.id.as_str()
    }

    fn data(&self) -> &UserData {
        &self.data
    }

    fn meta(&self) -> &Meta {
        &self.meta
    }

    fn state(data: &UserData) -> State {
        data.state
    }

    fn chosen(data: &UserData) -> Vec<Column> {
        vec![
            ("org", Value::id(&data.org)),
            ("login", Value::Text(data.login.clone())),
            ("scopes", Value::json(&data.scopes)),
            ("state", Value::state(data.state)),
        ]
    }

    fn check_stays(old: &UserData, new: &UserData) -> Result<(), StoreFault> {
        stays("org", &old.org, &new.org)
    }
}

impl Store {
    /// Makes a user, without a password.
    ///
    /// # Errors
    /// `Invalid`, `Conflict` (the login is taken, the organisation is revoked), `Down`.
    pub async fn create_user(&self, data: UserData, who: Who<'_>) -> Result<User, StoreFault> {
        check::user(&data)?;
        let mut write = self.write(who).await?;
        orgs::check_org(&mut write, &data.org).await?;
        let id = check::new_id(Kind::User, who.now_ms)?;
        let user = write.insert(id.as_str(), &data, Vec::new()).await?;
        write.commit().await?;
        Ok(user)
    }

    /// A user.
    ///
    /// # Errors
    /// `Missing`, `Down`.
    pub async fn user(&self, id: &Id) -> Result<User, StoreFault> {
        self.find(id.as_str()).await
    }

    /// Changes a user, if its version is the expected one.
    ///
    /// # Errors
    /// `Missing`, `Stale`, `Invalid`, `Conflict` (the login is taken, the user is revoked), `Down`.
    pub async fn change_user(
        &self,
        id: &Id,
        expect: Option<i64>,
        data: UserData,
        who: Who<'_>,
    ) -> Result<User, StoreFault> {
        check::user(&data)?;
        let mut write = self.write(who).await?;
        let old: User = write.current(id.as_str(), expect).await?;
        let user = write.replace(old, &data).await?;
        write.commit().await?;
        Ok(user)
    }

    /// Removes a user with its grants, as [`Store::delete_app`] does; each of them has its own entry in the audit log.
    ///
    /// # Errors
    /// `Missing`, `Stale`, `Down`.
    pub async fn delete_user(&self, id: &Id, expect: Option<i64>, who: Who<'_>) -> Result<(), StoreFault> {
        let revoked = |data: &UserData| UserData { state: State::Revoked, ..data.clone() };
        self.delete_in_steps::<User>(id, expect, revoked, who).await
    }

    /// Users, in the order in which they were made.
    ///
    /// # Errors
    /// `Invalid` (the page, the login), `Down`.
    pub async fn users(&self, filter: UserFilter, page: Page) -> Result<Listed<User>, StoreFault> {
        let conditions = Conditions::of_org(("login", filter.login), filter.org.as_ref(), filter.state)?;
        self.list(conditions, page).await
    }

    /// Gives a user another password (as a PHC string), or takes it away.
    ///
    /// # Errors
    /// `Missing`, `Invalid`, `Conflict` (the user is revoked), `Down`.
    pub async fn set_user_password(
        &self,
        id: &Id,
        phc: Option<&str>,
        who: Who<'_>,
    ) -> Result<User, StoreFault> {
        check::phc(phc)?;
        let mut write = self.write(who).await?;
        let old: User = write.current(id.as_str(), None).await?;
        if old.data.state == State::Revoked {
            return Err(StoreFault::Conflict { why: "this user is revoked for good".to_owned() });
        }
        let columns = vec![
            ("password", Value::MaybeText(phc.map(str::to_owned))),
            ("has_password", Value::flag(phc.is_some())),
        ];
        write.set::<User>(id.as_str(), columns).await?;
        write.note("user.password", id.as_str(), &json!({ "has_password": phc.is_some() })).await?;
        let user = write.current(id.as_str(), None).await?;
        write.commit().await?;
        Ok(user)
    }

    /// The user who signs in with a login, and the PHC string of the password.
    ///
    /// # Errors
    /// `Down`.
    pub async fn user_by_login(&self, login: &str) -> Result<Option<(User, Option<String>)>, StoreFault> {
        if check::is_name(login).is_err() {
            return Ok(None);
        }
        let sql = format!(
            "SELECT {}, x.password FROM plimsoll_users AS x WHERE x.login = $1",
            select_list::<User>("x")
        );
        let row = statement(sql, vec![Value::Text(login.to_owned())]).fetch_optional(&self.reads).await?;
        let Some(row) = row else { return Ok(None) };
        let mut cells = Cells::of(&row);
        Ok(Some((User::read(&mut cells)?, cells.maybe_text()?)))
    }
}
