//! The black box: a snapshot of all holds every so often, and one at each moment that somebody will ask about.
//!
//! Two threads of its own: one decides and takes the snapshots, the other one touches the disk and may be stuck there.
//! Nobody else waits for either, but the end of the process, for a second at most. A disk that fails is told of once,
//! and once more when it works again.

mod files;
mod folder;
mod name;
#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex, MutexGuard};
use plimsoll_config::{Compat, Plan, SnapshotDir};
use plimsoll_ledger::snapshot::{Reason, Snapshot, Wall};
use plimsoll_proxy::ReadyThread;
use tokio::sync::oneshot;

use files::{Done, Files, Job, Outcome, Place, Put, Room};
use folder::{Folder, Kept, Missing};
use name::{Group, Key, Name};

/// Where snapshots are by default, if the system gives us no folder.
const DEFAULT_FOLDER: &str = "/var/lib/plimsoll";

/// How soon a disk that fails is tried again; twice as long after each further failure, up to [`RETRY_MAX`], and never
/// longer than the interval.
const RETRY: Duration = Duration::from_secs(5);

/// See [`RETRY`].
const RETRY_MAX: Duration = Duration::from_secs(60);

/// How often it is looked whether a disk answers after all.
const LOOK: Duration = Duration::from_secs(1);

/// Most requests for a kept snapshot that wait for the disk.
const READS_MAX: usize = 16;

/// How long a panic waits for the lock; the one who panics may have it.
const PANIC_LOCK_MAX: Duration = Duration::from_millis(50);

/// Takes a snapshot.
pub type Source = dyn Fn(Reason) -> Snapshot + Send;

/// What `[plimsoll] snapshot_*` come to.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Settings {
    /// `Err`: nowhere, and why.
    place: Result<Place, String>,
    interval: Duration,
    keep: usize,
    compat: Compat,
}

/// A kept snapshot, as the console shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct KeptView {
    pub(crate) name: String,
    pub(crate) taken: Wall,
    pub(crate) reason: Reason,
    pub(crate) bytes: u64,
    pub(crate) run: Run,
}

/// Which process has taken a kept snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Run {
    /// This one.
    This,
    /// An earlier one, or another one that listens at the same place and has the same name for them.
    Other,
}

impl Run {
    /// The word for it.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Run::This => "this",
            Run::Other => "other",
        }
    }
}

/// What a process is told by those who have started it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Surroundings<'a> {
    /// The value of systemd's `STATE_DIRECTORY`: folders, separated by colons.
    pub state_directory: Option<&'a str>,
    /// The file that the plan was read from.
    pub config: Option<&'a Path>,
}

/// What is known of the folder.
#[derive(Debug)]
enum Shelf {
    /// Nothing is kept, and why.
    Off(String),
    /// What is there.
    Open(Vec<Kept>),
}

/// Whether the last one is to be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    NotYet,
    Noted,
}

/// A request for a kept one.
struct Reading {
    name: Name,
    answer: files::Answer,
}

struct State {
    /// New ones, not in force yet.
    settings: Option<Settings>,
    /// Why snapshots are to be taken.
    wanted: BTreeSet<Reason>,
    /// The one that is being taken and kept.
    at_work: Option<Reason>,
    reads: Vec<Reading>,
    shelf: Shelf,
    /// Names of those on the shelf that this process has put there.
    own: HashSet<String>,
    key: Option<Key>,
    end: End,
}

struct Shared {
    state: Mutex<State>,
    /// Rings when there is something to do.
    todo: Condvar,
    /// Rings when something has been done.
    done: Condvar,
    state_directory: Option<PathBuf>,
    config: Option<PathBuf>,
}

/// See the module. Cheap to clone.
#[derive(Clone)]
pub struct BlackBox(Arc<Shared>);

impl BlackBox {
    /// One that does nothing before [`BlackBox::start`].
    pub fn new(plan: &Plan, surroundings: Surroundings<'_>) -> BlackBox {
        let Surroundings { state_directory, config } = surroundings;
        let first = state_directory.and_then(|all| all.split(':').find(|path| path.starts_with('/')));
        let state_directory = first.map(PathBuf::from);
        let settings = settings(plan, state_directory.as_deref(), config);
        let shelf = Shelf::Off("the pooler is just starting".to_string());
        let state = State {
            settings: Some(settings),
            wanted: BTreeSet::new(),
            at_work: None,
            reads: Vec::new(),
            shelf,
            own: HashSet::new(),
            key: None,
            end: End::NotYet,
        };
        let (todo, done) = (Condvar::new(), Condvar::new());
        let (state, config) = (Mutex::new(state), config.map(Path::to_path_buf));
        BlackBox(Arc::new(Shared { state, todo, done, state_directory, config }))
    }

