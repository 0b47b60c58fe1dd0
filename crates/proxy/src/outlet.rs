//! Bytes for a client which its socket has not taken: a few of them as they are, the rest of a large answer spilled.

use std::pin::Pin;
use std::task::{Context, Poll};

use plimsoll_types::{Cause, Side};
use tokio::time::{Instant, Sleep};

use crate::carry::Carry;
use crate::spill::{Behind, Lack, Spill, Terms};

/// A queue of bytes. A client that keeps up has an empty one, which owns nothing.
#[derive(Default)]
pub(crate) struct Outlet {
    carry: Carry,
    /// There as long as the socket refuses bytes and somebody has looked why.
    slow: Option<Box<Slow>>,
}

/// A client that does not keep up.
pub(crate) struct Slow {
    /// What the configuration says for it.
    pub(crate) terms: Terms,
    /// Since when its socket has refused bytes.
    since: Instant,
    timer: Option<Pin<Box<Sleep>>>,
    /// What is behind the bytes carried.
    pub(crate) spill: Option<Spill>,
    /// What the spill lacks: the server is not read.
    pub(crate) lack: Option<Lack>,
    /// The server has been given back, and there is no spill: others can see that the client has not had everything.
    behind: Option<Behind>,
    /// The server has gone while its answer was being read; what follows when that is done.
    fate: Option<Fate>,
}

struct Fate {
    cause: Box<Cause>,
    cut: Cut,
}

/// Where the last byte that came from the server stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cut {
    /// Between two messages: an error can follow.
    Between,
    /// Inside one: nothing can be said any more.
    Inside,
}

/// Where appended bytes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kept {
    /// With the few that are carried.
    Carried,
    /// In the spill.
    Spilled,
}

impl Outlet {
    /// Nothing to send.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.carry.is_empty() && self.slow.is_none()
    }

    /// What is to be sent next: it may be empty although there is something, which a file has to give back first.
    pub(crate) fn pending(&self) -> &[u8] {
        if !self.carry.is_empty() {
            return self.carry.pending();
        }
        self.spill().map_or(&[], Spill::pending)
    }

    /// Appends.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Kept {
        match self.spill_mut() {
            Some(spill) => {
                spill.push(bytes);
                Kept::Spilled
            }
            None => {
                self.carry.push(bytes);
                Kept::Carried
            }
        }
    }

    /// So many bytes of [`pending`](Outlet::pending) have been sent.
    pub(crate) fn advance(&mut self, n: usize) {
        if !self.carry.is_empty() {
            self.carry.advance(n);
            if self.carry.is_empty()
                && let Some(spill) = self.spill_mut()
            {
                spill.come_forward();
            }
        } else if let Some(spill) = self.spill_mut() {
            spill.advance(n);
        }
        if self.carry.is_empty()
            && let Some(slow) = &self.slow
            && slow.spill.as_ref().is_none_or(|spill| spill.len() == 0)
            && slow.fate.is_none()
        {
            self.slow = None;
        }
    }

    /// Bytes for which the server waits: none as long as the spill takes what comes.
    pub(crate) fn unread(&self) -> usize {
        match &self.slow {
            Some(slow) if slow.spill.is_some() && !slow.holds_up() => 0,
            Some(_) | None => self.len(),
        }
    }

    /// Bytes the client has yet to take.
    pub(crate) fn len(&self) -> usize {
        self.carry.pending().len() + self.spill().map_or(0, Spill::len)
    }

    /// The spill, if there is one.
    pub(crate) fn spill(&self) -> Option<&Spill> {
        self.slow.as_ref()?.spill.as_ref()
    }

    /// The same.
    pub(crate) fn spill_mut(&mut self) -> Option<&mut Spill> {
        self.slow.as_mut()?.spill.as_mut()
    }

    /// The client does not keep up, from now on if that is new. Only for an outlet that is not empty.
    pub(crate) fn slow(&mut self, terms: impl FnOnce() -> Terms) -> &mut Slow {
        self.slow.get_or_insert_with(|| {
            Box::new(Slow {
                terms: terms(),
                since: Instant::now(),
                timer: None,
                spill: None,
                lack: None,
                behind: None,
                fate: None,
            })
        })
    }

    /// The same, if it is known already.
    pub(crate) fn slow_mut(&mut self) -> Option<&mut Slow> {
        self.slow.as_deref_mut()
    }

    /// The server has gone: its client is told when it has read what there is.
    pub(crate) fn end_with(&mut self, cause: Cause, cut: Cut) {
        if let Some(slow) = &mut self.slow {
            slow.fate = Some(Fate { cause: Box::new(cause), cut });
        }
    }

    /// What follows when everything has been sent. If that was cut off inside a message the outlet does not become
    /// empty: nothing may be written behind it.
    pub(crate) fn fate(&mut self) -> Option<(Side, Cause)> {
        let slow = self.slow.as_ref()?;
        let (fate, left) = (slow.fate.as_ref()?, slow.spill.as_ref().map_or(0, Spill::len));
        if left > 0 || !self.carry.is_empty() {
            return None;
        }
        let (cause, cut) = (Cause::clone(&fate.cause), fate.cut);
        match cut {
            Cut::Between => self.slow = None,
            Cut::Inside => {}
        }
        Some((Side::Server, cause))
    }

    /// Whether a server has gone before its answer was read.
    pub(crate) fn has_fate(&self) -> bool {
        self.slow.as_ref().is_some_and(|slow| slow.fate.is_some())
    }
}

impl Slow {
    /// Whether the server waits for the reader although there is a spill.
    pub(crate) fn holds_up(&self) -> bool {
        self.lack.is_some_and(Lack::waits_for_reader)
    }

    /// The client has not had everything, and no server shows it.
    pub(crate) fn fall_behind(&mut self, behind: impl FnOnce() -> Behind) {
        self.behind.get_or_insert_with(behind);
    }

    /// Whether the socket has refused bytes for as long as the terms say; wakes the task when it has.
    pub(crate) fn poll_patience(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.terms.after.is_zero() {
            return Poll::Ready(());
        }
        let at = self.since + self.terms.after;
        self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(at))).as_mut().poll(cx)
    }

    /// Wakes the task at this time, or at once.
    pub(crate) fn wake_at(&mut self, cx: &mut Context<'_>, at: Instant) {
        let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(at)));
        if timer.is_elapsed() {
            timer.as_mut().reset(at);
        }
        if timer.as_mut().poll(cx).is_ready() {
            cx.waker().wake_by_ref();
        }
    }
}
