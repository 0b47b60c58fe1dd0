//! auth_file: `"user" "secret"`, one a line (PgBouncer's manual, "Authentication file format").

use std::borrow::Cow;
use std::collections::BTreeMap;

use plimsoll_types::Secret;

use crate::ini::quoted;

/// PgBouncer's: longer names cannot log in.
const USER_BYTES_MAX: usize = 127;

/// The users of an auth_file, and the lines that say nothing: number from 1 and why. No secret is in a reason.
pub(crate) fn parse(text: &str) -> (BTreeMap<String, Secret>, Vec<(u32, &'static str)>) {
    let mut logins = BTreeMap::new();
    let mut skipped = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.trim_start();
        if line.is_empty() || line.starts_with(';') {
            continue;
        }
        match entry(line) {
            Ok((user, secret)) => {
                logins.insert(user.into_owned(), Secret::from_text(&secret));
            }
            Err(why) => skipped.push((number, why)),
        }
    }
    (logins, skipped)
}

/// User and secret; what is behind them is not looked at.
fn entry(line: &str) -> Result<(Cow<'_, str>, Cow<'_, str>), &'static str> {
    let user = line.strip_prefix('"').ok_or("a line begins with the user in double quotes")?;
    let (user, behind) = quoted(user, '"').ok_or("the user's quote is not closed")?;
    if user.is_empty() {
        return Err("the user is empty");
    }
    if user.len() > USER_BYTES_MAX {
        return Err("username too long in auth file");
    }
    let secret = behind.trim_start().strip_prefix('"').ok_or("the secret in double quotes is missing")?;
    let (secret, _) = quoted(secret, '"').ok_or("the secret's quote is not closed")?;
    Ok((user, secret))
}

#[cfg(test)]
mod tests {
    use super::parse;

    fn secret(text: &str, user: &str) -> Option<String> {
        let (logins, _) = parse(text);
        logins.get(user).and_then(|secret| secret.expose_text()).map(str::to_string)
    }

    #[test]
    fn users_are_read() {
        let text = "; comment\n\n\"a\" \"x\"\n  \"b\"\t\"SCRAM-SHA-256$1:a$b:c\" \"old\" junk\n\"c \"\"q\"\"\" \"p\"\"w\"\r\n\"d\"\"\"\n";
        assert_eq!(secret(text, "a").as_deref(), Some("x"));
        assert_eq!(secret(text, "b").as_deref(), Some("SCRAM-SHA-256$1:a$b:c"));
        assert_eq!(secret(text, "c \"q\"").as_deref(), Some("p\"w"));
        assert_eq!(secret("\"e\" \"\"", "e").as_deref(), Some(""));
        assert_eq!(secret("\"e\" \"1\"\n\"e\" \"2\"", "e").as_deref(), Some("2"));
    }

    #[test]
    fn a_line_of_65_kb_is_read() {
        let long = "x".repeat(65_500);
        assert_eq!(secret(&format!("\"a\" \"{long}\" ; {long}"), "a"), Some(long));
    }

    #[test]
    fn broken_lines_are_named_and_skipped() {
        let long = "u".repeat(128);
        let text =
            format!("user pass\n\"a\n\"a\" b\n\"a\" \"b\n\"\" \"b\"\n\"{long}\" \"b\"\n\"ok\" \"secret\"");
        let (logins, skipped) = parse(&text);
        assert_eq!(logins.keys().collect::<Vec<_>>(), ["ok"]);
        assert_eq!(skipped.iter().map(|(line, _)| *line).collect::<Vec<_>>(), [1, 2, 3, 4, 5, 6]);
    }
}
