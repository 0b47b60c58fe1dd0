//! What a client says, as words: `P:a=select_1 B:a E S`.
//!
//! A word is the type byte of a message and what matters of its body: `Q:text`, `P:name=text`, `B:statement` or
//! `B:portal/statement`, `D:statement`, `Dp:portal`, `E`, `E:portal`, `C:statement`, `Cp:portal`, `S`, `H`, `F`,
//! `d:data`, `c`, `f`, `X`. `_` stands for a blank and `#` for a tag that nobody else has; a Bind carries one as its
//! only value.

use plimsoll_wire::{encode, front};

/// Appends the bytes of some words; `tag` is theirs.
pub(crate) fn say(out: &mut Vec<u8>, words: &str, tag: &str) {
    for word in words.split_whitespace() {
        let (kind, rest) = word.split_once(':').unwrap_or((word, ""));
        let rest = if rest.contains(['_', '#']) { with_tag(rest, tag) } else { rest.to_owned() };
        one(out, kind, &rest, tag);
    }
}

/// Blanks come first, since the names of parameters and functions have underscores: those are written as `~`.
fn with_tag(text: &str, tag: &str) -> String {
    text.replace('_', " ").replace('~', "_").replace('#', tag)
}

fn one(out: &mut Vec<u8>, kind: &str, rest: &str, tag: &str) {
    let rest_bytes = rest.as_bytes();
    match kind {
        "Q" => encode::query(out, rest_bytes),
        "P" => {
            let (name, text) = rest.split_once('=').unwrap_or(("", rest));
            encode::parse(out, name.as_bytes(), &[text.as_bytes(), &[0, 0, 0]].concat());
        }
        "B" => {
            let (portal, statement) = rest.split_once('/').unwrap_or(("", rest));
            encode::message(out, front::BIND, |out| {
                encode::cstr(out, portal.as_bytes());
                encode::cstr(out, statement.as_bytes());
                // No formats, one value with its length, no formats of the result.
                out.extend_from_slice(&[0, 0, 0, 1, 0, 0, 0, tag.len() as u8]);
                out.extend_from_slice(tag.as_bytes());
                out.extend_from_slice(&[0, 0]);
            });
        }
        "D" => encode::describe_statement(out, rest_bytes),
        "C" => encode::close_statement(out, rest_bytes),
        "Dp" | "Cp" => encode::message(out, kind.as_bytes()[0], |out| {
            out.push(b'P');
            encode::cstr(out, rest_bytes);
        }),
        "E" => encode::message(out, front::EXECUTE, |out| {
            encode::cstr(out, rest_bytes);
            out.extend_from_slice(&[0; 4]);
        }),
        "f" => encode::copy_fail(out, "no"),
        _ => encode::message(out, kind.bytes().next().unwrap_or_default(), |out| {
            out.extend_from_slice(rest_bytes);
        }),
    }
}
