//! The transaction of a write, with its entries of the audit log.

use std::sync::Arc;

use serde_json::Value as Json;
use sqlx::any::AnyRow;
use sqlx::{Any, AssertSqlSafe, Transaction};
use tokio::sync::Notify;

use super::cells::{Cells, Column, Statement, Value, bind};
use super::noun::{Noun, select_list};
use super::{Backend, Store, StoreFault, Who, check};
use crate::id::Id;
use crate::model::{Credential, Grant, State};

/// The advisory lock of all audited writes on PostgreSQL ("plimsoll" in ASCII).
const WRITERS_LOCK: i64 = 0x706c_696d_736f_6c6c;

/// The channel of `NOTIFY` on which other instances hear that the audit log has grown.
pub(super) const CHANNEL: &str = "plimsoll_identity";

/// How many things one transaction removes at most: others wait behind it.
const STEP: u32 = 200;

/// A transaction that nobody else's audited write runs beside. Dropped: nothing was written.
pub(super) struct Write<'a> {
    transaction: Transaction<'static, Any>,
    backend: Backend,
    who: Who<'a>,
    changed: Arc<Notify>,
    /// Whether there are entries of the audit log in it.
    noted: Noted,
}

/// Whether something was written into the audit log.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Noted {
    Nothing,
    Something,
}

impl Store {
    /// Begins an audited write.
    pub(super) async fn write<'a>(&self, who: Who<'a>) -> Result<Write<'a>, StoreFault> {
        let mut transaction = self.begin_write().await?;
        if self.backend == Backend::Postgres {
            let lock = sqlx::query("SELECT CAST(pg_advisory_xact_lock($1) AS TEXT)").bind(WRITERS_LOCK);
            lock.execute(&mut *transaction).await?;
        }
        let changed = self.changed.clone();
        Ok(Write { transaction, backend: self.backend, who, changed, noted: Noted::Nothing })
    }

    /// Removes an application or a user with all that is its own, in transactions of a bounded size, so that nobody's
    /// write waits behind a hundred thousand keys. What is not removed whole in the first of them is revoked with it, and
    /// thus dead at once, whatever becomes of the rest; to ask again goes on.
    pub(super) async fn delete_in_steps<N: Noun>(
        &self,
        id: &Id,
        expect: Option<i64>,
        revoked: impl Fn(&N::Data) -> N::Data,
        who: Who<'_>,
    ) -> Result<(), StoreFault> {
        let mut write = self.write(who).await?;
        let mut noun: N = write.current(id.as_str(), expect).await?;
        loop {
            let keys = write.remove_some::<Credential>("app", id.as_str(), STEP).await?;
            let grants = write.remove_some::<Grant>("subject", id.as_str(), STEP - keys).await?;
            if keys + grants < STEP {
                write.remove(&noun).await?;
                return write.commit().await;
            }
            let dead = revoked(noun.data());
            write.replace(noun, &dead).await?;
            write.commit().await?;
            write = self.write(who).await?;
            match write.find(id.as_str()).await? {
                Some(rest) => noun = rest,
                // Somebody else was at it as well, and has come to the end.
                None => return Ok(()),
            }
        }
    }

    /// Begins a write that is told to nobody.
    pub(super) async fn begin_write(&self) -> Result<Transaction<'static, Any>, StoreFault> {
        let begin = match self.backend {
            // A transaction that begins as a reader may find that somebody has written in between.
            Backend::Sqlite => "BEGIN IMMEDIATE",
            Backend::Postgres => "BEGIN",
        };
        Ok(self.writes.begin_with(begin).await?)
    }
}

