//! The thread that keeps secrets: it owns all leases, starts what they ask for, and answers.

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use plimsoll_types::{Cause, Moment, Secret};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::{Id, JoinSet};

use crate::fetch::{self, Environment, Failure};
use crate::lease::{Action, Fetched, JITTER_MAX, Lease, Look};
use crate::source::{Login, Source};

/// Most providers that are asked at once: each can be a process.
const FETCHES_MAX: usize = 16;
/// Most secrets that are kept. There are as many as pools; beyond this something is wrong.
const LEASES_MAX: usize = 10_000;

/// Threads for what blocks: reading files, resolving names.
const BLOCKING_THREADS_MAX: usize = 16;

/// What somebody wants to log in with.
#[derive(Clone, Debug)]
pub struct Want {
    /// Who gives it.
    pub source: Source,
    /// For which login.
    pub login: Login,
    /// The epoch of a secret that the server has just refused.
    pub refused: Option<u64>,
}

/// What to log in with.
#[derive(Clone, Debug)]
pub struct Given {
    /// The password or token.
    pub secret: Secret,
    /// Counts the different secrets of this source and login, from 1.
    pub epoch: u64,
    /// How long it is good for from now on; `None`: nobody knows of an end.
    pub life: Option<Duration>,
}

/// Gives secrets to whoever logs in.
#[derive(Debug)]
pub struct Providers {
    environment: Environment,
    /// Opens with the first question: most poolers have none.
    door: OnceLock<mpsc::UnboundedSender<Ask>>,
}

#[derive(Debug)]
struct Ask {
    want: Want,
    reply: Reply,
}

type Reply = oneshot::Sender<Result<Given, Cause>>;

impl Providers {
    /// Nothing runs before somebody asks.
    pub fn new(environment: Environment) -> Providers {
        Providers { environment, door: OnceLock::new() }
    }

    /// The secret for a login. Ends by itself: each provider has its time. Cancel safe: a fetch under way goes on for
    /// whoever asks next.
    ///
    /// # Errors
    /// Why there is none.
    pub fn secret(&self, want: Want) -> impl Future<Output = Result<Given, Cause>> + Send + use<> {
        let provider = want.source.to_string();
        let (reply, answer) = oneshot::channel();
        let sent = self.door.get_or_init(|| open(self.environment.clone())).send(Ask { want, reply });
        async move {
            let gone =
                || Failure("there is no thread that asks it: see the log".to_string()).cause(&provider);
            if sent.is_err() {
                return Err(gone());
            }
            answer.await.map_err(|_closed| gone())?
        }
    }
}

/// Starts the thread. Without it the door is one behind which there is nobody.
fn open(environment: Environment) -> mpsc::UnboundedSender<Ask> {
    let (door, inbox) = mpsc::unbounded_channel();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(BLOCKING_THREADS_MAX)
        .build();
    let started = runtime.and_then(|runtime| {
        let keeper = Keeper::new(environment);
        let work = move || runtime.block_on(keeper.run(inbox));
        std::thread::Builder::new().name("credentials".to_string()).spawn(work)
    });
    if let Err(error) = started {
        tracing::error!("cannot start the thread that asks for credentials: {error}");
    }
    door
}

/// What a lease is for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    source: Source,
    login: Login,
}

struct Keeper {
    start: Instant,
    environment: Environment,
    leases: HashMap<Arc<Key>, Lease<Reply>>,
    fetches: JoinSet<Result<Fetched, Failure>>,
    /// Whose they are.
    fetching: HashMap<Id, Arc<Key>>,
    places: Arc<Semaphore>,
}

impl Keeper {
    fn new(environment: Environment) -> Keeper {
        Keeper {
            start: Instant::now(),
            environment,
            leases: HashMap::new(),
            fetches: JoinSet::new(),
            fetching: HashMap::new(),
            places: Arc::new(Semaphore::new(FETCHES_MAX)),
        }
    }

    async fn run(mut self, mut inbox: mpsc::UnboundedReceiver<Ask>) {
        loop {
            let due = self.next_due();
            tokio::select! {
                ask = inbox.recv() => match ask {
                    Some(ask) => self.ask(ask),
                    None => return,
                },
                Some(done) = self.fetches.join_next_with_id() => match done {
                    Ok((id, answer)) => self.fetched(id, answer),
                    Err(broken) => {
                        let why = "the task that asked it broke down".to_string();
                        self.fetched(broken.id(), Err(Failure(why)));
                    }
                },
                () = sleep_until(due) => self.tick(),
            }
        }
    }

