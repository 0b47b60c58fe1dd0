//! What server connections log in with where `credential=` says that somebody else knows it: the seam to the providers,
//! and what becomes of a connection whose credential has ended.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use plimsoll_config::{CredentialSource, Plan, SessionNotAfter};
use plimsoll_pool::Failure;
use plimsoll_types::{Cause, Moment, Secret, SlotId, SqlState};

use crate::directory::PoolEntry;
use crate::entry::TargetAddr;
use crate::hub::Hub;

/// Which secret is wanted.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// Who gives it; never [`CredentialSource::Static`].
    pub source: CredentialSource,
    /// The server, as the configuration names it; the folder of a Unix socket.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// As whom we log in.
    pub role: Arc<str>,
    /// The epoch of a secret that the server has just refused.
    pub refused: Option<u64>,
}

/// A secret, for one login.
#[derive(Clone, Debug)]
pub struct Given {
    /// The password.
    pub secret: Secret,
    /// Counts the different secrets for this server and role.
    pub epoch: u64,
    /// How long it is good for from now on; `None`: nobody knows of an end.
    pub life: Option<Duration>,
}

/// A secret that is being fetched. It ends by itself, and soon.
pub type Giving = Pin<Box<dyn Future<Output = Result<Given, Cause>> + Send>>;

/// Whoever knows the secrets of server logins. Called on any worker, returns at once.
pub trait Credentials: Send + Sync {
    /// The secret for a login.
    fn secret(&self, wanted: Wanted) -> Giving;
}

/// Nobody does.
#[derive(Clone, Copy, Debug)]
pub struct NoCredentials;

impl Credentials for NoCredentials {
    fn secret(&self, _wanted: Wanted) -> Giving {
        let cause = Cause::NoCredential { provider: "nobody".into(), why: "there are no providers".into() };
        Box::pin(std::future::ready(Err(cause)))
    }
}

/// What a login was given.
#[derive(Clone, Debug)]
pub(crate) struct Lent {
    wanted: Wanted,
    /// The password.
    pub(crate) secret: Secret,
    /// What its server connection remembers of it.
    pub(crate) term: Term,
}

/// What is known of the credential of a server connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Term {
    /// Which of the secrets it was.
    pub(crate) epoch: u64,
    /// When it ends.
    ends: Option<Moment>,
}

impl Term {
    /// Of a connection that another process has opened: which of its secrets that was means nothing here.
    pub(crate) fn of_another(ends: Option<Moment>) -> Term {
        Term { epoch: 0, ends }
    }

    /// When it ends.
    pub(crate) fn ends(&self) -> Option<Moment> {
        self.ends
    }
}

/// Whether a secret may go over the wire as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ClearText {
    /// It may.
    Sent,
    /// Whoever is on the way could use it.
    Withheld,
}

/// The secret that a provider has for a login; `None`: the usual one counts.
pub(crate) async fn lend(
    hub: &Hub,
    plan: &Plan,
    pool: &PoolEntry,
    target: &TargetAddr,
) -> Result<Option<Lent>, Failure> {
    let Some(wanted) = wanted(hub, plan, pool, target) else { return Ok(None) };
    // Whoever gives secrets has logged why there is none.
    ask(hub, wanted).await.map(Some).map_err(Failure::Login)
}

/// Another secret for a login that the server has refused for the sake of this one.
pub(crate) async fn renew(hub: &Hub, lent: Option<&Lent>, failure: &Failure) -> Option<Lent> {
    let lent = lent.filter(|_| is_refused(failure))?;
    let wanted = Wanted { refused: Some(lent.term.epoch), ..lent.wanted.clone() };
    // If there is none, what the server has said is what is told: the log has the rest.
    ask(hub, wanted).await.ok().filter(|newer| newer.term.epoch != lent.term.epoch)
}

async fn ask(hub: &Hub, wanted: Wanted) -> Result<Lent, Cause> {
    let Given { secret, epoch, life } = hub.credentials.secret(wanted.clone()).await?;
    Ok(Lent { wanted, secret, term: Term { epoch, ends: life.map(|life| hub.now() + life) } })
}

fn wanted(hub: &Hub, plan: &Plan, pool: &PoolEntry, target: &TargetAddr) -> Option<Wanted> {
    let config = pool.database.config();
    let directory = hub.directory.lock();
    // The line's credential is for the line's users; control_user has its own.
    let line = Some(&*config).filter(|_| !pool.purpose.is_control());
    let source = plan.credential(line, &pool.user, directory.line_of(plan, target));
    if source == CredentialSource::Static {
        return None;
    }
    let (host, port) = match target {
        TargetAddr::Tcp(addr) => {
            let host = directory.host_of(&config, target);
            (host.unwrap_or_else(|| addr.ip().to_string()), addr.port())
        }
        TargetAddr::Unix(path, port) => {
            let folder = path.parent().unwrap_or(path);
            (folder.display().to_string(), *port)
        }
    };
    Some(Wanted { source, host, port, role: pool.user.clone(), refused: None })
}

