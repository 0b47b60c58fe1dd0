//! Ident maps (`auth_ident_file`): which system user, or which name in a certificate, may log in as whom.
//!
//! Sources: PgBouncer's manual, "Ident map file format"; PostgreSQL manual, "User Name Maps".

use std::collections::BTreeMap;

use crate::lines::{Effect, LineFault, RULES_BYTES_MAX, Token, Tokens, numbered, shown};

#[cfg(test)]
mod tests;

/// The maps of an ident file.
#[derive(Clone, Debug, Default)]
pub struct IdentMaps {
    /// By name: for each system user the logins he may use.
    maps: BTreeMap<Box<str>, BTreeMap<Box<str>, Vec<Login>>>,
}

/// As whom a system user may log in.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Login {
    /// `all`.
    Anybody,
    One(Box<str>),
}

/// What a map says of a login.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdentVerdict {
    /// The system user may log in by this name.
    Allowed,
    /// No line of the file has that map.
    NoSuchMap,
    /// The map does not let this system user log in by this name.
    NoMatch,
}

impl IdentMaps {
    /// Reads an ident file. Lines that cannot be read are left out, and said so in the order of the file.
    pub fn parse(text: &str) -> (IdentMaps, Vec<LineFault>) {
        let mut maps = IdentMaps::default();
        let mut faults = Vec::new();
        if text.len() > RULES_BYTES_MAX {
            faults.push(fault(1, &format!("file is longer than {RULES_BYTES_MAX} bytes")));
            return (maps, faults);
        }
        for (line, text) in numbered(text) {
            if let Err(why) = maps.add(text) {
                faults.push(fault(line, &why));
            }
        }
        (maps, faults)
    }

    /// Whether `system_user` may log in as `login` by this map. Names are compared as they are written.
    pub fn check(&self, map: &str, system_user: &str, login: &str) -> IdentVerdict {
        let Some(entries) = self.maps.get(map) else {
            return IdentVerdict::NoSuchMap;
        };
        let mut logins = entries.get(system_user).into_iter().flatten();
        let allowed = logins.any(|allowed| match allowed {
            Login::Anybody => true,
            Login::One(name) => **name == *login,
        });
        if allowed { IdentVerdict::Allowed } else { IdentVerdict::NoMatch }
    }

    /// Whether there is a map of this name.
    pub(crate) fn contains(&self, map: &str) -> bool {
        self.maps.contains_key(map)
    }

    fn add(&mut self, text: &str) -> Result<(), String> {
        let mut tokens = Tokens::of(text);
        let map = match tokens.take() {
            Token::End => return Ok(()),
            Token::Word(map) => map,
            // `map=` of an HBA line could not name it.
            Token::Quoted(_) | Token::Comma | Token::Unclosed => {
                return Err("did not find map name".to_owned());
            }
        };
        let system_user: Box<str> = match tokens.take() {
            Token::Word(name) if name.starts_with('/') => return Err(no_pattern(name)),
            Token::Word(name) => name.into(),
            Token::Quoted(name) => name.into(),
            Token::Comma | Token::Unclosed | Token::End => {
                return Err("did not find system user name".to_owned());
            }
        };
        let login = login(tokens.take())?;
        if *tokens.current() != Token::End {
            return Err("unsupported parameters".to_owned());
        }
        self.maps.entry(map.into()).or_default().entry(system_user).or_default().push(login);
        Ok(())
    }
}

fn login(token: Token<'_>) -> Result<Login, String> {
    match token {
        Token::Word("all") => Ok(Login::Anybody),
        Token::Word(name) if name.starts_with('/') => Err(no_pattern(name)),
        Token::Word(name) if name.starts_with('+') => {
            Err(format!("members of a role are not supported: {}", shown(name)))
        }
        Token::Word(name) => Ok(Login::One(name.into())),
        Token::Quoted(name) => Ok(Login::One(name.into())),
        Token::Comma | Token::Unclosed | Token::End => Err("did not find database user name".to_owned()),
    }
}

fn no_pattern(name: &str) -> String {
    format!("regular expressions are not supported: {}", shown(name))
}

fn fault(line: u32, why: &str) -> LineFault {
    LineFault { line, message: format!("ident line {line}: {why}"), effect: Effect::Skipped }
}
