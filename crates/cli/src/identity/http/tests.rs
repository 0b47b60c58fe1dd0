use super::*;

fn read_ok(text: &str) -> Answer {
    read_from(text.as_bytes()).expect("an answer")
}

#[test]
fn bodies_are_read_by_length_by_chunks_or_to_the_end() {
    let answer = read_ok("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nETag: \"3\"\r\n\r\nhello, and more");
    assert_eq!((answer.status, answer.body.as_slice(), answer.stays_open), (200, &b"hello"[..], true));
    assert_eq!(answer.header("etag"), Some("\"3\""));
    let answer = read_ok(
        "HTTP/1.1 200 OK\r\ntransfer-encoding: Chunked\r\n\r\n3\r\nabc\r\nA;x=y\r\n0123456789\r\n0\r\nT: t\r\n\r\n",
    );
    assert_eq!((answer.body.as_slice(), answer.stays_open), (&b"abc0123456789"[..], true));
    let answer = read_ok("HTTP/1.0 404 Not Found\r\n\r\nnothing");
    assert_eq!((answer.status, answer.body.as_slice(), answer.stays_open), (404, &b"nothing"[..], false));
    let answer = read_ok("HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n");
    assert_eq!((answer.status, answer.body.len(), answer.stays_open), (204, 0, false));
    let answer = read_ok("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 Created\r\ncontent-length: 0\r\n\r\n");
    assert_eq!(answer.status, 201);
}

#[test]
fn what_is_no_answer_is_refused_and_bounded() {
    let huge = format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "x".repeat(70_000));
    for (text, told) in [
        ("", "it closed the connection"),
        ("SSH-2.0-OpenSSH\r\n", "its first line"),
        ("HTTP/1.1 99 X\r\n\r\n", "its first line"),
        ("HTTP/1.1 200 OK\r\nnothing\r\n\r\n", "a header has no name"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhell", "in the middle"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n", "too long"),
        ("HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", "is none"),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n", "unknown way"),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n", "too long"),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n", "no length"),
        (&huge, "no end"),
    ] {
        match read_from(text.as_bytes()) {
            Err(Broken::NotHttp(what)) => assert!(what.contains(told), "{what}"),
            other => panic!("{told}: {other:?}"),
        }
    }
}

#[test]
fn urls_are_taken_apart() {
    let parts = |text: &str| {
        let url = ApiUrl::parse(text).expect("a URL");
        (url.host.clone(), url.port, url.prefix.clone(), url.to_string())
    };
    let told = |host: &str, port, prefix: &str, text: &str| {
        (host.to_string(), port, prefix.to_string(), text.to_string())
    };
    assert_eq!(parts("http://127.0.0.1:6433"), told("127.0.0.1", 6433, "", "http://127.0.0.1:6433"));
    assert_eq!(parts("https://id.example/"), told("id.example", 443, "", "https://id.example:443"));
    assert_eq!(parts("http://[::1]:80/a/b/"), told("::1", 80, "/a/b", "http://[::1]:80/a/b"));
    for bad in [
        "127.0.0.1:6433",
        "ftp://x",
        "http://",
        "http://:80",
        "http://x:0",
        "http://x:99999",
        "http://[::1",
        "http://[::1]x",
        "http://x y",
        "http://x/?a=b",
        "http://x\r\nA: b",
    ] {
        assert!(ApiUrl::parse(bad).is_err(), "{bad}");
    }
    let fault = ApiUrl::parse("http://plim_live_secret@x").expect_err("a key in it").to_string();
    assert!(fault.contains("***@x") && !fault.contains("secret"), "{fault}");
}
