//! Messages as words: `P:a=select_1 B:a E S` from a client, `1 2 C:SELECT Z:I` from a server.
//!
//! A word is a type byte and what the tests need to see of the body; `_` stands for a blank. Client: `Q:text`,
//! `P:name=text`, `B:statement` or `B:portal/statement`, `D:statement`, `Dp:portal`, `E`, `E:portal`, `C:statement`,
//! `Cp:portal`, `S`, `H`, `F`, `d:data`, `c`, `f`, `X`. Server: `Z:state`, `C:tag`, `E:text`, `K:name=value`
//! (ParameterStatus), `R` (a row), and the other type bytes.

use plimsoll_types::Side;
use plimsoll_wire::{back, encode, front};

/// The bytes of some messages; `from` says whose.
pub(crate) fn bytes(from: Side, words: &str) -> Vec<u8> {
    let mut out = Vec::new();
    for word in words.split_whitespace() {
        let (kind, rest) = word.split_once(':').unwrap_or((word, ""));
        // The names of parameters have underscores.
        let rest = if kind == "K" { rest.to_owned() } else { rest.replace('_', " ") };
        match from {
            Side::Client => client(&mut out, kind, rest.as_bytes()),
            Side::Server => server(&mut out, kind, rest.as_bytes()),
        }
    }
    out
}

fn cut(text: &[u8], at: u8) -> (&[u8], &[u8]) {
    match text.iter().position(|byte| *byte == at) {
        Some(n) => (&text[..n], &text[n + 1..]),
        None => (b"", text),
    }
}

fn client(out: &mut Vec<u8>, kind: &str, rest: &[u8]) {
    match kind {
        "Q" => encode::query(out, rest),
        "P" => {
            let (name, text) = cut(rest, b'=');
            encode::parse(out, name, &[text, &[0, 0, 0]].concat());
        }
        "B" => {
            let (portal, statement) = cut(rest, b'/');
            let tail = [0; 6];
            encode::bind_head(out, 7 + portal.len() + statement.len() + tail.len(), portal, statement);
            out.extend_from_slice(&tail);
        }
        "D" => encode::describe_statement(out, rest),
        "C" => encode::close_statement(out, rest),
        "Dp" | "Cp" => encode::message(out, kind.as_bytes()[0], |out| {
            out.push(b'P');
            encode::cstr(out, rest);
        }),
        "E" => encode::message(out, front::EXECUTE, |out| {
            encode::cstr(out, rest);
            out.extend_from_slice(&[0; 4]);
        }),
        "f" => encode::copy_fail(out, "no"),
        "d" | "S" | "H" | "F" | "c" | "X" | "p" | "?" => {
            encode::message(out, kind.as_bytes()[0], |out| out.extend_from_slice(rest));
        }
        other => panic!("no client message {other}"),
    }
}

fn server(out: &mut Vec<u8>, kind: &str, rest: &[u8]) {
    let text = String::from_utf8_lossy(rest);
    match kind {
        "Z" => encode::ready_for_query(out, rest[0]),
        "C" => encode::command_complete(out, &text),
        "E" | "N" => encode::message(out, kind.as_bytes()[0], |out| {
            out.push(b'M');
            encode::cstr(out, rest);
            out.push(0);
        }),
        "K" => {
            let (name, value) = cut(rest, b'=');
            encode::parameter_status(out, name, value);
        }
        "R" => encode::message(out, back::DATA_ROW, |out| out.extend_from_slice(rest)),
        _ => encode::message(out, kind.as_bytes()[0], |out| out.extend_from_slice(rest)),
    }
}

/// The words of some messages; what is left of a message whose rest is missing is `~` and its size.
pub(crate) fn words(from: Side, mut bytes: &[u8]) -> String {
    let mut all = Vec::new();
    while let Ok(Some(head)) = plimsoll_wire::header(bytes, u32::MAX) {
        let Some(message) = bytes.get(..head.total) else { break };
        let word = match from {
            Side::Client => client_word(head.tag, message),
            Side::Server => server_word(head.tag, message),
        };
        all.push(word.replace(' ', "_"));
        bytes = &bytes[head.total..];
    }
    if !bytes.is_empty() {
        all.push(format!("~{}", bytes.len()));
    }
    all.join(" ")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn with(kind: &str, rest: &[u8]) -> String {
    if rest.is_empty() { kind.to_owned() } else { format!("{kind}:{}", text(rest)) }
}

fn client_word(tag: u8, message: &[u8]) -> String {
    match tag {
        front::QUERY => with("Q", front::query(message).unwrap_or(b"?")),
        front::PARSE => {
            let Ok(parse) = front::parse(message) else { return "P?".to_owned() };
            let sql = parse.text_and_types.split(|byte| *byte == 0).next().expect("a text");
            format!("P:{}={}", text(parse.name), text(sql))
        }
        front::BIND => {
            let Ok(Some(names)) = front::bind_names(message, message.len()) else { return "B?".to_owned() };
            match names.portal {
                b"" => with("B", names.statement),
                portal => format!("B:{}/{}", text(portal), text(names.statement)),
            }
        }
        front::DESCRIBE | front::CLOSE => match front::subject(message) {
            Ok(front::Subject::Statement(name)) => with(&text(&[tag]), name),
            Ok(front::Subject::Portal(name)) => with(&text(&[tag, b'p']), name),
            Err(_) => format!("{}?", tag as char),
        },
        front::EXECUTE => with("E", message.get(5..message.len().saturating_sub(5)).unwrap_or_default()),
        front::COPY_FAIL => "f".to_owned(),
        _ => with(&text(&[tag]), &message[5..]),
    }
}

fn server_word(tag: u8, message: &[u8]) -> String {
    match tag {
        back::COMMAND_COMPLETE => with("C", back::command_tag(message).unwrap_or(b"?")),
        back::ERROR_RESPONSE | back::NOTICE_RESPONSE => {
            let said = back::error_fields(message).find(|(field, _)| *field == b'M');
            with(&text(&[tag]), said.map_or(b"?", |(_, said)| said))
        }
        back::PARAMETER_STATUS => {
            let (name, value) = back::parameter_status(message).unwrap_or((b"?", b"?"));
            format!("K:{}={}", text(name), text(value))
        }
        back::DATA_ROW => with("R", &message[5..]),
        _ => with(&text(&[tag]), &message[5..]),
    }
}
