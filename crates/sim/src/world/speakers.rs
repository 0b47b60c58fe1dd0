//! What clients that speak the protocol do, and what becomes of their bytes: the relay in its smallest form, in the
//! order of `proxy::relay`.

use std::sync::Arc;

use plimsoll_session::{Attach, Holding, Release, Settings, Step, Then};
use plimsoll_types::{Cause, ClientId, HoldId, PoolMode, Side, SlotId};
use plimsoll_wire::header;

use super::talks::{COLLECT_BYTES_MAX, Phase, Silence, Speaker};
use super::{ClientDoing, Event, Kept, World, broken, ensure};
use crate::driver::Sabotage;
use crate::history::{Back, Leaving, Visit};
use crate::phrase;

/// A client's own answers.
const OWN_ANSWERS: &str = "5: each client gets the answers to its own requests, in order";

/// Nobody is thrown out for nothing.
const CLOSED: &str = "8: nobody is closed without a reason";

impl World {
    /// A client comes that speaks.
    pub(crate) fn visit(&mut self, visit: &Visit) -> Kept {
        let Some(id) = self.come(visit.arrival) else { return Ok(()) };
        let pool = self.client(id).pool;
        let settings = self.pools[&pool].settings.clone();
        self.talks.begin(id, &visit.talk, &settings, self.now);
        self.enter(0, Event::Speaks(id));
        Ok(())
    }

    /// A client says what it says next.
    pub(crate) fn speak(&mut self, id: ClientId) -> Kept {
        let Some(speaker) = self.talks.speakers.get_mut(&id) else { return Ok(()) };
        if speaker.silence != Silence::Soon {
            return Ok(());
        }
        let Some(unit) = speaker.units.pop_front() else {
            speaker.silence = Silence::Until;
            return self.ponder(id);
        };
        if unit == "WAIT" {
            speaker.silence = Silence::Until;
            return self.ponder(id);
        }
        if let Some(think) = unit.strip_prefix("THINK:") {
            let us = if self.hurry { 0 } else { think.parse().unwrap_or(0) };
            self.enter(us, Event::Speaks(id));
            return Ok(());
        }
        speaker.said += 1;
        self.tally.said += 1;
        let tag = format!("c{}x{}", id.0, speaker.said);
        // What a session has left behind can be asked for where it stays.
        let sees_all = speaker.session.settings().mode == PoolMode::Session && !self.shape.remodels;
        let unit = if sees_all { unit } else { unit.replace("peek", "look") };
        let start = speaker.wire.len();
        phrase::say(&mut speaker.wire, &unit, &tag);
        let said = speaker.wire[start..].to_vec();
        speaker.alone.feed(&said);
        speaker.expect();
        let pause = if speaker.rng.chance(70) { 0 } else { u64::from(speaker.rng.below(400)) };
        self.tell(|| format!("{id:?} says {unit} as {tag}"));
        self.enter(pause, Event::Speaks(id));
        self.bring(id);
        Ok(())
    }

    /// A client that waits for its answers has them, perhaps.
    pub(super) fn ponder(&mut self, id: ClientId) -> Kept {
        let Some(speaker) = self.talks.speakers.get_mut(&id) else { return Ok(()) };
        if speaker.silence != Silence::Until || !speaker.has_all() {
            return Ok(());
        }
        if !speaker.units.is_empty() {
            speaker.silence = Silence::Soon;
            self.enter(0, Event::Speaks(id));
            return Ok(());
        }
        speaker.silence = Silence::Over;
        match speaker.leaving {
            Leaving::Vanish => self.enter(0, Event::Leaves(id)),
            Leaving::Terminate => {
                phrase::say(&mut speaker.wire, "X", "");
                self.bring(id);
            }
        }
        Ok(())
    }