    /// Starts.
    ///
    /// # Errors
    /// The system gives no threads.
    pub fn start(&self, source: Box<Source>) -> std::io::Result<()> {
        self.prepare(source).map(ReadyBox::begin)
    }

    /// Makes the threads; nothing is taken, and no folder touched, before [`ReadyBox::begin`].
    ///
    /// # Errors
    /// The system gives none.
    pub fn prepare(&self, source: Box<Source>) -> std::io::Result<ReadyBox> {
        let files = Files::start()?;
        let keeper = Keeper::new(self.0.clone(), source, files);
        Ok(ReadyBox { thread: ReadyThread::new("snapshots")?, keeper })
    }

    /// Follows a plan that came into force.
    pub fn follow(&self, plan: &Plan) {
        let settings = settings(plan, self.0.state_directory.as_deref(), self.0.config.as_deref());
        self.0.state.lock().settings = Some(settings);
        self.0.todo.notify_one();
    }

    /// A client has waited in vain. Returns at once.
    pub fn note_vain_wait(&self) {
        self.want(&mut self.0.state.lock(), Reason::QueueTimeout);
    }

    /// A thread panics; to be called from the panic hook.
    pub fn note_panic(&self) {
        // Whoever panics while it has the lock is one of ours, and there is nothing it could still do.
        if let Some(mut state) = self.0.state.try_lock_for(PANIC_LOCK_MAX) {
            self.want(&mut state, Reason::Panic);
        }
    }

    /// The process is told to end. Only the first time counts.
    pub fn note_end(&self) {
        let mut state = self.0.state.lock();
        if state.end == End::NotYet {
            state.end = End::Noted;
            self.want(&mut state, Reason::Shutdown);
        }
    }

    fn want(&self, state: &mut MutexGuard<'_, State>, why: Reason) {
        if state.wanted.insert(why) {
            self.0.todo.notify_one();
        }
    }

    /// Waits until everything that was wanted so far has been kept, or cannot be, but not longer than `max`.
    pub fn settle(&self, max: Duration) {
        let deadline = Instant::now() + max;
        let mut state = self.0.state.lock();
        while !state.wanted.is_empty() || state.at_work.is_some() {
            if self.0.done.wait_until(&mut state, deadline).timed_out() {
                return;
            }
        }
    }

    /// What is kept, the newest first; or why nothing is.
    pub(crate) fn kept(&self) -> Result<Vec<KeptView>, String> {
        let state = self.0.state.lock();
        match &state.shelf {
            Shelf::Off(why) => Err(why.clone()),
            Shelf::Open(kept) => Ok(kept.iter().rev().map(|kept| view(kept, &state.own)).collect()),
        }
    }

    /// A kept one; `None` when there is none of this name.
    pub(crate) fn fetch(&self, name: &str) -> Option<oneshot::Receiver<Result<Snapshot, String>>> {
        let mut state = self.0.state.lock();
        let name = Name::parse(state.key.as_ref()?, name)?;
        let (answer, fetched) = oneshot::channel();
        if state.reads.len() < READS_MAX {
            state.reads.push(Reading { name, answer });
            self.0.todo.notify_one();
        } else {
            // The other end is still here.
            let _ = answer.send(Err("too many others are being read".to_string()));
        }
        Some(fetched)
    }
}

/// A black box that has its threads.
#[must_use = "it keeps nothing before it begins"]
pub struct ReadyBox {
    thread: ReadyThread,
    keeper: Keeper,
}

impl ReadyBox {
    /// Begins.
    pub fn begin(self) {
        self.thread.begin(move || self.keeper.run());
    }
}

fn view(kept: &Kept, own: &HashSet<String>) -> KeptView {
    let Kept { name, bytes } = kept;
    let run = if own.contains(&name.text) { Run::This } else { Run::Other };
    KeptView { name: name.text.clone(), taken: name.taken, reason: name.reason, bytes: *bytes, run }
}

fn settings(plan: &Plan, state_directory: Option<&Path>, config: Option<&Path>) -> Settings {
    let own = &plan.own;
    let key = Key::of(plan, config);
    let named =
        |folder: &Path| Ok(Place { folder: folder.to_path_buf(), missing: Missing::Make, key: key.clone() });
    let place = match (&own.snapshot_dir, state_directory) {
        (SnapshotDir::Off, _) => Err("snapshot_dir is off".to_string()),
        (SnapshotDir::Folder(folder), _) => named(folder),
        (SnapshotDir::Auto, Some(folder)) => named(folder),
        (SnapshotDir::Auto, None) => by_default(key.clone()),
    };
    Settings {
        place,
        interval: own.snapshot_interval(),
        keep: usize::try_from(own.snapshot_keep()).unwrap_or(usize::MAX),
        compat: own.compat,
    }
}

