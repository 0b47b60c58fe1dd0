//! Everything that a decision needs, in two questions.

use std::sync::Arc;

use sqlx::{Any, pool::PoolConnection};

use super::cells::{Cells, Value};
use super::noun::{Noun, select_list};
use super::write::statement;
use super::{Store, StoreFault, check};
use crate::id::{Id, Kind};
use crate::key::{NO_SECRET, ParsedKey};
use crate::model::{Application, Credential, CredentialKind, DataSet, Grant, Organisation, State, User};

/// What is known of a credential and who holds it.
#[derive(Clone, Debug)]
pub struct KeyFacts {
    /// The credential.
    pub credential: Credential,
    /// SHA-256 of the secret of a key.
    pub secret_sha256: Option<[u8; 32]>,
    /// The application and what it may do.
    pub subject: Arc<SubjectFacts>,
}

impl KeyFacts {
    /// Whether what somebody presents is this key: the secret is right, and the environment, if it is told. A credential
    /// that is no key has no secret, and nobody shows it.
    pub fn is_shown_by(&self, key: &ParsedKey) -> bool {
        let right = key.matches(&self.secret_sha256.unwrap_or(NO_SECRET));
        let data = &self.credential.data;
        let right_env = key.env.is_empty() || *key.env == *data.env;
        right && right_env && self.secret_sha256.is_some() && data.kind == CredentialKind::Key
    }
}

/// Who may be granted something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Holder {
    /// An application.
    App(Application),
    /// A user.
    User(User),
}

impl Holder {
    /// Its id.
    pub fn id(&self) -> &Id {
        match self {
            Holder::App(app) => &app.id,
            Holder::User(user) => &user.id,
        }
    }

    /// Its name or login.
    pub fn name(&self) -> &str {
        match self {
            Holder::App(app) => &app.data.name,
            Holder::User(user) => &user.data.login,
        }
    }

    /// Whether it may be used.
    pub fn state(&self) -> State {
        match self {
            Holder::App(app) => app.data.state,
            Holder::User(user) => user.data.state,
        }
    }
}

/// What is known of an application or a user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubjectFacts {
    /// Itself.
    pub holder: Holder,
    /// Its organisation.
    pub org: Organisation,
    /// What it was granted, in the order of the making; at most 1,000.
    pub grants: Vec<GrantFact>,
}

/// A grant with what it depends on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GrantFact {
    /// The grant.
    pub grant: Grant,
    /// The data set it is on.
    pub dataset: DataSet,
    /// Whether the organisation may be used whose data set it is.
    pub dataset_org_state: State,
}

impl Store {
    /// What is known of a credential, its application, and what that may do; `None`: there is no such credential.
    ///
    /// # Errors
    /// `Down`.
    pub async fn facts_of_key(&self, key_id: &str) -> Result<Option<KeyFacts>, StoreFault> {
        if !check::is_key_id(key_id) {
            return Ok(None);
        }
        let sql = format!(
            "SELECT {}, c.secret_sha256, {}, {} FROM plimsoll_credentials AS c \
             JOIN plimsoll_apps AS a ON a.id = c.app JOIN plimsoll_orgs AS o ON o.id = a.org WHERE c.key_id = $1",
            select_list::<Credential>("c"),
            select_list::<Application>("a"),
            select_list::<Organisation>("o")
        );
        let mut connection = self.reads.acquire().await?;
        let values = vec![Value::Text(key_id.to_owned())];
        let Some(row) = statement(sql, values).fetch_optional(&mut *connection).await? else {
            return Ok(None);
        };
        let mut cells = Cells::of(&row);
        let credential = Credential::read(&mut cells)?;
        let secret_sha256 = hash_of(cells.maybe_bytes()?)?;
        let holder = Holder::App(Application::read(&mut cells)?);
        let org = Organisation::read(&mut cells)?;
        let grants = grants_of(&mut connection, holder.id()).await?;
        let subject = Arc::new(SubjectFacts { holder, org, grants });
        Ok(Some(KeyFacts { credential, secret_sha256, subject }))
    }

    /// What is known of an application or a user; `None`: there is no such one.
    ///
    /// # Errors
    /// `Down`.
    pub async fn facts_of_subject(&self, id: &Id) -> Result<Option<SubjectFacts>, StoreFault> {
        match id.kind() {
            Kind::App => self.facts_of::<Application>(id, Holder::App).await,
            Kind::User => self.facts_of::<User>(id, Holder::User).await,
            Kind::Org | Kind::DataSet | Kind::Grant => Ok(None),
        }
    }

    async fn facts_of<N: Noun>(
        &self,
        id: &Id,
        holder: fn(N) -> Holder,
    ) -> Result<Option<SubjectFacts>, StoreFault> {
        let sql = format!(
            "SELECT {}, {} FROM {} AS h JOIN plimsoll_orgs AS o ON o.id = h.org WHERE h.id = $1",
            select_list::<N>("h"),
            select_list::<Organisation>("o"),
            N::WORDS.table
        );
        let mut connection = self.reads.acquire().await?;
        let Some(row) = statement(sql, vec![Value::id(id)]).fetch_optional(&mut *connection).await? else {
            return Ok(None);
        };
        let mut cells = Cells::of(&row);
        let holder = holder(N::read(&mut cells)?);
        let org = Organisation::read(&mut cells)?;
        let grants = grants_of(&mut connection, id).await?;
        Ok(Some(SubjectFacts { holder, org, grants }))
    }
}

async fn grants_of(connection: &mut PoolConnection<Any>, subject: &Id) -> Result<Vec<GrantFact>, StoreFault> {
    let sql = format!(
        "SELECT {}, {}, o.state FROM plimsoll_grants AS g JOIN plimsoll_datasets AS d ON d.id = g.dataset \
         JOIN plimsoll_orgs AS o ON o.id = d.org WHERE g.subject = $1 ORDER BY g.id",
        select_list::<Grant>("g"),
        select_list::<DataSet>("d")
    );
    let rows = statement(sql, vec![Value::id(subject)]).fetch_all(&mut **connection).await?;
    let facts = rows.iter().map(|row| {
        let mut cells = Cells::of(row);
        let grant = Grant::read(&mut cells)?;
        let dataset = DataSet::read(&mut cells)?;
        Ok(GrantFact { grant, dataset, dataset_org_state: cells.state()? })
    });
    facts.collect::<Result<Vec<GrantFact>, sqlx::Error>>().map_err(StoreFault::Down)
}

fn hash_of(bytes: Option<Vec<u8>>) -> Result<Option<[u8; 32]>, sqlx::Error> {
    let hash = bytes.map(<[u8; 32]>::try_from).transpose();
    hash.map_err(|_| sqlx::Error::Decode("a hash in the store has not 32 bytes".into()))
}
