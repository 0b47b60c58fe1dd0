//! The thread that touches the disk. Whoever gives it work waits for a while and no longer: a disk may never answer.

use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, TryRecvError, channel};
use std::thread;
use std::time::{Duration, Instant};

use plimsoll_ledger::snapshot::{Snapshot, read};
use tokio::sync::oneshot;

use super::folder::{Folder, Kept, Missing, Trouble, for_room, surplus};
use super::name::{Key, Name};

/// How long the disk may take.
const ANSWER_MAX: Duration = Duration::from_secs(10);

/// Most snapshots that are kept for another reason than the time.
const SPECIAL_MAX: usize = 16;

/// On a full disk so many that the time made are not given up for a new one.
const FULL_DISK_MIN: usize = 4;

/// Where, and whose.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) folder: PathBuf,
    pub(super) missing: Missing,
    pub(super) key: Key,
}

/// Work.
pub(super) enum Job {
    /// Look what is there, and tidy up.
    Look(Place),
    /// Keep one more.
    Put(Box<Put>),
}

/// A snapshot to keep.
pub(super) struct Put {
    pub(super) place: Place,
    pub(super) name: Name,
    pub(super) instance: String,
    pub(super) text: String,
    /// How many are kept that the time made.
    pub(super) keep: usize,
}

/// What a reader gets.
pub(super) type Answer = oneshot::Sender<Result<Snapshot, String>>;

enum Message {
    Work(Job),
    Read { place: Place, name: Name, answer: Answer },
}

/// What is kept now, after some work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Done {
    pub(super) kept: Vec<Kept>,
    pub(super) room: Room,
}

/// Whether there was room for a new one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Room {
    /// There was.
    Enough,
    /// So many older ones had to go.
    Made(usize),
}

/// What came of it: what is kept now, or why not.
pub(super) type Outcome = Result<Done, String>;

/// The thread, as seen by who gives it work: one thing at a time.
pub(super) struct Files {
    messages: Sender<Message>,
    outcomes: Receiver<Outcome>,
    busy_since: Option<Instant>,
}

impl Files {
    /// Starts the thread.
    pub(super) fn start() -> std::io::Result<Files> {
        let (messages, inbox) = channel();
        let (outbox, outcomes) = channel();
        thread::Builder::new().name("snapshot-files".to_string()).spawn(move || serve(&inbox, &outbox))?;
        Ok(Files { messages, outcomes, busy_since: None })
    }

    /// Gives it work, and waits for the outcome.
    pub(super) fn work(&mut self, job: Job) -> Outcome {
        if let Some(since) = self.busy_since {
            return Err(silent(since));
        }
        let began = Instant::now();
        if self.messages.send(Message::Work(job)).is_err() {
            return Err(GONE.to_string());
        }
        match self.outcomes.recv_timeout(ANSWER_MAX) {
            Ok(outcome) => outcome,
            Err(RecvTimeoutError::Timeout) => {
                self.busy_since = Some(began);
                Err(silent(began))
            }
            Err(RecvTimeoutError::Disconnected) => Err(GONE.to_string()),
        }
    }

    /// What came of work that took too long, when it is done.
    pub(super) fn late_outcome(&mut self) -> Option<Outcome> {
        self.busy_since?;
        let outcome = match self.outcomes.try_recv() {
            Err(TryRecvError::Empty) => return None,
            Ok(outcome) => outcome,
            Err(TryRecvError::Disconnected) => Err(GONE.to_string()),
        };
        self.busy_since = None;
        Some(outcome)
    }

    /// Whether the disk owes an answer.
    pub(super) fn is_busy(&self) -> bool {
        self.busy_since.is_some()
    }

    /// Reads one; `answer` hears of it.
    pub(super) fn read(&self, place: Place, name: Name, answer: Answer) {
        if let Some(since) = self.busy_since {
            // Whoever asked may have gone.
            let _ = answer.send(Err(silent(since)));
            return;
        }
        if let Err(refused) = self.messages.send(Message::Read { place, name, answer })
            && let Message::Read { answer, .. } = refused.0
        {
            let _ = answer.send(Err(GONE.to_string()));
        }
    }
}

const GONE: &str = "the thread for files has broken down";

fn silent(since: Instant) -> String {
    format!("the disk has not answered for {} s", since.elapsed().as_secs())
}

fn serve(inbox: &Receiver<Message>, outbox: &Sender<Outcome>) {
    while let Ok(message) = inbox.recv() {
        match message {
            Message::Work(job) => {
                if outbox.send(done(job)).is_err() {
                    return;
                }
            }
            Message::Read { place, name, answer } => {
                let _ = answer.send(fetched(&place, &name));
            }
        }
    }
}

fn done(job: Job) -> Outcome {
    match job {
        Job::Look(place) => {
            let folder = Folder::open(&place.folder, place.missing).map_err(|trouble| trouble.to_string())?;
            folder.sweep(&place.key).map_err(|trouble| trouble.to_string())?;
            let kept = folder.list(&place.key).map_err(|trouble| trouble.to_string())?;
            Ok(Done { kept, room: Room::Enough })
        }
        Job::Put(put) => put_away(&put).map_err(|trouble| trouble.to_string()),
    }
}

fn put_away(put: &Put) -> Result<Done, Trouble> {
    let folder = Folder::open(&put.place.folder, put.place.missing)?;
    let room = match folder.put(&put.name, &put.instance, put.text.as_bytes()) {
        Ok(()) => Room::Enough,
        Err(trouble) if trouble.is_want_of_room() => Room::Made(squeeze_in(&folder, put, trouble)?),
        Err(trouble) => return Err(trouble),
    };
    let kept = folder.list(&put.place.key)?;
    let surplus = surplus(&kept, &put.name, put.keep, SPECIAL_MAX);
    surplus.iter().for_each(|kept| folder.remove(&kept.name.text));
    let kept = if surplus.is_empty() { kept } else { folder.list(&put.place.key)? };
    Ok(Done { kept, room })
}

/// The disk is full: what has just happened is worth more than what was long ago. How many had to go.
fn squeeze_in(folder: &Folder, put: &Put, full: Trouble) -> Result<usize, Trouble> {
    let kept = folder.list(&put.place.key)?;
    let bytes = u64::try_from(put.text.len()).unwrap_or(u64::MAX);
    let given_up = for_room(&kept, &put.name, bytes, FULL_DISK_MIN);
    if given_up.is_empty() {
        return Err(full);
    }
    given_up.iter().for_each(|kept| folder.remove(&kept.name.text));
    folder.put(&put.name, &put.instance, put.text.as_bytes())?;
    Ok(given_up.len())
}

fn fetched(place: &Place, name: &Name) -> Result<Snapshot, String> {
    let folder = Folder::open(&place.folder, Missing::Leave).map_err(|trouble| trouble.to_string())?;
    let bytes = folder.read(name).map_err(|trouble| trouble.to_string())?;
    read(&bytes).map_err(|unreadable| unreadable.to_string())
}
