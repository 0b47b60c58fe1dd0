use axum::body::to_bytes;
use axum::routing::{get, post};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

use super::super::places::Places;
use super::*;

/// Answers with the address of the client, or with the length of the body.
fn routes() -> Router {
    let whose = |ConnectInfo(peer): ConnectInfo<SocketAddr>| async move { peer.to_string() };
    let length = |body: Body| async move {
        to_bytes(body, 100).await.map_or_else(|_| "cut".to_string(), |bytes| bytes.len().to_string())
    };
    Router::new().route("/whose", get(whose)).route("/length", post(length))
}

/// What comes back for this, until the connection ends or, if `count` is there, so many answers have come.
async fn asked(load: Load, request_timeout: Duration, request: &str, count: Option<usize>) -> String {
    let (mut near, far): (DuplexStream, DuplexStream) = duplex(1 << 16);
    let serving = Serving { routes: routes(), tls: None, load, request_timeout };
    let place = Arc::new(Places::new(1).take().await);
    let peer = SocketAddr::from(([192, 0, 2, 9], 7));
    let serve = async { answer(far, peer, &place, &serving).await };
    let ask = async {
        near.write_all(request.as_bytes()).await.expect("there is room");
        let (mut text, mut chunk) = (String::new(), [0; 4096]);
        while count.is_none_or(|count| text.matches("192.0.2.9:7").count() < count) {
            match near.read(&mut chunk).await.expect("a duplex does not fail") {
                0 => break,
                read => text.push_str(&String::from_utf8_lossy(&chunk[..read])),
            }
        }
        drop(near);
        text
    };
    tokio::join!(serve, ask).1
}

fn run<F: Future>(work: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("an event loop").block_on(work)
}

const LONG: Duration = Duration::from_secs(60);
const WHOSE: &str = "GET /whose HTTP/1.1\r\nHost: localhost\r\n\r\n";

#[test]
fn a_scraper_has_one_answer_and_the_api_many() {
    let both = format!("{WHOSE}{WHOSE}");
    let text = run(asked(Load::Scrapers, LONG, &both, None));
    assert_eq!(
        (text.matches("192.0.2.9:7").count(), text.contains("connection: close")),
        (1, true),
        "{text}"
    );
    let text = run(asked(Load::Api, LONG, &both, Some(2)));
    assert!(!text.contains("connection: close"), "{text}");
    assert_eq!(text.matches("192.0.2.9:7").count(), 2, "{text}");
}

#[test]
fn a_body_that_does_not_come_is_an_answer_and_the_end() {
    let half = "POST /length HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n1234";
    let text = run(asked(Load::Api, Duration::from_millis(20), half, None));
    assert!(text.starts_with("HTTP/1.1 408 ") && text.contains("connection: close"), "{text}");
}

#[test]
fn headers_have_an_end() {
    let many = format!("GET /whose HTTP/1.1\r\nHost: x\r\n{}\r\n", "A: b\r\n".repeat(HEADERS_MAX + 1));
    let long = format!("GET /whose HTTP/1.1\r\nHost: x\r\nA: {}\r\n\r\n", "b".repeat(REQUEST_BYTES_MAX));
    for request in [many, long] {
        let text = run(asked(Load::Api, LONG, &request, None));
        assert!(text.starts_with("HTTP/1.1 431 "), "{text}");
    }
}
