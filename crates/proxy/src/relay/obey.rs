//! Giving up the server connection by order.

use std::task::Context;

use plimsoll_ledger::{HoldState, How, What};
use plimsoll_session::{Ending, Holding, Release, Revoked};
use plimsoll_types::{Cause, Side};

use super::note::Last;
use super::{Ended, Phase, Relay};
use crate::order::{Force, Order, Want};
use crate::worker::Scratch;
use crate::{cancel, loss};

impl Relay {
    /// Does what is ordered, if the order is about what the client holds now.
    #[cold]
    pub(super) fn obey(
        &mut self,
        cx: &mut Context<'_>,
        scratch: &mut Scratch,
        order: &Order,
    ) -> Result<(), Ended> {
        let (held, state) = match &self.conn {
            Some(conn) if conn.tally.hold == order.hold => {
                let record = conn.entry.record.lock();
                let used = record.progress.used;
                let rests = record.progress.state != HoldState::Executing;
                let is_meant = record.is_open()
                    && order.unused_since.is_none_or(|since| rests && used <= since)
                    && !matches!(self.phase, Phase::Settling(_));
                (is_meant, record.progress.state)
            }
            Some(_) | None => (false, HoldState::Executing),
        };
        if !held {
            order.report(&self.hub, None, What::Over);
            return Ok(());
        }
        match order.want {
            Want::Close => self.close_by(order, state),
            Want::Take if state == HoldState::Executing => {
                self.strike_by(order);
                Ok(())
            }
            Want::Take => self.take_by(cx, scratch, order),
        }
    }

    fn take_by(&mut self, cx: &mut Context<'_>, scratch: &mut Scratch, order: &Order) -> Result<(), Ended> {
        let Some(conn) = &mut self.conn else { return Ok(()) };
        let steps = &mut scratch.steps;
        match self.session.revoke(&mut conn.link, &order.why, &self.hub.tracked, steps) {
            Revoked::Taken(release) => {
                order.report(&self.hub, Some((&self.entry, conn)), What::Taken);
                self.carry_out(cx, scratch, &[])?;
                let now = scratch.now(&self.hub);
                let release = match release {
                    Release::Unfinished if loss::cleanup_timeout(&self.hub.plan()).is_zero() => {
                        Release::Unusable(Cause::TransactionRevoked { why: (&*order.why).into() })
                    }
                    other => other,
                };
                self.give_back(release, Last::default(), || How::Cut(order.how(What::Taken)), now);
                self.note_deadline();
                self.resume_client(cx, scratch)
            }
            Revoked::Busy => {
                order.report(&self.hub, Some((&self.entry, conn)), What::Busy);
                Ok(())
            }
            Revoked::Keeps => {
                order.report(&self.hub, Some((&self.entry, conn)), What::Keeps);
                Ok(())
            }
        }
    }

    /// By force what executes is cancelled, and the connection taken when the server has said so; unless that would be
    /// for nothing, or could strike something else.
    fn strike_by(&mut self, order: &Order) {
        let Some(conn) = &mut self.conn else { return };
        let what = if self.session.would_keep(&conn.link) {
            What::Keeps
        } else if order.force == Force::No || conn.link.ending() != Ending::Cancel {
            What::Busy
        } else {
            What::Cancelled
        };
        order.report(&self.hub, Some((&self.entry, conn)), what);
        if what == What::Cancelled {
            conn.tally.order = Some(Box::new(order.clone()));
            let (hub, key) = (self.hub.clone(), self.entry.key);
            self.hub.spawn_on(self.worker, async move {
                // What is told of it is what the server answers to the statement.
                cancel::handle(&hub, &key).await;
            });
        }
    }

    /// The server has answered all that it was asked, one of it cancelled by order: now the connection is taken, or
    /// never. What the client says later is nothing that was ordered.
    #[cold]
    pub(super) fn obey_now(&mut self, cx: &mut Context<'_>, scratch: &mut Scratch) -> Result<(), Ended> {
        let quiet = self.conn.as_ref().is_some_and(|conn| {
            !matches!(self.session.holding(&conn.link), Holding::Executing | Holding::Settling)
        });
        let order = self.conn.as_mut().filter(|_| quiet).and_then(|conn| conn.tally.order.take());
        match order {
            Some(order) => self.take_by(cx, scratch, &order),
            None => Ok(()),
        }
    }

    fn close_by(&mut self, order: &Order, state: HoldState) -> Result<(), Ended> {
        let held = self.conn.as_deref().map(|conn| (&*self.entry, conn));
        if state == HoldState::Executing && order.force == Force::No {
            order.report(&self.hub, held, What::Busy);
            return Ok(());
        }
        order.report(&self.hub, held, What::Closed);
        let why = (&*order.why).into();
        let in_transaction = self.session.xact_since().0 != 0;
        let cause =
            if in_transaction { Cause::TransactionRevoked { why } } else { Cause::SessionRevoked { why } };
        Err((Side::Client, cause))
    }
}
