use super::*;

#[test]
fn each_kind_is_read() {
    let read = |text| parse(text).expect(text);
    assert_eq!(read("static"), CredentialSource::Static);
    assert_eq!(read("file:/run/a b"), CredentialSource::File { path: "/run/a b".into() });
    assert_eq!(
        read("command:/bin/token --for \"two words\" $HOME"),
        CredentialSource::Command {
            program: "/bin/token".into(),
            args: ["--for", "two words", "$HOME"].map(String::from).to_vec(),
        }
    );
    let aws = AwsRdsIam {
        region: Some("eu-west-1".into()),
        host: Some("db.example".into()),
        port: Some(5433),
        ..AwsRdsIam::default()
    };
    let text = "aws-rds-iam region=eu-west-1 host=db.example port=5433";
    assert_eq!(read(text), CredentialSource::AwsRdsIam(aws));
    let azure = AzureEntra {
        tenant: Some("t".into()),
        client_id: Some("c".into()),
        client_secret_file: Some("/run/s".into()),
        ..AzureEntra::default()
    };
    let text = "azure-entra tenant=t client_id=c client_secret_file=/run/s";
    assert_eq!(read(text), CredentialSource::AzureEntra(azure));
    let google = GoogleMetadata { endpoint: Some("http://127.0.0.1:1".into()), ..GoogleMetadata::default() };
    assert_eq!(read("google-metadata endpoint=http://127.0.0.1:1"), CredentialSource::GoogleMetadata(google));
}

#[test]
fn what_cannot_be_is_told() {
    let why = |text| match parse(text) {
        Err(Fault::Said(why)) => why,
        other => panic!("{text}: {other:?}"),
    };
    let cases = [
        ("file:token", "credential: file: wants an absolute path"),
        ("command:", "credential: command: wants an absolute path"),
        ("command:token", "credential: command: wants an absolute path"),
        ("command:/bin/x \"y", "credential: a double quote is not closed"),
        ("aws-rds-iam regoin=x", "credential: aws-rds-iam has no key regoin (did you mean \"region\"?)"),
        ("aws-rds-iam region=", "credential: region= of aws-rds-iam is empty"),
        ("aws-rds-iam port=70000", "credential: port=70000 of aws-rds-iam is no port"),
        ("google-metadata endpoint=ftp://x", "credential: endpoint= wants http://HOST or https://HOST"),
        (
            "azure-entra client_secret_file=/run/s",
            "credential: client_secret_file= of azure-entra needs tenant= and client_id=",
        ),
        ("azure-entra tenant=t", "credential: tenant= of azure-entra needs client_secret_file="),
    ];
    for (text, expected) in cases {
        assert_eq!(why(text), expected, "{text}");
    }
    for text in ["", "hunter2", "static x", "vault:/x"] {
        let why = why(text);
        assert!(
            why.starts_with("credential: expected static, file:PATH") && !why.contains("hunter2"),
            "{why}"
        );
    }
    let many = format!("command:/bin/x{}", " y".repeat(WORDS_MAX));
    assert_eq!(why(&many), "credential: more than 64 words");
}

#[test]
fn tokens_of_clouds_are_never_sent_in_the_clear() {
    for text in ["aws-rds-iam", "azure-entra", "google-metadata"] {
        assert!(parse(text).expect(text).is_bearer(), "{text}");
    }
    for text in ["static", "file:/x", "command:/x"] {
        assert!(!parse(text).expect(text).is_bearer(), "{text}");
    }
}
