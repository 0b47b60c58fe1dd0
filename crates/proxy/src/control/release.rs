//! By hand: taking server connections back, and temporary caps.

use std::sync::Arc;
use std::time::{Duration, Instant};

use plimsoll_ledger::What;
use plimsoll_pool::{CapOf, CapView};
use plimsoll_types::{HoldId, Moment};

use super::{CONSOLE, Control};
use crate::console::ControlError;
use crate::entry::ClientEntry;
use crate::gate;
use crate::hub::Hub;
use crate::ledger::{application_of, clients_by_id, open_holds};
use crate::order::{Done, Force, Order, Want};
use crate::views::{DeedView, age, escaped, host_of};

/// How long the console waits for what comes of an order.
const PATIENCE: Duration = Duration::from_secs(3);

/// What is to be released, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReleaseAsk {
    /// Which hold.
    pub hold: u64,
    /// Only if it has not been used for so long.
    pub idle_min: Duration,
    /// What becomes of its client.
    pub client: ReleaseClient,
    /// Whether a statement is cut off that the server works at.
    pub executing: ReleaseExecuting,
}

/// What becomes of the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReleaseClient {
    /// It stays.
    Stays,
    /// It is closed.
    Closes,
}

/// What becomes of a statement that the server works at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReleaseExecuting {
    /// It goes on, and nothing is released.
    GoesOn,
    /// It is cancelled.
    Ends,
}

/// An order that has been given.
#[derive(Clone, Debug)]
pub struct Released {
    done: Arc<Done>,
    until: Instant,
}

impl PartialEq for Released {
    fn eq(&self, other: &Released) -> bool {
        Arc::ptr_eq(&self.done, &other.done)
    }
}

impl Eq for Released {}

impl Released {
    /// Whether it is known what has come of it, or is not waited for any longer.
    pub(crate) fn is_known(&self) -> bool {
        // A statement that is cancelled is still to end.
        self.done.get().is_some_and(|what| what != What::Cancelled) || Instant::now() >= self.until
    }

    /// What has come of it, in words.
    pub fn text(&self) -> &'static str {
        self.done.get().map_or("nothing yet: its worker has not answered; see SHOW ACTIONS", What::as_str)
    }
}

impl Control {
    /// `RELEASE HOLD n`: has a client give up what it holds. The caller waits for
    /// [`Until::Released`](crate::Until::Released).
    ///
    /// # Errors
    /// There is no such hold.
    pub fn release(&self, ask: ReleaseAsk, by: &str) -> Result<Released, ControlError> {
        let (hub, now) = (&self.hub, self.hub.now());
        let holds = open_holds(hub);
        let meant = |hold: HoldId| hold == HoldId(ask.hold);
        let found = holds.iter().find(|(hold, _)| meant(hold.opening.hold));
        let (hold, _) = found.ok_or(ControlError::NoSuchHold(ask.hold))?;
        let clients = clients_by_id(hub);
        let client = clients.get(&hold.opening.client).ok_or(ControlError::NoSuchHold(ask.hold))?;
        let held = age(now.since(hold.opening.granted));
        let done = Arc::<Done>::default();
        let order = Order {
            hold: hold.opening.hold,
            unused_since: (!ask.idle_min.is_zero()).then(|| before(now, ask.idle_min)),
            want: match ask.client {
                ReleaseClient::Stays => Want::Take,
                ReleaseClient::Closes => Want::Close,
            },
            force: match ask.executing {
                ReleaseExecuting::GoesOn => Force::No,
                ReleaseExecuting::Ends => Force::Yes,
            },
            by: by.into(),
            why: format!("{by}: held for {held}").into(),
            done: done.clone(),
        };
        client.post(|mail| mail.order = Some(Box::new(order)));
        Ok(Released { done, until: Instant::now() + PATIENCE })
    }

    /// `SHOW ACTIONS`: what policies and administrators have done about holds, the newest first.
    pub fn actions(&self) -> Vec<DeedView> {
        let (hub, now) = (&self.hub, self.hub.now());
        let deeds: Vec<_> = hub.ledger.book.lock().deeds().cloned().collect();
        let view = |deed: plimsoll_ledger::Deed| DeedView {
            ago: now.since(deed.at),
            hold: deed.hold.0,
            client: deed.who.ptr,
            user: deed.who.user,
            database: deed.who.database,
            application: escaped(&deed.who.application),
            host: deed.who.host,
            site: deed.site.0,
            state: deed.state.as_str(),
            unused: Duration::from_micros(deed.unused_us),
            by: escaped(&deed.by),
            what: deed.what.as_str(),
        };
        deeds.into_iter().map(view).collect()
    }

    /// How often what has come of what was done about holds, by a word for it.
    pub fn action_counts(&self) -> Vec<(&'static str, u64)> {
        let book = self.hub.ledger.book.lock();
        What::ALL.into_iter().map(|what| (what.word(), book.deed_count(what))).collect()
    }

    /// `CAP …`: at most so many server connections at once for an application or a host.
    pub fn set_cap(&self, of: CapOf, max: u32, lasting: Option<Duration>, by: &str) {
        let hub = &self.hub;
        let until = lasting.map(|lasting| hub.now() + lasting);
        let lasts =
            lasting.map_or_else(|| "until the process ends".to_string(), |it| format!("for {}", age(it)));
        tracing::warn!("{by}: {} is capped at {max} server connections {lasts}", gate::whose(&of));
        hub.gate.set(of.clone(), max, until, by, || holders(hub, &of));
    }

    /// `CAP … OFF`. False: there is no such cap.
    pub fn remove_cap(&self, of: &CapOf, by: &str) -> bool {
        let is_known = self.hub.gate.remove(of);
        if is_known {
            tracing::warn!("{by}: {} is not capped any more", gate::whose(of));
        }
        is_known
    }

    /// All caps, and how long each of them lasts.
    pub fn caps(&self) -> Vec<(CapView, Option<Duration>)> {
        let now = self.hub.now();
        let views = self.hub.gate.views().into_iter();
        views
            .map(|view| (view.until.map(|until| until.since(now)), view))
            .map(|(left, view)| (view, left))
            .collect()
    }
}

fn before(now: Moment, time: Duration) -> Moment {
    let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
    Moment(now.0.saturating_sub(micros))
}

/// Clients that have a connection, or are about to take one, and that a cap is for.
pub(crate) fn holders(hub: &Hub, of: &CapOf) -> Vec<Arc<ClientEntry>> {
    let clients: Vec<_> = hub.clients.lock().values().cloned().collect();
    let is_meant = |client: &Arc<ClientEntry>| {
        client.standing.has()
            && &*client.database != CONSOLE
            && of.covers(&application_of(hub, client), &host_of(&client.peer), client.grant_id())
    };
    clients.into_iter().filter(is_meant).collect()
}
