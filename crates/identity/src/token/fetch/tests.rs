use std::process::Command;

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::*;

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

/// For http, where nobody has to be trusted.
fn test_fetcher() -> Fetcher {
    Fetcher::trusting(None)
}

/// A server that reads one request, writes an answer and closes, or keeps silent; and its address.
async fn server(answer: Option<Vec<u8>>) -> (String, tokio::task::JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let uri = format!("http://{}/keys?all=1", listener.local_addr().expect("bound"));
    let task = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("somebody comes");
        let mut request = vec![0; 4096];
        let length = stream.read(&mut request).await.expect("a request");
        match answer {
            Some(answer) => drop(stream.write_all(&answer).await),
            // Until the other side gives up.
            None => drop(stream.read(&mut [0; 1]).await),
        }
        String::from_utf8_lossy(&request[..length]).into_owned()
    });
    (uri, task)
}

async fn answered(answer: impl Into<Vec<u8>>) -> Result<Vec<u8>, FetchFault> {
    let (uri, _task) = server(Some(answer.into())).await;
    test_fetcher().fetch(&uri).await
}

#[test]
fn addresses_are_taken_apart() {
    let place = check_uri("https://login.example.com:8443/keys?a=1").expect("good");
    assert_eq!((place.scheme, place.host.as_str(), place.port), (Scheme::Https, "login.example.com", 8443));
    assert_eq!((place.authority.as_str(), place.path.as_str()), ("login.example.com:8443", "/keys?a=1"));
    for (uri, port) in [
        ("https://login.example.com", 443),
        ("https://[2001:db8::1]/x", 443),
        ("http://localhost/x", 80),
        ("http://127.0.0.9:81/x", 81),
        ("http://[::1]:82/x", 82),
    ] {
        assert_eq!(check_uri(uri).map(|place| place.port), Ok(port), "{uri}");
    }
    for uri in [
        "",
        "x",
        "/keys",
        "login.example.com/keys",
        "http://login.example.com/keys",
        "http://10.0.0.1/keys",
        "ftp://localhost/keys",
        "file:///etc/passwd",
        "https://",
        "https:///keys",
        "https://user@example.com/",
        "https://user:word@example.com/",
        "https://example.com:0/",
        "https://example.com:99999/",
        "http://localhost.example.com/",
        "http://127.0.0.1.example.com/",
        "https://example.com/\r\nX: y",
        "https://ex ample.com/",
    ] {
        assert!(matches!(check_uri(uri), Err(FetchFault::Uri(_))), "{uri}");
    }
}

#[tokio::test]
async fn a_document_is_fetched() {
    let (uri, task) = server(Some(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}".to_vec())).await;
    assert_eq!(test_fetcher().fetch(&uri).await, Ok(b"{}".to_vec()));
    let request = task.await.expect("it ended");
    assert!(request.starts_with("GET /keys?all=1 HTTP/1.1\r\nhost: 127.0.0.1:"), "{request}");
    // In chunks, and until the end of the connection.
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{\r\n1\r\n}\r\n0\r\n\r\n";
    assert_eq!(answered(chunked).await, Ok(b"{}".to_vec()));
    assert_eq!(answered("HTTP/1.0 200 OK\r\n\r\n{}").await, Ok(b"{}".to_vec()));
}

#[tokio::test]
async fn other_answers_are_refused() {
    let moved = "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n";
    assert_eq!(answered(moved).await, Err(FetchFault::Status(302)));
    assert_eq!(answered("HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n").await, Err(FetchFault::Status(500)));
    for broken in ["", "\r\n\r\n\r\n", "SSH-2.0-x\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n{}"] {
        assert!(matches!(answered(broken).await, Err(FetchFault::Http(_))), "{broken:?}");
    }
    let headers = format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "x".repeat(2 * JWKS_BYTES_MAX));
    assert!(matches!(answered(headers).await, Err(FetchFault::Http(_))));
}

#[tokio::test]
async fn a_document_has_an_end() {
    let just = format!("HTTP/1.0 200 OK\r\n\r\n{}", "x".repeat(JWKS_BYTES_MAX));
    assert_eq!(answered(just.clone()).await.map(|bytes| bytes.len()), Ok(JWKS_BYTES_MAX));
    assert_eq!(answered(format!("{just}x")).await, Err(FetchFault::TooLong));
    let said =
        format!("HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n{}", "x".repeat(3 * JWKS_BYTES_MAX));
    assert_eq!(answered(said).await, Err(FetchFault::TooLong));
}

#[tokio::test]
async fn silence_has_an_end() {
    let (uri, task) = server(None).await;
    assert_eq!(test_fetcher().fetch(&uri).await, Err(FetchFault::TimedOut));
    // The connection is closed then.
    assert!(task.await.is_ok());
}

/// A certificate for `localhost` that is its own authority, and its key.
fn certificate(folder: &std::path::Path) -> (CertificateDer<'static>, PrivateKeyDer<'static>) {
    let output = Command::new("openssl")
        .current_dir(folder)
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
        .args(["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-addext"])
        .args(["basicConstraints=critical,CA:FALSE", "-keyout", "key.pem", "-out", "cert.pem"])
        .output()
        .expect("openssl is there: ./dev test installs it");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let cert = CertificateDer::from_pem_file(folder.join("cert.pem")).expect("a certificate");
    (cert, PrivateKeyDer::from_pem_file(folder.join("key.pem")).expect("a key"))
}

#[tokio::test]
async fn https_asks_who_answers() {
    let folder = std::env::temp_dir().join(format!("plimsoll-fetch-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    let (cert, key) = certificate(&folder);
    std::fs::write(folder.join("empty.pem"), "").expect("written");
    let config = ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions();
    let config = config.expect("versions").with_no_client_auth().with_single_cert(vec![cert], key);
    let acceptor = TlsAcceptor::from(Arc::new(config.expect("a certificate")));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let port = listener.local_addr().expect("bound").port();
    let server = tokio::spawn(async move {
        for _ in 0..3 {
            let (stream, _) = listener.accept().await.expect("somebody comes");
            if let Ok(mut stream) = acceptor.accept(stream).await {
                let _ = stream.read(&mut [0; 1024]).await;
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}").await;
                let _ = stream.shutdown().await;
            }
        }
    });
    let with_ca = |name: &str| Fetcher::trusting(Some(folder.join(name)));
    let trusting = with_ca("cert.pem");
    assert_eq!(trusting.fetch(&format!("https://localhost:{port}/keys")).await, Ok(b"{}".to_vec()));
    // Another name than that of the certificate, and an authority that nobody knows.
    let by_address = trusting.fetch(&format!("https://127.0.0.1:{port}/keys")).await;
    assert!(matches!(by_address, Err(FetchFault::Tls(_))), "{by_address:?}");
    let unknown = test_fetcher().fetch(&format!("https://localhost:{port}/keys")).await;
    assert!(matches!(unknown, Err(FetchFault::Tls(_))), "{unknown:?}");
    server.await.expect("it ended");
    // Nobody to trust: it is not even asked.
    for name in ["empty.pem", "missing.pem", "key.pem"] {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
        let port = listener.local_addr().expect("bound").port();
        let fault = with_ca(name).fetch(&format!("https://localhost:{port}/keys")).await;
        assert!(matches!(&fault, Err(FetchFault::Trust(why)) if why.contains(name)), "{fault:?}");
    }
    std::fs::remove_dir_all(&folder).expect("removed");
}
