//! The tables, and how they came to be: migrations, each in a transaction of its own.
//!
//! Texts are compared by their bytes on both databases, so that lists are in the same order: `{text}` stands for that
//! type, `{bytes}` for bytes. Numbers are BIGINT, flags are 0 and 1.

use super::cells::{Cells, Value};
use super::write::Write;
use super::{Backend, Store, StoreFault, Who};

/// The table that says what has been done.
const MIGRATIONS: &str = "CREATE TABLE IF NOT EXISTS plimsoll_migrations \
                          (number BIGINT NOT NULL PRIMARY KEY, at_ms BIGINT NOT NULL)";

/// All migrations, in order. One that has been released is never changed: another one is added.
const STEPS: &[&[&str]] = &[FIRST, SECOND, CERTIFICATES];

const FIRST: &[&str] = &[
    "CREATE TABLE plimsoll_orgs (id {text} NOT NULL PRIMARY KEY, created_ms BIGINT NOT NULL, \
     changed_ms BIGINT NOT NULL, changed_by {text} NOT NULL, version BIGINT NOT NULL, \
     name {text} NOT NULL, state {text} NOT NULL)",
    "CREATE UNIQUE INDEX plimsoll_orgs_name ON plimsoll_orgs (name)",
    "CREATE INDEX plimsoll_orgs_state ON plimsoll_orgs (state, id)",
    "CREATE TABLE plimsoll_datasets (id {text} NOT NULL PRIMARY KEY, created_ms BIGINT NOT NULL, \
     changed_ms BIGINT NOT NULL, changed_by {text} NOT NULL, version BIGINT NOT NULL, \
     org {text} NOT NULL REFERENCES plimsoll_orgs (id), name {text} NOT NULL, db {text} NOT NULL, \
     db_schema {text}, state {text} NOT NULL)",
    "CREATE UNIQUE INDEX plimsoll_datasets_name ON plimsoll_datasets (org, name)",
    "CREATE INDEX plimsoll_datasets_db ON plimsoll_datasets (db)",
    "CREATE INDEX plimsoll_datasets_org ON plimsoll_datasets (org, id)",
    "CREATE INDEX plimsoll_datasets_org_state ON plimsoll_datasets (org, state, id)",
    "CREATE INDEX plimsoll_datasets_state ON plimsoll_datasets (state, id)",
    "CREATE TABLE plimsoll_users (id {text} NOT NULL PRIMARY KEY, created_ms BIGINT NOT NULL, \
     changed_ms BIGINT NOT NULL, changed_by {text} NOT NULL, version BIGINT NOT NULL, \
     org {text} NOT NULL REFERENCES plimsoll_orgs (id), login {text} NOT NULL, scopes {text} NOT NULL, \
     state {text} NOT NULL, has_password BIGINT NOT NULL DEFAULT 0, password {text})",
    "CREATE UNIQUE INDEX plimsoll_users_login ON plimsoll_users (login)",
    "CREATE INDEX plimsoll_users_org ON plimsoll_users (org, id)",
    "CREATE INDEX plimsoll_users_org_state ON plimsoll_users (org, state, id)",
    "CREATE INDEX plimsoll_users_state ON plimsoll_users (state, id)",
    "CREATE TABLE plimsoll_apps (id {text} NOT NULL PRIMARY KEY, created_ms BIGINT NOT NULL, \
     changed_ms BIGINT NOT NULL, changed_by {text} NOT NULL, version BIGINT NOT NULL, \
     org {text} NOT NULL REFERENCES plimsoll_orgs (id), name {text} NOT NULL, party {text} NOT NULL, \
     redirect_uris {text} NOT NULL, state {text} NOT NULL)",
    "CREATE UNIQUE INDEX plimsoll_apps_name ON plimsoll_apps (org, name)",
    "CREATE INDEX plimsoll_apps_org ON plimsoll_apps (org, id)",
    "CREATE INDEX plimsoll_apps_org_state ON plimsoll_apps (org, state, id)",
    "CREATE INDEX plimsoll_apps_state ON plimsoll_apps (state, id)",
    "CREATE TABLE plimsoll_credentials (key_id {text} NOT NULL PRIMARY KEY, created_ms BIGINT NOT NULL, \
     changed_ms BIGINT NOT NULL, changed_by {text} NOT NULL, version BIGINT NOT NULL, \
     org {text} NOT NULL REFERENCES plimsoll_orgs (id), app {text} NOT NULL REFERENCES plimsoll_apps (id), \
     kind {text} NOT NULL, env {text} NOT NULL, name {text} NOT NULL, public_part {text} NOT NULL, \
     scopes {text} NOT NULL, expires_ms BIGINT, state {text} NOT NULL, used_ms BIGINT, used_from {text}, \
     secret_sha256 {bytes})",
    "CREATE INDEX plimsoll_credentials_app ON plimsoll_credentials (app, key_id)",
    "CREATE INDEX plimsoll_credentials_app_state ON plimsoll_credentials (app, state, key_id)",
    "CREATE INDEX plimsoll_credentials_org ON plimsoll_credentials (org, key_id)",
    "CREATE INDEX plimsoll_credentials_org_state ON plimsoll_credentials (org, state, key_id)",
    "CREATE INDEX plimsoll_credentials_state ON plimsoll_credentials (state, key_id)",
    "CREATE TABLE plimsoll_grants (id {text} NOT NULL PRIMARY KEY, created_ms BIGINT NOT NULL, \
     changed_ms BIGINT NOT NULL, changed_by {text} NOT NULL, version BIGINT NOT NULL, \
     org {text} NOT NULL REFERENCES plimsoll_orgs (id), subject {text} NOT NULL, \
     dataset {text} NOT NULL REFERENCES plimsoll_datasets (id), db_role {text} NOT NULL, \
     actions {text} NOT NULL, limits {text} NOT NULL, shared BIGINT NOT NULL, expires_ms BIGINT, \
     state {text} NOT NULL)",
    "CREATE INDEX plimsoll_grants_subject ON plimsoll_grants (subject, id)",
    "CREATE INDEX plimsoll_grants_subject_state ON plimsoll_grants (subject, state, id)",
    "CREATE INDEX plimsoll_grants_dataset ON plimsoll_grants (dataset, id)",
    "CREATE INDEX plimsoll_grants_dataset_state ON plimsoll_grants (dataset, state, id)",
    "CREATE INDEX plimsoll_grants_role ON plimsoll_grants (dataset, db_role, shared, org, state)",
    "CREATE INDEX plimsoll_grants_org ON plimsoll_grants (org, id)",
    "CREATE INDEX plimsoll_grants_org_state ON plimsoll_grants (org, state, id)",
    "CREATE INDEX plimsoll_grants_state ON plimsoll_grants (state, id)",
    "CREATE TABLE plimsoll_audit (seq BIGINT NOT NULL PRIMARY KEY, at_ms BIGINT NOT NULL, \
     actor {text} NOT NULL, address {text} NOT NULL, action {text} NOT NULL, object {text} NOT NULL, \
     detail {text} NOT NULL)",
    "CREATE INDEX plimsoll_audit_object ON plimsoll_audit (object, seq)",
    "CREATE INDEX plimsoll_audit_actor ON plimsoll_audit (actor, seq)",
    "CREATE INDEX plimsoll_audit_at ON plimsoll_audit (at_ms, seq)",
    "CREATE TABLE plimsoll_things (space {text} NOT NULL, thing {text} NOT NULL, value {text} NOT NULL, \
     ends_ms BIGINT NOT NULL, PRIMARY KEY (space, thing))",
    "CREATE INDEX plimsoll_things_end ON plimsoll_things (ends_ms)",
];

