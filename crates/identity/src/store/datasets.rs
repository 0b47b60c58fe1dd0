//! Data sets.

use super::cells::{Cells, Column, Value};
use super::noun::{Noun, Words, stays};
use super::read::Conditions;
use super::{Listed, Page, Store, StoreFault, Who, check, grants, orgs};
use crate::id::{Id, Kind};
use crate::model::{DataSet, DataSetData, Grant, Meta, State};

/// Which data sets.
#[derive(Clone, Debug, Default)]
pub struct DataSetFilter {
    /// Of this name.
    pub name: Option<String>,
    /// Of this organisation.
    pub org: Option<Id>,
    /// In this state.
    pub state: Option<State>,
}

impl Noun for DataSet {
    type Data = DataSetData;

    const WORDS: Words = Words {
        audit: "dataset",
        people: "data set",
        table: "plimsoll_datasets",
        key: "id",
        twice: "the organisation has a data set of that name",
        columns: &["org", "name", "db", "db_schema", "state"],
    };

    fn read(cells: &mut Cells<'_>) -> Result<DataSet, sqlx::Error> {
        let id = cells.id(Kind::DataSet)?;
        let meta = cells.meta()?;
        let data = DataSetData {
            org: cells.id(Kind::Org)?,
            name: cells.text()?,
            database: cells.text()?,
            schema: cells.maybe_text()?,
            state: cells.state()?,
        };
        Ok(DataSet { id, data, meta })
    }

    fn key(&self) -> &str {
        self.id.as_str()
    }

    fn data(&self) -> &DataSetData {
        &self.data
    }

    fn meta(&self) -> &Meta {
        &self.meta
    }

    fn state(data: &DataSetData) -> State {
        data.state
    }

    fn chosen(data: &DataSetData) -> Vec<Column> {
        vec![
            ("org", Value::id(&data.org)),
            ("name", Value::Text(data.name.clone())),
            ("db", Value::Text(data.database.clone())),
            ("db_schema", Value::MaybeText(data.schema.clone())),
            ("state", Value::state(data.state)),
        ]
    }

    fn check_stays(old: &DataSetData, new: &DataSetData) -> Result<(), StoreFault> {
        stays("org", &old.org, &new.org)
    }
}

impl Store {
    /// Makes a data set.
    ///
    /// # Errors
    /// `Invalid`, `Conflict` (its name is taken, its organisation is revoked), `Down`.
    pub async fn create_dataset(&self, data: DataSetData, who: Who<'_>) -> Result<DataSet, StoreFault> {
        check::dataset(&data)?;
        let mut write = self.write(who).await?;
        orgs::check_org(&mut write, &data.org).await?;
        let id = check::new_id(Kind::DataSet, who.now_ms)?;
        let dataset = write.insert(id.as_str(), &data, Vec::new()).await?;
        write.commit().await?;
        Ok(dataset)
    }

    /// A data set.
    ///
    /// # Errors
    /// `Missing`, `Down`.
    pub async fn dataset(&self, id: &Id) -> Result<DataSet, StoreFault> {
        self.find(id.as_str()).await
    }

    /// Changes a data set, if its version is the expected one. With another database its grants go there too, and
    /// the rule about shared login roles is applied to each of them.
    ///
    /// # Errors
    /// `Missing`, `Stale`, `Invalid`, `Conflict` (its name is taken, it is revoked, a login role would be shared),
    /// `Down`.
    pub async fn change_dataset(
        &self,
        id: &Id,
        expect: Option<i64>,
        data: DataSetData,
        who: Who<'_>,
    ) -> Result<DataSet, StoreFault> {
        check::dataset(&data)?;
        let mut write = self.write(who).await?;
        let old: DataSet = write.current(id.as_str(), expect).await?;
        let moved = old.data.database != data.database;
        let dataset = write.replace(old, &data).await?;
        if moved {
            grants::check_roles_of_dataset(&mut write, &dataset).await?;
        }
        write.commit().await?;
        Ok(dataset)
    }

    /// Removes a data set.
    ///
    /// # Errors
    /// `Missing`, `Stale`, `Conflict` (there are grants on it), `Down`.
    pub async fn delete_dataset(&self, id: &Id, expect: Option<i64>, who: Who<'_>) -> Result<(), StoreFault> {
        let mut write = self.write(who).await?;
        let old: DataSet = write.current(id.as_str(), expect).await?;
        write.refuse_if_used::<Grant>("dataset", id.as_str()).await?;
        write.remove(&old).await?;
        write.commit().await
    }

    /// Data sets, in the order in which they were made.
    ///
    /// # Errors
    /// `Invalid` (the page, the name), `Down`.
    pub async fn datasets(&self, filter: DataSetFilter, page: Page) -> Result<Listed<DataSet>, StoreFault> {
        let conditions = Conditions::of_org(("name", filter.name), filter.org.as_ref(), filter.state)?;
        self.list(conditions, page).await
    }
}
