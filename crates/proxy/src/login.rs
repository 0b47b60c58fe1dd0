//! A client's login: from its first byte to its welcome, within client_login_timeout.
//!
//! | module | part |
//! |---|---|
//! | `first` | the packets before the first typed message |
//! | `origin` | the PROXY header of a load balancer |
//! | `startup` | what a startup packet asks for |
//! | `goal` | which database, which limits, who may use the console |
//! | `look_up` | what is known of the user: auth_file, auth_query |
//! | `prove` | the dialogue that shows who the client is |
//! | `identify` | the same by a key or a token |
//! | `vouch` | the same by a password that LDAP servers or PAM know |
//! | `enter` | the pool, the parameters, the welcome |
//! | `stream` | the same for replication: a server connection of its own |
//! | `shared` | what all logins share |

mod enter;
mod first;
mod goal;
mod identify;
mod look_up;
mod origin;
mod prove;
mod shared;
mod startup;
mod stream;
mod vouch;

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use plimsoll_config::Plan;
use plimsoll_session::Session;
use plimsoll_types::{Cause, ClientId, Moment};

pub(crate) use goal::CONSOLE;
pub(crate) use shared::Entrance;

use enter::Shown;
use prove::Way;

use crate::console::Level;
use crate::control_thread::{ConsoleClient, Welcomed};
use crate::directory::PoolEntry;
use crate::entry::{self, ClientEntry, Peer};
use crate::handover::{Count, Stage};
use crate::hub::Hub;
use crate::listener::{self, Arrival, ClientGuard, Fresh, Terms};
use crate::relay::Relay;
use crate::replication::{Kind, Wishes};
use crate::security::Security;
use crate::socket::{Secured, Stream};
use crate::worker::Scratch;
use crate::{cancel, linger, report};

/// A login that may take as long as it likes (client_login_timeout = 0) ends all the same.
const LONGEST: Duration = Duration::from_secs(24 * 3600);

/// How long a login may take on the descriptor that was put by for the console.
const CONSOLE_LOGIN: Duration = Duration::from_secs(3);

/// Bytes read at a time: who has not shown who it is costs no more memory than a login needs.
const READ_BYTES: usize = 4096;

/// How long a client may take to take in the message that refuses it.
const FAREWELL: Duration = Duration::from_secs(1);

/// A client that is logging in.
struct Login {
    hub: Arc<Hub>,
    plan: Arc<Plan>,
    security: Arc<Security>,
    stream: Stream,
    /// How it is encrypted, once it is.
    secured: Option<Secured>,
    /// Received and not dealt with.
    input: Vec<u8>,
    /// To be sent before whatever is sent next.
    pending: Vec<u8>,
    id: ClientId,
    /// Who it is: whom the PROXY header names, or whoever has come in.
    peer: Peer,
    /// Whose socket it is: a balancer's, or the same.
    came_from: Peer,
    peer_uid: Option<u32>,
    local: Peer,
    since: Moment,
    terms: Terms,
    /// For the log: what it has said of itself so far.
    database: Arc<str>,
    user: Arc<str>,
    stage: Awaits,
    /// What it asks the server for, if it wants replication.
    wishes: Option<Arc<Wishes>>,
    /// What the client has said, as long as it has been told nothing: then its login may begin again elsewhere.
    heard: Heard,
    guard: ClientGuard,
}

/// See [`Login::heard`]. Shared with whoever watches the login.
type Heard = Arc<Mutex<Option<Vec<u8>>>>;

/// What a login is waiting for, as far as the message at its timeout differs.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Awaits {
    /// For the client.
    Client,
    /// For a server connection.
    Server,
    /// For the other half of a TLS handshake, in which nothing can be said.
    Handshake,
}

/// Where a login has led.
enum Entered {
    /// Into a pool.
    Pool(Box<(Arc<ClientEntry>, Arc<PoolEntry>, Session)>),
    /// To the console.
    Console(Arc<ClientEntry>, Level),
}

/// How a login ends without a client.
enum End {
    /// It was a cancel request for this key.
    Cancel(Vec<u8>),
    /// The client went away.
    Left(Cause),
    /// The client is told why not.
    Refused(Cause),
}

