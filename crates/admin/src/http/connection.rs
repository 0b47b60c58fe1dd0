//! One connection of the HTTP listener: its limits of size and time.

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::header::{CONNECTION, HeaderValue};
use axum::http::{Request, StatusCode};
use axum::response::{IntoResponse, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use super::Load;
use super::places::{Place, Stage};

/// How long a TLS handshake may take.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(3);

/// How long a request may take from its headers to the beginning of its answer, its body included.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(20);

/// How long a last answer may take when a connection has had its time.
const LAST_TIMEOUT: Duration = Duration::from_secs(20);

/// Longest request line with headers, bytes. (hyper takes no less than 8 KiB.)
const REQUEST_BYTES_MAX: usize = 16 * 1024;

/// Most headers.
const HEADERS_MAX: usize = 64;

/// What all connections have in common.
pub(super) struct Serving {
    routes: Router,
    tls: Option<TlsAcceptor>,
    load: Load,
    request_timeout: Duration,
}

impl Serving {
    pub(super) fn new(routes: Router, tls: Option<Arc<ServerConfig>>, load: Load) -> Serving {
        Serving { routes, tls: tls.map(TlsAcceptor::from), load, request_timeout: REQUEST_TIMEOUT }
    }
}

impl Load {
    /// How long a request line and its headers may take to come; with that, how long a connection may be idle between two.
    fn headers_timeout(self) -> Duration {
        match self {
            Load::Scrapers => Duration::from_secs(3),
            Load::Api => Duration::from_secs(15),
        }
    }

    /// How long a connection may last. A scraper gets one answer, read or not.
    fn connection_timeout(self) -> Duration {
        match self {
            Load::Scrapers => Duration::from_secs(20),
            Load::Api => Duration::from_secs(600),
        }
    }

    /// Whether a connection is good for more than one request.
    fn keeps_alive(self) -> bool {
        match self {
            Load::Scrapers => false,
            Load::Api => true,
        }
    }
}

/// One connection, until its end or until another one is to have its place. However it ends, there is nobody to tell.
pub(super) async fn serve(stream: TcpStream, peer: SocketAddr, place: Arc<Place>, serving: Arc<Serving>) {
    let work = async {
        match &serving.tls {
            None => answer(stream, peer, &place, &serving).await,
            Some(acceptor) => {
                if let Ok(Ok(stream)) = timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream)).await {
                    answer(stream, peer, &place, &serving).await;
                }
            }
        }
    };
    let _ = place.keep(work).await;
}

async fn answer<S>(stream: S, peer: SocketAddr, place: &Arc<Place>, serving: &Serving)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let routes = TowerToHyperService::new(serving.routes.clone());
    let request_timeout = serving.request_timeout;
    let staged = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(ConnectInfo(peer));
        place.enter(Stage::Answered);
        let (place, answer) = (place.clone(), routes.call(request));
        async move {
            let answer = timeout(request_timeout, answer).await.unwrap_or_else(|_| Ok(too_slow()));
            place.enter(Stage::Told);
            answer
        }
    });
    let mut server = http1::Builder::new();
    server
        .timer(TokioTimer::new())
        .header_read_timeout(serving.load.headers_timeout())
        .max_buf_size(REQUEST_BYTES_MAX)
        .max_headers(HEADERS_MAX)
        .keep_alive(serving.load.keeps_alive());
    let mut connection = pin!(server.serve_connection(TokioIo::new(stream), staged));
    if timeout(serving.load.connection_timeout(), connection.as_mut()).await.is_err()
        && serving.load.keeps_alive()
    {
        connection.as_mut().graceful_shutdown();
        let _ = timeout(LAST_TIMEOUT, connection).await;
    }
}

/// A request that does not come to its end, or is not answered.
fn too_slow() -> Response<Body> {
    let mut response = (StatusCode::REQUEST_TIMEOUT, "the request took too long\n").into_response();
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    response
}

#[cfg(test)]
mod tests;