    fn now(&self) -> Moment {
        Moment(0) + self.start.elapsed()
    }

    fn next_due(&self) -> Option<Instant> {
        let now = self.now();
        let due = self.leases.values().filter_map(|lease| lease.poll_timeout(now)).min()?;
        self.start.checked_add(due.since(Moment(0)))
    }

    fn ask(&mut self, ask: Ask) {
        let Ask { want: Want { source, login, refused }, reply } = ask;
        let now = self.now();
        let look = match &source {
            Source::File { .. } => Look::Always,
            Source::Command { .. }
            | Source::AwsRdsIam(_)
            | Source::AzureEntra(_)
            | Source::GoogleMetadata(_) => Look::Cached,
        };
        let key = Arc::new(Key { source, login });
        if self.leases.len() >= LEASES_MAX && !self.leases.contains_key(&key) {
            let why = format!("secrets for {LEASES_MAX} logins are kept already");
            // Whoever has left needs no answer.
            let _ = reply.send(Err(Failure(why).cause(&key.source.to_string())));
            return;
        }
        let lease = self.leases.entry(key.clone()).or_insert_with(|| Lease::new(now));
        if let Some(epoch) = refused {
            lease.handle_refused(epoch);
        }
        lease.handle_ask(reply, look, now);
        self.act(&key);
    }

    fn fetched(&mut self, id: Id, answer: Result<Fetched, Failure>) {
        let Some(key) = self.fetching.remove(&id) else { return };
        let now = self.now();
        let Some(lease) = self.leases.get_mut(&key) else { return };
        let before = lease.good(now).map(|held| held.epoch);
        if let Err(Failure(why)) = &answer {
            let goes_on = before.map_or("", |_| "; the secret that is known goes on");
            tracing::warn!("no credential from {} for {}: {why}{goes_on}", key.source, key.login);
        }
        let answer = answer.map_err(|failure| failure.cause(&key.source.to_string()));
        lease.handle_fetched(answer, jitter(), now);
        if let Some(held) = lease.good(now).filter(|held| Some(held.epoch) != before) {
            let life =
                held.ends.map_or(String::new(), |at| format!(", good for {} s", at.since(now).as_secs()));
            tracing::info!("credential {} from {} for {}{life}", held.epoch, key.source, key.login);
        }
        self.act(&key);
    }

    fn tick(&mut self) {
        let now = self.now();
        self.leases.retain(|_, lease| !lease.is_forgotten(now));
        for key in self.leases.keys().cloned().collect::<Vec<_>>() {
            if let Some(lease) = self.leases.get_mut(&key) {
                lease.handle_timeout(now);
            }
            self.act(&key);
        }
    }

    /// Carries out what a lease has decided. Whoever has left needs no answer.
    fn act(&mut self, key: &Arc<Key>) {
        let now = self.now();
        while let Some(action) = self.leases.get_mut(key).and_then(Lease::poll_action) {
            match action {
                Action::Fetch => {
                    let (environment, places, whose) =
                        (self.environment.clone(), self.places.clone(), key.clone());
                    let task = self.fetches.spawn(async move {
                        // Closed by nobody.
                        let _place = places.acquire().await;
                        fetch::fetch(&whose.source, &whose.login, &environment).await
                    });
                    self.fetching.insert(task.id(), key.clone());
                }
                Action::Give(reply, held) => {
                    let life = held.ends.map(|ends| ends.since(now));
                    let _ = reply.send(Ok(Given { secret: held.secret, epoch: held.epoch, life }));
                }
                Action::Refuse(reply, cause) => {
                    let _ = reply.send(Err(cause));
                }
            }
        }
    }
}

async fn sleep_until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due.into()).await,
        None => std::future::pending().await,
    }
}

/// Without chance there is no spread, and that is all that is lost.
fn jitter() -> u16 {
    let mut bytes = [0; 2];
    let _ = getrandom::fill(&mut bytes);
    u16::from_le_bytes(bytes) % (JITTER_MAX + 1)
}

#[cfg(test)]
mod tests;
