//! What is wrong, and where.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// One mistake in the configuration.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Mistake {
    /// The file.
    pub file: PathBuf,
    /// Line, from 1; 0 where the file as a whole is meant.
    pub line: u32,
    /// What is wrong and what would be right, PgBouncer's words first where it has any.
    pub message: String,
}

impl fmt::Display for Mistake {
    /// `FILE:LINE: message`, without what does not apply.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.file.as_os_str().is_empty() {
            write!(f, "{}:", self.file.display())?;
            if self.line > 0 {
                write!(f, "{}:", self.line)?;
            }
            f.write_str(" ")?;
        }
        f.write_str(&self.message)
    }
}

impl std::error::Error for Mistake {}

/// A line of a file.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    file: Arc<Path>,
    line: u32,
}

impl Place {
    pub(crate) fn new(file: &Arc<Path>, line: u32) -> Place {
        Place { file: file.clone(), line }
    }

    pub(crate) fn mistake(&self, message: impl Into<String>) -> Mistake {
        Mistake { file: self.file.to_path_buf(), line: self.line, message: message.into() }
    }

    pub(crate) fn line(&self) -> u32 {
        self.line
    }
}

impl fmt::Display for Place {
    /// `FILE:LINE`, as PgBouncer writes it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file.display(), self.line)
    }
}
