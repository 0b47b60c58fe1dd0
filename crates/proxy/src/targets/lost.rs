//! Connections that we have let go and that the server has not been seen to end: whoever looks at the server sees
//! whether their processes are still there.

use std::time::Duration;

use parking_lot::Mutex;
use plimsoll_types::{Moment, SlotId, TargetId};
use tokio::sync::oneshot;

use super::Look;

/// All of them.
#[derive(Debug, Default)]
pub(crate) struct LostOnes {
    all: Mutex<Vec<Waiting>>,
}

/// One, as a look has to know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct LostOne {
    slot: SlotId,
    /// Its process at the server; `None`: it was given up before it told us.
    pid: Option<u32>,
    /// When its opening began.
    opened: Moment,
}

#[derive(Debug)]
struct Waiting {
    target: TargetId,
    one: LostOne,
    /// Told when it is gone.
    gone: oneshot::Sender<()>,
}

impl LostOnes {
    /// Waits until the server has ended a connection: it says so itself (`ended`), a look has shown it, or `longest`
    /// has passed, after which the place is given up for free whether it has or not.
    pub(crate) async fn wait(&self, lost: Lost, ended: impl Future<Output = ()>, longest: Duration) {
        let Lost { slot, target, pid, opened } = lost;
        let (gone, seen) = oneshot::channel();
        let one = LostOne { slot, pid: (pid != 0).then_some(pid), opened };
        self.all.lock().push(Waiting { target, one, gone });
        tokio::select! {
            () = ended => {}
            _ = seen => {}
            () = tokio::time::sleep(longest) => {}
        }
        self.all.lock().retain(|waiting| waiting.one.slot != slot);
    }

    /// Those at a target.
    pub(super) fn at(&self, target: TargetId) -> Vec<LostOne> {
        self.all.lock().iter().filter(|waiting| waiting.target == target).map(|waiting| waiting.one).collect()
    }

    /// Takes in a look that was begun when `lost` were lost already; `before` is the one before it.
    pub(super) fn judge(&self, lost: &[LostOne], before: Option<&Look>, look: &Look) {
        let gone: Vec<SlotId> =
            lost.iter().filter(|one| one.is_gone(before, look)).map(|one| one.slot).collect();
        if gone.is_empty() {
            return;
        }
        let mut all = self.all.lock();
        let (told, waiting): (Vec<Waiting>, Vec<Waiting>) =
            all.drain(..).partition(|waiting| gone.contains(&waiting.one.slot));
        *all = waiting;
        drop(all);
        // Who does not listen any more has seen it.
        for Waiting { gone, .. } in told {
            let _ = gone.send(());
        }
    }
}

impl LostOne {
    /// Whether the server does not have it any more: its process is not there, or the server has been started since.
    fn is_gone(&self, before: Option<&Look>, look: &Look) -> bool {
        let unlisted =
            self.pid.is_some_and(|pid| look.alive.as_ref().is_some_and(|alive| !alive.contains(&pid)));
        let restarted =
            before.is_some_and(|before| before.started != look.started && self.opened < before.at);
        unlisted || restarted
    }
}

/// A connection that is lost.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lost {
    /// Its slot.
    pub(crate) slot: SlotId,
    /// Where it is.
    pub(crate) target: TargetId,
    /// Its process there; 0: not known.
    pub(crate) pid: u32,
    /// When its opening began.
    pub(crate) opened: Moment,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(at: u64, started: &str, alive: Option<&[u32]>) -> Look {
        Look {
            at: Moment(at),
            started: started.into(),
            alive: alive.map(|pids| pids.to_vec()),
            ..Look::default()
        }
    }

    #[test]
    fn one_is_gone_when_its_process_is_or_its_server_was_started_anew() {
        let one = LostOne { slot: SlotId { index: 0, generation: 0 }, pid: Some(7), opened: Moment(10) };
        let unknown = LostOne { pid: None, ..one };
        let before = look(20, "a", None);
        assert!(!one.is_gone(None, &look(30, "a", Some(&[6, 7]))));
        assert!(one.is_gone(None, &look(30, "a", Some(&[6]))));
        assert!(!one.is_gone(Some(&before), &look(30, "a", None)), "nobody has looked");
        assert!(!unknown.is_gone(Some(&before), &look(30, "a", Some(&[6]))));
        assert!(unknown.is_gone(Some(&before), &look(30, "b", Some(&[6]))));
        let young = LostOne { opened: Moment(25), ..unknown };
        assert!(!young.is_gone(Some(&before), &look(30, "b", Some(&[6]))), "it may be of the new server");
    }
}
