//! The HTTP listener: `/metrics`, `/healthz`, and the identity API where there is one, on a thread of its own. Whoever is
//! slow, stuck or many has few connections and little time here, and nothing of what the workers have.

mod connection;
mod figures;
mod host;
mod pages;
mod places;
mod tls;

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use plimsoll_config::{IdentityStore, Plan};
use plimsoll_proxy::{Control, ReadyThread};
use rustls::ServerConfig;
use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::AdminConsole;
use connection::Serving;
use places::Places;

/// How long accepting rests when file descriptors or memory are used up.
const REST: Duration = Duration::from_millis(500);

/// Descriptors of a listener's event loop.
const LOOP_DESCRIPTORS: u64 = 4;

/// Who asks here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Load {
    /// Scrapers and probes, which connect anew each time.
    Scrapers,
    /// Whoever uses the identity API as well.
    Api,
}

impl Load {
    fn of(plan: &Plan) -> Load {
        match plan.own.identity.store {
            IdentityStore::Off => Load::Scrapers,
            IdentityStore::Sqlite(_) | IdentityStore::Postgres(_) => Load::Api,
        }
    }

    /// Most connections at a time; another one waits for a place ([`places`]), and the rest to be accepted.
    fn connections_max(self) -> u16 {
        match self {
            Load::Scrapers => 16,
            Load::Api => 1024,
        }
    }

    /// How many may wait to be accepted on each address; others are not even connected.
    fn backlog(self) -> i32 {
        match self {
            Load::Scrapers => 16,
            Load::Api => 1024,
        }
    }
}

/// Most file descriptors that the listener of this plan takes.
pub fn http_descriptors(plan: &Plan) -> u64 {
    match plan.own.http_listen().addresses().len() as u64 {
        0 => 0,
        // Each has one connection in hand that waits for a place.
        addresses => 2 * addresses + LOOP_DESCRIPTORS + u64::from(Load::of(plan).connections_max()),
    }
}

/// HTTP cannot be answered.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// An address cannot be listened on.
    #[error("cannot listen on {address} for /metrics: {source}")]
    Listen {
        /// Which.
        address: SocketAddr,
        /// Why not.
        source: io::Error,
    },
    /// Certificate and key are of no use.
    #[error("no TLS for http_listen: {0}")]
    Tls(String),
}

/// Listening sockets, not served yet.
#[derive(Debug)]
pub struct HttpDoor {
    listeners: Vec<std::net::TcpListener>,
    tls: Option<Arc<ServerConfig>>,
    load: Load,
}

impl HttpDoor {
    /// Listens on all that `http_listen` names; nothing is answered before [`HttpDoor::open`].
    ///
    /// `given`: what another process listened on before; what `http_listen` does not name is closed.
    ///
    /// # Errors
    /// The first address that cannot be had, or TLS that cannot.
    pub fn bind(plan: &Plan, given: Vec<(SocketAddr, OwnedFd)>) -> Result<HttpDoor, HttpError> {
        let load = Load::of(plan);
        let listen = plan.own.http_listen();
        if listen.addresses().is_empty() {
            return Ok(HttpDoor::none());
        }
        let tls = tls::of(plan)?;
        let mut given = given;
        let one = |address: &SocketAddr| {
            if let Some(at) = given.iter().position(|(there, _)| there == address) {
                return Ok(given.swap_remove(at).1.into());
            }
            listener(*address, load).map_err(|source| HttpError::Listen { address: *address, source })
        };
        let listeners = listen.addresses().iter().map(one).collect::<Result<_, _>>()?;
        Ok(HttpDoor { listeners, tls, load })
    }

    /// The sockets, for the process after this one.
    ///
    /// # Errors
    /// There are no descriptors left.
    pub fn sockets(&self) -> io::Result<Vec<(SocketAddr, OwnedFd)>> {
        let one = |listener: &std::net::TcpListener| {
            Ok((listener.local_addr()?, OwnedFd::from(listener.try_clone()?)))
        };
        self.listeners.iter().map(one).collect()
    }

