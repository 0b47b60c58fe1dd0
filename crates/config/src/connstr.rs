//! Connection strings: `key=value` pairs with blanks between them and, as PgBouncer allows, around the `=`; a value
//! with blanks stands in single quotes, in which `''` is one quote. A value cannot be empty.

use std::borrow::Cow;

use crate::ini::quoted;

/// A pair.
pub(crate) type Pair<'a> = (&'a str, Cow<'a, str>);

/// Splits a connection string. The string is never part of the error, because it may hold a password.
pub(crate) fn pairs(text: &str) -> Result<Vec<Pair<'_>>, &'static str> {
    let mut found = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let (pair, behind) = pair(rest)?;
        found.push(pair);
        rest = behind.trim_start();
    }
    Ok(found)
}

fn pair(text: &str) -> Result<(Pair<'_>, &str), &'static str> {
    let end = text.find(|c: char| c == '=' || c.is_ascii_whitespace()).unwrap_or(text.len());
    let (key, behind) = text.split_at(end);
    if key.is_empty() {
        return Err("a name is missing before =");
    }
    let Some(behind) = behind.trim_start().strip_prefix('=') else {
        return Err("a name without =; a value with blanks must stand in single quotes");
    };
    let behind = behind.trim_start();
    let (value, rest) = match behind.strip_prefix('\'') {
        Some(inside) => quoted(inside, '\'').ok_or("a single quote is not closed")?,
        None => {
            let end = behind.find(|c: char| c.is_ascii_whitespace()).unwrap_or(behind.len());
            (Cow::Borrowed(&behind[..end]), &behind[end..])
        }
    };
    if value.is_empty() {
        return Err("a value cannot be empty");
    }
    Ok(((key, value), rest))
}

#[cfg(test)]
mod tests {
    use super::pairs;

    fn texts(text: &str) -> Vec<(String, String)> {
        pairs(text).expect("it splits").into_iter().map(|(k, v)| (k.to_string(), v.to_string())).collect()
    }

    #[test]
    fn pairs_are_split() {
        let text = " host = 127.0.0.1\tport=5432 password='it''s = x'  connect_query='select 1'";
        let pairs = texts(text);
        let expected = [
            ("host", "127.0.0.1"),
            ("port", "5432"),
            ("password", "it's = x"),
            ("connect_query", "select 1"),
        ];
        assert_eq!(pairs, expected.map(|(k, v)| (k.to_string(), v.to_string())));
        assert_eq!(texts("a=b=c"), [("a".to_string(), "b=c".to_string())]);
        assert!(texts("  ").is_empty());
    }

    #[test]
    fn broken_strings_are_told() {
        for text in ["host", "host=", "host=''", "=x", "host='x", "host=a junk", "host = ", "a b=c"] {
            assert!(pairs(text).is_err(), "{text}");
        }
    }
}
