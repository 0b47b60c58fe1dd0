//! What all nouns have in common in the store.

use serde::Serialize;

use super::StoreFault;
use super::cells::{Cells, Column};
use crate::model::{Meta, State};

/// How a noun is called, and where it is.
pub(super) struct Words {
    /// In the audit log: `org` of `org.create`.
    pub(super) audit: &'static str,
    /// For people.
    pub(super) people: &'static str,
    /// Its table.
    pub(super) table: &'static str,
    /// The column of its id.
    pub(super) key: &'static str,
    /// What is said when another one has its name already.
    pub(super) twice: &'static str,
    /// The columns behind those of [`Meta`], in the order in which [`Noun::read`] reads them.
    pub(super) columns: &'static [&'static str],
}

/// Something in the store.
pub(super) trait Noun: Sized + Send {
    /// What is chosen of it.
    type Data: Serialize + PartialEq + Sync;

    const WORDS: Words;

    /// Reads one: its id, [`Meta`], and its columns.
    fn read(cells: &mut Cells<'_>) -> Result<Self, sqlx::Error>;

    fn key(&self) -> &str;

    fn data(&self) -> &Self::Data;

    fn meta(&self) -> &Meta;

    fn state(data: &Self::Data) -> State;

    /// What was chosen, as columns.
    fn chosen(data: &Self::Data) -> Vec<Column>;

    /// Whether what stays is as it was.
    fn check_stays(old: &Self::Data, new: &Self::Data) -> Result<(), StoreFault>;
}

/// The columns of a noun, for SELECT.
pub(super) fn select_list<N: Noun>(alias: &str) -> String {
    let words = N::WORDS;
    let fixed = [words.key, "created_ms", "changed_ms", "changed_by", "version"];
    let all: Vec<String> =
        fixed.iter().chain(words.columns).map(|column| format!("{alias}.{column}")).collect();
    all.join(", ")
}

/// Refuses another value for what stays.
pub(super) fn stays<T: PartialEq>(field: &'static str, old: &T, new: &T) -> Result<(), StoreFault> {
    if old == new {
        Ok(())
    } else {
        Err(StoreFault::Invalid { field, why: "it stays what it was made with".to_owned() })
    }
}