/// What is asked for by its name, and the public keys of an application.
const SECOND: &[&str] = &[
    "CREATE INDEX plimsoll_datasets_by_name ON plimsoll_datasets (name, id)",
    "CREATE INDEX plimsoll_apps_by_name ON plimsoll_apps (name, id)",
    "CREATE INDEX plimsoll_credentials_by_name ON plimsoll_credentials (name, key_id)",
    "CREATE INDEX plimsoll_credentials_app_kind ON plimsoll_credentials (app, kind, state, key_id)",
];

/// Credentials are found by the certificate that a client shows.
const CERTIFICATES: &[&str] = &[
    "CREATE INDEX plimsoll_credentials_public ON plimsoll_credentials (public_part) WHERE public_part <> ''",
];

/// What this program knows.
fn newest() -> i64 {
    i64::try_from(STEPS.len()).unwrap_or(i64::MAX)
}

impl Store {
    /// Whether there are tables of ours.
    pub(super) async fn has_tables(&self) -> Result<bool, StoreFault> {
        let sql = match self.backend {
            Backend::Sqlite => "SELECT COUNT(*) FROM sqlite_master WHERE name = 'plimsoll_migrations'",
            Backend::Postgres => {
                "SELECT COUNT(*) FROM (SELECT to_regclass('plimsoll_migrations') AS found) AS seen \
                 WHERE found IS NOT NULL"
            }
        };
        let row = sqlx::query(sql).fetch_one(&self.writes).await?;
        Ok(Cells::of(&row).number()? > 0)
    }

    /// Does what has not been done to the tables.
    pub(super) async fn migrate(&self, now_ms: i64) -> Result<(), StoreFault> {
        let who = Who { actor: "init", from: "", now_ms };
        loop {
            let mut write = self.write(who).await?;
            let done = done_so_far(&mut write).await?;
            if done > newest() {
                return Err(StoreFault::Unusable {
                    why: format!(
                        "the identity store is at version {done}, this program knows versions up to {}: \
                         a newer Plimsoll has used it",
                        newest()
                    ),
                });
            }
            let step = usize::try_from(done).ok().and_then(|done| STEPS.get(done));
            let Some(step) = step else { return write.commit().await };
            for sql in *step {
                write.run(self.in_dialect(sql), Vec::new()).await?;
            }
            let sql = "INSERT INTO plimsoll_migrations (number, at_ms) VALUES ($1, $2)".to_owned();
            write.run(sql, vec![Value::Number(done + 1), Value::Number(now_ms)]).await?;
            write.commit().await?;
        }
    }

    fn in_dialect(&self, sql: &str) -> String {
        let (text, bytes) = match self.backend {
            Backend::Sqlite => ("TEXT", "BLOB"),
            Backend::Postgres => ("TEXT COLLATE \"C\"", "BYTEA"),
        };
        sql.replace("{text}", text).replace("{bytes}", bytes)
    }
}

async fn done_so_far(write: &mut Write<'_>) -> Result<i64, StoreFault> {
    write.run(MIGRATIONS.to_owned(), Vec::new()).await?;
    let sql = "SELECT COALESCE(MAX(number), 0) FROM plimsoll_migrations".to_owned();
    let row = write.first_row(sql, Vec::new()).await?;
    Ok(row.map(|row| Cells::of(&row).number()).transpose()?.unwrap_or(0))
}
