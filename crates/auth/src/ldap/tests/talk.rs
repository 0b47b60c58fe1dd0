//! The dialogue: what is sent, read by another's parser, and what comes of what a server says.

use ldap_parser::FromBer;
use ldap_parser::filter::Filter;
use ldap_parser::ldap::{AuthenticationChoice, LdapMessage, ProtocolOp, SearchScope};

use super::super::*;

fn check(options: &str, user: &str, password: &str) -> LdapCheck {
    let options = std::sync::Arc::new(LdapOptions::parse(options).expect("good options"));
    LdapCheck::new(options, user, Secret::from_text(password))
}

fn sent(step: LdapStep) -> Secret {
    match step {
        LdapStep::Send(message) => message,
        other => panic!("nothing is sent: {other:?}"),
    }
}

fn read(message: &Secret) -> LdapMessage<'_> {
    let (rest, read) = LdapMessage::from_ber(message.expose()).expect("an LDAP message");
    assert!(rest.is_empty());
    assert_eq!(ldap_message_bytes(message.expose()), Ok(Some(message.expose().len())));
    read
}

/// Who is bound as, and by what.
fn bind_of(message: &Secret) -> (String, Vec<u8>) {
    match read(message).protocol_op {
        ProtocolOp::BindRequest(bind) => match bind.authentication {
            AuthenticationChoice::Simple(password) => (bind.name.0.into_owned(), password.to_vec()),
            AuthenticationChoice::Sasl(_) => panic!("not simple"),
        },
        other => panic!("{other:?}"),
    }
}

/// A message of a server: its number, the operation's tag, the code, and what follows the three usual fields.
fn result(id: u8, tag: u8, code: u8, more: &[u8]) -> Vec<u8> {
    let mut body = vec![0x0a, 1, code, 0x04, 0, 0x04, 4, b'w', b'h', b'y', b'!'];
    body.extend_from_slice(more);
    message(id, tag, &body)
}

fn message(id: u8, tag: u8, body: &[u8]) -> Vec<u8> {
    let mut inner = vec![0x02, 1, id, tag, u8::try_from(body.len()).expect("short")];
    inner.extend_from_slice(body);
    let mut out = vec![0x30, u8::try_from(inner.len()).expect("short")];
    out.extend_from_slice(&inner);
    out
}

fn entry(id: u8, name: &str) -> Vec<u8> {
    let mut body = vec![0x04, u8::try_from(name.len()).expect("short")];
    body.extend_from_slice(name.as_bytes());
    body.extend_from_slice(&[0x30, 0]);
    message(id, 0x64, &body)
}

const BOUND: u8 = 0x61;
const DONE: u8 = 0x65;
const EXTENDED: u8 = 0x78;
const SEARCHING: &str = "ldapserver=h ldapbasedn=dc=x ldapbinddn=cn=me ldapbindpasswd=mine";

#[test]
fn a_simple_bind_takes_one_question() {
    let mut dialogue = check("ldapserver=h ldapprefix=uid= ldapsuffix=\",dc=x\"", "joe,dc=y", "hunter2");
    let message = sent(dialogue.begin());
    assert_eq!(bind_of(&message), ("uid=joe\\,dc\\=y,dc=x".to_string(), b"hunter2".to_vec()));
    assert!(matches!(dialogue.handle_message(&result(1, BOUND, 0, &[])), Ok(LdapStep::Accept)));
    assert!(dialogue.handle_message(&result(1, BOUND, 0, &[])).is_err(), "it is over");
    assert!(matches!(read(&dialogue.farewell()).protocol_op, ProtocolOp::UnbindRequest));
    assert!(!format!("{:?}", check("ldapserver=h ldapprefix=uid=", "joe", "hunter2")).contains("hunter2"));
}

