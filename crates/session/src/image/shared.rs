//! What many sessions and connections share.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Bytes, COUNT_MAX, ImageError};
use crate::params::{Params, Tracked};
use crate::statements::{Statement, StatementTable};

/// Longest name of a statement at a server, bytes.
const NAME_BYTES_MAX: usize = 64;

/// A statement.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatementImage {
    pub(crate) id: u64,
    pub(crate) name: Box<str>,
    pub(crate) text_and_types: Bytes,
    pub(crate) reading: Box<str>,
    pub(crate) outdated: bool,
}

/// All that is shared.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SharedImage {
    /// Names of the parameters that follow clients.
    tracked: Vec<Box<str>>,
    /// Sets of their values.
    params: Vec<Vec<Option<Box<str>>>>,
    statements: Vec<StatementImage>,
    /// New statements are counted from here.
    next_statement: u64,
}

/// Collects what is shared while images are made.
#[derive(Debug, Default)]
pub struct Packing {
    params: Vec<Arc<Params>>,
    /// By address: equal pointers are equal values, and `params` keeps each alive.
    params_at: HashMap<usize, u32>,
    statements: BTreeMap<u64, Arc<Statement>>,
    next_statement: u64,
}

impl Packing {
    /// With all statements of a table, also those that nobody has now.
    pub fn of(table: &StatementTable) -> Packing {
        let statements = table.all().map(|statement| (statement.id, statement.clone())).collect();
        Packing { statements, next_statement: table.next_id(), ..Packing::default() }
    }

    /// The number of a set of parameters.
    pub fn params(&mut self, params: &Arc<Params>) -> u32 {
        let next = u32::try_from(self.params.len()).unwrap_or(u32::MAX);
        *self.params_at.entry(Arc::as_ptr(params).addr()).or_insert_with(|| {
            self.params.push(params.clone());
            next
        })
    }

    /// The number of a statement.
    pub(crate) fn statement(&mut self, statement: &Arc<Statement>) -> u64 {
        self.statements.entry(statement.id).or_insert_with(|| statement.clone());
        statement.id
    }

    /// All of it.
    pub fn finish(self, tracked: &Tracked) -> SharedImage {
        let values =
            |set: &Arc<Params>| set.values.iter().map(|value| value.as_deref().map(Into::into)).collect();
        SharedImage {
            tracked: tracked.names().map(Into::into).collect(),
            params: self.params.iter().map(values).collect(),
            statements: self.statements.values().map(|statement| statement.image()).collect(),
            next_statement: self.next_statement,
        }
    }
}

/// What is shared, found by number again.
#[derive(Debug, Default)]
pub struct Unpacking {
    params: Vec<Arc<Params>>,
    statements: HashMap<u64, Arc<Statement>>,
}

impl Unpacking {
    /// Makes it anew. The parameters tracked here may be others: values of those that are not are forgotten.
    ///
    /// # Errors
    /// It is not well formed.
    pub fn new(
        shared: SharedImage,
        tracked: &Tracked,
        table: &mut StatementTable,
    ) -> Result<Unpacking, ImageError> {
        let places: Vec<Option<usize>> =
            shared.tracked.iter().map(|name| tracked.index(name.as_bytes())).collect();
        let mut unpacking = Unpacking::default();
        for values in shared.params {
            if values.len() > places.len() {
                return Err(ImageError("a set of parameters of the wrong length"));
            }
            let mut params = Params::none(tracked);
            for (place, value) in places.iter().zip(values) {
                if let Some(own) = place.and_then(|place| params.values.get_mut(place)) {
                    *own = value.map(Arc::from);
                }
            }
            unpacking.params.push(Arc::new(params));
        }
        if shared.next_statement >= COUNT_MAX {
            return Err(ImageError("more statements than there can be"));
        }
        table.count_from(shared.next_statement);
        for statement in shared.statements {
            let id = statement.id;
            let statement = table.adopt(statement)?;
            if unpacking.statements.insert(id, statement).is_some() {
                return Err(ImageError("two statements with one number"));
            }
        }
        Ok(unpacking)
    }

    /// A set of parameters.
    ///
    /// # Errors
    /// There is none of this number.
    pub fn params(&self, number: u32) -> Result<Arc<Params>, ImageError> {
        let params = usize::try_from(number).ok().and_then(|number| self.params.get(number));
        params.cloned().ok_or(ImageError("a set of parameters that is not there"))
    }

    pub(crate) fn statement(&self, id: u64) -> Result<Arc<Statement>, ImageError> {
        self.statements.get(&id).cloned().ok_or(ImageError("a statement that is not there"))
    }
}

#[cfg(test)]
impl SharedImage {
    pub(super) fn change_first(&mut self, change: impl FnOnce(&mut StatementImage)) {
        change(self.statements.first_mut().expect("there is one"));
    }
}

impl StatementImage {
    /// Whether it is one that a table of ours could have made.
    pub(crate) fn check(&self) -> Result<(), ImageError> {
        let is_plain = self.name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        if self.id >= COUNT_MAX || self.name.is_empty() || self.name.len() > NAME_BYTES_MAX || !is_plain {
            return Err(ImageError("a statement with an impossible name or number"));
        }
        // Its text ends in a zero, and the types begin.
        if !self.text_and_types.contains(&0) {
            return Err(ImageError("a statement without an end"));
        }
        Ok(())
    }
}
