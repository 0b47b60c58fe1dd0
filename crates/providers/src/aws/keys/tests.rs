use super::*;
use crate::testing::{Fake, block_on, ok};

fn environment(pairs: &[(&str, &str)]) -> Environment {
    Environment::new(pairs.iter().map(|(name, value)| (name.to_string(), value.to_string())))
}

/// Id, secret, session, whether it ends.
fn shown(keys: &Keys) -> (String, String, Option<String>, bool) {
    let text = |secret: &Secret| secret.expose_text().expect("a text").to_string();
    (keys.id.clone(), text(&keys.secret), keys.session.as_ref().map(text), keys.life.is_some())
}

fn file(name: &str, text: &str) -> String {
    let path = std::env::temp_dir().join(format!("plimsoll-{name}-{}", std::process::id()));
    std::fs::write(&path, text).expect("a place for it");
    path.display().to_string()
}

#[test]
fn keys_of_the_environment_come_first_and_ask_nobody() {
    let pairs = [
        ("AWS_ACCESS_KEY_ID", "AKIA"),
        ("AWS_SECRET_ACCESS_KEY", "s"),
        ("AWS_SESSION_TOKEN", "t"),
        ("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://127.0.0.1:1/never"),
    ];
    let keys = block_on(find(&AwsRdsIam::default(), "r", &environment(&pairs))).expect("keys");
    assert_eq!(shown(&keys), ("AKIA".into(), "s".into(), Some("t".into()), false));
}

#[test]
fn a_container_has_its_own_service_and_proof() {
    block_on(async {
        let told = r#"{"AccessKeyId": "ASIA", "SecretAccessKey": "s", "Token": "t",
            "Expiration": "9000-01-01T00:00:00Z", "RoleArn": "x"}"#;
        let fake = Fake::start(move |_| ok(told)).await;
        let settings = AwsRdsIam { endpoint: Some(fake.url()), ..AwsRdsIam::default() };
        let relative = [("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "/v2/credentials/1")];
        let keys = find(&settings, "r", &environment(&relative)).await.expect("keys");
        assert_eq!(shown(&keys), ("ASIA".into(), "s".into(), Some("t".into()), true));
        let (full, proof) = (format!("{}/full", fake.url()), file("proof", "of the file\n"));
        let by_file = [
            ("AWS_CONTAINER_CREDENTIALS_FULL_URI", full.as_str()),
            ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", &proof),
            ("AWS_CONTAINER_AUTHORIZATION_TOKEN", "of the environment"),
        ];
        find(&AwsRdsIam::default(), "r", &environment(&by_file)).await.expect("keys");
        let by_variable = [by_file[0], by_file[2]];
        find(&AwsRdsIam::default(), "r", &environment(&by_variable)).await.expect("keys");
        let asked = fake.asked();
        assert!(asked[0].starts_with("GET /v2/credentials/1 ") && !asked[0].contains("authorization"));
        assert!(asked[1].starts_with("GET /full ") && asked[1].contains("authorization: of the file\n"));
        assert!(asked[2].contains("authorization: of the environment\n"));
        std::fs::remove_file(proof).expect("it is ours");
    });
}

#[test]
fn a_web_identity_is_exchanged_for_keys() {
    block_on(async {
        let told = r#"{"AssumeRoleWithWebIdentityResponse": {"AssumeRoleWithWebIdentityResult": {"Credentials":
            {"AccessKeyId": "ASIA", "SecretAccessKey": "s", "SessionToken": "t", "Expiration": 2.2e11}}}}"#;
        let fake = Fake::start(move |_| ok(told)).await;
        let settings = AwsRdsIam { sts: Some(fake.url()), ..AwsRdsIam::default() };
        let token = file("web", "e.y.J\n");
        let pairs =
            [("AWS_WEB_IDENTITY_TOKEN_FILE", token.as_str()), ("AWS_ROLE_ARN", "arn:aws:iam::1:role/x")];
        let keys = find(&settings, "r", &environment(&pairs)).await.expect("keys");
        assert_eq!(shown(&keys), ("ASIA".into(), "s".into(), Some("t".into()), true));
        let asked = fake.asked();
        assert!(
            asked[0].starts_with("POST / ") && asked[0].contains("accept: application/json\n"),
            "{asked:?}"
        );
        let form = "Action=AssumeRoleWithWebIdentity&Version=2011-06-15&RoleArn=arn%3Aaws%3Aiam%3A%3A1%3Arole%2Fx\
                    &RoleSessionName=plimsoll&WebIdentityToken=e.y.J";
        assert!(asked[0].ends_with(form), "{asked:?}");
        std::fs::remove_file(token).expect("it is ours");
    });
}

#[test]
fn a_machine_without_a_role_is_told() {
    block_on(async {
        let fake = Fake::start(|request| ok(if request.starts_with("PUT") { "session" } else { "\n" })).await;
        let settings = AwsRdsIam { endpoint: Some(fake.url()), ..AwsRdsIam::default() };
        let Failure(why) = find(&settings, "r", &environment(&[])).await.expect_err("no role");
        assert!(
            why.ends_with("/latest/meta-data/iam/security-credentials/: the machine has no role"),
            "{why}"
        );
    });
}
