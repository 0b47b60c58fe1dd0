//! The nouns over HTTP: made, read, listed, replaced, removed, all of them in the same way.

use std::future::Future;

use axum::extract::State as Shared;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::HttpState;
use super::answer::Answer;
use super::caller::Caller;
use super::input::{IfMatch, IfNoneMatch, Json, PathText, Query};
use super::once::{Keep, Once};
use super::problem::Problem;
use super::query::Narrow;
use super::route::{Route, Verb};
use crate::id::{Id, Kind};
use crate::model::{
    AppData, Application, DataSet, DataSetData, Grant, GrantData, OrgData, Organisation, User, UserData,
};
use crate::store::{Listed, Store, StoreFault, Who};

/// How often a removal without `If-Match` is tried when somebody else changes the thing at the same time.
const TRIES: u32 = 5;

/// A noun that has an id.
pub(super) trait Resource: Serialize + Send + Sync + Sized + 'static {
    const KIND: Kind;
    /// What it is called when it is not there.
    const WHAT: &'static str;
    /// Where all of them are.
    const PATH: &'static str;

    /// What is chosen of it.
    type Data: DeserializeOwned + Send + Sync + 'static;
    /// How a list of them is asked for.
    type Query: Narrow + DeserializeOwned + Send;

    fn id(&self) -> &Id;

    fn version(&self) -> i64;

    fn create(
        store: &Store,
        data: Self::Data,
        who: Who<'_>,
    ) -> impl Future<Output = Result<Self, StoreFault>> + Send;

    fn find(store: &Store, id: &Id) -> impl Future<Output = Result<Self, StoreFault>> + Send;

    fn change(
        store: &Store,
        id: &Id,
        version: i64,
        data: Self::Data,
        who: Who<'_>,
    ) -> impl Future<Output = Result<Self, StoreFault>> + Send;

    fn remove(
        store: &Store,
        id: &Id,
        version: i64,
        who: Who<'_>,
    ) -> impl Future<Output = Result<(), StoreFault>> + Send;

    fn list(
        store: &Store,
        query: Self::Query,
    ) -> impl Future<Output = Result<Listed<Self>, StoreFault>> + Send;
}

/// What a caller may do with a noun; whoever has the scope `admin` is not asked.
pub(super) trait Guarded: Resource {
    fn may_create(
        caller: &Caller,
        store: &Store,
        data: &Self::Data,
    ) -> impl Future<Output = Result<(), Problem>> + Send;

    fn may_read(&self, caller: &Caller, store: &Store) -> impl Future<Output = Result<(), Problem>> + Send;

    /// `new`: what it is to become; `None`: it is to be removed.
    fn may_change(
        &self,
        caller: &Caller,
        store: &Store,
        new: Option<&Self::Data>,
    ) -> impl Future<Output = Result<(), Problem>> + Send;
}

/// What is the same in the store for all nouns, under names of its own for each.
macro_rules! resource {
    ($noun:ident, $data:ident, $query:ident, $kind:expr, $what:literal, $path:literal,
     $create:ident, $find:ident, $change:ident, $remove:ident, $list:ident) => {
        impl Resource for $noun {
            const KIND: Kind = $kind;
            const WHAT: &'static str = $what;
            const PATH: &'static str = $path;
            type Data = $data;
            type Query = super::query::$query;

            fn id(&self) -> &Id {
                &self.id
            }

            fn version(&self) -> i64 {
                self.meta.version
            }

            async fn create(store: &Store, data: $data, who: Who<'_>) -> Result<$noun, StoreFault> {
                store.$create(data, who).await
            }

            async fn find(store: &Store, id: &Id) -> Result<$noun, StoreFault> {
                store.$find(id).await
            }

            async fn change(
                store: &Store,
                id: &Id,
                version: i64,
                data: $data,
                who: Who<'_>,
            ) -> Result<$noun, StoreFault> {
                store.$change(id, Some(version), data, who).await
            }

            async fn remove(store: &Store, id: &Id, version: i64, who: Who<'_>) -> Result<(), StoreFault> {
                store.$remove(id, Some(version), who).await
            }

            async fn list(store: &Store, query: Self::Query) -> Result<Listed<$noun>, StoreFault> {
                let (filter, page) = query.into();
                store.$list(filter, page).await
            }
        }
    };
}

