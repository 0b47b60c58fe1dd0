//! Checks by LDAP: one connection each, on a thread for all of them.

mod discover;
mod line;

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use parking_lot::Mutex;
use plimsoll_auth::ldap::{LdapCheck, LdapProblem, LdapServer, LdapStep};
use plimsoll_types::Cause;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout, timeout_at};

use crate::gate::{Gate, Place};
use crate::outcome::Outcome;
use crate::{ByLdap, Claim, No};
use line::Line;

/// How long the last words may take: the answer is known.
const FAREWELL: Duration = Duration::from_millis(100);

/// Takes questions in and hands them to the thread.
#[derive(Debug, Default)]
pub(crate) struct Desk {
    /// Opens with the first question.
    door: OnceLock<mpsc::UnboundedSender<Job>>,
    /// One for each list of servers: those that do not answer are not in the way of others.
    gates: Mutex<HashMap<String, Arc<Gate>>>,
}

/// A check under way.
#[derive(Debug)]
struct Job {
    by: ByLdap,
    claim: Claim,
    until: Instant,
    reply: oneshot::Sender<Outcome>,
    /// Held as long as there is a connection.
    place: Place,
}

impl Desk {
    /// See [`crate::Vouchers::check`].
    pub(crate) async fn check(&self, by: ByLdap, claim: Claim) -> Result<(), No> {
        let servers = by.options.servers.to_string();
        let until = Instant::now() + by.time_max;
        let gate = self.gate(&servers);
        let unavailable =
            |why: String, log: String| No { cause: Cause::LdapUnavailable { why: why.into() }, log };
        let place = match timeout_at(until, gate.enter(by.at_once_max)).await {
            Ok(Ok(place)) => place,
            Ok(Err(_crowded)) => {
                let why = "too many logins wait for the LDAP server already".to_string();
                return Err(unavailable(why, format!("too many logins wait for LDAP ({servers})")));
            }
            Err(_elapsed) => {
                let why = format!("no turn within {} s: {} checks are under way", seconds(&by), gate.taken());
                return Err(unavailable(why.clone(), format!("LDAP ({servers}): {why}")));
            }
        };
        let (reply, answer) = oneshot::channel();
        let time_max = seconds(&by);
        let job = Job { by, claim, until, reply, place };
        let gone = || {
            let words = "there is no thread that asks LDAP servers: see the log".to_string();
            unavailable("the LDAP server cannot be asked".to_string(), words)
        };
        self.door.get_or_init(open).send(job).map_err(|_closed| gone())?;
        match timeout_at(until, answer).await {
            Ok(Ok(Outcome::Good)) => Ok(()),
            Ok(Ok(Outcome::Bad(why))) => {
                Err(No { cause: Cause::LdapFailed, log: format!("LDAP ({servers}): {why}") })
            }
            // The last server's share of the time ends together with all of it.
            Ok(Ok(Outcome::Unknown(problems))) if Instant::now() >= until => {
                let why = format!("no answer within {time_max} s");
                Err(unavailable(why.clone(), format!("LDAP ({servers}): {why}: {problems}")))
            }
            Ok(Ok(Outcome::Unknown(why))) => {
                let log = format!("LDAP ({servers}): {why}");
                Err(unavailable("the LDAP server cannot be asked, or does not tell".to_string(), log))
            }
            Ok(Err(_closed)) => Err(gone()),
            Err(_elapsed) => {
                let why = format!("no answer within {time_max} s");
                Err(unavailable(why.clone(), format!("LDAP ({servers}): {why}")))
            }
        }
    }

    /// The gate of these servers. Gates through which nobody goes are forgotten.
    fn gate(&self, servers: &str) -> Arc<Gate> {
        let mut gates = self.gates.lock();
        if let Some(gate) = gates.get(servers) {
            return gate.clone();
        }
        gates.retain(|_, gate| Arc::strong_count(gate) > 1);
        gates.entry(servers.to_string()).or_default().clone()
    }
}

fn seconds(by: &ByLdap) -> f64 {
    by.time_max.as_secs_f64()
}

/// Starts the thread. Without it the door is one behind which there is nobody.
fn open() -> mpsc::UnboundedSender<Job> {
    let (door, mut inbox) = mpsc::unbounded_channel::<Job>();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().max_blocking_threads(1).build();
    let started = runtime.and_then(|runtime| {
        let work = move || {
            runtime.block_on(async move {
                while let Some(job) = inbox.recv().await {
                    tokio::spawn(run(job));
                }
            });
        };
        std::thread::Builder::new().name("ldap".to_string()).spawn(work)
    });
    if let Err(error) = started {
        tracing::error!("cannot start the thread that asks LDAP servers: {error}");
    }
    door
}

/// One check; it ends when nobody wants to know any more.
async fn run(job: Job) {
    let Job { by, claim, until, mut reply, place } = job;
    let outcome = tokio::select! {
        outcome = ask(&by, &claim, until) => outcome,
        () = reply.closed() => return,
    };
    drop(place);
    // Whoever has left needs no answer.
    let _ = reply.send(outcome);
}

/// Asks one server after the other, until one can tell. Each has its share of the time that is left.
async fn ask(by: &ByLdap, claim: &Claim, until: Instant) -> Outcome {
    let servers = match discover::servers(by).await {
        Ok(servers) => servers,
        Err(why) => return Outcome::Unknown(why),
    };
    let mut problems = Vec::new();
    for (at, server) in servers.iter().enumerate() {
        let left = until.saturating_duration_since(Instant::now());
        let others = u32::try_from(servers.len() - at).unwrap_or(u32::MAX);
        let why = match timeout(left / others, ask_one(by, claim, server)).await {
            Ok(Ok(outcome)) => return outcome,
            Ok(Err(LdapProblem(why))) => why,
            Err(_elapsed) => "no answer in its time".to_string(),
        };
        problems.push(format!("{server}: {why}"));
    }
    Outcome::Unknown(problems.join("; "))
}

/// Asks one server.
async fn ask_one(by: &ByLdap, claim: &Claim, server: &LdapServer) -> Result<Outcome, LdapProblem> {
    let mut line = Line::connect(by, server).await?;
    let mut check = LdapCheck::new(by.options.clone(), &claim.user, claim.password.clone());
    let mut step = check.begin();
    let outcome = loop {
        step = match step {
            LdapStep::Send(message) => {
                line.send(&message).await?;
                check.handle_message(line.message().await?)?
            }
            LdapStep::Wait => check.handle_message(line.message().await?)?,
            LdapStep::StartTls => {
                line = line.secure(by, server).await?;
                check.handle_tls()
            }
            LdapStep::Accept => break Outcome::Good,
            LdapStep::Refuse(why) => break Outcome::Bad(why),
        };
    };
    // A server that does not take these words learns by the end of the connection.
    let _ = timeout(FAREWELL, line.send(&check.farewell())).await;
    Ok(outcome)
}
