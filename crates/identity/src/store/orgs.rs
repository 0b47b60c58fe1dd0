//! Organisations.

use super::cells::{Cells, Column, Value};
use super::noun::{Noun, Words};
use super::read::Conditions;
use super::write::Write;
use super::{Listed, Page, Store, StoreFault, Who, check};
use crate::id::{Id, Kind};
use crate::model::{Application, DataSet, Meta, OrgData, Organisation, State, User};

/// Which organisations.
#[derive(Clone, Debug, Default)]
pub struct OrgFilter {
    /// Of this name: one at most.
    pub name: Option<String>,
    /// In this state.
    pub state: Option<State>,
}

impl Noun for Organisation {
    type Data = OrgData;

    const WORDS: Words = Words {
        audit: "org",
        people: "organisation",
        table: "plimsoll_orgs",
        key: "id",
        twice: "there is an organisation of that name",
        columns: &["name", "state"],
    };

    fn read(cells: &mut Cells<'_>) -> Result<Organisation, sqlx::Error> {
        let id = cells.id(Kind::Org)?;
        let meta = cells.meta()?;
        Ok(Organisation { id, data: OrgData { name: cells.text()?, state: cells.state()? }, meta })
    }

    fn key(&self) -> &str {
        self.id.as_str()
    }

    fn data(&self) -> &OrgData {
        &self.data
    }

    fn meta(&self) -> &Meta {
        &self.meta
    }

    fn state(data: &OrgData) -> State {
        data.state
    }

    fn chosen(data: &OrgData) -> Vec<Column> {
        vec![("name", Value::Text(data.name.clone())), ("state", Value::state(data.state))]
    }

    fn check_stays(_: &OrgData, _: &OrgData) -> Result<(), StoreFault> {
        Ok(())
    }
}

impl Store {
    /// Makes an organisation.
    ///
    /// # Errors
    /// `Invalid`, `Conflict` (its name is taken), `Down`.
    pub async fn create_org(&self, data: OrgData, who: Who<'_>) -> Result<Organisation, StoreFault> {
        check::org(&data)?;
        let mut write = self.write(who).await?;
        let id = check::new_id(Kind::Org, who.now_ms)?;
        let org = write.insert(id.as_str(), &data, Vec::new()).await?;
        write.commit().await?;
        Ok(org)
    }

    /// An organisation.
    ///
    /// # Errors
    /// `Missing`, `Down`.
    pub async fn org(&self, id: &Id) -> Result<Organisation, StoreFault> {
        self.find(id.as_str()).await
    }

    /// Changes an organisation, if its version is the expected one.
    ///
    /// # Errors
    /// `Missing`, `Stale`, `Invalid`, `Conflict` (its name is taken, it is revoked), `Down`.
    pub async fn change_org(
        &self,
        id: &Id,
        expect: Option<i64>,
        data: OrgData,
        who: Who<'_>,
    ) -> Result<Organisation, StoreFault> {
        check::org(&data)?;
        let mut write = self.write(who).await?;
        let old: Organisation = write.current(id.as_str(), expect).await?;
        let org = write.replace(old, &data).await?;
        write.commit().await?;
        Ok(org)
    }

    /// Removes an organisation.
    ///
    /// # Errors
    /// `Missing`, `Stale`, `Conflict` (something belongs to it), `Down`.
    pub async fn delete_org(&self, id: &Id, expect: Option<i64>, who: Who<'_>) -> Result<(), StoreFault> {
        let mut write = self.write(who).await?;
        let old: Organisation = write.current(id.as_str(), expect).await?;
        write.refuse_if_used::<DataSet>("org", id.as_str()).await?;
        write.refuse_if_used::<User>("org", id.as_str()).await?;
        write.refuse_if_used::<Application>("org", id.as_str()).await?;
        write.remove(&old).await?;
        write.commit().await
    }

    /// Organisations, in the order in which they were made.
    ///
    /// # Errors
    /// `Invalid` (the page, the name), `Down`.
    pub async fn orgs(&self, filter: OrgFilter, page: Page) -> Result<Listed<Organisation>, StoreFault> {
        self.list(Conditions::of_org(("name", filter.name), None, filter.state)?, page).await
    }
}

/// Refuses to put something new into an organisation that is not there or revoked.
pub(super) async fn check_org(write: &mut Write<'_>, org: &Id) -> Result<(), StoreFault> {
    match write.find::<Organisation>(org.as_str()).await? {
        None => Err(StoreFault::Invalid { field: "org", why: "there is no such organisation".to_owned() }),
        Some(found) if found.data.state == State::Revoked => {
            Err(StoreFault::Conflict { why: "the organisation is revoked".to_owned() })
        }
        Some(_) => Ok(()),
    }
}