#[test]
fn a_search_finds_exactly_one() {
    let mut dialogue = check(SEARCHING, "jo*)(uid=admin", "hunter2");
    assert_eq!(bind_of(&sent(dialogue.begin())), ("cn=me".to_string(), b"mine".to_vec()));
    let asked = sent(dialogue.handle_message(&result(1, BOUND, 0, &[])).expect("bound"));
    let ProtocolOp::SearchRequest(search) = read(&asked).protocol_op else { panic!("a search") };
    assert_eq!(
        (&*search.base_object.0, search.scope, search.size_limit),
        ("dc=x", SearchScope::WholeSubtree, 2)
    );
    // The name is a value, whatever it says.
    let Filter::EqualityMatch(equal) = search.filter else { panic!("{:?}", search.filter) };
    assert_eq!((&*equal.attribute_desc.0, &*equal.assertion_value), ("uid", &b"jo*)(uid=admin"[..]));
    // A referral, a notice that means nothing to us, the entry, the end.
    assert!(matches!(dialogue.handle_message(&message(2, 0x73, b"\x04\x08ldap://o")), Ok(LdapStep::Wait)));
    let notice = result(0, EXTENDED, 0, b"\x8a\x031.2");
    assert!(matches!(dialogue.handle_message(&notice), Ok(LdapStep::Wait)));
    assert!(matches!(dialogue.handle_message(&entry(2, "uid=jo,dc=x")), Ok(LdapStep::Wait)));
    let asked = sent(dialogue.handle_message(&result(2, DONE, 0, &[])).expect("found"));
    assert_eq!(bind_of(&asked), ("uid=jo,dc=x".to_string(), b"hunter2".to_vec()));
    let refused = dialogue.handle_message(&result(3, BOUND, 49, &[])).expect("told");
    let LdapStep::Refuse(why) = refused else { panic!("{refused:?}") };
    assert_eq!(why, "the bind as \"uid=jo,dc=x\" failed: result 49 (InvalidCredentials): why!");
}

fn searched() -> LdapCheck {
    let mut dialogue = check(SEARCHING, "joe", "hunter2");
    sent(dialogue.begin());
    sent(dialogue.handle_message(&result(1, BOUND, 0, &[])).expect("bound"));
    dialogue
}

#[test]
fn none_several_or_nameless_is_nobody() {
    let refused = |step: Result<LdapStep, LdapProblem>, words: &str| match step {
        Ok(LdapStep::Refuse(why)) => assert!(why.contains(words), "{why}"),
        other => panic!("{other:?}"),
    };
    refused(searched().handle_message(&result(2, DONE, 0, &[])), "does not exist");
    refused(searched().handle_message(&result(2, DONE, 4, &[])), "not unique");
    let mut two = searched();
    assert!(matches!(two.handle_message(&entry(2, "uid=a")), Ok(LdapStep::Wait)));
    refused(two.handle_message(&entry(2, "uid=b")), "not unique");
    // Whoever is bound as by an empty name has proved nothing.
    let mut nameless = searched();
    assert!(matches!(nameless.handle_message(&entry(2, "")), Ok(LdapStep::Wait)));
    refused(nameless.handle_message(&result(2, DONE, 0, &[])), "has no name");
    // Nothing is asked about an empty password: the answer would be yes.
    refused(Ok(check("ldapserver=h ldapprefix=uid=", "joe", "").begin()), "empty password");
    refused(Ok(check("ldapserver=h ldapprefix=CORP\\", "a\\b", "x").begin()), "invalid character");
}

#[test]
fn tls_begins_before_any_password_is_sent() {
    let mut dialogue = check("ldapserver=h ldaptls=1 ldapprefix=uid=", "joe", "hunter2");
    let message = sent(dialogue.begin());
    assert!(matches!(read(&message).protocol_op, ProtocolOp::ExtendedRequest(_)));
    assert!(!message.expose().windows(7).any(|bytes| bytes == b"hunter2"));
    assert!(matches!(dialogue.handle_message(&result(1, EXTENDED, 0, &[])), Ok(LdapStep::StartTls)));
    assert_eq!(bind_of(&sent(dialogue.handle_tls())).0, "uid=joe");
    for code in [1, 2, 52, 53] {
        let mut dialogue = check("ldapserver=h ldaptls=1 ldapprefix=uid=", "joe", "hunter2");
        sent(dialogue.begin());
        let why = dialogue.handle_message(&result(1, EXTENDED, code, &[])).expect_err("no TLS, no login");
        assert!(why.to_string().contains("does not begin TLS"), "{why}");
        assert!(matches!(dialogue.handle_tls(), LdapStep::Refuse(_)));
    }
}