    /// Bytes of the client are under way to us.
    fn bring(&mut self, id: ClientId) {
        let Some(speaker) = self.talks.speakers.get_mut(&id) else { return };
        if speaker.arriving || speaker.wire.is_empty() || speaker.phase != Phase::Open {
            return;
        }
        speaker.arriving = true;
        let after_us = if speaker.rng.chance(75) { 0 } else { u64::from(speaker.rng.below(300)) };
        self.enter(after_us, Event::Arrives(id));
    }

    /// Bytes of the client arrive.
    pub(crate) fn arrive_bytes(&mut self, id: ClientId) -> Kept {
        let Some(speaker) = self.talks.speakers.get_mut(&id) else { return Ok(()) };
        speaker.arriving = false;
        if speaker.phase != Phase::Open || speaker.wire.is_empty() {
            return Ok(());
        }
        let bytes = speaker.some(speaker.wire.len());
        speaker.kept.extend(speaker.wire.drain(..bytes));
        self.resume_client(id)
    }

    /// Deals with the client's bytes that are kept.
    pub(super) fn resume_client(&mut self, id: ClientId) -> Kept {
        self.hear_client(id)?;
        self.note_limit(id);
        self.bring(id);
        self.ponder(id)
    }

    fn hear_client(&mut self, id: ClientId) -> Kept {
        loop {
            let slot = self.held_by(id);
            let Some(speaker) = self.talks.speakers.get_mut(&id) else { return Ok(()) };
            if speaker.phase != Phase::Open || speaker.kept.is_empty() || speaker.kept.len() < speaker.wanted
            {
                return Ok(());
            }
            speaker.wanted = 0;
            let input = std::mem::take(&mut speaker.kept);
            let link = slot.and_then(|slot| self.talks.wires.get_mut(&slot)).map(|wire| &mut wire.link);
            let (table, steps) = (&self.talks.table, &mut self.talks.steps);
            let outcome = speaker.session.on_client(link, &input, table, steps, self.now);
            ensure(outcome.consumed <= input.len(), "6: within bounds", || format!("{outcome:?}"))?;
            speaker.kept = input[outcome.consumed..].to_vec();
            if outcome.then == Then::NeedServer && self.driver.does(Sabotage::ForgetRequest) {
                speaker.kept.clear();
            }
            self.carry_out(id, slot, &input)?;
            match outcome.then {
                Then::Continue | Then::Attached | Then::HoldBack => return Ok(()),
                Then::Collect { bytes } => return self.collect(id, bytes),
                Then::Busy => {
                    self.set_phase(id, Phase::Busy);
                    return Ok(());
                }
                Then::NeedServer => self.need_server(id)?,
                Then::Release(release) => self.release(id, &release)?,
                Then::Close { side, cause } => return self.close_client(id, side, &cause),
            }
        }
    }

    fn collect(&mut self, id: ClientId, bytes: usize) -> Kept {
        let Some(speaker) = self.talks.speakers.get_mut(&id) else { return Ok(()) };
        let kept = speaker.kept.len();
        speaker.wanted = bytes;
        ensure((kept + 1..=COLLECT_BYTES_MAX).contains(&bytes), "6: within bounds", || {
            format!("{id:?} has {kept} bytes, {bytes} are wanted")
        })
    }

    pub(super) fn set_phase(&mut self, id: ClientId, phase: Phase) {
        if let Some(speaker) = self.talks.speakers.get_mut(&id) {
            speaker.phase = phase;
        }
    }

    fn need_server(&mut self, id: ClientId) -> Kept {
        self.renew_settings(id);
        self.set_phase(id, Phase::Waiting);
        let doing = self.client(id).doing;
        ensure(doing == ClientDoing::Thinks, "2: one holder", || format!("{id:?} asks while {doing:?}"))?;
        self.ask(id)
    }

    /// The connection a client holds.
    pub(super) fn held_by(&self, id: ClientId) -> Option<SlotId> {
        match self.clients.get(&id)?.doing {
            ClientDoing::Holds(slot, _) => Some(slot),
            ClientDoing::Thinks
            | ClientDoing::Waits(_)
            | ClientDoing::Granted(..)
            | ClientDoing::GoneWhileGranted(..) => None,
        }
    }

