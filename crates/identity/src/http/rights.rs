//! Who may do what with each noun. The scope `admin` may everything; the rest of the rules is for administrators of one
//! organisation, and for who reads about itself.
//!
//! An administrator of an organisation does not choose which databases it has, nor which login roles: a data set names any
//! database of the pooler, and a grant any role, those of other organisations included. So data sets are made, and
//! each role is granted for the first time, by the scope `admin`.

use super::caller::Caller;
use super::problem::Problem;
use super::resource::Guarded;
use crate::id::{Id, Kind};
use crate::model::{
    AppData, Application, DataSet, DataSetData, Grant, GrantData, OrgData, Organisation, Scope, State, User,
    UserData,
};
use crate::store::{CredentialFilter, Page, Store, StoreFault};

/// Most pages of keys of an application that are looked through.
const KEY_PAGES_MAX: u32 = 50;

impl Guarded for Organisation {
    async fn may_create(caller: &Caller, _store: &Store, _data: &OrgData) -> Result<(), Problem> {
        caller.need_admin()
    }

    async fn may_read(&self, caller: &Caller, _store: &Store) -> Result<(), Problem> {
        caller.need_org(&self.id)
    }

    async fn may_change(&self, caller: &Caller, _store: &Store, _: Option<&OrgData>) -> Result<(), Problem> {
        caller.need_admin()
    }
}

impl Guarded for DataSet {
    async fn may_create(caller: &Caller, _store: &Store, _data: &DataSetData) -> Result<(), Problem> {
        caller.need_admin()
    }

    async fn may_read(&self, caller: &Caller, _store: &Store) -> Result<(), Problem> {
        caller.need_org(&self.data.org)
    }

    async fn may_change(
        &self,
        caller: &Caller,
        _store: &Store,
        new: Option<&DataSetData>,
    ) -> Result<(), Problem> {
        caller.need_org(&self.data.org)?;
        match new {
            Some(new) if new.database != self.data.database => caller.need_admin(),
            Some(_) | None => Ok(()),
        }
    }
}

impl Guarded for User {
    async fn may_create(caller: &Caller, _store: &Store, data: &UserData) -> Result<(), Problem> {
        caller.need_org(&data.org)?;
        caller.need_over(&data.scopes)
    }

    async fn may_read(&self, caller: &Caller, _store: &Store) -> Result<(), Problem> {
        if caller.subject == self.id { Ok(()) } else { caller.need_org(&self.data.org) }
    }

    async fn may_change(
        &self,
        caller: &Caller,
        _store: &Store,
        new: Option<&UserData>,
    ) -> Result<(), Problem> {
        caller.need_org(&self.data.org)?;
        caller.need_over(&self.data.scopes)?;
        new.map_or(Ok(()), |new| caller.need_over(&new.scopes))
    }
}

impl Guarded for Application {
    async fn may_create(caller: &Caller, _store: &Store, data: &AppData) -> Result<(), Problem> {
        caller.need_org(&data.org)
    }

    async fn may_read(&self, caller: &Caller, _store: &Store) -> Result<(), Problem> {
        if caller.subject == self.id { Ok(()) } else { caller.need_org(&self.data.org) }
    }

    async fn may_change(&self, caller: &Caller, store: &Store, _: Option<&AppData>) -> Result<(), Problem> {
        caller.need_org(&self.data.org)?;
        if caller.has(Scope::Admin) { Ok(()) } else { need_over_keys(caller, store, &self.id).await }
    }
}

/// Whether all keys of an application are in the caller's hands: to disable it, or to send people elsewhere after they
/// have signed in, is to have a hand on them.
async fn need_over_keys(caller: &Caller, store: &Store, app: &Id) -> Result<(), Problem> {
    let mut after = None;
    for _ in 0..KEY_PAGES_MAX {
        let filter = CredentialFilter { app: Some(app.clone()), ..CredentialFilter::default() };
        let keys = store.credentials(filter, Page { after, limit: 200 }).await?;
        for key in keys.items.iter().filter(|key| key.data.state != State::Revoked) {
            caller.need_over(&key.data.scopes)?;
        }
        match keys.next {
            None => return Ok(()),
            next @ Some(_) => after = next,
        }
    }
    Err(Problem::forbidden("an application with that many keys is in the hands of scope admin"))
}

impl Guarded for Grant {
    async fn may_create(caller: &Caller, store: &Store, data: &GrantData) -> Result<(), Problem> {
        if caller.has(Scope::Admin) {
            return Ok(());
        }
        need_owned(caller, store, &data.dataset).await?;
        if store.has_role(&data.dataset, &data.role, &caller.org).await? {
            Ok(())
        } else {
            Err(Problem::forbidden(
                "a login role is granted to an organisation for the first time by the scope admin",
            ))
        }
    }

    async fn may_read(&self, caller: &Caller, store: &Store) -> Result<(), Problem> {
        if caller.has(Scope::Admin) || caller.subject == self.data.subject {
            return Ok(());
        }
        match org_of(store, &self.data.subject).await? {
            Some(org) if caller.need_org(&org).is_ok() => Ok(()),
            Some(_) | None => need_owned(caller, store, &self.data.dataset).await,
        }
    }

    async fn may_change(&self, caller: &Caller, store: &Store, _: Option<&GrantData>) -> Result<(), Problem> {
        if caller.has(Scope::Admin) {
            return Ok(());
        }
        need_owned(caller, store, &self.data.dataset).await
    }
}

/// Whether a data set belongs to the caller's organisation. One that is not there does not.
async fn need_owned(caller: &Caller, store: &Store, dataset: &Id) -> Result<(), Problem> {
    match store.dataset(dataset).await {
        Ok(dataset) => caller.need_org(&dataset.data.org),
        Err(StoreFault::Missing { .. }) => caller.need_admin(),
        Err(fault) => Err(fault.into()),
    }
}

/// The organisation of an application or user.
pub(super) async fn org_of(store: &Store, subject: &Id) -> Result<Option<Id>, Problem> {
    let org = match subject.kind() {
        Kind::App => store.app(subject).await.map(|app| app.data.org),
        Kind::User => store.user(subject).await.map(|user| user.data.org),
        Kind::Org | Kind::DataSet | Kind::Grant => return Ok(None),
    };
    match org {
        Ok(org) => Ok(Some(org)),
        Err(StoreFault::Missing { .. }) => Ok(None),
        Err(fault) => Err(fault.into()),
    }
}