/// Logs a client in. `None`: it is no client of a pool (any more), and everything has been said and done.
pub(crate) async fn run(hub: Arc<Hub>, fresh: Fresh, guard: ClientGuard) -> Option<Relay> {
    let _counted = Counted::new(&hub);
    let Fresh { arrival, heard } = fresh;
    let (id, peer) = (arrival.id, arrival.peer.clone());
    let mut login = match Login::new(hub.clone(), arrival, heard, guard) {
        Ok(login) => login,
        Err(e) => {
            tracing::warn!(
                "{}socket cannot be watched: {e}",
                entry::log_prefix(id, "(nodb)", "(nouser)", &peer)
            );
            return None;
        }
    };
    let limit = match login.plan.general.client_login_timeout {
        _ if login.terms == Terms::Console => CONSOLE_LOGIN,
        Duration::ZERO => LONGEST,
        limit => limit,
    };
    let heard = login.heard.clone();
    let ended = tokio::select! {
        biased;
        () = is_in_the_way(&hub, &heard) => return login.give_way().await,
        ended = tokio::time::timeout(limit, login.run()) => ended,
    };
    match ended {
        Ok(Ok(Entered::Pool(client))) => {
            let (entry, pool, session) = *client;
            Some(login.into_relay(entry, pool, session))
        }
        Ok(Ok(Entered::Console(entry, level))) => {
            login.into_console(entry, level);
            None
        }
        Ok(Err(End::Cancel(key))) => {
            let cause = Box::pin(cancel::handle(&hub, &key)).await;
            report::log_closing(&login.plan, &login.log_prefix(), login.age(), &cause);
            None
        }
        Ok(Err(End::Left(cause))) => {
            report::log_closing(&login.plan, &login.log_prefix(), login.age(), &cause);
            None
        }
        Ok(Err(End::Refused(cause))) => {
            Box::pin(login.refuse(cause)).await;
            None
        }
        Err(_elapsed) => {
            let cause = match login.stage {
                Awaits::Handshake => {
                    let prefix = login.log_prefix();
                    report::log_closing(&login.plan, &prefix, login.age(), &Cause::LoginTimeout);
                    return None;
                }
                Awaits::Client => Cause::LoginTimeout,
                Awaits::Server => Cause::LoginTimeoutServerDown,
            };
            Box::pin(login.refuse(cause)).await;
            None
        }
    }
}

impl Login {
    fn new(hub: Arc<Hub>, arrival: Arrival, heard: Vec<u8>, guard: ClientGuard) -> std::io::Result<Login> {
        let Arrival { socket, id, peer, peer_uid, local, at, terms } = arrival;
        let plan = hub.plan();
        let deferred = matches!(peer, Peer::Tcp(_)) && plan.general.tcp.defer_accept > 0;
        Ok(Login {
            plan,
            security: hub.security(),
            stream: if deferred { Stream::with_bytes(socket)? } else { Stream::new(socket)? },
            secured: None,
            input: heard.clone(),
            pending: Vec::new(),
            id,
            came_from: peer.clone(),
            peer,
            peer_uid,
            local,
            since: at,
            terms,
            database: "(nodb)".into(),
            user: "(nouser)".into(),
            stage: Awaits::Client,
            wishes: None,
            heard: Arc::new(Mutex::new((terms == Terms::Anybody).then_some(heard))),
            guard,
            hub,
        })
    }

    /// The login in the order of reference 3.3. Not cancel safe, but nothing is left behind but the guard's counts.
    async fn run(&mut self) -> Result<Entered, End> {
        self.proxy_header().await?;
        let wanted = self.startup().await?;
        self.wishes = wanted.wishes.clone();
        let goal = self.goal(&wanted)?;
        let by = match self.way(&goal).map_err(End::Refused)? {
            Way::User(by) => by,
            Way::Bearer(bearer) => {
                let counted = self.identify(bearer).await?;
                self.become_role(&counted.proved.role).map_err(End::Refused)?;
                return self.enter(goal, wanted.params, Shown::Identity(counted)).await;
            }
            Way::Witness(witness) => {
                // Boxed, so that logins without it stay small.
                let known = Box::pin(self.vouched(witness)).await?;
                return self.enter(goal, wanted.params, Shown::Secret(Some(known), None)).await;
            }
        };
        let known = self.look_up(&goal).await?;
        let keys = self.prove(by, known.as_ref()).await?;
        self.enter(goal, wanted.params, Shown::Secret(known, keys)).await
    }

    /// Which replication it wants, if any.
    fn replication(&self) -> Option<Kind> {
        self.wishes.as_ref().map(|wishes| wishes.kind)
    }

