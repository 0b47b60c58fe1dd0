//! Checks by PAM. A call into PAM cannot be ended: a module may wait for a token, a network or for ever. So each has a
//! thread of its own, there are so many and no more, and a client waits for one for a while only. When all of them are
//! stuck, nobody waits: everybody hears at once why.

mod library;

use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU8, AtomicU32, Ordering};

use plimsoll_types::Cause;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

use crate::gate::{Gate, Place};
use crate::outcome::Outcome;
use crate::{ByPam, Claim, No};
use library::Library;

/// What a thread has been told, and has told.
const RUNNING: u8 = 0;
const STUCK: u8 = 1;
const RETURNED: u8 = 2;

/// Takes questions in.
#[derive(Debug, Default)]
pub(crate) struct Desk {
    gate: Arc<Gate>,
    /// How many threads have been given up by those who asked.
    stuck: Arc<AtomicU32>,
    /// Loaded with the first question: most poolers do without, and some machines have none.
    library: Arc<OnceLock<Result<Library, String>>>,
}

impl Desk {
    /// See [`crate::Vouchers::check`].
    pub(crate) async fn check(&self, by: ByPam, claim: Claim) -> Result<(), No> {
        let until = Instant::now() + by.time_max;
        let (service, threads) = (by.service.clone(), by.at_once_max);
        let no = |cause, why: String| No { cause, log: format!("PAM ({service}): {why}") };
        let unavailable = |why: String| no(Cause::PamUnavailable { why: why.as_str().into() }, why);
        let hanging = self.stuck.load(Ordering::Acquire);
        if hanging >= threads {
            return Err(unavailable(format!(
                "{hanging} checks hang, and there are {threads} threads for them"
            )));
        }
        let seconds = by.time_max.as_secs_f64();
        let place = match timeout_at(until, self.gate.enter(threads)).await {
            Ok(Ok(place)) => place,
            Ok(Err(_crowded)) => return Err(unavailable("too many logins wait for PAM already".to_string())),
            Err(_elapsed) => {
                let words = format!("no turn within {seconds} s: all {threads} threads are at work");
                return Err(unavailable(words));
            }
        };
        let (answer, watch) = match self.start(by, claim, place) {
            Ok(started) => started,
            Err(error) => return Err(unavailable(format!("a thread cannot be started: {error}"))),
        };
        match timeout_at(until, answer).await {
            Ok(Ok(Outcome::Good)) => Ok(()),
            Ok(Ok(Outcome::Bad(why))) => Err(no(Cause::PamFailed, why)),
            Ok(Ok(Outcome::Unknown(why))) => {
                let cause =
                    Cause::PamUnavailable { why: "PAM does not tell: it has a mistake or a fault".into() };
                Err(no(cause, why))
            }
            Ok(Err(_closed)) => Err(unavailable("the thread has gone".to_string())),
            Err(_elapsed) => {
                watch.give_up();
                Err(unavailable(format!("no answer within {seconds} s")))
            }
        }
    }

    /// Starts a check on a thread of its own; the place is free when it ends.
    fn start(
        &self,
        by: ByPam,
        claim: Claim,
        place: Place,
    ) -> std::io::Result<(oneshot::Receiver<Outcome>, Watch)> {
        let (reply, answer) = oneshot::channel();
        let state = Arc::new(AtomicU8::new(RUNNING));
        let watch = Watch { state: state.clone(), stuck: self.stuck.clone() };
        let (stuck, library) = (self.stuck.clone(), self.library.clone());
        let since = Instant::now();
        let work = move || {
            let outcome = match library.get_or_init(Library::load) {
                Ok(library) => library.check(&by.service, &claim),
                Err(why) => Outcome::Unknown(why.clone()),
            };
            drop(claim);
            if state.swap(RETURNED, Ordering::AcqRel) == STUCK {
                stuck.fetch_sub(1, Ordering::AcqRel);
                let (service, seconds) = (&by.service, since.elapsed().as_secs());
                tracing::warn!("PAM ({service}): a check has come back after {seconds} s");
            }
            drop(place);
            // Whoever has left needs no answer.
            let _ = reply.send(outcome);
        };
        std::thread::Builder::new().name("pam".to_string()).spawn(work)?;
        Ok((answer, watch))
    }
}

/// Of the one who asked. A client that leaves says nothing of the thread: it may be at work as it should.
struct Watch {
    state: Arc<AtomicU8>,
    stuck: Arc<AtomicU32>,
}

impl Watch {
    /// The thread has had its time.
    fn give_up(self) {
        // Counted before the thread can count itself out.
        self.stuck.fetch_add(1, Ordering::AcqRel);
        if self.state.compare_exchange(RUNNING, STUCK, Ordering::AcqRel, Ordering::Acquire).is_err() {
            self.stuck.fetch_sub(1, Ordering::AcqRel);
        }
    }
}
