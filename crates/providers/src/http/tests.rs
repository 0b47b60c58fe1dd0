use std::path::Path;
use std::process::{Command, Stdio};

use super::*;
use crate::testing::{Fake, block_on, ok};

fn why(result: Result<String, Failure>) -> String {
    let Failure(why) = result.expect_err("it fails");
    why
}

#[test]
fn a_request_has_what_it_was_given_and_little_else() {
    block_on(async {
        let fake = Fake::start(|_| ok("here")).await;
        let url = format!("{}/a/b?c=d%20e", fake.url());
        let form = Ask::form(&url, &[("x", "1 & 2"), ("y", "")]);
        assert_eq!(text(form.header("metadata", "true")).await, Ok("here".to_string()));
        let wanted = format!(
            "POST /a/b?c=d%20e HTTP/1.1\r\nhost: 127.0.0.1:{}\nconnection: close\nuser-agent: plimsoll\n\
             content-type: application/x-www-form-urlencoded\nmetadata: true\ncontent-length: 16\nx=1%20%26%202&y=",
            fake.port
        );
        assert_eq!(fake.asked(), [wanted]);
    });
}

#[test]
fn what_comes_back_is_bounded_and_told() {
    block_on(async {
        let fake = Fake::start(|request| match request.split(' ').nth(1).unwrap_or_default() {
            "/refused?secret" => {
                "HTTP/1.1 400 no\r\ncontent-length: 26\r\n\r\n{\"error\": \"invalid_grant\"}".into()
            }
            "/words" => "HTTP/1.1 400 no\r\ncontent-length: 24\r\n\r\n{\"error\": \"it is hunter2\"}".into(),
            "/moved" => "HTTP/1.1 301 x\r\nlocation: /here\r\ncontent-length: 0\r\n\r\n".into(),
            "/huge" => ok(&"x".repeat(BODY_BYTES_MAX + 1)),
            "/most" => ok(&"x".repeat(BODY_BYTES_MAX)),
            "/endless" => format!("HTTP/1.1 200 OK\r\n\r\n{}", "x".repeat(200_000)),
            "/cut" => "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nxyz".into(),
            "/strange" => "SSH-2.0\r\n".into(),
            _ => String::new(),
        })
        .await;
        let ask = |path: &str| {
            let url = format!("{}{path}", fake.url());
            async move { text(Ask::get(&url)).await }
        };
        let told = |path: &str, what: &str| format!("{}{path}: {what}", fake.url());
        assert_eq!(why(ask("/refused?secret").await), told("/refused", "HTTP status 400 (invalid_grant)"));
        assert!(why(ask("/words").await).ends_with("HTTP status 400"));
        assert!(why(ask("/moved").await).ends_with("HTTP status 301"));
        assert!(why(ask("/huge").await).ends_with("the answer is longer than 65536 bytes"));
        assert!(why(ask("/endless").await).ends_with("the answer is longer than 65536 bytes"));
        assert_eq!(ask("/most").await.map(|text| text.len()), Ok(BODY_BYTES_MAX));
        for path in ["/cut", "/strange", "/nothing"] {
            assert!(why(ask(path).await).contains("the connection broke: "), "{path}");
        }
        assert!(why(text(Ask::get("http://")).await).contains("not a URL"));
    });
}

#[test]
fn a_secret_goes_in_the_clear_to_this_machine_and_its_cloud_only() {
    for (peer, near) in [
        ("127.0.0.1", true),
        ("127.8.0.1", true),
        ("::1", true),
        ("::ffff:127.0.0.1", true),
        ("169.254.169.254", true),
        ("169.254.170.2", true),
        ("169.254.170.23", true),
        ("fd00:ec2::254", true),
        ("fd00:ec2::23", true),
        ("169.254.169.253", false),
        ("10.0.0.1", false),
        ("192.168.1.1", false),
        ("fe80::1", false),
        ("::ffff:10.0.0.1", false),
    ] {
        assert_eq!(is_near(peer.parse().expect("an address")), near, "{peer}");
    }
    block_on(async {
        let Some(outer) = outer_address() else { return };
        let fake = Fake::start_at(outer, |_| ok("heard")).await;
        let url = format!("http://{outer}:{}/", fake.port);
        let form = Ask::form(&url, &[("client_secret", "hunter2")]);
        let refused = why(text(form).await);
        assert!(refused.contains("is not sent to") && !refused.contains("hunter2"), "{refused}");
        assert!(why(text(Ask::get(&url).header("authorization", "hunter2")).await).contains("without TLS"));
        assert!(fake.asked().iter().all(String::is_empty), "nothing of it was sent");
        // What holds no secret goes anywhere.
        assert_eq!(text(Ask::get(&url).header("metadata", "true")).await, Ok("heard".to_string()));
    });
}

/// An address of this machine that is not loopback; `None`: it has none. Nothing is sent.
fn outer_address() -> Option<IpAddr> {
    let socket = std::net::UdpSocket::bind(("0.0.0.0", 0)).ok()?;
    socket.connect(("192.0.2.1", 9)).ok()?;
    let address = socket.local_addr().ok()?.ip();
    (!address.is_unspecified() && !address.is_loopback()).then_some(address)
}

#[test]
fn whoever_does_not_answer_is_left() {
    block_on(async {
        // Accepts, as the kernel does for whoever listens, and says nothing.
        let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}", silent.local_addr().expect("it is bound"));
        assert!(why(text(Ask::get(&url)).await).ends_with("no whole answer within 3 s"));
    });
}

fn certificate(folder: &Path, name: &str) -> (std::path::PathBuf, std::path::PathBuf) {
    let (cert, key) = (folder.join(format!("{name}.crt")), folder.join(format!("{name}.key")));
    let status = Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-days",
            "2",
        ])
        .args(["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"])
        // Its own authority, and no other's.
        .args(["-addext", "basicConstraints=critical,CA:FALSE", "-keyout"])
        .arg(&key)
        .arg("-out")
        .arg(&cert)
        .stderr(Stdio::null())
        .status();
    assert!(status.expect("openssl").success());
    (cert, key)
}

#[test]
fn over_tls_only_whoever_is_certified_is_heard() {
    let folder = std::env::temp_dir().join(format!("plimsoll-https-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    let ((ours, key), (other, _)) = (certificate(&folder, "ours"), certificate(&folder, "other"));
    block_on(async {
        let fake = Fake::start_tls((&ours, &key), |_| ok("sealed")).await;
        let url = format!("https://localhost:{}/", fake.port);
        let ask = |ca_file: Option<&std::path::PathBuf>| {
            let (url, ca_file) = (url.clone(), ca_file.cloned());
            async move { text(Ask { ca_file: ca_file.as_ref(), ..Ask::get(&url) }).await }
        };
        assert_eq!(ask(Some(&ours)).await, Ok("sealed".to_string()));
        assert!(why(ask(Some(&other)).await).contains("TLS handshake failed: "));
        assert!(why(ask(None).await).contains(": "), "the system does not know it");
        let by_address = format!("https://127.0.0.1:{}/", fake.port);
        let wrong_name = text(Ask { ca_file: Some(&ours), ..Ask::get(&by_address) }).await;
        assert!(why(wrong_name).contains("TLS handshake failed: "));
        assert!(why(ask(Some(&folder.join("none"))).await).contains("ca_file "));
        assert_eq!(fake.asked().len(), 1);
    });
    std::fs::remove_dir_all(&folder).expect("it is ours");
}
