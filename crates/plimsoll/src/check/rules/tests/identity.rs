use super::*;

#[test]
fn authorities_of_issuers_are_there() {
    let ini = calm(
        "auth_type = jwt\n[issuers]\ncorp = url=https://a audience=a jwks=https://a/k ca_file=/ca.pem \
         map='azp=x -> app_01m80gg6cjn4qpdvfkssbnga6t'\n[plimsoll]\nidentity_store = sqlite:/i.db",
    );
    let now = |fact: FileFact| {
        let who = Who { name: "pg".to_string(), uid: 11, gids: vec![20] };
        let facts = Facts { files: [("/ca.pem".into(), fact)].into(), who, ..Facts::default() };
        found(&ini, &facts)
    };
    assert_eq!(now(file(0o644)), []);
    assert_eq!(now(FileFact::Missing), [("issuer-ca-missing", 10)]);
    assert_eq!(now(file(0o600)), [("not-readable", 10)]);
}

#[test]
fn tokens_do_not_say_that_they_are_from_everywhere() {
    let own = |lines: &str| {
        let tls = "http_tls_cert_file = /etc/x.crt\nhttp_tls_key_file = /etc/x.key\n";
        let ini = format!("{CALM}{LOCAL}{tls}{lines}\n");
        found(&ini, &Facts::default()).iter().any(|(id, _)| *id == "identity-issuer-nowhere")
    };
    for (lines, is_found) in [
        ("http_listen = *:6433\n", true),
        ("http_listen = 10.0.0.1:6433\n", false),
        ("http_listen = *:6433\nidentity_issuer = https://id.example\n", false),
        ("http_listen = off\n", false),
        ("", false),
    ] {
        let store = "identity_store = sqlite:/var/lib/x/identity.db";
        assert_eq!(own(&format!("{lines}{store}")), is_found, "{lines}");
        assert!(!own(lines), "there are no tokens");
    }
}