    /// One that leads nowhere.
    pub fn none() -> HttpDoor {
        HttpDoor { listeners: Vec::new(), tls: None, load: Load::Scrapers }
    }

    /// Makes all that answers, and answers nothing yet; `api`: what is answered beside `/metrics` and `/healthz`. Requests
    /// have the address of the client in their extensions (`ConnectInfo<SocketAddr>`).
    ///
    /// # Errors
    /// There can be no thread or no event loop.
    pub fn open(
        self,
        control: Control,
        console: Arc<AdminConsole>,
        api: Option<Router>,
    ) -> io::Result<OpenDoor> {
        if self.listeners.is_empty() {
            return Ok(OpenDoor(None));
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let listeners = {
            let _inside = runtime.enter();
            self.listeners.into_iter().map(TcpListener::from_std).collect::<io::Result<Vec<_>>>()?
        };
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        let addresses = listeners.iter().map(TcpListener::local_addr).collect::<io::Result<Vec<_>>>()?;
        let urls = addresses.iter().map(|address| format!("{scheme}://{address}/metrics")).collect();
        let pages = pages::routes(control.clone(), console);
        let all = match api {
            Some(api) => pages.merge(api),
            None => pages,
        };
        let given_away = control.given_away();
        let serving = Arc::new(Serving::new(host::guard(all, control), self.tls, self.load));
        let places = Places::new(usize::from(self.load.connections_max()));
        let work = move || {
            runtime.block_on(async {
                let accepting = answer_all(listeners, places, serving.clone());
                tokio::select! {
                    () = accepting => {}
                    // Another process accepts from here on; whoever was asking is still answered.
                    () = given_away => std::future::pending().await,
                }
            });
        };
        Ok(OpenDoor(Some(Answering { thread: ReadyThread::new("http")?, work: Box::new(work), urls })))
    }
}

/// Everything that answers, and does not do so yet.
#[must_use = "nothing is answered before it is told to"]
pub struct OpenDoor(Option<Answering>);

struct Answering {
    thread: ReadyThread,
    work: Box<dyn FnOnce() + Send>,
    urls: Vec<String>,
}

impl OpenDoor {
    /// Answers on a thread of its own, as long as the process lives.
    pub fn answer(self) {
        let Some(Answering { thread, work, urls }) = self.0 else { return };
        for url in urls {
            tracing::info!("listening on {url}");
        }
        thread.begin(work);
    }
}

fn listener(address: SocketAddr, load: Load) -> io::Result<std::net::TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&SockAddr::from(address))?;
    socket.listen(load.backlog())?;
    Ok(socket.into())
}

/// Accepts on all listeners until the process ends.
async fn answer_all(listeners: Vec<TcpListener>, places: Places, serving: Arc<Serving>) {
    let mut accepting = JoinSet::new();
    for listener in listeners {
        accepting.spawn(accept_all(listener, places.clone(), serving.clone()));
    }
    // They end with the process only, or when this is dropped.
    while accepting.join_next().await.is_some() {}
}

async fn accept_all(listener: TcpListener, places: Places, serving: Arc<Serving>) {
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                let place = Arc::new(places.take().await);
                tokio::spawn(connection::serve(stream, peer, place, serving.clone()));
            }
            Err(error) => {
                tracing::debug!("accept() for /metrics failed: {error}");
                sleep(REST).await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use plimsoll_config::{Compat, HttpListen};

    use super::*;

    #[test]
    fn descriptors_are_counted_where_there_is_a_listener() {
        let mut plan = Plan::default();
        assert_eq!(http_descriptors(&plan), 22);
        plan.own.identity.store = IdentityStore::Sqlite("/tmp/x".into());
        assert_eq!(http_descriptors(&plan), 1030);
        plan.own.identity.store = IdentityStore::Off;
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
        let error = HttpDoor::bind(&plan, Vec::new()).expect_err("it is taken").to_string();
        assert!(error.starts_with(&format!("cannot listen on {address} for /metrics: ")), "{error}");
        plan.own.http_listen = Some(HttpListen::Off);
        assert!(HttpDoor::bind(&plan, Vec::new()).expect("nothing to do").listeners.is_empty());
    }
}