impl Write<'_> {
    pub(super) async fn commit(mut self) -> Result<(), StoreFault> {
        if self.noted == Noted::Something && self.backend == Backend::Postgres {
            let sql = "SELECT CAST(pg_notify($1, '') AS TEXT)";
            self.run(sql.to_owned(), vec![Value::Text(CHANNEL.to_owned())]).await?;
        }
        self.transaction.commit().await?;
        self.changed.notify_one();
        Ok(())
    }

    /// Runs a statement; how many rows it changed.
    pub(super) async fn run(&mut self, sql: String, values: Vec<Value>) -> Result<u64, StoreFault> {
        let done = statement(sql, values).execute(&mut *self.transaction).await?;
        Ok(done.rows_affected())
    }

    pub(super) async fn first_row(
        &mut self,
        sql: String,
        values: Vec<Value>,
    ) -> Result<Option<AnyRow>, StoreFault> {
        Ok(statement(sql, values).fetch_optional(&mut *self.transaction).await?)
    }

    pub(super) async fn rows(&mut self, sql: String, values: Vec<Value>) -> Result<Vec<AnyRow>, StoreFault> {
        Ok(statement(sql, values).fetch_all(&mut *self.transaction).await?)
    }

    /// What is there under a key.
    pub(super) async fn find<N: Noun>(&mut self, key: &str) -> Result<Option<N>, StoreFault> {
        let words = N::WORDS;
        let sql =
            format!("SELECT {} FROM {} AS x WHERE x.{} = $1", select_list::<N>("x"), words.table, words.key);
        let row = self.first_row(sql, vec![Value::Text(key.to_owned())]).await?;
        row.map(|row| N::read(&mut Cells::of(&row))).transpose().map_err(StoreFault::Down)
    }

    /// What is there under a key, in the version that is expected.
    pub(super) async fn current<N: Noun>(&mut self, key: &str, expect: Option<i64>) -> Result<N, StoreFault> {
        let noun: N = self.find(key).await?.ok_or(StoreFault::Missing { what: N::WORDS.people })?;
        match expect {
            Some(version) if version != noun.meta().version => {
                Err(StoreFault::Stale { version: noun.meta().version })
            }
            Some(_) | None => Ok(noun),
        }
    }

    /// Puts something new in; `more` are columns beside what was chosen.
    pub(super) async fn insert<N: Noun>(
        &mut self,
        key: &str,
        data: &N::Data,
        more: Vec<Column>,
    ) -> Result<N, StoreFault> {
        let words = N::WORDS;
        let mut columns: Vec<Column> = vec![
            (words.key, Value::Text(key.to_owned())),
            ("created_ms", Value::Number(self.who.now_ms)),
            ("changed_ms", Value::Number(self.who.now_ms)),
            ("changed_by", Value::Text(self.who.actor.to_owned())),
            ("version", Value::Number(1)),
        ];
        columns.extend(N::chosen(data));
        columns.extend(more);
        let (names, values): (Vec<&str>, Vec<Value>) = columns.into_iter().unzip();
        let places: Vec<String> = (1..=names.len()).map(|number| format!("${number}")).collect();
        let sql =
            format!("INSERT INTO {} ({}) VALUES ({})", words.table, names.join(", "), places.join(", "));
        self.run(sql, values).await.map_err(|fault| named_twice::<N>(fault))?;
        self.note(&format!("{}.create", words.audit), key, &json_of::<N>(data)).await?;
        self.current(key, None).await
    }

    /// Changes what is there. Nothing leads out of `Revoked`; to ask for what is so already changes nothing.
    pub(super) async fn replace<N: Noun>(&mut self, old: N, data: &N::Data) -> Result<N, StoreFault> {
        let words = N::WORDS;
        N::check_stays(old.data(), data)?;
        let verb = match (N::state(old.data()), N::state(data)) {
            (State::Revoked, _) if old.data() == data => return Ok(old),
            (State::Revoked, _) => {
                return Err(StoreFault::Conflict {
                    why: format!("this {} is revoked for good", words.people),
                });
            }
            (_, State::Revoked) => "revoke",
            (State::Active, State::Disabled) => "disable",
            (State::Disabled, State::Active) => "enable",
            (State::Active, State::Active) | (State::Disabled, State::Disabled) => "change",
        };
        self.set::<N>(old.key(), N::chosen(data)).await?;
        self.note(&format!("{}.{verb}", words.audit), old.key(), &json_of::<N>(data)).await?;
        self.current(old.key(), None).await
    }

    /// Writes columns of something that is there and counts its version up.
    pub(super) async fn set<N: Noun>(&mut self, key: &str, columns: Vec<Column>) -> Result<(), StoreFault> {
        let words = N::WORDS;
        let (names, mut values): (Vec<&str>, Vec<Value>) = columns.into_iter().unzip();
        let sets: Vec<String> =
            names.iter().enumerate().map(|(at, name)| format!("{name} = ${}", at + 1)).collect();
        let next = names.len() + 1;
        let sql = format!(
            "UPDATE {} SET {}, version = version + 1, changed_ms = ${next}, changed_by = ${} WHERE {} = ${}",
            words.table,
            sets.join(", "),
            next + 1,
            words.key,
            next + 2
        );
        values.push(Value::Number(self.who.now_ms));
        values.push(Value::Text(self.who.actor.to_owned()));
        values.push(Value::Text(key.to_owned()));
        self.run(sql, values).await.map_err(|fault| named_twice::<N>(fault))?;
        Ok(())
    }

    /// Takes something out.
    pub(super) async fn remove<N: Noun>(&mut self, old: &N) -> Result<(), StoreFault> {
        let words = N::WORDS;
        let sql = format!("DELETE FROM {} WHERE {} = $1", words.table, words.key);
        self.run(sql, vec![Value::Text(old.key().to_owned())]).await?;
        self.note(&format!("{}.delete", words.audit), old.key(), &json_of::<N>(old.data())).await
    }

    /// Takes out whose `column` is `value`, no more than so many; how many.
    async fn remove_some<N: Noun>(
        &mut self,
        column: &'static str,
        value: &str,
        limit: u32,
    ) -> Result<u32, StoreFault> {
        let sql = format!(
            "SELECT {} FROM {} AS x WHERE x.{column} = $1 ORDER BY x.{} LIMIT $2",
            select_list::<N>("x"),
            N::WORDS.table,
            N::WORDS.key
        );
        let values = vec![Value::Text(value.to_owned()), Value::Number(i64::from(limit))];
        let mut removed = 0;
        for row in self.rows(sql, values).await? {
            self.remove(&N::read(&mut Cells::of(&row))?).await?;
            removed += 1;
        }
        Ok(removed)
    }

    /// Refuses if something has `value` in `column`.
    pub(super) async fn refuse_if_used<N: Noun>(
        &mut self,
        column: &'static str,
        value: &str,
    ) -> Result<(), StoreFault> {
        let words = N::WORDS;
        let sql = format!("SELECT {} FROM {} WHERE {column} = $1 LIMIT 1", words.key, words.table);
        match self.first_row(sql, vec![Value::Text(value.to_owned())]).await? {
            None => Ok(()),
            Some(row) => {
                let user = Cells::of(&row).text()?;
                Err(StoreFault::Conflict { why: format!("the {} {user} still belongs to it", words.people) })
            }
        }
    }

    /// Writes an entry of the audit log. `detail` is never a secret.
    pub(super) async fn note(&mut self, action: &str, object: &str, detail: &Json) -> Result<(), StoreFault> {
        let sql = "INSERT INTO plimsoll_audit (seq, at_ms, actor, address, action, object, detail) VALUES \
                   ((SELECT COALESCE(MAX(seq), 0) + 1 FROM plimsoll_audit), $1, $2, $3, $4, $5, $6)";
        let values = vec![
            Value::Number(self.who.now_ms),
            Value::Text(self.who.actor.to_owned()),
            Value::Text(check::printable(self.who.from)),
            Value::Text(action.to_owned()),
            Value::Text(object.to_owned()),
            Value::Text(detail.to_string()),
        ];
        self.run(sql.to_owned(), values).await?;
        self.noted = Noted::Something;
        Ok(())
    }
}

/// A statement of ours with its values: no text of it comes from outside, values only.
pub(super) fn statement(sql: String, values: Vec<Value>) -> Statement {
    values.into_iter().fold(sqlx::query(AssertSqlSafe(sql)), bind)
}

fn json_of<N: Noun>(data: &N::Data) -> Json {
    serde_json::to_value(data).expect("our own types have text keys and no failing Serialize")
}

fn named_twice<N: Noun>(fault: StoreFault) -> StoreFault {
    match fault {
        StoreFault::Down(sqlx::Error::Database(error)) if error.is_unique_violation() => {
            StoreFault::Conflict { why: N::WORDS.twice.to_owned() }
        }
        other => other,
    }
}
