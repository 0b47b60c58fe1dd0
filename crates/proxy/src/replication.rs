//! What a client asks for that wants replication: it goes to the server as it came, in the startup packet of a connection
//! that is opened for this client alone. A walsender for physical replication knows no SET (PostgreSQL manual,
//! "Streaming Replication Protocol"), so nothing could be brought into force later.

use plimsoll_auth::hba;

/// The startup parameter `replication`, where it says yes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// `database`: a walsender that is connected to a database, and takes SQL too.
    Logical,
    /// A boolean that is true: a walsender without a database.
    Physical,
}

/// A startup parameter: name and value.
pub(crate) type Parameter = (Box<[u8]>, Box<[u8]>);

/// See the module.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Wishes {
    /// Which replication.
    pub(crate) kind: Kind,
    /// The startup parameters in their order, but those that the pooler answers for: user, database, replication, and
    /// options of the protocol.
    pub(crate) startup: Vec<Parameter>,
}

impl Kind {
    /// As `SHOW CLIENTS` and `SHOW SERVERS` have it.
    pub(crate) fn shown(kind: Option<Kind>) -> &'static str {
        match kind {
            None => "none",
            Some(Kind::Logical) => "logical",
            Some(Kind::Physical) => "physical",
        }
    }

    /// As the log has it.
    pub(crate) fn logged(kind: Option<Kind>) -> &'static str {
        match kind {
            None => "no",
            Some(Kind::Logical) => "database",
            Some(Kind::Physical) => "yes",
        }
    }

    /// For the rules of the HBA file.
    pub(crate) fn asked(kind: Option<Kind>) -> hba::Replication {
        match kind {
            None => hba::Replication::No,
            Some(Kind::Logical) => hba::Replication::Logical,
            Some(Kind::Physical) => hba::Replication::Physical,
        }
    }

    /// The value of the startup parameter.
    pub(crate) fn value(self) -> &'static [u8] {
        match self {
            Kind::Logical => b"database",
            Kind::Physical => b"true",
        }
    }

    /// What a client's value asks for; `Err`: it is no value of this parameter.
    pub(crate) fn parse(value: &[u8]) -> Result<Option<Kind>, NotAValue> {
        if value == b"database" {
            return Ok(Some(Kind::Logical));
        }
        match boolean(value) {
            Some(Truth::Yes) => Ok(Some(Kind::Physical)),
            Some(Truth::No) => Ok(None),
            None => Err(NotAValue),
        }
    }
}

/// A value that is neither `database` nor a boolean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NotAValue;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Truth {
    Yes,
    No,
}

/// A boolean as PostgreSQL reads one (`parse_bool`): the words or any beginning of one that no other begins with, in any
/// case; 1 and 0.
fn boolean(value: &[u8]) -> Option<Truth> {
    const WORDS: [(&[u8], usize, Truth); 6] = [
        (b"true", 1, Truth::Yes),
        (b"false", 1, Truth::No),
        (b"yes", 1, Truth::Yes),
        (b"no", 1, Truth::No),
        (b"on", 2, Truth::Yes),
        (b"off", 2, Truth::No),
    ];
    match value {
        b"1" => return Some(Truth::Yes),
        b"0" => return Some(Truth::No),
        _ => {}
    }
    let begins = |word: &[u8], bytes_min: usize| {
        value.len() >= bytes_min
            && word.get(..value.len()).is_some_and(|start| start.eq_ignore_ascii_case(value))
    };
    WORDS.iter().find(|(word, bytes_min, _)| begins(word, *bytes_min)).map(|(.., truth)| *truth)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_as_postgresql_reads_them() {
        for yes in ["true", "TRUE", "t", "tr", "yes", "y", "on", "oN", "1"] {
            assert_eq!(Kind::parse(yes.as_bytes()), Ok(Some(Kind::Physical)), "{yes}");
        }
        for no in ["false", "f", "no", "N", "off", "of", "0"] {
            assert_eq!(Kind::parse(no.as_bytes()), Ok(None), "{no}");
        }
        assert_eq!(Kind::parse(b"database"), Ok(Some(Kind::Logical)));
        for neither in ["", "o", "2", "Database", "databases", "truer", "logical", "\u{e9}"] {
            assert_eq!(Kind::parse(neither.as_bytes()), Err(NotAValue), "{neither}");
        }
    }
}
