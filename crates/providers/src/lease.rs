//! What is known of one secret: when it is given out, renewed, kept in spite of a failure, or refused. No clock, no
//! chance, no I/O: time and jitter are arguments.

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::time::Duration;

use plimsoll_types::{Cause, Moment, Secret};

/// After a first failure the provider is left alone for so long; twice that after the second, and so on.
const BACKOFF_MIN: Duration = Duration::from_millis(500);
/// At most for so long. Short enough for a pool that asks again after `server_login_retry` to find out by itself.
const BACKOFF_MAX: Duration = Duration::from_secs(10);
/// A secret that nobody has asked for in this time is not renewed any more, and forgotten.
pub(crate) const KEPT_UNASKED: Duration = Duration::from_secs(2 * 3600);
/// Largest jitter.
pub(crate) const JITTER_MAX: u16 = 1000;

/// How fresh an answer has to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Look {
    /// What is known and has not ended is good enough.
    Cached,
    /// The provider is looked at each time, which costs next to nothing (a file).
    Always,
}

/// What a provider gave.
#[derive(Debug)]
pub(crate) struct Fetched {
    pub(crate) secret: Secret,
    /// How long it is good for from now on; `None`: nobody knows of an end.
    pub(crate) life: Option<Duration>,
}

/// A secret that is given out.
#[derive(Clone, Debug)]
pub(crate) struct Held {
    pub(crate) secret: Secret,
    /// Counts the different secrets of this lease, from 1.
    pub(crate) epoch: u64,
    /// When it ends.
    pub(crate) ends: Option<Moment>,
    /// When the next one is fetched.
    renewed_at: Option<Moment>,
}

impl Held {
    fn is_good(&self, now: Moment) -> bool {
        self.ends.is_none_or(|ends| now < ends)
    }
}

/// The last secret.
#[derive(Debug)]
enum Last {
    /// There has not been one. Next: `Taken`.
    None,
    /// As the provider gave it. Next: `Refused`, or a newer one.
    Taken(Held),
    /// The server would not have it. Next: `Taken`; the same one again keeps its epoch.
    Refused(Held),
}

/// Whether the provider is being asked.
#[derive(Debug)]
enum Asking {
    /// No. Next: `InFlight`.
    No,
    /// It is. Next: `No` or `Later`.
    InFlight { failures: u32 },
    /// It has failed and is left alone until then. Next: `InFlight`.
    Later { until: Moment, failures: u32, cause: Cause },
}

/// What has to be done. `T` is whoever asks.
#[derive(Debug)]
pub(crate) enum Action<T> {
    /// Ask the provider; [`Lease::handle_fetched`] follows.
    Fetch,
    /// Give this to whoever has asked.
    Give(T, Held),
    /// Tell why there is none.
    Refuse(T, Cause),
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Lease<T> {
    last: Last,
    asking: Asking,
    waiting: Vec<T>,
    actions: VecDeque<Action<T>>,
    epochs: u64,
    asked: Moment,
}

impl<T> Lease<T> {
    /// Nothing is known yet.
    pub(crate) fn new(now: Moment) -> Lease<T> {
        Lease {
            last: Last::None,
            asking: Asking::No,
            waiting: Vec::new(),
            actions: VecDeque::new(),
            epochs: 0,
            asked: now,
        }
    }

    /// Somebody is about to log in.
    pub(crate) fn handle_ask(&mut self, who: T, look: Look, now: Moment) {
        self.asked = now;
        let good = self.good(now).cloned();
        match (&self.asking, good, look) {
            (Asking::No | Asking::InFlight { .. } | Asking::Later { .. }, Some(held), Look::Cached) => {
                self.actions.push_back(Action::Give(who, held));
                self.renew_if_due(now);
            }
            (Asking::InFlight { .. }, None, _) | (Asking::InFlight { .. }, Some(_), Look::Always) => {
                self.waiting.push(who);
            }
            (Asking::Later { until, cause, .. }, good, _) if now < *until => match good {
                Some(held) => self.actions.push_back(Action::Give(who, held)),
                None => self.actions.push_back(Action::Refuse(who, cause.clone())),
            },
            (Asking::No | Asking::Later { .. }, _, _) => {
                self.waiting.push(who);
                self.fetch();
            }
        }
    }

    /// A server would not have the secret of this epoch: it is given to nobody any more, and the provider is asked once
    /// for another, whatever it said last.
    pub(crate) fn handle_refused(&mut self, epoch: u64) {
        match std::mem::replace(&mut self.last, Last::None) {
            Last::Taken(held) if held.epoch == epoch => {
                self.last = Last::Refused(held);
                if let Asking::Later { until, .. } = &mut self.asking {
                    *until = Moment(0);
                }
            }
            last @ (Last::None | Last::Taken(_) | Last::Refused(_)) => self.last = last,
        }
    }

