//! The database and user columns of an HBA line: keywords, names, and files of names.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use crate::hba::ReadNames;
use crate::lines::{Token, Tokens, shown};

/// How deep files of names may name further files.
const DEPTH_MAX: u32 = 10;
/// How many files one line may ask for, one that is asked for twice counted twice.
const LINE_FILES_MAX: u32 = 100;
/// Longest file of names, bytes.
const FILE_BYTES_MAX: usize = 1 << 20;
/// What all lines together may take from files, bytes.
const FILES_BYTES_MAX: usize = 4 << 20;

/// Which column is read: keywords differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Column {
    Database,
    User,
}

/// A word that is not a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Keyword {
    /// `all`.
    All,
    /// `sameuser`: database and user have the same name.
    SameUser,
    /// `replication`: the one that physical replication asks for.
    Replication,
}

/// What a column names.
#[derive(Clone, Debug, Default)]
pub(super) struct Names {
    keywords: BTreeSet<Keyword>,
    names: BTreeSet<Box<str>>,
}

impl Names {
    /// Whether `name` is named; `other` is the name in the other column.
    pub(super) fn has(&self, name: &str, other: &str) -> bool {
        self.keywords.contains(&Keyword::All)
            || (self.keywords.contains(&Keyword::SameUser) && name == other)
            || self.names.contains(name)
    }

    /// Whether physical replication is named, which `all` does not do.
    pub(super) fn has_replication(&self) -> bool {
        self.keywords.contains(&Keyword::Replication)
    }
}

/// Reads columns, and the files they name.
pub(super) struct NamesReader<'r> {
    read: &'r mut ReadNames<'r>,
    /// What has been read; `Err` says why it could not be.
    texts: BTreeMap<String, Result<Rc<str>, String>>,
    bytes_left: usize,
    line_files_left: u32,
}

/// Where a list stands.
#[derive(Clone, Copy)]
struct Place<'a> {
    column: Column,
    /// The file of names, as it was handed to `read`; empty for the HBA file itself.
    file: &'a str,
    depth: u32,
}

impl<'r> NamesReader<'r> {
    pub(super) fn new(read: &'r mut ReadNames<'r>) -> NamesReader<'r> {
        NamesReader {
            read,
            texts: BTreeMap::new(),
            bytes_left: FILES_BYTES_MAX,
            line_files_left: LINE_FILES_MAX,
        }
    }

    /// A new line begins.
    pub(super) fn begin_line(&mut self) {
        self.line_files_left = LINE_FILES_MAX;
    }

    /// Reads a column: one name or more, with commas between them.
    ///
    /// # Errors
    /// What is wrong.
    pub(super) fn column(&mut self, tokens: &mut Tokens<'_>, column: Column) -> Result<Names, String> {
        let place = Place { column, file: "", depth: 0 };
        let mut names = Names::default();
        self.one(tokens, place, &mut names)?;
        while tokens.eat(&Token::Comma) {
            self.one(tokens, place, &mut names)?;
        }
        Ok(names)
    }

    fn one(&mut self, tokens: &mut Tokens<'_>, place: Place<'_>, names: &mut Names) -> Result<(), String> {
        match tokens.take() {
            Token::Quoted(name) => {
                names.names.insert(name.into());
                Ok(())
            }
            Token::Word(word) => self.word(word, place, names),
            Token::Unclosed => Err("quote is not closed".to_owned()),
            Token::Comma | Token::End => Err(match place.column {
                Column::Database => "did not find database".to_owned(),
                Column::User => "did not find user".to_owned(),
            }),
        }
    }

    fn word(&mut self, word: &str, place: Place<'_>, names: &mut Names) -> Result<(), String> {
        if let Some(file) = word.strip_prefix('@') {
            return self.file(file, place, names);
        }
        let keyword = match (word, place.column) {
            ("all", Column::Database | Column::User) => Some(Keyword::All),
            ("sameuser", Column::Database | Column::User) => Some(Keyword::SameUser),
            ("replication", Column::Database) => Some(Keyword::Replication),
            ("samerole" | "samegroup", Column::Database | Column::User) => {
                return Err(format!("{word} is not supported"));
            }
            (_, Column::Database | Column::User) => None,
        };
        match keyword {
            Some(keyword) => {
                names.keywords.insert(keyword);
            }
            None if word.starts_with('+') => {
                return Err(format!("members of a role are not supported: {}", shown(word)));
            }
            None => {
                names.names.insert(word.into());
            }
        }
        Ok(())
    }

    /// Takes all names of a file, whether commas, blanks or newlines are between them.
    fn file(&mut self, name: &str, place: Place<'_>, names: &mut Names) -> Result<(), String> {
        if name.is_empty() {
            return Err("did not find file name behind @".to_owned());
        }
        if place.depth >= DEPTH_MAX {
            return Err(format!("files of names nest deeper than {DEPTH_MAX}: {}", shown(name)));
        }
        let path = beside(place.file, name);
        let text = self.text(&path)?;
        let place = Place { file: &path, depth: place.depth + 1, ..place };
        for line in text.split('\n') {
            let mut tokens = Tokens::of(line);
            while *tokens.current() != Token::End {
                if !tokens.eat(&Token::Comma) {
                    self.one(&mut tokens, place, names)?;
                }
            }
        }
        Ok(())
    }

    /// The text of a file, read at most once.
    fn text(&mut self, path: &str) -> Result<Rc<str>, String> {
        let left = self.line_files_left.checked_sub(1);
        self.line_files_left = left.ok_or_else(|| format!("more than {LINE_FILES_MAX} files of names"))?;
        let text = match self.texts.get(path) {
            Some(known) => known.clone()?,
            None => {
                let text = read_file(self.read, path);
                self.texts.insert(path.to_owned(), text.clone());
                text?
            }
        };
        let left = self.bytes_left.checked_sub(text.len());
        self.bytes_left =
            left.ok_or_else(|| format!("files of names are longer than {FILES_BYTES_MAX} bytes together"))?;
        Ok(text)
    }
}

fn read_file(read: &mut ReadNames<'_>, path: &str) -> Result<Rc<str>, String> {
    let text = read(path).map_err(|error| format!("could not open file {}: {error}", shown(path)))?;
    if text.len() > FILE_BYTES_MAX {
        return Err(format!("file {} is longer than {FILE_BYTES_MAX} bytes", shown(path)));
    }
    Ok(text.into())
}

/// `name` as seen from the folder of `file`.
fn beside(file: &str, name: &str) -> String {
    match file.rsplit_once('/') {
        Some((folder, _)) if !name.starts_with('/') => format!("{folder}/{name}"),
        Some(_) | None => name.to_owned(),
    }
}
