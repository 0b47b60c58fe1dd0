//! Credentials.

use super::cells::{Cells, Column, Value};
use super::noun::{Noun, Words, stays};
use super::read::Conditions;
use super::write::{Write, statement};
use super::{Listed, Page, Store, StoreFault, Who, check};
use crate::id::{Id, Kind};
use crate::model::{Application, Credential, CredentialData, CredentialKind, Meta, State};

/// Which credentials.
#[derive(Clone, Debug, Default)]
pub struct CredentialFilter {
    /// Of this application.
    pub app: Option<Id>,
    /// Of applications of this organisation.
    pub org: Option<Id>,
    /// Of this name.
    pub name: Option<String>,
    /// Of this kind.
    pub kind: Option<CredentialKind>,
    /// In this state.
    pub state: Option<State>,
}

/// A key in the place of another.
#[derive(Clone, Copy, Debug)]
pub struct Rotation<'a> {
    /// The new key id.
    pub key_id: &'a str,
    /// SHA-256 of the new secret.
    pub secret_sha256: [u8; 32],
    /// When the new key ends, milliseconds since 1970.
    pub expires_ms: Option<i64>,
    /// When the old key ends, if not earlier by itself.
    pub old_ends_ms: i64,
}

/// A certificate that is shown, and for what.
#[derive(Clone, Copy, Debug)]
pub struct CertificateAsk<'a> {
    /// Its SHA-256 in hexadecimal digits (0-9, a-f).
    pub sha256: &'a str,
    /// The database that is asked for.
    pub database: &'a str,
    /// As whom: a login role, or the name or id of an application.
    pub user: &'a str,
}

/// Key ids of the active credentials that are a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CertificateKeys {
    /// All of them, at most 16.
    All(Vec<String>),
    /// There are more than 16, since anybody may write down anybody's certificate: at most 16 of those whose application
    /// has a grant on that database for that user.
    Granted(Vec<String>),
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rotated {
    /// The new key.
    pub fresh: Credential,
    /// The old one, with its end.
    pub old: Credential,
}

/// Most credentials of one certificate that are looked at.
const CERTIFICATE_KEYS_MAX: usize = 16;

impl Noun for Credential {
    type Data = CredentialData;

    const WORDS: Words = Words {
        audit: "key",
        people: "credential",
        table: "plimsoll_credentials",
        key: "key_id",
        twice: "there is a credential of that key id",
        columns: &[
            "app",
            "kind",
            "env",
            "name",
            "public_part",
            "scopes",
            "expires_ms",
            "state",
            "used_ms",
            "used_from",
        ],
    };

    fn read(cells: &mut Cells<'_>) -> Result<Credential, sqlx::Error> {
        let key_id = cells.text()?;
        let meta = cells.meta()?;
        let data = CredentialData {
            app: cells.id(Kind::App)?,
            kind: cells.json()?,
            env: cells.text()?,
            name: cells.text()?,
            public: cells.text()?,
            scopes: cells.json()?,
            expires_ms: cells.maybe_number()?,
            state: cells.state()?,
        };
        Ok(Credential { key_id, data, used_ms: cells.maybe_number()?, used_from: cells.maybe_text()?, meta })
    }

    fn key(&self) -> &str {
        &self.key_id
    }

    fn data(&self) -> &CredentialData {
        &self.data
    }

    fn meta(&self) -> &Meta {
        &self.meta
    }

    fn state(data: &CredentialData) -> State {
        data.state
    }

    fn chosen(data: &CredentialData) -> Vec<Column> {
        vec![
            ("app", Value::id(&data.app)),
            ("kind", Value::json(&data.kind)),
            ("env", Value::Text(data.env.clone())),
            ("name", Value::Text(data.name.clone())),
            ("public_part", Value::Text(data.public.clone())),
            ("scopes", Value::json(&data.scopes)),
            ("expires_ms", Value::MaybeNumber(data.expires_ms)),
            ("state", Value::state(data.state)),
        ]
    }

    fn check_stays(old: &CredentialData, new: &CredentialData) -> Result<(), StoreFault> {
        stays("app", &old.app, &new.app)?;
        stays("kind", &old.kind, &new.kind)?;
        stays("env", &old.env, &new.env)?;
        stays("public", &old.public, &new.public)
    }
}