#[test]
fn who_cannot_tell_has_not_refused() {
    let bound = || {
        let mut dialogue = check("ldapserver=h ldapprefix=uid=", "joe", "hunter2");
        sent(dialogue.begin());
        dialogue
    };
    for code in [1, 2, 8, 10, 13, 51, 52, 80, 200] {
        assert!(bound().handle_message(&result(1, BOUND, code, &[])).is_err(), "{code}");
    }
    for code in [19, 32, 34, 48, 49, 50, 53] {
        let step = bound().handle_message(&result(1, BOUND, code, &[]));
        assert!(matches!(step, Ok(LdapStep::Refuse(_))), "{code}: {step:?}");
    }
    let mut dialogue = check(SEARCHING, "joe", "hunter2");
    sent(dialogue.begin());
    let why = dialogue.handle_message(&result(1, BOUND, 49, &[])).expect_err("it is ours that was refused");
    assert!(why.to_string().starts_with("the bind as ldapbinddn failed: result 49"), "{why}");
    let why = searched().handle_message(&result(2, DONE, 32, &[])).expect_err("no such base");
    assert!(why.to_string().starts_with("the search failed: result 32"), "{why}");
}

#[test]
fn lies_are_found_out() {
    let bound = || {
        let mut dialogue = check("ldapserver=h ldapprefix=uid=", "joe", "hunter2");
        sent(dialogue.begin());
        dialogue
    };
    let goodbye = result(0, EXTENDED, 52, b"\x8a\x161.3.6.1.4.1.1466.20036");
    let lies: [(&[u8], &str); 8] = [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "no LDAP message"),
        (&result(2, BOUND, 0, &[]), "what it was not asked"),
        (&result(0, BOUND, 0, &[]), "what it was not asked"),
        (&result(1, DONE, 0, &[]), "does not belong"),
        (&result(1, EXTENDED, 0, &[]), "does not belong"),
        (&goodbye, "ended the connection: result 52 (Unavailable): why!"),
        (&[0x30, 5, 2, 1, 1, 0x61, 0], "no LDAP message"),
        (b"", "no LDAP message"),
    ];
    for (bytes, expected) in lies {
        let why = bound().handle_message(bytes).expect_err("a lie").to_string();
        assert!(why.contains(expected), "{bytes:?}: {why}");
    }
    let mut chatter = searched();
    let notice = result(0, EXTENDED, 0, b"\x8a\x031.2");
    let said = (0..100).map(|_| chatter.handle_message(&notice)).take_while(Result::is_ok).count();
    assert!(said < 100, "it may not go on for ever");
}

#[test]
fn lengths_are_bounded_before_anything_is_kept() {
    assert_eq!(ldap_message_bytes(&[]), Ok(None));
    assert_eq!(ldap_message_bytes(&[0x30]), Ok(None));
    assert_eq!(ldap_message_bytes(&[0x30, 0x82, 1]), Ok(None));
    assert_eq!(ldap_message_bytes(&[0x30, 5]), Ok(Some(7)));
    assert_eq!(ldap_message_bytes(&[0x30, 0x84, 0, 0, 0, 5]), Ok(Some(11)));
    for lie in [
        &[0x30, 0x84, 0xff, 0xff, 0xff, 0xff][..],
        &[0x30, 0x83, 1, 0, 0],
        &[0x30, 0x80, 0],
        &[0x30, 0x85, 0, 0, 0, 0, 5],
        &[0x31, 5],
        b"HTTP",
    ] {
        assert!(ldap_message_bytes(lie).is_err(), "{lie:?}");
    }
}

#[test]
fn filters_go_over_the_wire_as_they_are_written() {
    let sent_for = |text: &str| {
        let options = format!("ldapserver=h ldapbasedn=dc=x ldapsearchfilter=\"{text}\"");
        let mut dialogue = check(&options, "a*(b)", "x");
        sent(dialogue.begin());
        sent(dialogue.handle_message(&result(1, BOUND, 0, &[])).expect("bound"))
    };
    let shown = |message: &Secret| match read(message).protocol_op {
        ProtocolOp::SearchRequest(search) => format!("{:?}", search.filter),
        other => panic!("{other:?}"),
    };
    let all = sent_for(
        "(&(|(uid=$username)(mail=$username@x))(!(locked=*))(cn=a*b*c)(age>=3)(age<=4)(x~=y)(m:dn:1.2:=z))",
    );
    let shown = shown(&all);
    for part in
        ["And(", "Or(", "Not(", "EqualityMatch", "Present", "Substrings", "GreaterOrEqual", "LessOrEqual"]
    {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    assert!(shown.contains("ApproxMatch") && shown.contains("ExtensibleMatch"), "{shown}");
}
