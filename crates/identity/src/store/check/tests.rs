use super::*;
use crate::model::{Limits, Party, State};

fn id_of(kind: Kind) -> Id {
    Id::new(kind, 1, [1; 10])
}

fn field(checked: Checked) -> Option<&'static str> {
    match checked {
        Ok(()) => None,
        Err(StoreFault::Invalid { field, .. }) => Some(field),
        Err(other) => panic!("{other}"),
    }
}

fn app_with(redirect_uris: &[&str]) -> AppData {
    AppData {
        org: id_of(Kind::Org),
        name: "app".to_owned(),
        party: Party::First,
        redirect_uris: redirect_uris.iter().map(|uri| (*uri).to_owned()).collect(),
        state: State::Active,
    }
}

#[test]
fn names_have_a_length_and_no_control_characters() {
    let named = |name: &str| field(org(&OrgData { name: name.to_owned(), state: State::Active }));
    for good in ["a", " ", "Müller & Söhne", "'; --", &"é".repeat(200)] {
        assert_eq!(named(good), None, "{good}");
    }
    for bad in ["", "a\nb", "\0", "a\u{7f}", "a\u{85}", &"é".repeat(201)] {
        assert_eq!(named(bad), Some("name"), "{bad:?}");
    }
}

#[test]
fn names_of_postgresql_have_at_most_63_bytes() {
    let with = |database: String, schema: Option<String>| {
        let name = "set".to_owned();
        field(dataset(&DataSetData { org: id_of(Kind::Org), name, database, schema, state: State::Active }))
    };
    assert_eq!(with("é".repeat(31), None), None);
    assert_eq!(with("é".repeat(32), None), Some("database"));
    assert_eq!(with(String::new(), None), Some("database"));
    assert_eq!(with("d".to_owned(), Some("s\t".to_owned())), Some("schema"));
}

#[test]
fn redirect_uris_are_https_or_stay_on_the_machine() {
    for good in [
        "https://example.org",
        "https://example.org/back?to=%2F&x=1",
        "https://example.org:8443/",
        "https://[2001:db8::1]/x",
        "http://localhost:3000/callback",
        "http://127.0.0.1/",
        "http://[::1]:8080/x",
    ] {
        assert_eq!(field(app(&app_with(&[good]))), None, "{good}");
    }
    for bad in [
        "",
        "example.org",
        "http://example.org/",
        "http://localhost.example.org/",
        "http://127.0.0.1@example.org/",
        "https://user:pass@example.org/",
        "https:///path",
        "https://:443/",
        "https://example.org:0/",
        "https://example.org:99999/",
        "https://example.org:/",
        "https://example.org/#part",
        "https://*.example.org/",
        "https://example.org\\@other.org/",
        "https://exa mple.org/",
        "https://example.org/\n",
        "https://ex\u{e4}mple.org/",
        "https://[::1/",
        "https://[zz]/",
        "javascript://%0aalert(1)",
        "HTTPS//x",
        "data:text/html,x",
        &format!("https://example.org/{}", "a".repeat(2000)),
    ] {
        assert_eq!(field(app(&app_with(&[bad]))), Some("redirect_uris"), "{bad}");
    }
    assert_eq!(field(app(&app_with(&["https://a.org"; 16]))), None);
    assert_eq!(field(app(&app_with(&["https://a.org"; 17]))), Some("redirect_uris"));
}

