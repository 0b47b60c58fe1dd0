//! The control thread: everything that happens because time goes by, the console's clients, and the end.
//!
//! It may be stuck without harming a query.

mod averages;
mod console_client;
mod extended;
mod names;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;

pub(crate) use averages::Averages;
pub(crate) use console_client::{ConsoleClient, Welcomed};

use crate::control::Control;
use crate::handover::Stage;
use crate::hub::{Hub, Phase};
use crate::liveness::Sweep;
use crate::{ask, credentials, ledger, listener, targets};
use names::Names;

/// How often the pools are told the time.
const TICK: Duration = Duration::from_millis(100);

/// How often clients are looked at whose limits may be over; also how often new host names are looked for.
const JANITOR_TICKS: u32 = 3;

/// How often the ledger looks at all open holds.
const LEDGER_TICKS: u32 = 10;

/// How long the first clients are kept waiting for host names to resolve.
const FIRST_NAMES: Duration = Duration::from_secs(2);

/// How long a worker may take to go on to something else.
const PASSED: Duration = Duration::from_secs(1);

/// Runs as long as the process.
pub(crate) async fn run(control: Control, mut inbox: mpsc::UnboundedReceiver<ConsoleClient>) {
    let hub = control.hub.clone();
    let mut names = Names::default();
    names.look_up_new(&hub);
    // Late names do not keep anybody out for ever.
    let _ = tokio::time::timeout(FIRST_NAMES, names.all_found(&hub)).await;
    listener::open_doors(&hub);
    hub.spawn_on(ask::ASKING_WORKER, targets::watch(hub.clone()));
    let mut tick = tokio::time::interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut beats = Beats::new();
    loop {
        tokio::select! {
            biased;
            Some(client) = inbox.recv() => {
                tokio::spawn(console_client::serve(control.clone(), client));
            }
            found = names.found() => names.take_in(&hub, found),
            needed = hub.needed_names.taken() => names.look_up_needed(&hub, needed),
            () = hub.gone.notified() => {}
            _ = tick.tick(), if !hub.stillness.is_still() => beats.beat(&control, &mut names),
        }
        if hub.stillness.is_still() {
            // Nothing is decided while everything stands still, and nothing ever again when it is another process's.
            let mut stage = hub.stillness.watch();
            let _ = stage.wait_for(|stage| !matches!(stage, Stage::Still | Stage::Given)).await;
        }
        if let Some(why) = end(&hub)
            && is_sure(&hub, &why).await
        {
            return finish(&hub, why).await;
        }
    }
}

/// What is done every so many ticks.
struct Beats {
    ticks: u32,
    averaged: Instant,
    sweep: Sweep,
}

impl Beats {
    fn new() -> Beats {
        Beats { ticks: 0, averaged: Instant::now(), sweep: Sweep::default() }
    }

    fn beat(&mut self, control: &Control, names: &mut Names) {
        let hub = &control.hub;
        control.tell_time();
        self.sweep.beat(hub, TICK);
        self.ticks = self.ticks.wrapping_add(1);
        if self.ticks.is_multiple_of(LEDGER_TICKS) {
            ledger::observe(hub);
        }
        if self.ticks.is_multiple_of(JANITOR_TICKS) {
            if control.is_suspended() {
                control.end_late_flush();
            } else {
                wake_due_clients(hub);
                control.tidy();
            }
            credentials::retire_ended(hub);
            hub.spills.tend();
            names.look_up_new(hub);
        }
        let general = &hub.plan().general;
        let gone_by = self.averaged.elapsed();
        if gone_by >= general.stats_period {
            self.averaged = Instant::now();
            control.averages.update(control.stats(), gone_by);
            if general.log.stats {
                tracing::info!("{}", control.averages.log_line());
            }
        }
    }
}

/// Wakes clients whose limits are over.
fn wake_due_clients(hub: &Hub) {
    let now = hub.now();
    for client in hub.clients.lock().values() {
        client.wake_if_due(now);
    }
}

/// How the process comes to its end, if it does now.
fn end(hub: &Arc<Hub>) -> Option<End> {
    if hub.exiting.load(Ordering::Acquire) {
        return Some(End::AtOnce);
    }
    match hub.phase() {
        Phase::Running => None,
        Phase::WaitForClients if hub.sockets.load(Ordering::Acquire) == 0 => Some(End::NoClients),
        // Whoever has not taken all of an answer that is off its server would lose the rest of it.
        Phase::WaitForServers if hub.core.lock().pools.is_quiet(None) && hub.spills.unserved().is_empty() => {
            Some(End::NoServers)
        }
        Phase::WaitForClients | Phase::WaitForServers => None,
    }
}

/// Looks again when each worker has gone on to something else: a client whose server has just been given back may still
/// be about to be written its answer, and only then it shows whether its socket takes all of it.
async fn is_sure(hub: &Arc<Hub>, why: &End) -> bool {
    match why {
        End::AtOnce | End::NoClients => return true,
        End::NoServers => {}
    }
    for worker in &hub.workers {
        // A worker that does not answer is none to wait for: the next tick looks again.
        let passed = worker.handle.spawn(std::future::ready(()));
        if tokio::time::timeout(PASSED, passed).await.is_err() {
            return false;
        }
    }
    end(hub).is_some()
}

enum End {
    AtOnce,
    NoClients,
    NoServers,
}

/// Tells `main` that the process may end, and stays: what console clients are owed goes on being sent until then.
async fn finish(hub: &Hub, end: End) {
    match end {
        End::AtOnce => {}
        End::NoClients => tracing::info!("client connections dropped, exiting"),
        End::NoServers => tracing::info!("server connections dropped, exiting"),
    }
    hub.doors.remove_unix();
    hub.finished.notify_one();
    std::future::pending().await
}