impl Store {
    /// Makes a credential. Of a key comes the SHA-256 of its secret with it, of others nothing.
    ///
    /// # Errors
    /// `Invalid`, `Conflict` (the key id is taken, the application is revoked), `Down`.
    pub async fn create_credential(
        &self,
        key_id: &str,
        data: CredentialData,
        secret_sha256: Option<[u8; 32]>,
        who: Who<'_>,
    ) -> Result<Credential, StoreFault> {
        check::credential(key_id, &data, secret_sha256.as_ref())?;
        let mut write = self.write(who).await?;
        let credential = insert_credential(&mut write, key_id, &data, secret_sha256).await?;
        write.commit().await?;
        Ok(credential)
    }

    /// A credential.
    ///
    /// # Errors
    /// `Missing`, `Down`.
    pub async fn credential(&self, key_id: &str) -> Result<Credential, StoreFault> {
        check_known(key_id)?;
        self.find(key_id).await
    }

    /// Key ids of the active credentials that are this certificate. Those that others have written down push nobody out
    /// who was granted what is asked.
    ///
    /// # Errors
    /// `Down`.
    pub async fn key_ids_of_certificate(
        &self,
        ask: CertificateAsk<'_>,
    ) -> Result<CertificateKeys, StoreFault> {
        // Whether the grant is of use is judged later; here it only says who is looked at first.
        let sql = "SELECT c.key_id, CAST(CASE WHEN EXISTS (SELECT 1 FROM plimsoll_grants AS g \
                   JOIN plimsoll_datasets AS d ON d.id = g.dataset JOIN plimsoll_apps AS a ON a.id = g.subject \
                   WHERE g.subject = c.app AND g.state = $3 AND d.db = $4 \
                   AND (g.db_role = $5 OR a.name = $5 OR a.id = $5)) THEN 0 ELSE 1 END AS BIGINT) AS place \
                   FROM plimsoll_credentials AS c WHERE c.public_part = $1 AND c.public_part <> '' \
                   AND c.kind = $2 AND c.state = $3 ORDER BY place, c.key_id LIMIT $6";
        let limit = i64::try_from(CERTIFICATE_KEYS_MAX + 1).unwrap_or(i64::MAX);
        let values = vec![
            Value::Text(ask.sha256.to_owned()),
            Value::json(&CredentialKind::Certificate),
            Value::state(State::Active),
            Value::Text(check::printable(ask.database)),
            Value::Text(check::printable(ask.user)),
            Value::Number(limit),
        ];
        let rows = statement(sql.to_owned(), values).fetch_all(&self.reads).await?;
        let placed = rows.iter().map(|row| {
            let mut cells = Cells::of(row);
            Ok((cells.text()?, cells.number()?))
        });
        let placed = placed.collect::<Result<Vec<(String, i64)>, sqlx::Error>>()?;
        if placed.len() <= CERTIFICATE_KEYS_MAX {
            return Ok(CertificateKeys::All(placed.into_iter().map(|(key_id, _)| key_id).collect()));
        }
        let granted = placed.into_iter().filter(|(_, place)| *place == 0).take(CERTIFICATE_KEYS_MAX);
        Ok(CertificateKeys::Granted(granted.map(|(key_id, _)| key_id).collect()))
    }

    /// Changes a credential, if its version is the expected one.
    ///
    /// # Errors
    /// `Missing`, `Stale`, `Invalid`, `Conflict` (it is revoked), `Down`.
    pub async fn change_credential(
        &self,
        key_id: &str,
        expect: Option<i64>,
        data: CredentialData,
        who: Who<'_>,
    ) -> Result<Credential, StoreFault> {
        check_known(key_id)?;
        check::credential_data(&data)?;
        let mut write = self.write(who).await?;
        let old: Credential = write.current(key_id, expect).await?;
        let credential = write.replace(old, &data).await?;
        write.commit().await?;
        Ok(credential)
    }

