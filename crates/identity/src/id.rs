//! Names of things: `app_01jd3…`. A prefix says what it is, 10 characters of time put them in the order in which they
//! were made, 16 of chance make them unique (Crockford's base32, lower case, as in a ULID).

use std::fmt;

/// Characters behind the prefix.
const BODY_CHARS: usize = 26;

/// Crockford's alphabet: no i, l, o, u.
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// What a name names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// An organisation.
    Org,
    /// A data set.
    DataSet,
    /// A user.
    User,
    /// An application.
    App,
    /// A grant.
    Grant,
}

impl Kind {
    /// All there are.
    pub const ALL: [Kind; 5] = [Kind::Org, Kind::DataSet, Kind::User, Kind::App, Kind::Grant];

    /// What a name of it begins with, underscore included.
    pub fn prefix(self) -> &'static str {
        match self {
            Kind::Org => "org_",
            Kind::DataSet => "dst_",
            Kind::User => "usr_",
            Kind::App => "app_",
            Kind::Grant => "grt_",
        }
    }
}

/// A name of something in the store.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Id {
    kind: Kind,
    text: Box<str>,
}

/// A text is no name of that kind.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an id of this kind: it begins with {} and has {BODY_CHARS} characters behind it", .0.prefix())]
pub struct IdFault(pub Kind);

impl Id {
    /// A new one, of the time in milliseconds since 1970 and 80 random bits.
    pub fn new(kind: Kind, unix_ms: u64, chance: [u8; 10]) -> Id {
        let mut text = String::with_capacity(kind.prefix().len() + BODY_CHARS);
        text.push_str(kind.prefix());
        let letter = |bits: u64| char::from(ALPHABET[(bits & 31) as usize]);
        for place in (0..10).rev() {
            text.push(letter(unix_ms >> (place * 5)));
        }
        for half in chance.chunks(5) {
            let bits = half.iter().fold(0_u64, |bits, byte| (bits << 8) | u64::from(*byte));
            for place in (0..8).rev() {
                text.push(letter(bits >> (place * 5)));
            }
        }
        Id { kind, text: text.into() }
    }

    /// Reads one of a kind.
    ///
    /// # Errors
    /// It is not of that kind, or nothing we made.
    pub fn parse(kind: Kind, text: &str) -> Result<Id, IdFault> {
        let body = text.strip_prefix(kind.prefix()).ok_or(IdFault(kind))?;
        if body.len() == BODY_CHARS && body.bytes().all(|byte| ALPHABET.contains(&byte)) {
            Ok(Id { kind, text: text.into() })
        } else {
            Err(IdFault(kind))
        }
    }

    /// Reads one of any kind; `None`: it is nothing we made.
    pub fn parse_any(text: &str) -> Option<Id> {
        Kind::ALL.into_iter().find_map(|kind| Id::parse(kind, text).ok())
    }

    /// What it names.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// As it is written.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl serde::Serialize for Id {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl<'de> serde::Deserialize<'de> for Id {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Id, D::Error> {
        let text = String::deserialize(deserializer)?;
        Id::parse_any(&text).ok_or_else(|| serde::de::Error::custom("not an id"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_sort_by_time_and_can_be_read_back() {
        let early = Id::new(Kind::App, 1_000, [255; 10]);
        let late = Id::new(Kind::App, 1_001, [0; 10]);
        assert!(early < late);
        assert_eq!(early.as_str(), "app_00000000z8zzzzzzzzzzzzzzzz");
        assert_eq!(Id::parse(Kind::App, early.as_str()), Ok(early.clone()));
        assert_eq!(Id::parse_any(late.as_str()), Some(late));
        assert_eq!(Id::parse(Kind::Org, early.as_str()), Err(IdFault(Kind::Org)));
    }

    #[test]
    fn nothing_else_is_one() {
        for text in [
            "",
            "app_",
            "app_00000000z8zzzzzzzzzzzzzzz",
            "app_00000000Z8zzzzzzzzzzzzzzzz",
            "app_../../../../../../etc/pass",
        ] {
            assert_eq!(Id::parse_any(text), None, "{text}");
        }
    }
}