/// Whether another secret may help: 28P01, or 28000 as some services say.
fn is_refused(failure: &Failure) -> bool {
    let Failure::Login(cause @ Cause::Server { .. }) = failure else { return false };
    matches!(cause.sqlstate(), SqlState::INVALID_PASSWORD | SqlState::INVALID_AUTHORIZATION)
}

/// Whether the server may be sent this secret in the clear if it asks for that.
pub(crate) fn clear_text(lent: Option<&Lent>, target: &TargetAddr, tls: Option<&str>) -> ClearText {
    let far = match target {
        TargetAddr::Tcp(addr) => !addr.ip().to_canonical().is_loopback(),
        TargetAddr::Unix(..) => false,
    };
    match lent {
        Some(lent) if far && tls.is_none() && lent.wanted.source.is_bearer() => ClearText::Withheld,
        Some(_) | None => ClearText::Sent,
    }
}

/// Why a secret was not sent.
pub(crate) fn withheld(lent: Option<&Lent>) -> Failure {
    let provider = lent.map_or("nobody", |lent| lent.wanted.source.kind());
    Failure::Login(Cause::CredentialInTheClear { provider: provider.into() })
}

/// Retires server connections whose credential has ended, of databases with `session_not_after`.
pub(crate) fn retire_ended(hub: &Arc<Hub>) {
    let now = hub.now();
    let plan = hub.plan();
    let mut lines = plan.databases.iter().chain(&plan.auto_database);
    if !lines.any(|line| line.session_not_after == Some(SessionNotAfter::On)) {
        return;
    }
    let ended: Vec<SlotId> = {
        let core = hub.core.lock();
        let over = |term: &Term| term.ends.is_some_and(|ends| ends <= now);
        let past = core.servers().filter(|entry| entry.term.as_ref().is_some_and(over));
        let ends_sessions = |slot: &SlotId| {
            let pool = core.pools.slot(*slot).and_then(|view| core.pool(view.pool));
            let wanted = pool.and_then(|pool| pool.database.config().session_not_after);
            wanted == Some(SessionNotAfter::On)
        };
        past.map(|entry| entry.slot).filter(ends_sessions).collect()
    };
    if !ended.is_empty() {
        hub.with_pools(|pools, now| pools.retire(&ended, now));
    }
}

#[cfg(test)]
mod tests {
    use plimsoll_config::GoogleMetadata;

    use super::*;

    fn lent(source: CredentialSource) -> Lent {
        let wanted = Wanted { source, host: "db".to_string(), port: 5432, role: "app".into(), refused: None };
        Lent { wanted, secret: Secret::from_text("hunter2"), term: Term { epoch: 1, ends: None } }
    }

    #[test]
    fn a_token_stays_here_when_anybody_could_read_it() {
        let token = lent(CredentialSource::GoogleMetadata(GoogleMetadata::default()));
        let file = lent(CredentialSource::File { path: "/x".into() });
        let tcp = |text: &str| TargetAddr::Tcp(text.parse().expect("an address"));
        let far = tcp("10.0.0.1:5432");
        assert_eq!(clear_text(Some(&token), &far, None), ClearText::Withheld);
        assert_eq!(clear_text(Some(&token), &far, Some("TLSv1.3")), ClearText::Sent);
        assert_eq!(clear_text(Some(&file), &far, None), ClearText::Sent);
        assert_eq!(clear_text(None, &far, None), ClearText::Sent);
        for near in [tcp("127.0.0.1:1"), tcp("[::1]:1"), TargetAddr::Unix("/tmp/.s.PGSQL.1".into(), 1)] {
            assert_eq!(clear_text(Some(&token), &near, None), ClearText::Sent, "{near:?}");
        }
        let Failure::Login(cause) = withheld(Some(&token)) else { panic!("a login has failed") };
        assert_eq!(
            cause.message(),
            "server login failed: a token from google-metadata is not sent without TLS"
        );
    }

    #[test]
    fn only_a_refusal_of_the_secret_is_worth_another_one() {
        let said = |state: &[u8; 5]| Cause::Server { sqlstate: SqlState(*state), message: "no".into() };
        assert!(is_refused(&Failure::Login(said(b"28P01"))) && is_refused(&Failure::Login(said(b"28000"))));
        assert!(!is_refused(&Failure::Login(said(b"3D000"))));
        assert!(!is_refused(&Failure::Connect(said(b"28P01"))));
        let ours = Cause::NoCredential { provider: "p".into(), why: "w".into() };
        assert!(!is_refused(&Failure::Login(ours)));
    }

    #[test]
    fn nothing_shows_a_secret() {
        let shown = format!("{:?}", lent(CredentialSource::Static));
        assert!(!shown.contains("hunter2"), "{shown}");
    }
}
