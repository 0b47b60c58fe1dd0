//! Values on their way into a row and out of it.

use serde::Serialize;
use serde::de::DeserializeOwned;
use sqlx::any::{AnyArguments, AnyRow};
use sqlx::query::Query;
use sqlx::{Any, Row};

use crate::id::{Id, Kind};
use crate::model::{Meta, State};

/// A value for a column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Value {
    Text(String),
    MaybeText(Option<String>),
    Number(i64),
    MaybeNumber(Option<i64>),
    MaybeBytes(Option<Vec<u8>>),
}

impl Value {
    pub(super) fn id(id: &Id) -> Value {
        Value::Text(id.as_str().to_owned())
    }

    pub(super) fn state(state: State) -> Value {
        Value::Text(state_word(state).to_owned())
    }

    pub(super) fn flag(flag: bool) -> Value {
        Value::Number(i64::from(flag))
    }

    /// Of a list or a record that no query looks into.
    pub(super) fn json<T: Serialize>(value: &T) -> Value {
        Value::Text(
            serde_json::to_string(value).expect("our own types have text keys and no failing Serialize"),
        )
    }
}

/// A column and what goes into it.
pub(super) type Column = (&'static str, Value);

pub(super) type Statement = Query<'static, Any, AnyArguments>;

/// Gives a statement its next value.
pub(super) fn bind(statement: Statement, value: Value) -> Statement {
    match value {
        Value::Text(text) => statement.bind(text),
        Value::MaybeText(text) => statement.bind(text),
        Value::Number(number) => statement.bind(number),
        Value::MaybeNumber(number) => statement.bind(number),
        Value::MaybeBytes(bytes) => statement.bind(bytes),
    }
}

/// How a state is stored.
pub(super) fn state_word(state: State) -> &'static str {
    match state {
        State::Active => "active",
        State::Disabled => "disabled",
        State::Revoked => "revoked",
    }
}

/// Reads the columns of a row from left to right.
pub(super) struct Cells<'r> {
    row: &'r AnyRow,
    next: usize,
}

impl<'r> Cells<'r> {
    pub(super) fn of(row: &'r AnyRow) -> Cells<'r> {
        Cells { row, next: 0 }
    }

    pub(super) fn text(&mut self) -> Result<String, sqlx::Error> {
        self.row.try_get(self.step())
    }

    pub(super) fn maybe_text(&mut self) -> Result<Option<String>, sqlx::Error> {
        self.row.try_get(self.step())
    }

    pub(super) fn number(&mut self) -> Result<i64, sqlx::Error> {
        self.row.try_get(self.step())
    }

    pub(super) fn maybe_number(&mut self) -> Result<Option<i64>, sqlx::Error> {
        self.row.try_get(self.step())
    }

    pub(super) fn maybe_bytes(&mut self) -> Result<Option<Vec<u8>>, sqlx::Error> {
        self.row.try_get(self.step())
    }

    pub(super) fn flag(&mut self) -> Result<bool, sqlx::Error> {
        Ok(self.number()? != 0)
    }

    pub(super) fn id(&mut self, kind: Kind) -> Result<Id, sqlx::Error> {
        Id::parse(kind, &self.text()?).map_err(|fault| sqlx::Error::Decode(Box::new(fault)))
    }

    /// Of any kind.
    pub(super) fn any_id(&mut self) -> Result<Id, sqlx::Error> {
        let text = self.text()?;
        Id::parse_any(&text).ok_or_else(|| sqlx::Error::Decode(format!("{text:?} is no id").into()))
    }

    pub(super) fn state(&mut self) -> Result<State, sqlx::Error> {
        match self.text()?.as_str() {
            "active" => Ok(State::Active),
            "disabled" => Ok(State::Disabled),
            "revoked" => Ok(State::Revoked),
            other => Err(sqlx::Error::Decode(format!("no state is called {other:?}").into())),
        }
    }

    pub(super) fn json<T: DeserializeOwned>(&mut self) -> Result<T, sqlx::Error> {
        serde_json::from_str(&self.text()?).map_err(|fault| sqlx::Error::Decode(Box::new(fault)))
    }

    pub(super) fn meta(&mut self) -> Result<Meta, sqlx::Error> {
        Ok(Meta {
            created_ms: self.number()?,
            changed_ms: self.number()?,
            changed_by: self.text()?,
            version: self.number()?,
        })
    }

    fn step(&mut self) -> usize {
        let here = self.next;
        self.next += 1;
        here
    }
}
