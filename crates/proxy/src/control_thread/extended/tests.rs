use super::*;

fn message(tag: u8, body: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    encode::message(&mut out, tag, |out| out.extend_from_slice(body));
    out
}

fn tags(bytes: &[u8]) -> String {
    let (mut out, mut rest) = (String::new(), bytes);
    while let Ok(Some(head)) = header(rest, REPLY_BYTES_MAX) {
        out.push(char::from(head.tag));
        rest = &rest[head.total..];
    }
    out
}

/// The answer of a console with one command, SHOW.
fn console(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    if text.starts_with(b"SHOW") {
        encode::row_description(&mut out, &[encode::Column { name: "a", type_oid: 25 }]);
        encode::data_row(&mut out, &[Some(b"1")]);
        encode::command_complete(&mut out, "SHOW");
    } else if text.starts_with(b"PAUSE") {
        encode::command_complete(&mut out, "PAUSE");
    } else {
        let fields = Fields { severity: "ERROR", sqlstate: "42601", message: "no", detail: None, hint: None };
        encode::error_response(&mut out, &fields);
    }
    encode::ready_for_query(&mut out, b'I');
    out
}

/// Sends messages and gives the tags of all answers, and the commands that were carried out.
fn play(messages: &[Vec<u8>]) -> (String, Vec<String>) {
    let mut extended = Extended::default();
    let (mut answers, mut commands) = (String::new(), Vec::new());
    for message in messages {
        let bytes = match extended.handle(message[0], message).expect("a good message") {
            Step::Send(bytes) => bytes,
            Step::Run { text, part } => {
                commands.push(String::from_utf8_lossy(&text).into_owned());
                extended.take(part, &console(&text))
            }
        };
        answers.push_str(&tags(&bytes));
    }
    (answers, commands)
}

fn batch(text: &str, describe: &[u8]) -> Vec<Vec<u8>> {
    let parse = [b"\0", text.as_bytes(), b"\0\0\0"].concat();
    vec![
        message(b'P', &parse),
        message(b'B', b"\0\0\0\0\0\0\0\0"),
        message(b'D', describe),
        message(b'E', b"\0\0\0\0\0"),
        message(b'S', b""),
    ]
}

#[test]
fn a_command_that_looks_is_described_and_executed() {
    let (answers, commands) = play(&batch("SHOW a", b"P\0"));
    assert_eq!(answers, "12TDCZ");
    assert_eq!(commands, ["SHOW a", "SHOW a"]);
    assert_eq!(play(&batch("SHOW a", b"S\0")).0, "12tTDCZ");
}

#[test]
fn a_command_that_acts_is_carried_out_once() {
    let (answers, commands) = play(&batch("PAUSE", b"P\0"));
    assert_eq!(answers, "12nCZ");
    assert_eq!(commands, ["PAUSE"]);
    assert_eq!(play(&batch("PAUSE", b"S\0")).0, "12tnCZ");
}

#[test]
fn after_an_error_everything_is_skipped_to_sync() {
    let (answers, commands) = play(&batch("NONSENSE", b"P\0"));
    assert_eq!(answers, "12nEZ");
    assert_eq!(commands, ["NONSENSE"]);
    let unknown =
        [message(b'D', b"Sx\0"), message(b'E', b"\0\0\0\0\0"), message(b'S', b""), message(b'S', b"")];
    assert_eq!(play(&unknown).0, "EZZ");
}

#[test]
fn parameters_and_binary_results_are_refused() {
    let parse = message(b'P', b"\0SHOW a\0\0\0");
    let with_parameter = message(b'B', b"\0\0\0\0\0\x01\0\0\0\x01x\0\0");
    let binary = message(b'B', b"\0\0\0\0\0\0\0\x01\0\x01");
    assert_eq!(play(&[parse.clone(), with_parameter, message(b'S', b"")]).0, "1EZ");
    assert_eq!(play(&[parse, binary, message(b'S', b"")]).0, "1EZ");
}

#[test]
fn statements_are_closed_and_portals_end_with_the_batch() {
    let mut messages = batch("SHOW a", b"P\0");
    messages.extend([message(b'E', b"\0\0\0\0\0"), message(b'S', b"")]);
    assert_eq!(play(&messages).0, "12TDCZEZ");
    let closed = [message(b'P', b"s\0SHOW a\0\0\0"), message(b'C', b"Ss\0"), message(b'D', b"Ss\0")];
    assert_eq!(play(&closed).0, "13E");
}

#[test]
fn names_are_limited_and_short_messages_are_errors() {
    let parses = (0..=NAMES_MAX).map(|n| message(b'P', format!("{n}\0SHOW a\0\0\0").as_bytes()));
    let (answers, _) = play(&parses.collect::<Vec<_>>());
    assert!(answers.ends_with("1E"), "{answers}");
    let mut extended = Extended::default();
    for (tag, body) in [(b'P', &b"x"[..]), (b'B', b"\0\0\0\x05"), (b'D', b""), (b'E', b"x"), (b'C', b"Q\0")] {
        assert!(extended.handle(tag, &message(tag, body)).is_err(), "{}", char::from(tag));
    }
}