/// The default folder, where it is there and ours.
fn by_default(key: Key) -> Result<Place, String> {
    let folder = Path::new(DEFAULT_FOLDER);
    let opened = Folder::open(folder, Missing::Leave).map_err(|trouble| trouble.to_string())?;
    if !opened.is_writable() {
        return Err(format!("{DEFAULT_FOLDER} cannot be written to"));
    }
    Ok(Place { folder: folder.to_path_buf(), missing: Missing::Leave, key })
}

/// What there is to do.
struct Turn {
    settings: Option<Settings>,
    wanted: Option<Reason>,
    reads: Vec<Reading>,
}

/// The thread that decides.
struct Keeper {
    shared: Arc<Shared>,
    source: Box<Source>,
    files: Files,
    settings: Settings,
    /// When the time makes the next one.
    due: Option<Instant>,
    /// From when on one is taken again for a reason that may come often.
    again: HashMap<Reason, Instant>,
    /// Why nothing can be kept; the log has been told.
    trouble: Option<String>,
    /// How long the next try is put off.
    retry: Duration,
    squeeze: Squeeze,
}

/// Whether older ones have to go early, as the disk is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Squeeze {
    No,
    /// The log has been told.
    Told,
}

impl Keeper {
    /// One that knows no settings yet.
    fn new(shared: Arc<Shared>, source: Box<Source>, files: Files) -> Keeper {
        let place = Err(String::new());
        let settings = Settings { place, interval: Duration::MAX, keep: 0, compat: Compat::default() };
        Keeper {
            shared,
            source,
            files,
            settings,
            due: None,
            again: HashMap::new(),
            trouble: None,
            retry: RETRY,
            squeeze: Squeeze::No,
        }
    }

    fn run(mut self) {
        loop {
            let Turn { settings, wanted, reads } = self.next_turn();
            if let Some(settings) = settings {
                self.renew(settings);
            }
            for Reading { name, answer } in reads {
                match &self.settings.place {
                    Ok(place) => self.files.read(place.clone(), name, answer),
                    // Whoever asked may have gone.
                    Err(why) => drop(answer.send(Err(why.clone()))),
                }
            }
            if let Some(outcome) = self.files.late_outcome() {
                self.hear(outcome);
            }
            if let Some(why) = wanted {
                self.take_if_new(why);
                self.shared.state.lock().at_work = None;
                self.shared.done.notify_all();
            }
            if self.due.is_some_and(|due| due <= Instant::now()) {
                self.take(Reason::Interval);
            }
        }
    }

    /// Waits for something to do.
    fn next_turn(&mut self) -> Turn {
        let shared = self.shared.clone();
        let mut state = shared.state.lock();
        loop {
            let wanted = state.wanted.pop_last();
            state.at_work = wanted;
            let turn =
                Turn { settings: state.settings.take(), wanted, reads: std::mem::take(&mut state.reads) };
            let is_due = self.due.is_some_and(|due| due <= Instant::now());
            if turn.settings.is_some() || wanted.is_some() || !turn.reads.is_empty() || is_due {
                return turn;
            }
            let look = self.files.is_busy().then(|| Instant::now() + LOOK);
            match [self.due, look].into_iter().flatten().min() {
                None => shared.todo.wait(&mut state),
                Some(until) => {
                    let timed_out = shared.todo.wait_until(&mut state, until).timed_out();
                    if timed_out && self.files.is_busy() {
                        return turn;
                    }
                }
            }
        }
    }

    fn renew(&mut self, settings: Settings) {
        if settings == self.settings {
            return;
        }
        let moved = settings.place != self.settings.place;
        self.settings = settings;
        self.again.clear();
        match self.settings.place.clone() {
            Err(why) => {
                self.tell(&format!("none are kept: {why}"));
                (self.due, self.trouble) = (None, None);
                let mut state = self.shared.state.lock();
                state.key = None;
                state.shelf = Shelf::Off(why);
            }
            Ok(place) => {
                self.due = Instant::now().checked_add(self.settings.interval);
                self.shared.state.lock().key = Some(place.key.clone());
                if moved {
                    self.look(place.clone());
                }
                // In trouble the log has been told that, and nothing else is true.
                if self.trouble.is_none() {
                    let Settings { interval, keep, .. } = &self.settings;
                    let (folder, every) =
                        (place.folder.display(), plimsoll_ledger::snapshot::span(micros(*interval)));
                    self.tell(&format!("one every {every}, the last {keep} are kept in {folder}"));
                }
            }
        }
    }

