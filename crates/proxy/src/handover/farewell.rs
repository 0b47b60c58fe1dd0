//! Clients that are carried by the old process leave when they are idle, all of them spread over half of
//! `restart_tls_timeout`; who is there when that is over is cut off. Server connections that are carried close when
//! nobody holds them any more: they have been adopted for that.

use std::sync::Arc;
use std::time::Duration;

use plimsoll_types::{Cause, ClientId};
use tokio::time::{Instant, sleep_until};

use crate::ask::ASKING_WORKER;
use crate::entry::ClientEntry;
use crate::hub::Hub;

/// The default of `restart_tls_timeout`.
const LONGEST: Duration = Duration::from_secs(60);

/// How long clients have.
pub(super) fn longest(hub: &Hub) -> Duration {
    hub.plan().own.restart_tls_timeout.unwrap_or(LONGEST)
}

/// Sees those off that are carried, and at the end also those that hold what is carried.
pub(crate) fn see_off(hub: &Arc<Hub>, carried: Vec<Arc<ClientEntry>>, holders: Vec<ClientId>) {
    if carried.is_empty() && holders.is_empty() {
        return;
    }
    let (hub_there, longest) = (hub.clone(), longest(hub));
    let begun = Instant::now();
    hub.spawn_on(ASKING_WORKER, async move {
        let all = u32::try_from(carried.len()).unwrap_or(u32::MAX).max(1);
        for (number, client) in (1_u32..).zip(&carried) {
            sleep_until(begun + (longest / 2).mul_f64(f64::from(number) / f64::from(all))).await;
            client.post(|mail| mail.leave = Some(Box::new(Cause::Restarted)));
        }
        sleep_until(begun + longest).await;
        let late: Vec<Arc<ClientEntry>> = {
            let clients = hub_there.clients.lock();
            let is_late = |client: &&Arc<ClientEntry>| {
                let holds_carried = || holders.contains(&client.id) && holds_what_closes(&hub_there, client);
                carried.iter().any(|carried| carried.id == client.id) || holds_carried()
            };
            clients.values().filter(is_late).cloned().collect()
        };
        for client in late {
            client.post(|mail| mail.kill = Some(Box::new(Cause::RestartedLate)));
        }
    });
}

/// Whether it still holds a connection that is to close.
fn holds_what_closes(hub: &Hub, client: &ClientEntry) -> bool {
    let held = client.held().and_then(|(slot, _)| hub.core.lock().pools.slot(slot));
    held.is_some_and(|slot| slot.close_needed)
}
