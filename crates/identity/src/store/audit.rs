//! The audit log, for reading: it is only ever added to.

use sqlx::any::AnyRow;

use super::cells::{Cells, Value};
use super::read::{cut, limit_of};
use super::write::statement;
use super::{Listed, Page, Store, StoreFault, check};
use crate::model::Audit;

/// Most entries that [`Store::changes_since`] gives at once.
const CHANGES_MAX: i64 = 1000;
/// Among how many of the oldest entries of a time the lowest number is sought: clocks of several instances differ.
const DISORDER: i64 = 1000;

/// Which entries.
#[derive(Clone, Debug, Default)]
pub struct AuditFilter {
    /// About this: an id or a key id.
    pub object: Option<String>,
    /// Of this actor.
    pub actor: Option<String>,
    /// From this time on, milliseconds since 1970.
    pub since_ms: Option<i64>,
}

const COLUMNS: &str = "x.seq, x.at_ms, x.actor, x.address, x.action, x.object, x.detail";

impl Store {
    /// Entries of the audit log, the newest first.
    ///
    /// # Errors
    /// `Invalid` (the page), `Down`.
    pub async fn audit(&self, filter: AuditFilter, page: Page) -> Result<Listed<Audit>, StoreFault> {
        let limit = limit_of(&page)?;
        let mut conditions = vec!["1 = 1".to_owned()];
        let mut values = Vec::new();
        let mut condition = |left: &str, value: Value| {
            values.push(value);
            conditions.push(format!("{left} ${}", values.len()));
        };
        if let Some(after) = page.after {
            let seq = after.parse().map_err(|_| StoreFault::Invalid {
                field: "after",
                why: "it is not what a list ended with".to_owned(),
            })?;
            condition("x.seq <", Value::Number(seq));
        }
        let object_asked = filter.object.is_some();
        if let Some(object) = filter.object {
            condition("x.object =", Value::Text(check::printable(&object)));
        }
        if let Some(actor) = filter.actor {
            // What happened to one thing is less than what one actor did.
            let left = if object_asked { "COALESCE(x.actor, '') =" } else { "x.actor =" };
            condition(left, Value::Text(check::printable(&actor)));
        }
        if let Some(since_ms) = filter.since_ms {
            let Some(first) = self.first_since(since_ms).await? else {
                return Ok(Listed { items: Vec::new(), next: None });
            };
            condition("COALESCE(x.at_ms, 0) >=", Value::Number(since_ms));
            condition("x.seq >=", Value::Number(first));
        }
        values.push(Value::Number(i64::from(limit) + 1));
        let sql = format!(
            "SELECT {COLUMNS} FROM plimsoll_audit AS x WHERE {} ORDER BY x.seq DESC LIMIT ${}",
            conditions.join(" AND "),
            values.len()
        );
        let rows = statement(sql, values).fetch_all(&self.reads).await?;
        Ok(cut(entries(&rows)?, limit, |entry| entry.seq.to_string()))
    }

    /// What was written after entry `seq`, oldest first, at most 1000 entries: by this, changes that other instances
    /// made are followed. No entry appears later below a number that was seen.
    ///
    /// # Errors
    /// `Down`.
    pub async fn changes_since(&self, seq: i64) -> Result<Vec<Audit>, StoreFault> {
        let sql =
            format!("SELECT {COLUMNS} FROM plimsoll_audit AS x WHERE x.seq > $1 ORDER BY x.seq LIMIT $2");
        let values = vec![Value::Number(seq), Value::Number(CHANGES_MAX)];
        let rows = statement(sql, values).fetch_all(&self.reads).await?;
        Ok(entries(&rows)?)
    }

    /// The same for who has seen that entry last; `None`: it is not there any more, so the store is another one than it
    /// was, as after a failover to a server without the last writes, or from a backup. There may be another one of its
    /// number by now.
    ///
    /// # Errors
    /// `Down`.
    pub async fn changes_after_seen(&self, seen: Option<&Audit>) -> Result<Option<Vec<Audit>>, StoreFault> {
        let Some(seen) = seen else { return self.changes_since(0).await.map(Some) };
        // The seen one comes with the others, so that it costs no question of its own.
        let mut changes = self.changes_since(seen.seq.saturating_sub(1)).await?;
        match changes.first() {
            Some(first) if first == seen => Ok(Some(changes.split_off(1))),
            Some(_) | None => Ok(None),
        }
    }

    /// The newest entry, if there is any.
    ///
    /// # Errors
    /// `Down`.
    pub async fn newest_change(&self) -> Result<Option<Audit>, StoreFault> {
        let sql = format!("SELECT {COLUMNS} FROM plimsoll_audit AS x ORDER BY x.seq DESC LIMIT 1");
        let rows = statement(sql, Vec::new()).fetch_all(&self.reads).await?;
        Ok(entries(&rows)?.pop())
    }

    /// The number of the newest entry; 0: there is none.
    ///
    /// # Errors
    /// `Down`.
    pub async fn last_change(&self) -> Result<i64, StoreFault> {
        let sql = "SELECT COALESCE(MAX(seq), 0) FROM plimsoll_audit".to_owned();
        let row = statement(sql, Vec::new()).fetch_one(&self.reads).await?;
        Ok(Cells::of(&row).number()?)
    }

    /// A number that no entry of that time or later is below; `None`: there is no such entry.
    async fn first_since(&self, since_ms: i64) -> Result<Option<i64>, StoreFault> {
        let sql = "SELECT MIN(seq) FROM (SELECT seq FROM plimsoll_audit WHERE at_ms >= $1 \
                   ORDER BY at_ms, seq LIMIT $2) AS oldest";
        let values = vec![Value::Number(since_ms), Value::Number(DISORDER)];
        let row = statement(sql.to_owned(), values).fetch_one(&self.reads).await?;
        Ok(Cells::of(&row).maybe_number()?)
    }
}

fn entries(rows: &[AnyRow]) -> Result<Vec<Audit>, sqlx::Error> {
    rows.iter().map(|row| entry(&mut Cells::of(row))).collect()
}

fn entry(cells: &mut Cells<'_>) -> Result<Audit, sqlx::Error> {
    Ok(Audit {
        seq: cells.number()?,
        at_ms: cells.number()?,
        actor: cells.text()?,
        from: cells.text()?,
        action: cells.text()?,
        object: cells.text()?,
        detail: cells.json()?,
    })
}