    /// A speaker has a connection from here on.
    pub(super) fn attach(&mut self, id: ClientId, slot: SlotId) -> Kept {
        let (Some(speaker), Some(wire)) = (self.talks.speakers.get_mut(&id), self.talks.wires.get_mut(&slot))
        else {
            return Ok(());
        };
        let attached =
            speaker.session.attach(&mut wire.link, &self.talks.tracked, &mut self.talks.steps, self.now);
        speaker.phase = match attached {
            Attach::Ready => Phase::Open,
            Attach::Settling => Phase::Settling,
        };
        if attached == Attach::Settling {
            self.tally.settled += 1;
            self.carry_out(id, Some(slot), &[])?;
        }
        self.await_answers(slot);
        Ok(())
    }

    /// Sends what the session machine has decided.
    pub(super) fn carry_out(&mut self, id: ClientId, slot: Option<SlotId>, input: &[u8]) -> Kept {
        let steps = &self.talks.steps;
        let (mut to_server, mut to_client) = (Vec::new(), Vec::new());
        for step in &steps.list {
            let (to, piece) = match step {
                Step::Forward { to, range } => (to, &input[range.clone()]),
                Step::Inject { to, range } => (to, &steps.bytes[range.clone()]),
            };
            match to {
                Side::Client => to_client.extend_from_slice(piece),
                Side::Server => to_server.extend_from_slice(piece),
            }
        }
        if !to_server.is_empty() {
            let Some(slot) = slot else {
                return broken("4: only a holder speaks to a server", format!("{id:?} holds nothing"));
            };
            self.tell(|| {
                format!("  {id:?} > {slot:?} {}", String::from_utf8_lossy(&to_server).escape_debug())
            });
            self.feed(slot, &to_server);
        }
        let swaps = self.driver.does(Sabotage::SwapClients);
        let other = self.talks.speakers.keys().copied().find(|other| swaps && *other != id);
        if to_client.is_empty() { Ok(()) } else { self.receive(other.unwrap_or(id), &to_client) }
    }

    /// A client receives something: it must be what PostgreSQL would have answered to it alone.
    fn receive(&mut self, id: ClientId, bytes: &[u8]) -> Kept {
        self.tell(|| format!("  {id:?} < {}", String::from_utf8_lossy(bytes).escape_debug()));
        let Some(speaker) = self.talks.speakers.get_mut(&id) else { return Ok(()) };
        speaker.inbox.extend_from_slice(bytes);
        let mut at = 0;
        while let Ok(Some(head)) = header(&speaker.inbox[at..], u32::MAX)
            && let Some(message) = speaker.inbox.get(at..at + head.total)
        {
            at += head.total;
            if head.tag == b'A' {
                notified(id, speaker, message, self.shape.remodels)?;
                continue;
            }
            let left = &speaker.expected[speaker.matched..];
            if !left.starts_with(message) {
                let [got, wanted] = [message, &left[..left.len().min(120)]]
                    .map(|bytes| String::from_utf8_lossy(bytes).escape_debug().to_string());
                return broken(OWN_ANSWERS, format!("{id:?} got {got}, alone it would get {wanted}"));
            }
            speaker.matched += head.total;
            self.tally.heard += 1;
        }
        speaker.inbox.drain(..at);
        if speaker.matched == speaker.expected.len() {
            speaker.flushed = speaker.flushed.saturating_sub(speaker.matched);
            speaker.matched = 0;
            speaker.expected.clear();
        }
        Ok(())
    }

