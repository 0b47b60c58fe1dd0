//! Applications.

use super::cells::{Cells, Column, Value};
use super::noun::{Noun, Words, stays};
use super::read::Conditions;
use super::{Listed, Page, Store, StoreFault, Who, check, orgs};
use crate::id::{Id, Kind};
use crate::model::{AppData, Application, Meta, State};

/// Which applications.
#[derive(Clone, Debug, Default)]
pub struct AppFilter {
    /// Of this name.
    pub name: Option<String>,
    /// Of this organisation.
    pub org: Option<Id>,
    /// In this state.
    pub state: Option<State>,
}

impl Noun for Application {
    type Data = AppData;

    const WORDS: Words = Words {
        audit: "app",
        people: "application",
        table: "plimsoll_apps",
        key: "id",
        twice: "the organisation has an application of that name",
        columns: &["org", "name", "party", "redirect_uris", "state"],
    };

    fn read(cells: &mut Cells<'_>) -> Result<Application, sqlx::Error> {
        let id = cells.id(Kind::App)?;
        let meta = cells.meta()?;
        let data = AppData {
            org: cells.id(Kind::Org)?,
            name: cells.text()?,
            party: cells.json()?,
            redirect_uris: cells.json()?,
            state: cells.state()?,
        };
        Ok(Application { id, data, meta })
    }

    fn key(&self) -> &str {
        self.id.as_str()
    }

    fn data(&self) -> &AppData {
        &self.data
    }

    fn meta(&self) -> &Meta {
        &self.meta
    }

    fn state(data: &AppData) -> State {
        data.state
    }

    fn chosen(data: &AppData) -> Vec<Column> {
        vec![
            ("org", Value::id(&data.org)),
            ("name", Value::Text(data.name.clone())),
            ("party", Value::json(&data.party)),
            ("redirect_uris", Value::json(&data.redirect_uris)),
            ("state", Value::state(data.state)),
        ]
    }

    fn check_stays(old: &AppData, new: &AppData) -> Result<(), StoreFault> {
        stays("org", &old.org, &new.org)
    }
}

impl Store {
    /// Makes an application.
    ///
    /// # Errors
    /// `Invalid`, `Conflict` (its name is taken, its organisation is revoked), `Down`.
    pub async fn create_app(&self, data: AppData, who: Who<'_>) -> Result<Application, StoreFault> {
        check::app(&data)?;
        let mut write = self.write(who).await?;
        orgs::check_org(&mut write, &data.org).await?;
        let id = check::new_id(Kind::App, who.now_ms)?;
        let app = write.insert(id.as_str(), &data, Vec::new()).await?;
        write.commit().await?;
        Ok(app)
    }

    /// An application.
    ///
    /// # Errors
    /// `Missing`, `Down`.
    pub async fn app(&self, id: &Id) -> Result<Application, StoreFault> {
        self.find(id.as_str()).await
    }

    /// Changes an application, if its version is the expected one.
    ///
    /// # Errors
    /// `Missing`, `Stale`, `Invalid`, `Conflict` (its name is taken, it is revoked), `Down`.
    pub async fn change_app(
        &self,
        id: &Id,
        expect: Option<i64>,
        data: AppData,
        who: Who<'_>,
    ) -> Result<Application, StoreFault> {
        check::app(&data)?;
        let mut write = self.write(who).await?;
        let old: Application = write.current(id.as_str(), expect).await?;
        let app = write.replace(old, &data).await?;
        write.commit().await?;
        Ok(app)
    }

    /// Removes an application with its credentials and grants; each of them has its own entry in the audit log. One with
    /// very many is revoked first and then removed in steps; when it was interrupted, to ask again goes on.
    ///
    /// # Errors
    /// `Missing`, `Stale`, `Down`.
    pub async fn delete_app(&self, id: &Id, expect: Option<i64>, who: Who<'_>) -> Result<(), StoreFault> {
        let revoked = |data: &AppData| AppData { state: State::Revoked, ..data.clone() };
        self.delete_in_steps::<Application>(id, expect, revoked, who).await
    }

    /// Applications, in the order in which they were made.
    ///
    /// # Errors
    /// `Invalid` (the page, the name), `Down`.
    pub async fn apps(&self, filter: AppFilter, page: Page) -> Result<Listed<Application>, StoreFault> {
        let conditions = Conditions::of_org(("name", filter.name), filter.org.as_ref(), filter.state)?;
        self.list(conditions, page).await
    }
}
