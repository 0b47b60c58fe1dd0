//! Which system user, or which certificate, may log in as whom: the ident file (PostgreSQL manual, "User Name Maps").

use std::collections::BTreeMap;

use crate::hba::{LineFault, tokens};

/// All maps of a file.
#[derive(Clone, Debug, Default)]
pub struct IdentMaps {
    maps: BTreeMap<Box<str>, Vec<Pair>>,
}

#[derive(Clone, Debug)]
struct Pair {
    system_user: Box<str>,
    /// `None`: as anybody (`all`).
    login: Option<Box<str>>,
}

/// What a map says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdentVerdict {
    /// It may.
    Allowed,
    /// There is no map of this name.
    NoSuchMap,
    /// No line of the map fits.
    NoMatch,
}

impl IdentMaps {
    /// Reads a file of lines `map system-user login`. A line that is wrong is left out and told.
    pub fn parse(text: &str) -> (IdentMaps, Vec<LineFault>) {
        let (mut maps, mut faults) = (IdentMaps::default(), Vec::new());
        for (line, text) in (1..).zip(text.lines()) {
            match maps.line(text) {
                Ok(()) => {}
                Err(why) => {
                    let message =
                        format!("ident line {line}: {why}; could not parse ident config line {line}");
                    faults.push(LineFault { line, message });
                }
            }
        }
        (maps, faults)
    }

    fn line(&mut self, text: &str) -> Result<(), String> {
        let tokens = tokens(text)?;
        if tokens.is_empty() {
            return Ok(());
        }
        let [map, system_user, login] = tokens.as_slice() else {
            return Err(format!("three columns are wanted, {} are there", tokens.len()));
        };
        if tokens.iter().any(|token| token.comma || token.text.is_empty()) {
            return Err("each column is one name".to_string());
        }
        let login = (login.word() != Some("all")).then(|| login.text.as_str().into());
        let pair = Pair { system_user: system_user.text.as_str().into(), login };
        self.maps.entry(map.text.as_str().into()).or_default().push(pair);
        Ok(())
    }

    /// Whether `system_user` may log in as `login` by this map.
    pub fn check(&self, map: &str, system_user: &str, login: &str) -> IdentVerdict {
        let Some(pairs) = self.maps.get(map) else { return IdentVerdict::NoSuchMap };
        let fits = |pair: &Pair| {
            *pair.system_user == *system_user && pair.login.as_deref().is_none_or(|name| name == login)
        };
        if pairs.iter().any(fits) { IdentVerdict::Allowed } else { IdentVerdict::NoMatch }
    }
}

#[cfg(test)]
mod tests;
