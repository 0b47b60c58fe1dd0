//! What comes over connections to servers, and in what state they come back.

use plimsoll_session::{Round, RoundStep, Step, Then};
use plimsoll_types::{Cause, ClientId, Pin, Pins, PoolMode, Side, SlotId};

use super::talks::Phase;
use super::{ClientDoing, Doing, Event, Kept, World, broken, ensure};
use crate::driver::Sabotage;
use crate::history::Back;
use crate::postgres::{Leftovers, Woken};
use crate::server::Condition;

/// How long a statement that takes time takes, microseconds.
const NAPS_US: [u32; 6] = [0, 100, 100, 2_000, 30_000, 900_000];

/// An answer is under way for no longer than this, and a limit of time begins with one; microseconds.
const LATE_US: u64 = 10_000;

impl World {
    /// Bytes reach a server.
    pub(super) fn feed(&mut self, slot: SlotId, bytes: &[u8]) {
        let alive = self.is_alive(slot);
        let Some(wire) = self.talks.wires.get_mut(&slot).filter(|_| alive) else { return };
        let slept = wire.backend.sleeps().is_some();
        wire.backend.feed(bytes);
        if !slept {
            self.note_nap(slot);
        }
        self.await_answers(slot);
    }

    /// If a statement takes time, it ends some day.
    fn note_nap(&mut self, slot: SlotId) {
        let Some(wire) = self.talks.wires.get_mut(&slot) else { return };
        if wire.backend.sleeps().is_none() {
            return;
        }
        wire.naps += 1;
        wire.nap_since = self.now;
        let (naps, holder) = (wire.naps, self.holder(slot));
        let speaker = holder.and_then(|id| self.talks.speakers.get_mut(&id));
        let us = speaker.map_or(0, |speaker| speaker.rng.pick(&NAPS_US));
        self.enter(u64::from(us), Event::Wakes(slot, naps));
    }

    /// Who holds a connection and has taken it up.
    fn holder(&self, slot: SlotId) -> Option<ClientId> {
        let Doing::Held(id, hold) = self.connections.get(&slot)?.doing else { return None };
        let doing = self.clients.get(&id)?.doing;
        (doing == ClientDoing::Holds(slot, hold)).then_some(id)
    }

    pub(crate) fn wake(&mut self, slot: SlotId, naps: u32) -> Kept {
        let current = self.talks.wires.get(&slot).is_some_and(|wire| wire.naps == naps);
        if current { self.end_nap(slot, Woken::Done) } else { Ok(()) }
    }

    /// A statement that takes time ends, at the server and where the client is alone.
    pub(super) fn end_nap(&mut self, slot: SlotId, woken: Woken) -> Kept {
        let (alive, holder) = (self.is_alive(slot), self.holder(slot));
        let Some(wire) = self.talks.wires.get_mut(&slot).filter(|_| alive) else { return Ok(()) };
        let Some(tag) = wire.backend.sleeps().map(str::to_owned) else { return Ok(()) };
        let Some(id) = holder else {
            // Whoever asked for it has gone, and the connection is being closed.
            return Ok(());
        };
        if let Some(speaker) = self.talks.speakers.get_mut(&id) {
            let alone = speaker.alone.sleeps();
            let (limit, took) =
                (speaker.session.settings().query_timeout, self.now.micros_since(wire.nap_since));
            let over = !limit.is_zero() && u128::from(took) > limit.as_micros() + u128::from(LATE_US);
            ensure(!over, "7: a limit of time ends", || {
                format!("{id:?} waits for {tag} for {took} us, {limit:?}")
            })?;
            ensure(alone == Some(&*tag), "4: a server works for its holder", || {
                format!("{slot:?} works on {tag} for {id:?}, which has asked for {alone:?}")
            })?;
            speaker.alone.wake(woken);
            speaker.expect();
        }
        wire.backend.wake(woken);
        self.note_nap(slot);
        self.await_answers(slot);
        self.ponder(id)
    }

    /// Somebody notifies a channel of a server.
    pub(crate) fn notify(&mut self, channel: &str) {
        let slots: Vec<SlotId> = self.talks.wires.keys().copied().collect();
        for slot in slots {
            if self.is_alive(slot)
                && let Some(wire) = self.talks.wires.get_mut(&slot)
            {
                wire.backend.notify(channel);
                self.await_answers(slot);
            }
        }
    }