    /// The end of a client that speaks: everything it had goes back.
    pub(super) fn close_client(&mut self, id: ClientId, side: Side, cause: &Cause) -> Kept {
        self.tell(|| format!("{id:?} ends: {side:?}, {}", cause.message()));
        let Some(speaker) = self.talks.speakers.get(&id) else { return Ok(()) };
        let statement_mode = speaker.session.settings().mode == PoolMode::Statement;
        let has_reason = match (side, cause) {
            (_, Cause::ClientClose | Cause::ClientEof | Cause::ServerEof) => true,
            (Side::Client, Cause::TransactionInStatementMode) => statement_mode,
            (
                Side::Client,
                Cause::QueryTimeout | Cause::IdleTransactionTimeout | Cause::TransactionTimeout,
            ) => true,
            _ => false,
        };
        ensure(has_reason, CLOSED, || format!("{id:?}, {side:?}: {}", cause.message()))?;
        if let Some(slot) = self.held_by(id) {
            let release = self.detach(id, slot, side, cause);
            self.release(id, &release)?;
        }
        self.forget_client(id);
        Ok(())
    }

    fn detach(&mut self, id: ClientId, slot: SlotId, side: Side, cause: &Cause) -> Release {
        let (Some(speaker), Some(wire)) = (self.talks.speakers.get_mut(&id), self.talks.wires.get_mut(&slot))
        else {
            return Release::Unusable(cause.clone());
        };
        match speaker.session.detach(&mut wire.link) {
            Release::Unusable(_) if self.driver.does(Sabotage::LeaveBusy) => Release::Clean,
            _ if side == Side::Server => Release::Unusable(cause.clone()),
            release => release,
        }
    }

    /// Gives back what a client held.
    pub(super) fn release(&mut self, id: ClientId, release: &Release) -> Kept {
        let Some(slot) = self.held_by(id) else {
            return broken("2: one holder", format!("{id:?} gives back what it does not hold"));
        };
        let release = match self.take_in_rest(slot) {
            Ok(()) => release.clone(),
            Err(cause) => Release::Unusable(cause),
        };
        let back = match release {
            Release::Clean => Back::Clean,
            Release::Dirty => Back::Dirty,
            // Nobody frees a connection here: what is unfinished is closed.
            Release::Unusable(_) | Release::Unfinished => Back::Unusable,
        };
        let alive = self.is_alive(slot);
        let condition = match back {
            Back::Clean | Back::Dirty if alive => Some(self.judge_return(id, slot, back)?),
            Back::Clean | Back::Dirty | Back::Unusable | Back::CutOff => None,
        };
        self.end_hold(id, slot, back)?;
        if let Some(condition) = condition {
            self.set_condition(slot, condition);
        }
        self.client(id).doing = ClientDoing::Thinks;
        Ok(())
    }

    // ---- reloads

    fn pool_settings(&self, id: ClientId) -> Option<Arc<Settings>> {
        let client = self.clients.get(&id)?;
        self.pools.get(&client.pool).map(|model| model.settings.clone())
    }

    /// After a reload the settings are read anew.
    fn renew_settings(&mut self, id: ClientId) {
        let Some(settings) = self.pool_settings(id) else { return };
        if let Some(speaker) = self.talks.speakers.get_mut(&id)
            && !Arc::ptr_eq(&speaker.settings, &settings)
        {
            speaker.settings = settings.clone();
            speaker.session.set_settings(settings);
        }
    }

    /// A reload may have changed the limits of a client that needs no other connection, and a session that is not
    /// pooled as one any more ends when nothing is under way.
    pub(super) fn take_in_reload(&mut self, id: ClientId) -> Kept {
        let Some(renewed) = self.pool_settings(id) else { return Ok(()) };
        let slot = self.held_by(id);
        let Some(speaker) = self.talks.speakers.get_mut(&id) else { return Ok(()) };
        if Arc::ptr_eq(&speaker.settings, &renewed) {
            return Ok(());
        }
        let held = speaker.session.settings().clone();
        let both = held.mode == PoolMode::Session && renewed.mode == PoolMode::Session;
        let at_rest = slot.and_then(|slot| self.talks.wires.get(&slot)).is_some_and(|wire| {
            let nothing_kept = speaker.kept.is_empty() && wire.kept.is_empty();
            speaker.phase == Phase::Open
                && nothing_kept
                && speaker.session.holding(&wire.link) == Holding::Session
        });
        if let Some(slot) = slot
            && held.mode == PoolMode::Session
            && !both
            && at_rest
        {
            let release = match self.talks.wires.get_mut(&slot) {
                Some(wire) => speaker.session.detach(&mut wire.link),
                None => return Ok(()),
            };
            self.release(id, &release)?;
            self.renew_settings(id);
        } else if slot.is_none() || both {
            self.renew_settings(id);
        } else {
            let (mode, prepared_max, clean) = (held.mode, held.prepared_max, held.clean);
            let settings = Settings { mode, prepared_max, clean, ..Settings::clone(&renewed) };
            speaker.session.set_settings(Arc::new(settings));
        }
        self.note_limit(id);
        Ok(())
    }