#[test]
fn grants_have_bounds() {
    let good = GrantData {
        subject: id_of(Kind::User),
        dataset: id_of(Kind::DataSet),
        role: "r".repeat(63),
        actions: vec!["a".repeat(64); 32],
        limits: Limits::default(),
        shared: false,
        expires_ms: Some(0),
        state: State::Active,
    };
    assert_eq!(field(grant(&good)), None);
    let changed = |change: fn(&mut GrantData)| {
        let mut data = good.clone();
        change(&mut data);
        field(grant(&data))
    };
    assert_eq!(changed(|data| data.role.push('r')), Some("role"));
    assert_eq!(changed(|data| data.actions.push("a".to_owned())), Some("actions"));
    assert_eq!(changed(|data| data.actions[0].push('a')), Some("actions"));
    assert_eq!(changed(|data| data.actions[0].clear()), Some("actions"));
    assert_eq!(changed(|data| data.limits.weight = Some(0)), Some("limits.weight"));
    assert_eq!(changed(|data| data.limits.weight = Some(1001)), Some("limits.weight"));
    assert_eq!(changed(|data| data.limits.weight = Some(1000)), None);
    assert_eq!(changed(|data| data.expires_ms = Some(-1)), Some("expires_ms"));
    assert_eq!(changed(|data| data.subject = id_of(Kind::Org)), Some("subject"));
    assert_eq!(changed(|data| data.dataset = id_of(Kind::App)), Some("dataset"));
}

fn credential_with(kind: CredentialKind, public: &str) -> CredentialData {
    CredentialData {
        app: id_of(Kind::App),
        kind,
        env: "live".to_owned(),
        name: String::new(),
        public: public.to_owned(),
        scopes: vec![Scope::Admin; 32],
        expires_ms: None,
        state: State::Active,
    }
}

#[test]
fn a_key_has_a_secret_and_the_others_a_public_part() {
    let key = credential_with(CredentialKind::Key, "");
    let name = "0123456789abcdeF";
    assert_eq!(field(credential(name, &key, Some(&[0; 32]))), None);
    assert_eq!(field(credential(name, &key, None)), Some("secret"));
    for bad in ["", "0123456789abcde", "0123456789abcdeFF", "0123456789abcde_", "0123456789abcd\u{e9}"] {
        assert_eq!(field(credential(bad, &key, Some(&[0; 32]))), Some("key_id"), "{bad}");
    }
    let public = |kind, text: &str| field(credential(name, &credential_with(kind, text), None));
    let hex = "0123456789abcdef".repeat(4);
    assert_eq!(public(CredentialKind::Certificate, &hex), None);
    assert_eq!(public(CredentialKind::Certificate, &hex.to_uppercase()), Some("public"));
    assert_eq!(public(CredentialKind::Certificate, &hex[1..]), Some("public"));
    assert_eq!(public(CredentialKind::PublicKey, r#"{"kty":"OKP","crv":"Ed25519","x":"AA"}"#), None);
    for bad in [
        "",
        "[]",
        "{}",
        r#"{"kty":"oct","k":"AA"}"#,
        r#"{"kty":"EC","d":"AA"}"#,
        r#"{"kty":"RSA","n":"AA","e":"AQAB","p":"AA"}"#,
    ] {
        assert_eq!(public(CredentialKind::PublicKey, bad), Some("public"), "{bad}");
    }
    let long = format!(r#"{{"kty":"EC","x":"{}"}}"#, "A".repeat(8192));
    assert_eq!(public(CredentialKind::PublicKey, &long), Some("public"));
    let with_hash = credential(name, &credential_with(CredentialKind::Certificate, &hex), Some(&[0; 32]));
    assert_eq!(field(with_hash), Some("secret"));
    assert_eq!(
        field(credential(name, &credential_with(CredentialKind::Key, "x"), Some(&[0; 32]))),
        Some("public")
    );
}

#[test]
fn the_word_of_an_environment_is_short_and_plain() {
    for (env, expected) in [
        ("a", None),
        ("live2026", None),
        ("", Some("env")),
        ("Live", Some("env")),
        ("live-1", Some("env")),
        ("live20260", Some("env")),
    ] {
        let mut data = credential_with(CredentialKind::Key, "");
        data.env = env.to_owned();
        assert_eq!(field(credential_data(&data)), expected, "{env}");
    }
    let mut data = credential_with(CredentialKind::Key, "");
    data.scopes.push(Scope::Authorize);
    assert_eq!(field(credential_data(&data)), Some("scopes"));
}

#[test]
fn what_comes_from_outside_is_cut_and_cleaned() {
    assert_eq!(printable("1.2.3.4\0\r\n"), "1.2.3.4");
    assert_eq!(printable(&"é".repeat(300)).chars().count(), 200);
}