    /// What a server has sent is under way to us.
    pub(super) fn await_answers(&mut self, slot: SlotId) {
        let Some(wire) = self.talks.wires.get_mut(&slot) else { return };
        if wire.arriving || wire.backend.sent.is_empty() {
            return;
        }
        wire.arriving = true;
        let holder = self.holder(slot);
        let speaker = holder.and_then(|id| self.talks.speakers.get_mut(&id));
        // Now and then the client does not read, and so is not read for.
        let after_us = speaker.map_or(0, |speaker| match speaker.rng.below(20) {
            0 => 5_000,
            1..5 => u64::from(speaker.rng.below(300)),
            _ => 0,
        });
        self.enter(after_us, Event::Answers(slot));
    }

    /// Bytes of a server arrive.
    pub(crate) fn answer_bytes(&mut self, slot: SlotId) -> Kept {
        let alive = self.is_alive(slot);
        let Some(wire) = self.talks.wires.get_mut(&slot) else { return Ok(()) };
        wire.arriving = false;
        if !alive || wire.backend.sent.is_empty() {
            return Ok(());
        }
        match self.connections.get(&slot).map(|connection| connection.doing) {
            Some(Doing::Held(..)) => match self.holder(slot) {
                Some(id) => self.hear_server(id, slot),
                None => Ok(()),
            },
            Some(Doing::Idle) => {
                let wire = self.talks.wires.get_mut(&slot).expect("just seen");
                wire.kept.append(&mut wire.backend.sent);
                if self.take_in_rest(slot).is_err() {
                    return broken("4: no unfinished answer", format!("{slot:?} has bytes while idle"));
                }
                Ok(())
            }
            // Those are read by whoever cleans or checks, or by nobody any more.
            Some(Doing::Opening(_) | Doing::Cleaning | Doing::Checking | Doing::Closing | Doing::Lost)
            | None => Ok(()),
        }
    }

    fn hear_server(&mut self, id: ClientId, slot: SlotId) -> Kept {
        let (Some(speaker), Some(wire)) = (self.talks.speakers.get_mut(&id), self.talks.wires.get_mut(&slot))
        else {
            return Ok(());
        };
        let bytes = speaker.some(wire.backend.sent.len());
        wire.kept.extend(wire.backend.sent.drain(..bytes));
        let input = std::mem::take(&mut wire.kept);
        let (tracked, steps) = (&self.talks.tracked, &mut self.talks.steps);
        let outcome = speaker.session.on_server(&mut wire.link, &input, tracked, steps, self.now);
        ensure(outcome.consumed <= input.len(), "6: within bounds", || format!("{outcome:?}"))?;
        let forgets = self.driver.does(Sabotage::ForgetBytes);
        wire.kept = if forgets { Vec::new() } else { input[outcome.consumed..].to_vec() };
        let asks = self.talks.steps.list.iter().any(|step| match step {
            Step::Forward { to, .. } | Step::Inject { to, .. } => *to == Side::Server,
        });
        let mut then = outcome.then;
        if let Then::Release(release) = &then
            && !asks
        {
            // Before the client can see the end of its answer.
            self.release(id, &release.clone())?;
            then = Then::Continue;
        }
        self.carry_out(id, Some(slot), &input)?;
        match then {
            Then::Release(release) => self.release(id, &release)?,
            Then::Attached => self.set_phase(id, Phase::Open),
            Then::Close { side, cause } => return self.close_client(id, side, &cause),
            Then::Continue | Then::NeedServer | Then::HoldBack | Then::Collect { .. } | Then::Busy => {
                self.note_heard(id)?;
            }
        }
        self.await_answers(slot);
        self.resume_client(id)
    }

    fn note_heard(&mut self, id: ClientId) -> Kept {
        if self.held_by(id).is_none() {
            return Ok(());
        }
        if self.talks.speakers.get(&id).is_some_and(|speaker| speaker.phase == Phase::Busy) {
            self.set_phase(id, Phase::Open);
            return Ok(());
        }
        self.look_at_mode(id)
    }

    /// What came over a connection that belongs to nobody.
    pub(super) fn take_in_rest(&mut self, slot: SlotId) -> Result<(), Cause> {
        let Some(wire) = self.talks.wires.get_mut(&slot) else { return Ok(()) };
        let consumed = wire.link.on_idle(&wire.kept, &self.talks.tracked)?;
        wire.kept.drain(..consumed);
        if wire.kept.is_empty() { Ok(()) } else { Err(Cause::ServerStateUnknown) }
    }