    /// The relay hears of a reload through the mail.
    pub(super) fn post_reload(&mut self) -> Kept {
        let ids: Vec<ClientId> = self.talks.speakers.keys().copied().collect();
        ids.into_iter().try_for_each(|id| self.take_in_reload(id))
    }

    /// A server has answered and stays with its client.
    pub(super) fn look_at_mode(&mut self, id: ClientId) -> Kept {
        let pooled_as_session = |speaker: &Speaker| speaker.session.settings().mode == PoolMode::Session;
        if self.talks.speakers.get(&id).is_some_and(pooled_as_session) {
            self.take_in_reload(id)
        } else {
            Ok(())
        }
    }

    // ---- limits of time

    /// Enters when a limit of the client's time is over.
    pub(super) fn note_limit(&mut self, id: ClientId) {
        let slot = self.held_by(id);
        let Some(speaker) = self.talks.speakers.get_mut(&id) else { return };
        let link = slot.and_then(|slot| self.talks.wires.get(&slot)).map(|wire| &wire.link);
        let due = speaker.session.poll_timeout(link).map(|(due, _)| due);
        if let Some(due) = due
            && speaker.limit.is_none_or(|limit| due < limit)
        {
            speaker.limit = Some(due);
            self.enter(due.0.saturating_sub(self.now.0), Event::Limit(id));
        }
    }

    /// A limit of the client's time may be over.
    pub(crate) fn limit(&mut self, id: ClientId) -> Kept {
        let (slot, now) = (self.held_by(id), self.now);
        let Some(speaker) = self.talks.speakers.get_mut(&id) else { return Ok(()) };
        if speaker.limit.is_some_and(|limit| limit <= now) {
            speaker.limit = None;
        }
        let link = slot.and_then(|slot| self.talks.wires.get(&slot)).map(|wire| &wire.link);
        match speaker.session.poll_timeout(link) {
            Some((due, cause)) if due <= now && speaker.phase != Phase::Waiting => {
                self.close_client(id, Side::Client, &cause)
            }
            _ => {
                self.note_limit(id);
                Ok(())
            }
        }
    }

    /// A granted connection is taken up by a client that speaks.
    pub(super) fn take_up(&mut self, id: ClientId, slot: SlotId, hold: HoldId) -> Kept {
        self.attach(id, slot)?;
        let still = self.clients.get(&id).is_some_and(|c| c.doing == ClientDoing::Holds(slot, hold));
        if still { self.resume_client(id) } else { Ok(()) }
    }
}

/// A notification: only who listens may get one where a session has its connection to itself.
fn notified(id: ClientId, speaker: &Speaker, message: &[u8], remodels: bool) -> Kept {
    let whole_session = speaker.session.settings().mode == PoolMode::Session && !remodels;
    let channel = message.get(9..).unwrap_or_default().split(|byte| *byte == 0).next().unwrap_or_default();
    let channel = String::from_utf8_lossy(channel);
    let listens = speaker.alone.sql().listens_to(&channel) || speaker.alone.sleeps().is_some();
    ensure(!whole_session || listens, "5: no state of one client reaches another", || {
        format!("{id:?} is notified of {channel} and does not listen")
    })
}
