use super::*;

fn initial(data: Option<&[u8]>) -> Vec<u8> {
    let mut body = b"OAUTHBEARER\0".to_vec();
    match data {
        None => body.extend((-1_i32).to_be_bytes()),
        Some(data) => {
            body.extend(i32::try_from(data.len()).expect("short").to_be_bytes());
            body.extend(data);
        }
    }
    body
}

fn presented(reply: BearerReply) -> Vec<u8> {
    match reply {
        BearerReply::Present(secret) => secret.expose().to_vec(),
        other => panic!("{other:?}"),
    }
}

fn refused(reply: BearerReply) -> Cause {
    match reply {
        BearerReply::Refuse { cause, .. } => cause,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_password_is_handed_over_as_it_is() {
    for bearer in [Bearer::Key, Bearer::Jwt] {
        let (mut login, ask) = BearerLogin::start(bearer);
        assert_eq!(ask, BearerAsk::Cleartext);
        assert_eq!(presented(login.handle_message(b"plim_live_x\0")), b"plim_live_x");
        assert_eq!(refused(login.handle_message(b"again\0")), Cause::BadLoginPacket);
    }
    let (mut login, _) = BearerLogin::start(Bearer::Key);
    assert_eq!(refused(login.handle_message(b"\0")), Cause::EmptyPassword);
    let (mut login, _) = BearerLogin::start(Bearer::Key);
    assert_eq!(refused(login.handle_message(b"no end")), Cause::BadLoginPacket);
}

#[test]
fn a_refused_password_is_refused_at_once() {
    let (mut login, _) = BearerLogin::start(Bearer::Jwt);
    presented(login.handle_message(b"x\0"));
    assert_eq!(
        refused(login.handle_refused(Cause::PasswordFailed, Some(&discovery("https://x")))),
        Cause::PasswordFailed
    );
}

#[test]
fn a_token_comes_with_the_first_message_or_after_an_empty_challenge() {
    let data = b"n,,\x01auth=Bearer abc.d-e_f~+/==\x01\x01";
    let (mut login, ask) = BearerLogin::start(Bearer::OAuth);
    assert_eq!(ask, BearerAsk::Sasl);
    assert_eq!(presented(login.handle_message(&initial(Some(data)))), b"abc.d-e_f~+/==");
    let (mut login, _) = BearerLogin::start(Bearer::OAuth);
    let reply = login.handle_message(&initial(None));
    assert!(matches!(reply, BearerReply::Ask(BearerAsk::SaslContinue(data)) if data.is_empty()));
    let other = b"y,,\x01host=example\x01auth=bearer  t\x01port=1\x01\x01";
    assert_eq!(presented(login.handle_message(other)), b"t");
}

fn discovery(url: &str) -> Discovery {
    Discovery { url: url.to_owned(), scope: String::new() }
}

#[test]
fn whoever_has_no_token_is_told_where_to_get_one() {
    let (mut login, _) = BearerLogin::start(Bearer::OAuth);
    let reply = login.handle_message(&initial(Some(b"n,,\x01auth=\x01\x01")));
    assert!(matches!(reply, BearerReply::Discover));
    let url = "https://id.example/\"\\x";
    let there = Discovery { scope: "openid \"x".to_owned(), ..discovery(url) };
    let reply = login.handle_refused(Cause::SaslFailed, Some(&there));
    let BearerReply::Ask(BearerAsk::SaslContinue(json)) = reply else { panic!("{reply:?}") };
    let wanted = r#"{"status":"invalid_token","scope":"openid \"x","openid-configuration":"https://id.example/\"\\x"}"#;
    assert_eq!(String::from_utf8(json).expect("text"), wanted);
    assert_eq!(refused(login.handle_message(b"\x01")), Cause::SaslFailed);
    assert_eq!(refused(login.handle_message(b"\x01")), Cause::BadLoginPacket);
}

#[test]
fn nothing_else_is_a_message() {
    let bad: [&[u8]; 14] = [
        b"",
        b"n,,",
        b"n,,\x01",
        b"n,,\x01\x01",
        b"n,,\x01auth=Bearer t\x01",
        b"n,,\x01auth=Bearer t",
        b"n,,\x01auth=Basic t\x01\x01",
        b"n,,\x01auth=Bearer \x01\x01",
        b"n,,\x01auth=Bearer a b\x01\x01",
        b"n,,\x01auth=Bearer t\x01auth=Bearer t\x01\x01",
        b"n,,\x01=x\x01auth=Bearer t\x01\x01",
        b"p=tls-unique,,\x01auth=Bearer t\x01\x01",
        b"n,a=me,\x01auth=Bearer t\x01\x01",
        b"n,,\x01auth=Bearer =\x01\x01",
    ];
    for data in bad {
        let (mut login, _) = BearerLogin::start(Bearer::OAuth);
        let reply = login.handle_message(&initial(Some(data)));
        assert_eq!(refused(reply), Cause::SaslFailed, "{}", data.escape_ascii());
    }
    let (mut login, _) = BearerLogin::start(Bearer::OAuth);
    assert_eq!(refused(login.handle_message(b"SCRAM-SHA-256\0\0\0\0\0")), Cause::BadSaslMechanism);
    let (mut login, _) = BearerLogin::start(Bearer::OAuth);
    assert_eq!(refused(login.handle_message(&vec![0; CLIENT_MESSAGE_BYTES_MAX + 1])), Cause::BadLoginPacket);
}
