//! Rows as JSON objects, one a line: what `jq` and a shell's `read` like.

use crate::table::{Column, Kind, Row, Table};
use crate::text::is_harmful;

/// The lines. Each has every column under its own name, in the console's order; `first` goes before them.
pub(crate) fn lines(table: &Table, first: Option<(&str, &str)>) -> Vec<String> {
    table.rows.iter().map(|row| object(&table.columns, row, first)).collect()
}

fn object(columns: &[Column], row: &Row, first: Option<(&str, &str)>) -> String {
    let first = first.map(|(name, value)| format!("{}:{}", string(name), string(value)));
    let values = columns.iter().zip(row).map(|(column, value)| {
        let value = match value {
            None => "null".to_string(),
            Some(text) => match column.kind {
                Kind::Number => number(text).unwrap_or_else(|| string(text)),
                Kind::Text => string(text),
            },
        };
        format!("{}:{value}", string(&column.name))
    });
    let members: Vec<String> = first.into_iter().chain(values).collect();
    format!("{{{}}}", members.join(","))
}

/// A number in its own digits; `None` for what JSON has no number for (NaN, Infinity).
fn number(text: &str) -> Option<String> {
    serde_json::from_str::<serde_json::Number>(text).ok().map(|_| text.to_string())
}

/// A string; what a terminal would obey is written as an escape, also where JSON would allow it as it is.
fn string(text: &str) -> String {
    value(&serde_json::Value::from(text))
}

/// Any value in one line. Outside of strings JSON has nothing that a terminal would obey.
pub(crate) fn value(value: &serde_json::Value) -> String {
    let quoted = value.to_string();
    if !quoted.contains(is_harmful) {
        return quoted;
    }
    quoted.chars().fold(String::new(), |mut out, c| {
        match is_harmful(c) {
            // All of them are in the first plane: one unit of UTF-16.
            true => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            false => out.push(c),
        }
        out
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::made;

    #[test]
    fn numbers_are_numbers_and_null_is_null() {
        let table = made(
            &[("id", 20), ("share", 1700), ("app", 25), ("n", 20)],
            &["7|0.25|12|-", "18446744073709551615|NaN|a \"b\"|1"],
        );
        assert_eq!(
            lines(&table, None),
            [
                r#"{"id":7,"share":0.25,"app":"12","n":null}"#,
                r#"{"id":18446744073709551615,"share":"NaN","app":"a \"b\"","n":1}"#
            ]
        );
        assert_eq!(
            lines(&table, Some(("at", "now")))[0],
            r#"{"at":"now","id":7,"share":0.25,"app":"12","n":null}"#
        );
    }

    #[test]
    fn no_control_character_is_printed_and_none_is_lost() {
        let text = "a\x1b[2J\u{9b}\u{7f}\u{202e}ü漢\n";
        let table =
            Table { columns: made(&[("app", 25)], &[]).columns, rows: vec![vec![Some(text.to_string())]] };
        let line = lines(&table, None).remove(0);
        assert!(!line.contains(is_harmful), "{line}");
        let value: serde_json::Value = serde_json::from_str(&line).expect("JSON");
        assert_eq!(value["app"], text);
    }
}