    fn log_prefix(&self) -> String {
        entry::log_prefix(self.id, &self.database, &self.user, &self.peer)
    }

    fn age(&self) -> Duration {
        self.hub.now().since(self.since)
    }

    /// Reads once; the peer's end is the end of the login.
    async fn fill(&mut self) -> Result<(), End> {
        let Login { stream, input, heard, .. } = self;
        let read = std::future::poll_fn(|cx| {
            Scratch::lend(|scratch| {
                let read = stream.poll_read(cx, &mut scratch.input[..READ_BYTES]);
                read.map_ok(|n| {
                    input.extend_from_slice(&scratch.input[..n]);
                    if let Some(heard) = &mut *heard.lock() {
                        heard.extend_from_slice(&scratch.input[..n]);
                    }
                    n
                })
            })
        });
        match read.await {
            Ok(0) | Err(_) => Err(End::Left(Cause::ClientEof)),
            Ok(_) => Ok(()),
        }
    }

    /// Sends what is pending.
    async fn flush(&mut self) -> Result<(), End> {
        let bytes = std::mem::take(&mut self.pending);
        if !bytes.is_empty() {
            *self.heard.lock() = None;
        }
        self.stream.write_all(&bytes).await.map_err(|_| End::Left(Cause::ClientEof))
    }

    /// Everything goes to another process: a client that has been told nothing begins again there, any other is told to
    /// come again.
    async fn give_way(self) -> Option<Relay> {
        let heard = self.heard.lock().take();
        let heard = heard.filter(|_| self.hub.stillness.stage() != Stage::Given);
        let Some(heard) = heard else {
            Box::pin(self.refuse(Cause::Restarting)).await;
            return None;
        };
        // What it has said begins with the balancer's header, if there was one.
        let Login { hub, stream, id, came_from: peer, peer_uid, local, since, terms, guard, .. } = self;
        drop(guard);
        if let Some(socket) = stream.into_socket() {
            let arrival = Arrival { socket, id, peer, peer_uid, local, at: since, terms };
            let fresh = Fresh { arrival, heard };
            if let Err(fresh) = hub.stillness.put(fresh, |resting, fresh| resting.fresh.push(fresh)) {
                // Everything moves again, or is gone: it is let in here, or told so.
                listener::log_in(&hub, fresh);
            }
        }
        None
    }

    /// Logs, tells the client and closes. The client is counted out before it can see that it is refused.
    async fn refuse(self, cause: Cause) {
        let message = report::fatal_to(&self.plan, &self.log_prefix(), self.age(), &cause);
        let Login { mut stream, mut pending, guard, .. } = self;
        drop(guard);
        pending.extend_from_slice(&message);
        // A client that does not even take a few bytes has gone or never will.
        let _ = tokio::time::timeout(FAREWELL, stream.write_all(&pending)).await;
        linger::closed(stream).await;
    }

    fn into_relay(self, entry: Arc<ClientEntry>, pool: Arc<PoolEntry>, session: Session) -> Relay {
        let Login { hub, stream, mut input, guard, .. } = self;
        input.shrink_to_fit();
        Relay::new(hub, stream, input, entry, pool, session, guard)
    }

    fn into_console(self, entry: Arc<ClientEntry>, level: Level) {
        let Login { hub, stream, input, guard, .. } = self;
        let welcomed = Welcomed::No;
        let client = ConsoleClient { stream: stream.detach(), entry, level, guard, input, welcomed };
        // Without a control thread the process is at its end, and so is the client.
        let _ = hub.console_door.send(client);
    }
}

/// A login, counted as long as it is under way.
struct Counted(Arc<Hub>);

impl Counted {
    fn new(hub: &Arc<Hub>) -> Counted {
        hub.stillness.add(Count::Logins);
        Counted(hub.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.stillness.remove(Count::Logins);
    }
}

/// Waits until the login has to give way: at once when everything stands still and it may begin again elsewhere, else when
/// everything has been given away.
async fn is_in_the_way(hub: &Hub, heard: &Heard) {
    let mut stage = hub.stillness.watch();
    let is_due = |stage: &Stage| match stage {
        Stage::Running | Stage::Closed => false,
        Stage::Still => heard.lock().is_some(),
        Stage::Given => true,
    };
    // Without anybody who could change the stage there is nobody to give way to.
    if stage.wait_for(is_due).await.is_err() {
        std::future::pending().await
    }
}