    /// Makes a new key like an active one, and sets an end to that: both or neither.
    ///
    /// # Errors
    /// `Missing`, `Stale`, `Invalid` (it is no key), `Conflict` (it is not active, the new key id is taken), `Down`.
    pub async fn rotate_credential(
        &self,
        key_id: &str,
        expect: Option<i64>,
        rotation: Rotation<'_>,
        who: Who<'_>,
    ) -> Result<Rotated, StoreFault> {
        check_known(key_id)?;
        let mut write = self.write(who).await?;
        let old: Credential = write.current(key_id, expect).await?;
        let fresh = CredentialData { expires_ms: rotation.expires_ms, ..old.data.clone() };
        check::credential(rotation.key_id, &fresh, Some(&rotation.secret_sha256))?;
        if old.data.state != State::Active {
            return Err(StoreFault::Conflict { why: "only an active key can be rotated".to_owned() });
        }
        let fresh =
            insert_credential(&mut write, rotation.key_id, &fresh, Some(rotation.secret_sha256)).await?;
        let end = old.data.expires_ms.map_or(rotation.old_ends_ms, |end| end.min(rotation.old_ends_ms));
        let ending = CredentialData { expires_ms: Some(end), ..old.data.clone() };
        check::credential_data(&ending)?;
        let old = write.replace(old, &ending).await?;
        write.commit().await?;
        Ok(Rotated { fresh, old })
    }

    /// Credentials, in the order of their key ids.
    ///
    /// # Errors
    /// `Invalid` (the page, the name), `Down`.
    pub async fn credentials(
        &self,
        filter: CredentialFilter,
        page: Page,
    ) -> Result<Listed<Credential>, StoreFault> {
        let CredentialFilter { app, org, name, kind, state } = filter;
        let kind = kind.as_ref().map(Value::json);
        let conditions = match app {
            Some(app) => {
                name.as_deref().map_or(Ok(()), check::is_name)?;
                Conditions::default()
                    .equals("app", Some(Value::id(&app)))
                    .equals("kind", kind)
                    .equals("state", state.map(Value::state))
                    .also_equals("name", name.map(Value::Text))
                    .also_equals("org", org.as_ref().map(Value::id))
            }
            None => Conditions::of_org(("name", name), org.as_ref(), state)?.also_equals("kind", kind),
        };
        self.list(conditions, page).await
    }

    /// Notes when and from where credentials were used last: key id, milliseconds since 1970, address. One
    /// transaction, and no entry in the audit log. Older uses than the noted one, and unknown keys, are left out.
    ///
    /// # Errors
    /// `Down`.
    pub async fn note_used(&self, batch: &[(String, i64, String)]) -> Result<(), StoreFault> {
        let mut batch: Vec<_> = batch.iter().filter(|(key_id, _, _)| check::is_key_id(key_id)).collect();
        if batch.is_empty() {
            return Ok(());
        }
        // Everybody in the same order: two instances then do not wait for each other in a circle.
        batch.sort_unstable();
        let mut transaction = self.begin_write().await?;
        for (key_id, at_ms, from) in batch {
            let update = sqlx::query(
                "UPDATE plimsoll_credentials SET used_ms = $1, used_from = $2 \
                 WHERE key_id = $3 AND (used_ms IS NULL OR used_ms < $1)",
            );
            let from = check::printable(from);
            update.bind(*at_ms).bind(from).bind(key_id.clone()).execute(&mut *transaction).await?;
        }
        Ok(transaction.commit().await?)
    }
}

async fn insert_credential(
    write: &mut Write<'_>,
    key_id: &str,
    data: &CredentialData,
    secret_sha256: Option<[u8; 32]>,
) -> Result<Credential, StoreFault> {
    let app = write.find::<Application>(data.app.as_str()).await?.ok_or_else(|| StoreFault::Invalid {
        field: "app",
        why: "there is no such application".to_owned(),
    })?;
    if app.data.state == State::Revoked {
        return Err(StoreFault::Conflict { why: "the application is revoked".to_owned() });
    }
    let more = vec![
        ("org", Value::id(&app.data.org)),
        ("secret_sha256", Value::MaybeBytes(secret_sha256.map(|hash| hash.to_vec()))),
    ];
    write.insert(key_id, data, more).await
}

/// What is no key id at all is not asked for.
fn check_known(key_id: &str) -> Result<(), StoreFault> {
    if check::is_key_id(key_id) {
        Ok(())
    } else {
        Err(StoreFault::Missing { what: Credential::WORDS.people })
    }
}
