//! Things with an end: signing keys, refresh tokens, authorization codes, ids of revoked tokens, answers kept for an
//! Idempotency-Key. The store knows nothing of them but when they end; there is no audit entry.

use super::cells::{Cells, Value};
use super::write::statement;
use super::{Store, StoreFault, check};

/// What to do if there is one of that key already. One that has ended does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Put {
    /// Leave it: the first one wins.
    IfAbsent,
    /// Take its place.
    Replace,
}

/// Something that is kept until it ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Thing {
    /// Its key within its space.
    pub key: String,
    /// What it is.
    pub value: String,
    /// When it ends, milliseconds since 1970.
    pub ends_ms: i64,
}

/// Takes the place of what is there.
const PUT: &str = "INSERT INTO plimsoll_things (space, thing, value, ends_ms) VALUES ($1, $2, $3, $4) \
                   ON CONFLICT (space, thing) DO UPDATE SET value = excluded.value, ends_ms = excluded.ends_ms";

impl Store {
    /// Keeps something; whether it was put in.
    ///
    /// # Errors
    /// `Invalid` (too long), `Down`.
    pub async fn put_thing(
        &self,
        space: &str,
        key: &str,
        value: &str,
        ends_ms: i64,
        put: Put,
        now_ms: i64,
    ) -> Result<bool, StoreFault> {
        check::thing(space, key, value)?;
        let mut sql = PUT.to_owned();
        let mut values = values(space, &Thing { key: key.to_owned(), value: value.to_owned(), ends_ms });
        match put {
            Put::IfAbsent => {
                sql.push_str(" WHERE plimsoll_things.ends_ms <= $5");
                values.push(Value::Number(now_ms));
            }
            Put::Replace => {}
        }
        let done = statement(sql, values).execute(&self.writes).await?;
        Ok(done.rows_affected() == 1)
    }

    /// Puts something in the place of what was read, if that is still there; whether it was. Who loses reads again.
    ///
    /// # Errors
    /// `Invalid` (too long), `Down`.
    pub async fn swap_thing(&self, space: &str, old: &Thing, new: &Thing) -> Result<bool, StoreFault> {
        check::thing(space, &old.key, &new.value)?;
        let sql = "UPDATE plimsoll_things SET value = $1, ends_ms = $2 \
                   WHERE space = $3 AND thing = $4 AND value = $5 AND ends_ms = $6";
        let values = vec![
            Value::Text(new.value.clone()),
            Value::Number(new.ends_ms),
            Value::Text(space.to_owned()),
            Value::Text(old.key.clone()),
            Value::Text(old.value.clone()),
            Value::Number(old.ends_ms),
        ];
        let done = statement(sql.to_owned(), values).execute(&self.writes).await?;
        Ok(done.rows_affected() == 1)
    }

    /// Takes out what was read, if that is still there, and puts others in, each into its space: all of it or nothing;
    /// whether it was there. Of several that try one does it, and the others see what that one has put in.
    ///
    /// # Errors
    /// `Invalid` (too long), `Down`.
    pub async fn trade_thing(
        &self,
        space: &str,
        old: &Thing,
        new: &[(&str, &Thing)],
    ) -> Result<bool, StoreFault> {
        for (space, thing) in new {
            check::thing(space, &thing.key, &thing.value)?;
        }
        let mut transaction = self.begin_write().await?;
        let sql =
            "DELETE FROM plimsoll_things WHERE space = $1 AND thing = $2 AND value = $3 AND ends_ms = $4";
        let done = statement(sql.to_owned(), values(space, old)).execute(&mut *transaction).await?;
        if done.rows_affected() == 0 {
            return Ok(false);
        }
        for (space, thing) in new {
            statement(PUT.to_owned(), values(space, thing)).execute(&mut *transaction).await?;
        }
        transaction.commit().await?;
        Ok(true)
    }

    /// Takes something out: of several that try, one gets it.
    ///
    /// # Errors
    /// `Down`.
    pub async fn take_thing(
        &self,
        space: &str,
        key: &str,
        now_ms: i64,
    ) -> Result<Option<String>, StoreFault> {
        if check::thing(space, key, "").is_err() {
            return Ok(None);
        }
        let sql =
            "DELETE FROM plimsoll_things WHERE space = $1 AND thing = $2 AND ends_ms > $3 RETURNING value";
        let values = vec![Value::Text(space.to_owned()), Value::Text(key.to_owned()), Value::Number(now_ms)];
        let mut transaction = self.begin_write().await?;
        let rows = statement(sql.to_owned(), values).fetch_all(&mut *transaction).await?;
        let value = rows.first().map(|row| Cells::of(row).text()).transpose()?;
        transaction.commit().await?;
        Ok(value)
    }

    /// Something, unless it has ended.
    ///
    /// # Errors
    /// `Down`.
    pub async fn thing(&self, space: &str, key: &str, now_ms: i64) -> Result<Option<Thing>, StoreFault> {
        if check::thing(space, key, "").is_err() {
            return Ok(None);
        }
        let sql = "SELECT thing, value, ends_ms FROM plimsoll_things \
                   WHERE space = $1 AND thing = $2 AND ends_ms > $3";
        let values = vec![Value::Text(space.to_owned()), Value::Text(key.to_owned()), Value::Number(now_ms)];
        let row = statement(sql.to_owned(), values).fetch_optional(&self.reads).await?;
        Ok(row.map(|row| thing_of(&mut Cells::of(&row))).transpose()?)
    }

    /// All of a space that have not ended, in the order of their keys; at most `limit`.
    ///
    /// # Errors
    /// `Down`.
    pub async fn things(&self, space: &str, now_ms: i64, limit: u32) -> Result<Vec<Thing>, StoreFault> {
        if check::thing(space, "", "").is_err() {
            return Ok(Vec::new());
        }
        let sql = "SELECT thing, value, ends_ms FROM plimsoll_things \
                   WHERE space = $1 AND ends_ms > $2 ORDER BY thing LIMIT $3";
        let values =
            vec![Value::Text(space.to_owned()), Value::Number(now_ms), Value::Number(i64::from(limit))];
        let rows = statement(sql.to_owned(), values).fetch_all(&self.reads).await?;
        Ok(rows.iter().map(|row| thing_of(&mut Cells::of(row))).collect::<Result<Vec<Thing>, _>>()?)
    }

    /// Forgets what has ended; how many.
    ///
    /// # Errors
    /// `Down`.
    pub async fn remove_ended_things(&self, now_ms: i64) -> Result<u64, StoreFault> {
        let sql = "DELETE FROM plimsoll_things WHERE ends_ms <= $1".to_owned();
        let done = statement(sql, vec![Value::Number(now_ms)]).execute(&self.writes).await?;
        Ok(done.rows_affected())
    }
}

fn values(space: &str, thing: &Thing) -> Vec<Value> {
    vec![
        Value::Text(space.to_owned()),
        Value::Text(thing.key.clone()),
        Value::Text(thing.value.clone()),
        Value::Number(thing.ends_ms),
    ]
}

fn thing_of(cells: &mut Cells<'_>) -> Result<Thing, sqlx::Error> {
    Ok(Thing { key: cells.text()?, value: cells.text()?, ends_ms: cells.number()? })
}
