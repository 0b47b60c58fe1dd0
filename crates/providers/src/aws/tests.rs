use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

use super::*;

fn hmac(key: &[u8], text: &str) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("any length");
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Signature Version 4 by the book (AWS General Reference, "Create a signed AWS API request"), from the token's own
/// text: everything before the signature is what is signed.
fn signature(token: &str, secret: &str, date: &str, stamp: &str, region: &str) -> String {
    let (head, _) = token.split_once("&X-Amz-Signature=").expect("a signature");
    let (authority, query) = head.split_once("/?").expect("a query");
    let mut pairs: Vec<&str> = query.split('&').collect();
    pairs.sort_unstable();
    let empty = hex(&Sha256::digest(b""));
    let canonical = format!("GET\n/\n{}\nhost:{authority}\n\nhost\n{empty}", pairs.join("&"));
    let scope = format!("{date}/{region}/rds-db/aws4_request");
    let hash = hex(&Sha256::digest(canonical.as_bytes()));
    let signed = format!("AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{hash}");
    let key = hmac(format!("AWS4{secret}").as_bytes(), date);
    let key = ["aws4_request"].iter().fold(hmac(&hmac(&key, region), "rds-db"), |key, text| hmac(&key, text));
    hex(&hmac(&key, &signed))
}

fn keys(session: Option<&str>, life: Option<Duration>) -> Keys {
    let secret = Secret::from_text("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY");
    Keys { id: "AKIAEXAMPLE".to_string(), secret, session: session.map(Secret::from_text), life }
}

fn wall() -> SystemTime {
    // 2026-01-02T03:04:05Z
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_767_323_045)
}

fn login(host: &str) -> Login {
    Login { host: host.to_string(), port: 5432, role: "app user".to_string() }
}

#[test]
fn the_token_is_a_signed_request_without_its_scheme() {
    let settings = AwsRdsIam::default();
    let host = "db.abc.eu-west-1.rds.amazonaws.com";
    for session in [None, Some("FwoG/+=session")] {
        let fetched =
            token(&keys(session, None), "eu-west-1", &settings, &login(host), wall()).expect("a token");
        let token = text(&fetched.secret).to_string();
        assert_eq!(fetched.life, Some(TOKEN_LIFE));
        let begin = format!("{host}:5432/?Action=connect&DBUser=app%20user&");
        assert!(token.starts_with(&begin), "{token}");
        for part in [
            "X-Amz-Algorithm=AWS4-HMAC-SHA256",
            "X-Amz-Credential=AKIAEXAMPLE%2F20260102%2Feu-west-1%2Frds-db%2Faws4_request",
            "X-Amz-Date=20260102T030405Z",
            "X-Amz-Expires=900",
            "X-Amz-SignedHeaders=host",
        ] {
            assert!(token.contains(part), "{part} in {token}");
        }
        let has_session = token.contains("X-Amz-Security-Token=FwoG%2F%2B%3Dsession");
        assert_eq!(has_session, session.is_some(), "{token}");
        let (_, behind) = token.split_once("X-Amz-Signature=").expect("a signature");
        let secret = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
        // A session token may stand behind the signature; the order of a query means nothing.
        let (signed, rest) = behind.split_once('&').map_or((behind, ""), |(signed, rest)| (signed, rest));
        let reordered = match rest {
            "" => token.clone(),
            rest => token
                .replace(&format!("&X-Amz-Signature={behind}"), &format!("&{rest}&X-Amz-Signature={signed}")),
        };
        let expected = signature(&reordered, secret, "20260102", "20260102T030405Z", "eu-west-1");
        assert_eq!(signed, expected, "{token}");
    }
}

#[test]
fn it_is_good_for_no_longer_than_its_keys() {
    let life = |keys: Option<Duration>| {
        let settings = AwsRdsIam::default();
        let fetched = super::token(&self::keys(None, keys), "r", &settings, &login("h"), wall());
        fetched.expect("a token").life
    };
    assert_eq!(life(Some(Duration::from_secs(60))), Some(Duration::from_secs(60)));
    assert_eq!(life(Some(Duration::from_secs(6000))), Some(TOKEN_LIFE));
}

#[test]
fn it_is_for_the_host_that_is_named() {
    let settings = AwsRdsIam { host: Some("db.example".into()), port: Some(6000), ..AwsRdsIam::default() };
    let fetched = token(&keys(None, None), "r", &settings, &login("/tmp"), wall()).expect("a token");
    assert!(text(&fetched.secret).starts_with("db.example:6000/?"));
    let refused = token(&keys(None, None), "r", &AwsRdsIam::default(), &login("/tmp"), wall());
    assert!(refused.expect_err("no name").0.contains("host="));
}

#[test]
fn the_region_is_the_keys_or_the_environments() {
    let environment = |pairs: &[(&str, &str)]| {
        Environment::new(pairs.iter().map(|(name, value)| (name.to_string(), value.to_string())))
    };
    let none = AwsRdsIam::default();
    let own = AwsRdsIam { region: Some("own".into()), ..AwsRdsIam::default() };
    let both = environment(&[("AWS_REGION", "a"), ("AWS_DEFAULT_REGION", "b")]);
    assert_eq!(region(&own, &both), Ok("own".to_string()));
    assert_eq!(region(&none, &both), Ok("a".to_string()));
    assert_eq!(region(&none, &environment(&[("AWS_DEFAULT_REGION", "b")])), Ok("b".to_string()));
    assert!(region(&none, &environment(&[])).is_err());
}