    /// The provider has answered, or failed. `jitter` is 0 to [`JITTER_MAX`].
    pub(crate) fn handle_fetched(&mut self, answer: Result<Fetched, Cause>, jitter: u16, now: Moment) {
        let failures = match self.asking {
            Asking::InFlight { failures } => failures,
            Asking::No | Asking::Later { .. } => return,
        };
        match answer {
            Ok(fetched) => self.take(fetched, jitter, now),
            Err(cause) => {
                let until = now + backoff(failures, jitter);
                self.asking = Asking::Later { until, failures: failures.saturating_add(1), cause };
            }
        }
        self.answer_waiting(now);
    }

    /// Time goes by.
    pub(crate) fn handle_timeout(&mut self, now: Moment) {
        self.renew_if_due(now);
    }

    /// When [`Lease::handle_timeout`] has something to do, or [`Lease::is_forgotten`] something to say.
    pub(crate) fn poll_timeout(&self, now: Moment) -> Option<Moment> {
        if matches!(self.asking, Asking::InFlight { .. }) {
            return None;
        }
        let forgotten = self.asked + KEPT_UNASKED;
        let renewal = self.renewal(now).map(|at| at.min(forgotten));
        Some(renewal.unwrap_or(forgotten))
    }

    /// Whether nobody has asked for so long that it can be thrown away.
    pub(crate) fn is_forgotten(&self, now: Moment) -> bool {
        let at_rest = !matches!(self.asking, Asking::InFlight { .. }) && self.waiting.is_empty();
        at_rest && now >= self.asked + KEPT_UNASKED
    }

    /// What has to be done next.
    pub(crate) fn poll_action(&mut self) -> Option<Action<T>> {
        self.actions.pop_front()
    }

    /// The secret that can be given out now.
    pub(crate) fn good(&self, now: Moment) -> Option<&Held> {
        match &self.last {
            Last::Taken(held) => Some(held).filter(|held| held.is_good(now)),
            Last::None | Last::Refused(_) => None,
        }
    }

    fn take(&mut self, fetched: Fetched, jitter: u16, now: Moment) {
        let Fetched { secret, life } = fetched;
        let epoch = match &self.last {
            Last::Taken(held) | Last::Refused(held) if held.secret.matches(secret.expose()) => held.epoch,
            Last::None | Last::Taken(_) | Last::Refused(_) => {
                self.epochs += 1;
                self.epochs
            }
        };
        let renewed_at = life.map(|life| now + renewal_after(life, jitter));
        self.last = Last::Taken(Held { secret, epoch, ends: life.map(|life| now + life), renewed_at });
        self.asking = Asking::No;
    }

    fn answer_waiting(&mut self, now: Moment) {
        let good = self.good(now).cloned();
        for who in std::mem::take(&mut self.waiting) {
            self.actions.push_back(match (&good, &self.asking) {
                (Some(held), _) => Action::Give(who, held.clone()),
                (None, Asking::Later { cause, .. }) => Action::Refuse(who, cause.clone()),
                // It gave something that has ended.
                (None, Asking::No | Asking::InFlight { .. }) => Action::Refuse(who, Cause::CredentialEnded),
            });
        }
    }

    fn renew_if_due(&mut self, now: Moment) {
        if self.renewal(now).is_some_and(|at| now >= at) && now < self.asked + KEPT_UNASKED {
            self.fetch();
        }
    }

    /// When the secret that is given out now is to be renewed. One that has ended is not, until somebody asks.
    fn renewal(&self, now: Moment) -> Option<Moment> {
        let at = self.good(now)?.renewed_at?;
        match self.asking {
            Asking::No => Some(at),
            Asking::InFlight { .. } => None,
            Asking::Later { until, .. } => Some(at.max(until)),
        }
    }

    fn fetch(&mut self) {
        let failures = match self.asking {
            Asking::No => 0,
            Asking::InFlight { .. } => return,
            Asking::Later { failures, .. } => failures,
        };
        self.asking = Asking::InFlight { failures };
        self.actions.push_back(Action::Fetch);
    }
}

/// At 80 % of its life, or up to a tenth of its life before: what was fetched at once is not renewed at once.
fn renewal_after(life: Duration, jitter: u16) -> Duration {
    let per_mille = 800 - u32::from(jitter.min(JITTER_MAX)) / 10;
    // In this order nothing overflows, and what the division loses is less than a microsecond.
    life / 1000 * per_mille
}

fn backoff(failures: u32, jitter: u16) -> Duration {
    let doubled = BACKOFF_MIN.saturating_mul(1 << failures.min(10)).min(BACKOFF_MAX);
    doubled - doubled / 4 / u32::from(JITTER_MAX) * u32::from(jitter.min(JITTER_MAX))
}
