//! Reading: one, or a part of a list.

use super::cells::{Cells, Value};
use super::noun::{Noun, select_list};
use super::write::statement;
use super::{Listed, Page, Store, StoreFault, check};
use crate::id::Id;
use crate::model::State;

/// Most items of a part.
const LIMIT_MAX: u32 = 200;
/// Longest text that says where a list goes on.
const AFTER_BYTES_MAX: usize = 64;

/// Conditions of a list, of columns that have an index with the id behind them.
#[derive(Debug, Default)]
pub(super) struct Conditions {
    sql: Vec<String>,
    values: Vec<Value>,
}

impl Conditions {
    /// Of what belongs to an organisation. A name that is told chooses: few have the same.
    pub(super) fn of_org(
        (column, name): (&'static str, Option<String>),
        org: Option<&Id>,
        state: Option<State>,
    ) -> Result<Conditions, StoreFault> {
        let (org, state) = (org.map(Value::id), state.map(Value::state));
        let Some(name) = name else {
            return Ok(Conditions::default().equals("org", org).equals("state", state));
        };
        check::is_name(&name)?;
        let named = Conditions::default().equals(column, Some(Value::Text(name)));
        Ok(named.also_equals("org", org).also_equals("state", state))
    }

    /// `column = value`, if there is one; it may choose the index.
    pub(super) fn equals(self, column: &'static str, value: Option<Value>) -> Conditions {
        self.with(&format!("x.{column} ="), value)
    }

    /// The same for a column that must not choose the index, since another one has fewer rows. The function around it
    /// hides it from both planners.
    pub(super) fn also_equals(self, column: &'static str, value: Option<Value>) -> Conditions {
        self.with(&format!("COALESCE(x.{column}, '') ="), value)
    }

    fn with(mut self, left: &str, value: Option<Value>) -> Conditions {
        if let Some(value) = value {
            self.values.push(value);
            self.sql.push(format!("{left} ${}", self.values.len()));
        }
        self
    }
}

impl Store {
    /// One by its key.
    pub(super) async fn find<N: Noun>(&self, key: &str) -> Result<N, StoreFault> {
        let words = N::WORDS;
        let sql =
            format!("SELECT {} FROM {} AS x WHERE x.{} = $1", select_list::<N>("x"), words.table, words.key);
        let row = statement(sql, vec![Value::Text(key.to_owned())]).fetch_optional(&self.reads).await?;
        let row = row.ok_or(StoreFault::Missing { what: words.people })?;
        Ok(N::read(&mut Cells::of(&row))?)
    }

    /// A part of a list.
    pub(super) async fn list<N: Noun>(
        &self,
        conditions: Conditions,
        page: Page,
    ) -> Result<Listed<N>, StoreFault> {
        let words = N::WORDS;
        let limit = limit_of(&page)?;
        let after = after_of(page.after)?.map(Value::Text);
        let Conditions { mut sql, mut values } = conditions.with(&format!("x.{} >", words.key), after);
        sql.insert(0, "1 = 1".to_owned());
        values.push(Value::Number(i64::from(limit) + 1));
        let sql = format!(
            "SELECT {} FROM {} AS x WHERE {} ORDER BY x.{} LIMIT ${}",
            select_list::<N>("x"),
            words.table,
            sql.join(" AND "),
            words.key,
            values.len()
        );
        let rows = statement(sql, values).fetch_all(&self.reads).await?;
        let items = rows.iter().map(|row| N::read(&mut Cells::of(row))).collect::<Result<Vec<N>, _>>()?;
        Ok(cut(items, limit, |noun| noun.key().to_owned()))
    }
}

/// Takes off the one item too many that shows that there is more.
pub(super) fn cut<T>(mut items: Vec<T>, limit: u32, key: impl Fn(&T) -> String) -> Listed<T> {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let more = items.len() > limit;
    items.truncate(limit);
    let next = items.last().filter(|_| more).map(key);
    Listed { items, next }
}

pub(super) fn limit_of(page: &Page) -> Result<u32, StoreFault> {
    match page.limit {
        1..=LIMIT_MAX => Ok(page.limit),
        _ => Err(StoreFault::Invalid { field: "limit", why: format!("it is 1 to {LIMIT_MAX}") }),
    }
}

/// Where a list goes on: an id or a key id or a number, and nothing that a database would stumble over.
fn after_of(after: Option<String>) -> Result<Option<String>, StoreFault> {
    match after {
        Some(text)
            if text.len() > AFTER_BYTES_MAX
                || !text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') =>
        {
            Err(StoreFault::Invalid { field: "after", why: "it is not what a list ended with".to_owned() })
        }
        other => Ok(other),
    }
}
