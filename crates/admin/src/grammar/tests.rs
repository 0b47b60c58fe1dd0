use super::*;

fn call(command: &str, argument: &str) -> Result<Line, Failure> {
    Ok(Line::Call { command: command.to_string(), argument: argument.to_string() })
}

fn set(key: &str, value: &str) -> Result<Line, Failure> {
    Ok(Line::Set { key: key.to_string(), value: value.to_string() })
}

#[test]
fn a_call_is_one_or_two_words() {
    for (text, expected) in [
        ("show version", call("show", "version")),
        ("PAUSE", call("PAUSE", "")),
        ("  ShOw   \"version\" ; ", call("ShOw", "version")),
        ("\n\tRELOAD\r\n;\r\n", call("RELOAD", "")),
        ("pause \"My \"\"own\"\" DB; é\"", call("pause", "My \"own\" DB; é")),
        ("kill_client 12", call("kill_client", "12")),
        ("\"pause\" p0", call("pause", "p0")),
        ("pause \"\"", call("pause", "")),
        ("set x", call("set", "x")),
    ] {
        assert_eq!(parse(text), expected, "{text:?}");
    }
}

#[test]
fn a_set_has_a_word_or_a_string() {
    for (text, expected) in [
        ("set a=b", set("a", "b")),
        ("SET a = 'it''s; all'", set("a", "it's; all")),
        ("set verbose to 0;", set("verbose", "0")),
        ("set verbose TO'1'", set("verbose", "1")),
        ("set \"a\" = \"b c\"", set("a", "b c")),
        ("set a=''", set("a", "")),
    ] {
        assert_eq!(parse(text), expected, "{text:?}");
    }
}

#[test]
fn a_snapshot_has_a_name_in_quotes() {
    let show = |of: &str| Ok(Line::Show { what: "SNAPSHOT".to_string(), of: of.to_string() });
    let name = "p6432-1a2b3c4d.20261121T140203.123Z.queue_timeout.json";
    assert_eq!(parse(&format!("SHOW SNAPSHOT '{name}';")), show(name));
    assert_eq!(parse(&format!("SHOW SNAPSHOT \"{name}\"")), show(name));
    assert_eq!(parse(&format!("SHOW SNAPSHOT '{}'", "x".repeat(64))), Err(Failure::BadArguments));
}

#[test]
fn an_explain_has_up_to_two_names() {
    let explain = |database: Option<&str>, user: Option<&str>| {
        Ok(Line::Explain { database: database.map(str::to_string), user: user.map(str::to_string) })
    };
    for (text, expected) in [
        ("EXPLAIN ADMISSION", explain(None, None)),
        ("explain admission ;", explain(None, None)),
        ("explain admission shop", explain(Some("shop"), None)),
        ("explain admission \"my shop\" app;", explain(Some("my shop"), Some("app"))),
    ] {
        assert_eq!(parse(text), expected, "{text:?}");
    }
    for text in ["explain admission shop app x", "explain admission a-b"] {
        assert_eq!(parse(text), Err(Failure::InvalidCommand(text.to_string())), "{text:?}");
    }
    let long = format!("explain admission {}", "x".repeat(64));
    assert_eq!(parse(&long), Err(Failure::BadArguments));
}

#[test]
fn what_does_not_fit_is_invalid_and_named() {
    for text in [
        "",
        ";",
        "   ",
        "show version;;",
        "show version ; show version",
        "show pools p0",
        "pause \"open",
        "pause p-0",
        "pause\"p0\"",
        "set a=",
        "set a=-1",
        "set a=1.5",
        "set a='open",
        "set a=b c",
        "seta=b",
        "sét a=b",
        "é",
        "show\u{a0}version",
    ] {
        assert_eq!(parse(text), Err(Failure::InvalidCommand(text.to_string())), "{text:?}");
    }
}

#[test]
fn words_are_bounded() {
    let name = |bytes: usize| format!("\"{}\"", "x".repeat(bytes));
    assert!(parse(&format!("pause {}", name(ARGUMENT_BYTES_MAX))).is_ok());
    assert_eq!(parse(&format!("pause {}", name(ARGUMENT_BYTES_MAX + 1))), Err(Failure::BadArguments));
    assert_eq!(parse(&name(COMMAND_BYTES_MAX + 1)), Err(Failure::BadArguments));
    let value = |bytes: usize| format!("set a='{}'", "x".repeat(bytes));
    assert!(parse(&value(VALUE_BYTES_MAX)).is_ok());
    assert_eq!(parse(&value(VALUE_BYTES_MAX + 1)), Err(Failure::BadArguments));
    assert_eq!(parse(&format!("set {}=1", name(ARGUMENT_BYTES_MAX + 1))), Err(Failure::BadArguments));
    assert_eq!(parse("set \"\"=1"), Err(Failure::BadArguments));
}
