use plimsoll_types::SqlState;

use super::*;

fn fields(bytes: &[u8]) -> Vec<(u8, String)> {
    assert_eq!(bytes[0], b'E');
    plimsoll_wire::back::error_fields(bytes)
        .map(|(field, text)| (field, String::from_utf8_lossy(text).into_owned()))
        .collect()
}

fn field(bytes: &[u8], wanted: u8) -> Option<String> {
    fields(bytes).into_iter().find(|(field, _)| *field == wanted).map(|(_, text)| text)
}

#[test]
fn compat_has_three_fields_and_one_sqlstate() {
    let bytes = error_response(&Cause::MaxClientConn, Severity::Fatal, Compat::Pgbouncer);
    let expected = [
        (b'S', "FATAL".to_string()),
        (b'C', "08P01".to_string()),
        (b'M', "no more connections allowed (max_client_conn)".to_string()),
    ];
    assert_eq!(fields(&bytes), expected);
}

#[test]
fn own_shape_tells_the_true_sqlstate_and_what_to_do() {
    let bytes = error_response(&Cause::MaxClientConn, Severity::Error, Compat::Plimsoll);
    assert_eq!(field(&bytes, b'S').as_deref(), Some("ERROR"));
    assert_eq!(field(&bytes, b'C').as_deref(), Some("53300"));
    assert!(field(&bytes, b'H').is_some());
    assert_eq!(field(&bytes, b'V'), None);
}

#[test]
fn compat_cuts_reasons_at_a_character_but_never_what_a_server_said() {
    let name: Box<str> = format!("{}{}", "x".repeat(106), "é".repeat(50)).into();
    let cause = Cause::NoSuchDatabase { name };
    let cut = field(&error_response(&cause, Severity::Fatal, Compat::Pgbouncer), b'M').unwrap_or_default();
    assert_eq!(cut, format!("no such database: {}é", "x".repeat(106)));
    let whole = field(&error_response(&cause, Severity::Fatal, Compat::Plimsoll), b'M').unwrap_or_default();
    assert_eq!(whole, cause.message());

    let message: Box<str> = "m".repeat(300).into();
    let server = Cause::Server { sqlstate: SqlState::INVALID_CATALOG, message: message.clone() };
    let bytes = error_response(&server, Severity::Fatal, Compat::Pgbouncer);
    assert_eq!(field(&bytes, b'M').as_deref(), Some(&*message));
    assert_eq!(field(&bytes, b'C').as_deref(), Some("3D000"));
}
