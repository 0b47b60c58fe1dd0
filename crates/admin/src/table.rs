//! A result: columns and rows of text.

/// Type of a column. Clients read numbers by it, so it is part of the contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// `text`.
    Text,
    /// `int4`.
    Int,
    /// `int8`.
    Big,
    /// `numeric`.
    Numeric,
    /// `bytea`.
    Bytes,
}

impl Kind {
    /// OID of the type (`pg_type.dat` of PostgreSQL).
    pub(crate) fn oid(self) -> u32 {
        match self {
            Kind::Text => 25,
            Kind::Int => 23,
            Kind::Big => 20,
            Kind::Numeric => 1700,
            Kind::Bytes => 17,
        }
    }
}

/// A column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Column {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
}

/// A column of text.
pub(crate) const fn text(name: &'static str) -> Column {
    Column { name, kind: Kind::Text }
}

/// A column of `int4`.
pub(crate) const fn int(name: &'static str) -> Column {
    Column { name, kind: Kind::Int }
}

/// A column of `int8`.
pub(crate) const fn big(name: &'static str) -> Column {
    Column { name, kind: Kind::Big }
}

/// A column of `numeric`.
pub(crate) const fn numeric(name: &'static str) -> Column {
    Column { name, kind: Kind::Numeric }
}

/// A column of `bytea`.
pub(crate) const fn bytes(name: &'static str) -> Column {
    Column { name, kind: Kind::Bytes }
}

/// A value; `None` is NULL.
pub(crate) type Cell = Option<String>;

/// The values of a row, in the order of the columns.
pub(crate) type Row = Vec<Cell>;

/// A value that is there.
pub(crate) fn cell(value: impl ToString) -> Cell {
    Some(value.to_string())
}

/// 0 or 1, as PgBouncer writes a flag.
pub(crate) fn flag(value: bool) -> Cell {
    cell(u8::from(value))
}

/// A result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Table {
    pub(crate) columns: Vec<Column>,
    pub(crate) rows: Vec<Row>,
}