    /// Looks what is at a new place.
    fn look(&mut self, place: Place) {
        (self.trouble, self.squeeze) = (None, Squeeze::No);
        // The old disk may never answer; what waits for it is left to it.
        if self.files.is_busy()
            && let Ok(files) = Files::start()
        {
            self.files = files;
        }
        let outcome = self.files.work(Job::Look(place));
        self.hear(outcome);
    }

    /// What PgBouncer would not say is not said in its shape.
    fn tell(&self, what: &str) {
        match self.settings.compat {
            Compat::Plimsoll => tracing::info!("snapshots: {what} (snapshot_dir)"),
            Compat::Pgbouncer => tracing::debug!("snapshots: {what} (snapshot_dir)"),
        }
    }

    /// Takes one, unless there has just been one for the same reason: what comes in storms is one episode. One that could
    /// not be kept does not count, but for the time after which a disk that fails is tried again.
    fn take_if_new(&mut self, why: Reason) {
        match why {
            Reason::QueueTimeout | Reason::Panic => {
                if self.again.get(&why).is_some_and(|at| Instant::now() < *at) {
                    return;
                }
                let rest = self.take(why);
                if let Some(at) = rest.and_then(|rest| Instant::now().checked_add(rest)) {
                    self.again.insert(why, at);
                }
            }
            Reason::Asked | Reason::Interval | Reason::Shutdown => {
                self.take(why);
            }
        }
    }

    /// Takes one. For how long no other is needed for the same reason; `None`: none was wanted.
    fn take(&mut self, why: Reason) -> Option<Duration> {
        let place = self.settings.place.clone().ok()?;
        if why == Reason::Interval {
            self.due = Instant::now().checked_add(self.settings.interval);
        }
        if self.files.is_busy() {
            return Some(LOOK);
        }
        // A thread that has panicked would keep nothing any more, and this one is asked when others panic.
        let taken = catch_unwind(AssertUnwindSafe(|| (self.source)(why)));
        let outcome = match taken {
            Err(_) => Err("taking one has broken down".to_string()),
            Ok(snapshot) => {
                let name = Name::new(&place.key, snapshot.head.taken, why);
                let (instance, text) = (snapshot.head.instance.clone(), snapshot.text());
                drop(snapshot);
                self.shared.state.lock().own.insert(name.text.clone());
                let put = Put { place, name, instance, text, keep: self.settings.keep };
                self.files.work(Job::Put(Box::new(put)))
            }
        };
        Some(self.hear(outcome))
    }

    /// What came of the last work. For how long there need not be more of its kind.
    fn hear(&mut self, outcome: Outcome) -> Duration {
        match outcome {
            Ok(Done { kept, room }) => {
                if self.trouble.take().is_some() {
                    tracing::info!("snapshots: they can be kept again");
                }
                self.retry = RETRY;
                self.tell_of_room(&kept, room);
                let mut state = self.shared.state.lock();
                let names: HashSet<&str> = kept.iter().map(|kept| kept.name.text.as_str()).collect();
                state.own.retain(|name| names.contains(name.as_str()));
                state.shelf = Shelf::Open(kept);
                self.settings.interval
            }
            Err(why) => {
                if self.trouble.is_none() {
                    tracing::warn!("snapshots: none can be kept: {why} (snapshot_dir)");
                }
                let rest = self.retry.min(self.settings.interval);
                let retry = Instant::now() + rest;
                self.retry = (self.retry * 2).min(RETRY_MAX);
                self.due = Some(self.due.map_or(retry, |due| due.min(retry)));
                let mut state = self.shared.state.lock();
                if let Shelf::Off(known) = &mut state.shelf {
                    known.clone_from(&why);
                }
                self.trouble = Some(why);
                rest
            }
        }
    }

    /// That history goes early is said once, and once more only after there has been room for all of it.
    fn tell_of_room(&mut self, kept: &[Kept], room: Room) {
        match (room, self.squeeze) {
            (Room::Made(count), Squeeze::No) => {
                let them = if count == 1 { "the oldest one" } else { "the oldest ones" };
                tracing::warn!(
                    "snapshots: the disk is full: {them} had to go early for a new one (snapshot_dir)"
                );
                self.squeeze = Squeeze::Told;
            }
            (Room::Made(_), Squeeze::Told) => {}
            (Room::Enough, _) => {
                let periodic = kept.iter().filter(|kept| kept.name.group() == Group::Periodic).count();
                if periodic >= self.settings.keep {
                    self.squeeze = Squeeze::No;
                }
            }
        }
    }
}

fn micros(time: Duration) -> i64 {
    i64::try_from(time.as_micros()).unwrap_or(i64::MAX)
}