    /// A connection comes back as one that can be used again: is it? Returns what the next one would find.
    pub(super) fn judge_return(
        &mut self,
        id: ClientId,
        slot: SlotId,
        back: Back,
    ) -> Result<Condition, super::Broken> {
        let (Some(speaker), Some(wire)) = (self.talks.speakers.get(&id), self.talks.wires.get(&slot)) else {
            return broken("2: one holder", format!("{id:?} or {slot:?} is gone"));
        };
        let settings = speaker.session.settings();
        if let Some(why) = wire.backend.unfinished() {
            return broken("4: no unfinished answer", format!("{id:?} gives {slot:?} back, {back}: {why}"));
        }
        ensure(self.talks.knows_parameters(wire), "5: parameters are known", || {
            format!("{slot:?}: {:?} is not {:?}", wire.link.params(), wire.backend.sql())
        })?;
        let left = wire.backend.leftovers();
        let pins = wire.link.pins();
        // Functions in plain statements are looked for in session pooling alone.
        let claimed = Leftovers { locks: left.locks && settings.mode == PoolMode::Session, ..left };
        let unseen = unseen(claimed, pins);
        ensure(unseen.is_empty(), "5: what is left behind is known", || {
            format!("{id:?} leaves {unseen:?} behind at {slot:?}, {pins:?} are known")
        })?;
        let managed = settings.mode != PoolMode::Session && !self.shape.remodels;
        let (known, there) = (wire.link.prepared_count(), wire.backend.statements_named());
        ensure(!managed || known == there, "5: statements are known", || {
            format!("{slot:?} has {there} statements, {known} are known")
        })?;
        let whole =
            settings.mode == PoolMode::Session || settings.clean == plimsoll_session::CleanWhen::Always;
        let keeps = settings.clean == plimsoll_session::CleanWhen::Never;
        let pristine = Leftovers { reported: false, ..left } == Leftovers::default();
        self.tally.reused += 1;
        self.tally.reused_with_leftovers += u64::from(!pristine);
        Ok(if whole && !keeps && !pristine { Condition::Dirty } else { Condition::Clean })
    }

    /// A query of our own has been answered well: the reset query, or the check query.
    pub(super) fn run_round(&mut self, slot: SlotId, doing: Doing) -> Kept {
        let resets = doing == Doing::Cleaning && !self.driver.does(Sabotage::FakeReset);
        let query = if resets { "DISCARD ALL" } else { "" };
        let Some(wire) = self.talks.wires.get_mut(&slot) else { return Ok(()) };
        let mut out = Vec::new();
        let mut round = Round::start(query, &mut out);
        wire.backend.feed(&out);
        let mut ended = false;
        while !wire.backend.sent.is_empty() && !ended {
            let bytes = wire.backend.sent.len().div_ceil(2);
            wire.kept.extend(wire.backend.sent.drain(..bytes));
            match round.on_server(&mut wire.link, &wire.kept, &self.talks.tracked) {
                RoundStep::More { consumed } => drop(wire.kept.drain(..consumed)),
                RoundStep::Done { consumed } => {
                    wire.kept.drain(..consumed);
                    ended = true;
                }
                RoundStep::Failed(cause) => {
                    return broken("4: no unfinished answer", format!("{slot:?}: {}", cause.message()));
                }
            }
        }
        self.tally.rounds += 1;
        let wire = &self.talks.wires[&slot];
        let rest = wire.backend.unfinished();
        ensure(ended && rest.is_none(), "4: no unfinished answer", || format!("{slot:?}: {rest:?}"))?;
        if doing == Doing::Cleaning {
            let (left, pins) = (wire.backend.leftovers(), wire.link.pins());
            let clean = left == Leftovers::default() && pins.is_empty() && wire.link.prepared_count() == 0;
            ensure(clean, "5: what is cleaned is clean", || format!("{slot:?}: {left:?} {pins:?}"))?;
        }
        ensure(self.talks.knows_parameters(wire), "5: parameters are known", || format!("{slot:?}"))
    }

    /// Invariant 4: over a connection that is with nobody, nothing is under way.
    pub(super) fn compare_wires(&self) -> Kept {
        for (slot, wire) in &self.talks.wires {
            let Some(connection) = self.connections.get(slot) else {
                return broken("2: one state", format!("{slot:?} has a wire"));
            };
            if connection.doing == Doing::Idle && self.is_alive(*slot) {
                let why = wire.backend.unfinished();
                let kept = wire.kept.len();
                ensure(why.is_none() && kept == 0, "4: no unfinished answer", || {
                    format!("{slot:?} is idle: {why:?}, {kept} bytes kept")
                })?;
            }
        }
        Ok(())
    }

    /// Gives back a connection that broke while a client that speaks had it.
    pub(super) fn break_wire(&mut self, id: ClientId) -> Kept {
        self.close_client(id, Side::Server, &Cause::ServerEof)
    }
}

/// What is left behind and not known to be.
fn unseen(left: Leftovers, known: Pins) -> Vec<Pin> {
    left.pins().iter().filter(|pin| !known.has(*pin) && !known.has(Pin::Unknown)).collect()
}
