//! The HTTP listener: `/metrics` and `/healthz`, on a thread of its own. Whoever is slow, stuck or many has few
//! connections and little time here, and nothing of what the workers have.

mod figures;
mod host;
mod pages;
mod places;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use plimsoll_config::Plan;
use plimsoll_proxy::Control;
use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};

use crate::AdminConsole;
use places::{Place, Places, Stage};

/// Most connections at a time; another one waits for a place ([`places`]), and the rest to be accepted.
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
        // Each has one connection in hand that waits for a place.
        addresses => 2 * addresses + LOOP_DESCRIPTORS + CONNECTIONS_MAX as u64,
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
        let routes = host::guard(pages::routes(control.clone(), console), control);
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

/// Accepts on all listeners until the process ends.
async fn answer_all(listeners: Vec<TcpListener>, routes: Router) {
    let places = Places::new(CONNECTIONS_MAX);
    let accepting = listeners.into_iter().map(|listener| {
        let (places, routes) = (places.clone(), routes.clone());
        tokio::spawn(accept_all(listener, places, routes))
    });
    for accepting in accepting.collect::<Vec<_>>() {
        // It ends with the process only.
        let _ = accepting.await;
    }
}

async fn accept_all(listener: TcpListener, places: Places, routes: Router) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let place = Arc::new(places.take().await);
                tokio::spawn(serve(stream, place, routes.clone()));
            }
            Err(error) => {
                tracing::debug!("accept() for /metrics failed: {error}");
                sleep(REST).await;
            }
        }
    }
}

/// One connection, until its end or until another one is to have its place. However it ends, there is nobody to tell.
async fn serve(stream: TcpStream, place: Arc<Place>, routes: Router) {
    let answered = timeout(CONNECTION_TIMEOUT, answer(stream, place.clone(), routes));
    let _ = place.keep(answered).await;
}

/// One request, and the end: a scraper connects anew each time, and no connection is kept for nothing.
async fn answer(stream: TcpStream, place: Arc<Place>, routes: Router) -> Result<(), hyper::Error> {
    let routes = TowerToHyperService::new(routes);
    let staged = service_fn(move |request: Request<Incoming>| {
        place.enter(Stage::Answered);
        let (place, answer) = (place.clone(), routes.call(request));
        async move {
            let answer = answer.await;
            place.enter(Stage::Told);
            answer
        }
    });
    let mut server = http1::Builder::new();
    server
        .timer(TokioTimer::new())
        .header_read_timeout(HEADERS_TIMEOUT)
        .max_buf_size(REQUEST_BYTES_MAX)
        .max_headers(HEADERS_MAX)
        .keep_alive(false);
    server.serve_connection(TokioIo::new(stream), staged).await
}

#[cfg(test)]
mod tests {
    use plimsoll_config::{Compat, HttpListen};

    use super::*;

    #[test]
    fn descriptors_are_counted_where_there_is_a_listener() {
        let mut plan = Plan::default();
        assert_eq!(http_descriptors(&plan), 22);
        plan.own.compat = Compat::Pgbouncer;
        assert_eq!(http_descriptors(&plan), 0);
        plan.own.http_listen =
            Some(HttpListen::At(vec![([127, 0, 0, 1], 1).into(), ([127, 0, 0, 1], 2).into()]));
        assert_eq!(http_descriptors(&plan), 24);
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
