//! A result set.

/// Rows with named columns.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Table {
    /// Names and type OIDs.
    pub columns: Vec<(String, u32)>,
    /// The rows as text, `None` for NULL.
    pub rows: Vec<Vec<Option<String>>>,
    /// The tag of CommandComplete.
    pub command: String,
}

impl Table {
    /// The value in a row's named column; NULL is the empty text.
    ///
    /// # Panics
    /// No such row or column.
    #[track_caller]
    pub fn cell(&self, row: usize, column: &str) -> &str {
        let at = self.column(column);
        self.rows[row][at].as_deref().unwrap_or("")
    }

    /// The same, as a number.
    ///
    /// # Panics
    /// No such row or column, or not a number.
    #[track_caller]
    pub fn number(&self, row: usize, column: &str) -> u64 {
        let text = self.cell(row, column);
        text.parse().unwrap_or_else(|_| panic!("{column} is {text:?} and not a number"))
    }

    /// The first row whose named columns have these values.
    pub fn find(&self, wanted: &[(&str, &str)]) -> Option<usize> {
        (0..self.rows.len())
            .find(|row| wanted.iter().all(|(column, value)| self.cell(*row, column) == *value))
    }

    /// How many rows have these values in these columns.
    pub fn count(&self, wanted: &[(&str, &str)]) -> usize {
        (0..self.rows.len())
            .filter(|row| wanted.iter().all(|(column, value)| self.cell(*row, column) == *value))
            .count()
    }

    #[track_caller]
    fn column(&self, name: &str) -> usize {
        let found = self.columns.iter().position(|(column, _)| column == name);
        found.unwrap_or_else(|| panic!("no column {name} in {:?}", self.columns))
    }
}