resource!(
    Organisation,
    OrgData,
    OrgQuery,
    Kind::Org,
    "organisation",
    "/v1/orgs",
    create_org,
    org,
    change_org,
    delete_org,
    orgs
);
resource!(
    DataSet,
    DataSetData,
    DataSetQuery,
    Kind::DataSet,
    "data set",
    "/v1/datasets",
    create_dataset,
    dataset,
    change_dataset,
    delete_dataset,
    datasets
);
resource!(
    User,
    UserData,
    UserQuery,
    Kind::User,
    "user",
    "/v1/users",
    create_user,
    user,
    change_user,
    delete_user,
    users
);
resource!(
    Application,
    AppData,
    AppQuery,
    Kind::App,
    "application",
    "/v1/apps",
    create_app,
    app,
    change_app,
    delete_app,
    apps
);
resource!(
    Grant,
    GrantData,
    GrantQuery,
    Kind::Grant,
    "grant",
    "/v1/grants",
    create_grant,
    grant,
    change_grant,
    delete_grant,
    grants
);

/// How the routes of a noun are described.
struct Words {
    /// Paths of all and of one.
    paths: [&'static str; 2],
    /// Schemas: what is chosen, the whole, a page, its id.
    schemas: [&'static str; 4],
    /// Names of the operations: create, list, read, replace, remove.
    operations: [&'static str; 5],
    summaries: [&'static str; 5],
    filters: &'static [&'static str],
}

/// The routes of all nouns.
pub(super) fn routes() -> Vec<Route> {
    let mut all = noun_routes::<Organisation>(Words {
        paths: [Organisation::PATH, "/v1/orgs/{id}"],
        schemas: ["OrgData", "Organisation", "OrganisationPage", "OrgId"],
        operations: ["createOrg", "listOrgs", "readOrg", "replaceOrg", "removeOrg"],
        summaries: [
            "Make an organisation",
            "Organisations",
            "An organisation",
            "Change an organisation",
            "Remove an organisation that has nothing",
        ],
        filters: &["name", "state", "limit", "after"],
    });
    all.extend(noun_routes::<DataSet>(Words {
        paths: [DataSet::PATH, "/v1/datasets/{id}"],
        schemas: ["DataSetData", "DataSet", "DataSetPage", "DataSetId"],
        operations: ["createDataSet", "listDataSets", "readDataSet", "replaceDataSet", "removeDataSet"],
        summaries: [
            "Make a data set",
            "Data sets",
            "A data set",
            "Change a data set",
            "Remove a data set on which nothing is granted",
        ],
        filters: &["name", "org", "state", "limit", "after"],
    }));
    all.extend(noun_routes::<User>(Words {
        paths: [User::PATH, "/v1/users/{id}"],
        schemas: ["UserData", "User", "UserPage", "UserId"],
        operations: ["createUser", "listUsers", "readUser", "replaceUser", "removeUser"],
        summaries: ["Make a user", "Users", "A user", "Change a user", "Remove a user with its grants"],
        filters: &["login", "org", "state", "limit", "after"],
    }));
    all.extend(noun_routes::<Application>(Words {
        paths: [Application::PATH, "/v1/apps/{id}"],
        schemas: ["AppData", "Application", "ApplicationPage", "AppId"],
        operations: ["createApp", "listApps", "readApp", "replaceApp", "removeApp"],
        summaries: [
            "Make an application",
            "Applications",
            "An application",
            "Change an application",
            "Remove an application with its keys and grants",
        ],
        filters: &["name", "org", "state", "limit", "after"],
    }));
    all.extend(noun_routes::<Grant>(Words {
        paths: [Grant::PATH, "/v1/grants/{id}"],
        schemas: ["GrantData", "Grant", "GrantPage", "GrantId"],
        operations: ["createGrant", "listGrants", "readGrant", "replaceGrant", "removeGrant"],
        summaries: ["Grant something", "Grants", "A grant", "Change a grant", "Remove a grant"],
        filters: &["subject", "dataset", "org", "state", "limit", "after"],
    }));
    all
}

fn noun_routes<R: Guarded>(words: Words) -> Vec<Route> {
    let [all, one] = words.paths;
    let [data, whole, page, id] = words.schemas;
    let [create_id, list_id, read_id, replace_id, remove_id] = words.operations;
    let [create_text, list_text, read_text, replace_text, remove_text] = words.summaries;
    vec![
        Route::new(Verb::Post, all, create::<R>)
            .called(create_id, create_text)
            .parameters(&["idempotencyKey"])
            .takes(data)
            .gives(201, "It was made.", whole, &["Location", "ETag"]),
        Route::new(Verb::Get, all, list::<R>).called(list_id, list_text).parameters(words.filters).gives(
            200,
            "A part of the list.",
            page,
            &[],
        ),
        Route::new(Verb::Get, one, read::<R>)
            .called(read_id, read_text)
            .path_id(id)
            .parameters(&["ifNoneMatch"])
            .gives(200, "It.", whole, &["ETag"])
            .gives_nothing(304, "It is as it was."),
        Route::new(Verb::Put, one, replace::<R>)
            .called(replace_id, replace_text)
            .path_id(id)
            .parameters(&["ifMatch"])
            .takes(data)
            .gives(200, "As it is now.", whole, &["ETag"]),
        Route::new(Verb::Delete, one, remove::<R>)
            .called(remove_id, remove_text)
            .path_id(id)
            .parameters(&["ifMatchOptional"])
            .gives_nothing(204, "It is gone."),
    ]
}

async fn create<R: Guarded>(
    Shared(state): Shared<HttpState>,
    caller: Caller,
    once: Once,
    Json { value: data, sha256 }: Json<R::Data>,
) -> Result<Answer, Problem> {
    // Before anything is written: whoever may not leaves no trace.
    R::may_create(&caller, state.store(), &data).await?;
    let work = {
        let (state, caller) = (state.clone(), caller.clone());
        async move {
            let noun = R::create(state.store(), data, caller.who()).await?;
            let location = format!("{}/{}", R::PATH, noun.id());
            Ok(Answer::created(&noun, location).version(noun.version()))
        }
    };
    once.run(&state, &caller, sha256, Keep::Plain, work).await
}

async fn list<R: Guarded>(
    Shared(state): Shared<HttpState>,
    caller: Caller,
    Query(query): Query<R::Query>,
) -> Result<Answer, Problem> {
    let query = query.narrow(&caller, state.store()).await?;
    Ok(Answer::ok(&R::list(state.store(), query).await?))
}

async fn read<R: Guarded>(
    Shared(state): Shared<HttpState>,
    caller: Caller,
    PathText(id): PathText,
    known: IfNoneMatch,
) -> Result<Answer, Problem> {
    let noun = found::<R>(&state, &id).await?;
    noun.may_read(&caller, state.store()).await?;
    let answer = if known.has(noun.version()) { Answer::same() } else { Answer::ok(&noun) };
    Ok(answer.version(noun.version()))
}

async fn replace<R: Guarded>(
    Shared(state): Shared<HttpState>,
    caller: Caller,
    PathText(id): PathText,
    expected: IfMatch,
    Json { value: data, sha256: _ }: Json<R::Data>,
) -> Result<Answer, Problem> {
    let expected = expected.need()?;
    let old = found::<R>(&state, &id).await?;
    old.may_change(&caller, state.store(), Some(&data)).await?;
    expected.check(old.version())?;
    let noun = R::change(state.store(), old.id(), old.version(), data, caller.who()).await?;
    Ok(Answer::ok(&noun).version(noun.version()))
}

async fn remove<R: Guarded>(
    Shared(state): Shared<HttpState>,
    caller: Caller,
    PathText(id): PathText,
    expected: IfMatch,
) -> Result<Answer, Problem> {
    let mut tries = TRIES;
    loop {
        let old = found::<R>(&state, &id).await?;
        old.may_change(&caller, state.store(), None).await?;
        expected.check(old.version())?;
        tries -= 1;
        let removed = {
            let (state, caller) = (state.clone(), caller.clone());
            // What goes in steps comes to its end, also when nobody waits for the answer any more.
            tokio::spawn(async move { R::remove(state.store(), old.id(), old.version(), caller.who()).await })
        };
        // It panics nowhere; if it did, what was done is unknown.
        let Ok(removed) = removed.await else { return Err(Problem::unavailable()) };
        match (removed, expected) {
            (Ok(()), _) => return Ok(Answer::done()),
            (Err(StoreFault::Stale { .. }), IfMatch::Unsaid | IfMatch::Any) if tries > 0 => {}
            (Err(fault), _) => return Err(fault.into()),
        }
    }
}

/// What is there under the text in the path. What is no id at all is nothing that there is.
pub(super) async fn found<R: Resource>(state: &HttpState, id: &str) -> Result<R, Problem> {
    let id = Id::parse(R::KIND, id).map_err(|_| Problem::missing(R::WHAT))?;
    Ok(R::find(state.store(), &id).await?)
}
