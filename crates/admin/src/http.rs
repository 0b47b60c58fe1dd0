//! The HTTP listener: `/metrics` and `/healthz`, on a thread of its own. Whoever is slow, stuck or many has few
//! connections and little time here, and nothing of what the workers have.

mod figures;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::State;
use axum::http::header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use plimsoll_config::Plan;
use plimsoll_proxy::Control;
use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

use crate::AdminConsole;
use crate::metrics::Format;
use figures::Served;

/// Most connections at a time; others wait to be accepted.
const CONNECTIONS_MAX: usize = 16;

/// How many may wait to be accepted on each address; others are not even connected.
const BACKLOG: i32 = 16;

/// How long a request line and its headers may take to come.
const HEADERS_TIMEOUT: Duration = Duration::from_secs(3);

/// How long a connection may last, its answer read or not.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(20);

/// Longest request line with headers, bytes. (hyper takes no less than 8 KiB.)
const REQUEST_BYTES_MAX: usize = 16 * 1024;

/// Most headers.
const HEADERS_MAX: usize = 64;

/// How long accepting rests when file descriptors or memory are used up.
const REST: Duration = Duration::from_millis(500);

/// Descriptors of a listener's event loop.
const LOOP_DESCRIPTORS: u64 = 4;

/// Most file descriptors that the listener of this plan takes.
pub fn http_descriptors(plan: &Plan) -> u64 {
    match plan.own.http_listen().addresses().len() as u64 {
        0 => 0,
        addresses => addresses + LOOP_DESCRIPTORS + CONNECTIONS_MAX as u64,
    }
}

/// An address cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address} for /metrics: {source}")]
pub struct HttpError {
    address: SocketAddr,
    source: io::Error,
}

/// Listening sockets, not served yet.
#[derive(Debug)]
pub struct HttpDoor {
    listeners: Vec<std::net::TcpListener>,
}

impl HttpDoor {
    /// Listens on all that `http_listen` names; nothing is answered before [`HttpDoor::open`].
    ///
    /// # Errors
    /// The first address that cannot be had.
    pub fn bind(plan: &Plan) -> Result<HttpDoor, HttpError> {
        let listen = plan.own.http_listen();
        let one = |address: &SocketAddr| {
            listener(*address).map_err(|source| HttpError { address: *address, source })
        };
        Ok(HttpDoor { listeners: listen.addresses().iter().map(one).collect::<Result<_, _>>()? })
    }

    /// One that leads nowhere.
    pub fn none() -> HttpDoor {
        HttpDoor { listeners: Vec::new() }
    }

    /// Answers on a thread of its own, as long as the process lives.
    ///
    /// # Errors
    /// There can be no thread or no event loop.
    pub fn open(self, control: Control, console: Arc<AdminConsole>) -> io::Result<()> {
        if self.listeners.is_empty() {
            return Ok(());
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let listeners = {
            let _inside = runtime.enter();
            self.listeners.into_iter().map(TcpListener::from_std).collect::<io::Result<Vec<_>>>()?
        };
        for listener in &listeners {
            tracing::info!("listening on http://{}/metrics", listener.local_addr()?);
        }
        let routes = routes(Arc::new(House { control, console, served: Served::default() }));
        let work = move || runtime.block_on(answer_all(listeners, routes));
        std::thread::Builder::new().name("http".to_string()).spawn(work).map(drop)
    }
}

fn listener(address: SocketAddr) -> io::Result<std::net::TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&SockAddr::from(address))?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// What the routes look at.
struct House {
    control: Control,
    console: Arc<AdminConsole>,
    served: Served,
}

fn routes(house: Arc<House>) -> Router {
    // GET answers HEAD as well; another method is refused with 405, another path with 404.
    Router::new().route("/metrics", get(metrics)).route("/healthz", get(health)).with_state(house)
}

async fn metrics(State(house): State<Arc<House>>, headers: HeaderMap) -> Response {
    let accept: Vec<&str> = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok()).collect();
    let format = Format::wanted(&accept.join(","));
    let text = house.served.text(format, Instant::now, || house.console.metrics(&house.control, format));
    ([(CONTENT_TYPE, format.content_type()), (CACHE_CONTROL, "no-store")], text).into_response()
}

async fn health(State(house): State<Arc<House>>) -> Response {
    if house.control.is_shutting_down() {
        (StatusCode::SERVICE_UNAVAILABLE, "shutting down\n").into_response()
    } else {
        "ok\n".into_response()
    }
}

/// Accepts on all listeners until the process ends.
async fn answer_all(listeners: Vec<TcpListener>, routes: Router) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let accepting = listeners.into_iter().map(|listener| {
        let (places, routes) = (places.clone(), routes.clone());
        tokio::spawn(accept_all(listener, places, routes))
    });
    for accepting in accepting.collect::<Vec<_>>() {
        // It ends with the process only.
        let _ = accepting.await;
    }
}

async fn accept_all(listener: TcpListener, places: Arc<Semaphore>, routes: Router) {
    loop {
        // Closed never: the semaphore lives as long as this task.
        let Ok(place) = places.clone().acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                let routes = routes.clone();
                tokio::spawn(async move {
                    // However it ends, there is nobody to tell.
                    let _ = timeout(CONNECTION_TIMEOUT, answer(stream, routes)).await;
                    drop(place);
                });
            }
            Err(error) => {
                tracing::debug!("accept() for /metrics failed: {error}");
                drop(place);
                sleep(REST).await;
            }
        }
    }
}

/// One request, and the end: a scraper connects anew each time, and no connection is kept for nothing.
async fn answer(stream: TcpStream, routes: Router) -> Result<(), hyper::Error> {
    let mut server = http1::Builder::new();
    server
        .timer(TokioTimer::new())
        .header_read_timeout(HEADERS_TIMEOUT)
        .max_buf_size(REQUEST_BYTES_MAX)
        .max_headers(HEADERS_MAX)
        .keep_alive(false);
    server.serve_connection(TokioIo::new(stream), TowerToHyperService::new(routes)).await
}

#[cfg(test)]
mod tests {
    use plimsoll_config::{Compat, HttpListen};

    use super::*;

    #[test]
    fn descriptors_are_counted_where_there_is_a_listener() {
        let mut plan = Plan::default();
        assert_eq!(http_descriptors(&plan), 21);
        plan.own.compat = Compat::Pgbouncer;
        assert_eq!(http_descriptors(&plan), 0);
        plan.own.http_listen =
            Some(HttpListen::At(vec![([127, 0, 0, 1], 1).into(), ([127, 0, 0, 1], 2).into()]));
        assert_eq!(http_descriptors(&plan), 22);
    }

    #[test]
    fn a_taken_port_is_named() {
        let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = taken.local_addr().expect("its address");
        let mut plan = Plan::default();
        plan.own.http_listen = Some(HttpListen::At(vec![address]));
        let error = HttpDoor::bind(&plan).expect_err("it is taken").to_string();
        assert!(error.starts_with(&format!("cannot listen on {address} for /metrics: ")), "{error}");
        plan.own.http_listen = Some(HttpListen::Off);
        assert!(HttpDoor::bind(&plan).expect("nothing to do").listeners.is_empty());
    }
}
