//! How many are asked at once. Who comes when all places are taken waits, first come, first served; when too many wait,
//! nobody else does.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::oneshot;

/// Most that wait. Each is a client that has given its password and nothing else.
const WAITING_MAX: usize = 1000;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Gate(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// As the last one who came has it: a reload can change it.
    places: u32,
    taken: u32,
    waiting: VecDeque<oneshot::Sender<Place>>,
}

/// A place inside; dropped, the next one has it.
#[derive(Debug)]
pub(crate) struct Place(Option<Arc<Gate>>);

/// Too many wait.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Crowded;

impl Gate {
    /// Waits for one of `places`. Cancel safe.
    pub(crate) async fn enter(self: &Arc<Gate>, places: u32) -> Result<Place, Crowded> {
        let turn = {
            let mut state = self.0.lock();
            state.places = places;
            if state.taken < places && state.waiting.iter().all(oneshot::Sender::is_closed) {
                state.waiting.clear();
                state.taken += 1;
                return Ok(Place(Some(self.clone())));
            }
            if state.waiting.len() >= WAITING_MAX {
                state.waiting.retain(|waiter| !waiter.is_closed());
            }
            if state.waiting.len() >= WAITING_MAX {
                return Err(Crowded);
            }
            let (turn, comes) = oneshot::channel();
            state.waiting.push_back(turn);
            comes
        };
        // Places that have been added since the last one left.
        self.admit();
        turn.await.map_err(|_closed| Crowded)
    }

    /// How many are inside.
    pub(crate) fn taken(&self) -> u32 {
        self.0.lock().taken
    }

    /// Gives free places to those who wait.
    fn admit(self: &Arc<Gate>) {
        loop {
            let waiter = {
                let mut state = self.0.lock();
                if state.taken >= state.places {
                    return;
                }
                let Some(waiter) = state.waiting.pop_front() else { return };
                state.taken += 1;
                waiter
            };
            if let Err(mut place) = waiter.send(Place(Some(self.clone()))) {
                // It has left; this place is given to the next one here, not by its drop.
                place.0 = None;
                self.0.lock().taken -= 1;
            }
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(gate) = self.0.take() {
            gate.0.lock().taken -= 1;
            gate.admit();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::task::Poll;

    use super::*;

    async fn now<T>(future: impl Future<Output = T>) -> Option<T> {
        let mut future = Box::pin(future);
        std::future::poll_fn(|cx| {
            Poll::Ready(match future.as_mut().poll(cx) {
                Poll::Ready(done) => Some(done),
                Poll::Pending => None,
            })
        })
        .await
    }

    /// A gate with one place, and who has it.
    async fn full() -> (Arc<Gate>, Place) {
        let gate = Arc::new(Gate::default());
        let place = gate.enter(1).await.expect("a place");
        (gate, place)
    }

    #[tokio::test]
    async fn places_are_given_in_turn_and_none_is_lost() {
        let (gate, first) = full().await;
        let mut second = Box::pin(gate.enter(1));
        let mut third = Box::pin(gate.enter(1));
        assert!(now(&mut second).await.is_none() && now(&mut third).await.is_none());
        drop(first);
        assert!(now(&mut third).await.is_none(), "the second one comes first");
        let second = now(&mut second).await.expect("its turn").expect("a place");
        drop(second);
        drop(now(&mut third).await.expect("its turn").expect("a place"));
        assert_eq!(gate.taken(), 0);
    }

    #[tokio::test]
    async fn who_leaves_holds_nobody_up() {
        let (gate, first) = full().await;
        let mut left = Box::pin(gate.enter(1));
        let mut given = Box::pin(gate.enter(1));
        let mut last = Box::pin(gate.enter(1));
        assert!(now(&mut left).await.is_none() && now(&mut given).await.is_none());
        assert!(now(&mut last).await.is_none());
        drop(left);
        drop(first);
        // It has its place already, and leaves without having seen it.
        drop(given);
        drop(now(&mut last).await.expect("its turn").expect("a place"));
        assert_eq!(gate.taken(), 0);
    }

    #[tokio::test]
    async fn more_places_are_taken_at_once_and_fewer_are_kept_to() {
        let (gate, first) = full().await;
        let mut waits = Box::pin(gate.enter(1));
        assert!(now(&mut waits).await.is_none());
        let mut third = Box::pin(gate.enter(3));
        assert!(now(&mut third).await.is_some_and(|place| place.is_ok()));
        let waited = now(&mut waits).await.expect("its turn").expect("a place");
        assert!(now(Box::pin(gate.enter(1))).await.is_none());
        drop((first, waited));
    }

    #[tokio::test]
    async fn too_many_do_not_wait() {
        let (gate, place) = full().await;
        let mut waiting = Vec::new();
        for _ in 0..WAITING_MAX {
            let mut waiter = Box::pin(gate.enter(1));
            assert!(now(&mut waiter).await.is_none());
            waiting.push(waiter);
        }
        assert_eq!(now(gate.enter(1)).await.map(|entered| entered.map(drop)), Some(Err(Crowded)));
        waiting.pop();
        assert!(now(Box::pin(gate.enter(1))).await.is_none(), "one has left, and another may wait");
        drop(place);
    }
}
