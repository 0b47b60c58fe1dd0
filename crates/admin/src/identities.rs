//! Identities and the data plane, joined: what the door of `identity` says becomes what a login needs, and whose right
//! has ended is let go.
//!
//! All of it runs on a thread of its own. A worker waits only for what it cannot know without the store.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::http::header::RETRY_AFTER;
use axum::response::IntoResponse;
use hyper::service::Service as _;
use hyper_util::service::TowerToHyperService;
use parking_lot::Mutex;
use plimsoll_config::Plan;
use plimsoll_identity::{
    Bearing, Certificate, Door, Evidence, Followed, Id, Live, Refusal, Service, ServiceFault, ServiceSetup,
    USED_EVERY_MS, Visitor, Welcome,
};
use plimsoll_proxy::{
    Bearer, Control, Discovery, GrantLimits, Keeper, Kept, NotByCertificate, Proof, Proved, ProvedView,
    Proving, Recognising, Refused, ShownCertificate,
};
use plimsoll_types::Cause;
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::issuers::Issuers;

/// How long access tokens are good, seconds.
const TOKEN_LIFE_S: i64 = 600;

/// How often the log of changes is looked at where nothing says that there are some.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// How often everybody is looked at, whether something was heard or not.
const RECHECK_EVERY: Duration = Duration::from_secs(1);

/// How long a store that cannot be opened is left alone before the next try, at first, and after many.
const RETRY_MIN: Duration = Duration::from_secs(1);
const RETRY_MAX: Duration = Duration::from_secs(8);

/// Identities of a running pooler.
#[derive(Clone)]
pub struct Identities {
    service: Arc<OnceLock<Service>>,
    runtime: Handle,
    issuers: Issuers,
    /// Where our own tokens are to be had.
    own: Option<Discovery>,
}

impl Identities {
    /// Opens the store that the plan names, on a thread of its own; `None`: it names none. A database that does not
    /// answer is tried again in the background: until then nobody gets in by a key or a token.
    ///
    /// # Errors
    /// The store can never be used, or there can be no thread; why, and what to do.
    pub fn open(plan: &Plan, issuers: Issuers) -> Result<Option<Identities>, String> {
        let Some(url) = plan.own.identity.store.url() else { return Ok(None) };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| format!("cannot make an event loop: {error}"))?;
        let setup = setup(plan, &issuers);
        let own = setup.issuer.as_ref().map(|issuer| Discovery {
            url: format!("{issuer}/.well-known/oauth-authorization-server"),
            scope: String::new(),
        });
        let identities =
            Identities { service: Arc::default(), runtime: runtime.handle().clone(), issuers, own };
        let url = url.expose_text().unwrap_or_default().to_owned();
        match runtime.block_on(Service::open(&url, &setup)) {
            Ok(service) => identities.opened(service),
            Err(ServiceFault::Down(error)) => {
                tracing::warn!(
                    "identity_store = {} does not answer: {error}; it is tried again, and until then nobody gets in \
                     by a key or a token",
                    plan.own.identity.store
                );
                runtime.spawn(identities.clone().keep_opening(url, setup));
            }
            // A mistake, most likely, and somebody is there who can see it.
            Err(ServiceFault::Absent(why) | ServiceFault::Unusable(why)) => {
                return Err(format!("identity_store = {}: {why}", plan.own.identity.store));
            }
        }
        let work = move || runtime.block_on(std::future::pending::<()>());
        let thread = std::thread::Builder::new().name("identity".to_string()).spawn(work);
        thread.map_err(|error| format!("cannot start a thread: {error}"))?;
        Ok(Some(identities))
    }

    fn opened(&self, service: Service) {
        // There is only one that opens it.
        let _ = self.service.set(service);
        let all = self.service.clone();
        self.runtime.spawn(async move {
            if let Some(service) = all.get() {
                service.keep().await;
            }
        });
    }

    async fn keep_opening(self, url: String, setup: ServiceSetup) {
        let (mut wait, mut said) = (RETRY_MIN, String::new());
        loop {
            tokio::time::sleep(wait).await;
            wait = wait.saturating_mul(2).min(RETRY_MAX);
            match Service::open(&url, &setup).await {
                Ok(service) => {
                    tracing::info!("the identity store answers");
                    return self.opened(service);
                }
                Err(ServiceFault::Down(_)) => {}
                // A database that is just being restored answers before its tables are there.
                Err(ServiceFault::Absent(why)) => {
                    if why != said {
                        tracing::warn!("identity store: {why}; it is tried again");
                        said = why;
                    }
                }
                Err(ServiceFault::Unusable(why)) => {
                    tracing::error!("identity store: {why}; nobody gets in by a key or a token");
                    return;
                }
            }
        }
    }

    /// The API, there as soon as the store is.
    pub fn api(&self) -> Router {
        let service = self.service.clone();
        Router::new().fallback(async move |request: Request| match service.get() {
            Some(service) => {
                let answered = TowerToHyperService::new(service.api()).call(request).await;
                answered.unwrap_or_else(|never| match never {})
            }
            None => {
                let why = "the identity store does not answer yet\n";
                (StatusCode::SERVICE_UNAVAILABLE, [(RETRY_AFTER, "2")], why).into_response()
            }
        })
    }

    /// Lets those go whose right ends, from now on.
    pub fn watch(&self, control: Control) {
        self.runtime.spawn(watch(self.service.clone(), control));
    }

    /// The end of the process: what is remembered is written down. Not longer than `within`.
    pub fn close(&self, within: Duration) {
        let Some(door) = self.door() else { return };
        let (done, written) = std::sync::mpsc::channel();
        self.runtime.spawn(async move {
            // The process ends either way.
            let _ = door.write_used().await;
            let _ = done.send(());
        });
        let _ = written.recv_timeout(within);
    }

    /// Asks the door: at once what it knows, else on the thread of the store.
    fn ask<E: Send + 'static>(
        &self,
        door: Arc<Door>,
        visitor: Visitor,
        told: impl FnOnce(Result<Arc<Proved>, Refusal>) -> Result<Arc<Proved>, E> + Send + 'static,
    ) -> Pin<Box<dyn Future<Output = Result<Arc<Proved>, E>> + Send>> {
        let answered =
            |answer: Result<Welcome, Refusal>| told(answer.map(|welcome| Arc::new(proved(welcome))));
        if let Some(answer) = door.admit_known(&visitor) {
            return Box::pin(std::future::ready(answered(answer)));
        }
        // Connections of the store belong to its own event loop.
        let (tell, heard) = oneshot::channel();
        self.runtime.spawn(async move {
            // Who asked may have left.
            let _ = tell.send(door.admit(visitor).await);
        });
        Box::pin(async move {
            let gone = |_| Err(Refusal::Unavailable("the thread of the identity store has ended".to_owned()));
            answered(heard.await.unwrap_or_else(gone))
        })
    }

    fn door(&self) -> Option<Arc<Door>> {
        self.service.get().map(|service| service.door().clone())
    }
}

fn setup(plan: &Plan, issuers: &Issuers) -> ServiceSetup {
    let identity = &plan.own.identity;
    let scheme = if plan.own.http_tls_cert_file.is_some() { "https" } else { "http" };
    let usual = || Some(format!("{scheme}://{}", plan.own.http_listen().addresses().first()?));
    let issuer = identity.issuer.clone().or_else(usual);
    ServiceSetup {
        issuer: issuer.map(|issuer| issuer.trim_end_matches('/').to_owned()),
        audience: identity.audience().to_owned(),
        stale_ms: millis(identity.stale()),
        token_life_s: TOKEN_LIFE_S,
        outside: issuers.outside(),
    }
}

fn millis(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}

fn now_ms() -> i64 {
    millis(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default())
}

impl Keeper for Identities {
    fn admit(&self, proof: Proof) -> Proving {
        let method = proof.bearer.as_str();
        let Some(door) = self.door() else {
            let why = "the identity store has not answered yet".to_owned();
            return Box::pin(std::future::ready(Err(refused(Refusal::Unavailable(why), method))));
        };
        let visitor = Visitor {
            bearing: match proof.bearer {
                Bearer::Key => Bearing::Key(proof.secret),
                Bearer::Jwt | Bearer::OAuth => Bearing::Token(proof.secret),
            },
            database: proof.database,
            user: proof.user,
            from: address(proof.from),
            now_ms: now_ms(),
        };
        self.ask(door, visitor, move |answer| answer.map_err(|refusal| refused(refusal, method)))
    }

    fn recognise(&self, shown: ShownCertificate) -> Recognising {
        let Some(door) = self.door() else {
            // Asked for a key, it hears the same.
            return Box::pin(std::future::ready(Err(NotByCertificate::Unknown)));
        };
        let ends_ms = shown.ends.and_then(|ends| ends.duration_since(UNIX_EPOCH).ok()).map(millis);
        let visitor = Visitor {
            bearing: Bearing::Certificate(Certificate { sha256: shown.sha256, ends_ms }),
            database: shown.database,
            user: shown.user,
            from: address(shown.from),
            now_ms: now_ms(),
        };
        self.ask(door, visitor, |answer| {
            answer.map_err(|refusal| match refusal {
                Refusal::Unknown => NotByCertificate::Unknown,
                Refusal::Bad(why) | Refusal::NotGranted(why) | Refusal::Unavailable(why) => {
                    NotByCertificate::Refused(why)
                }
                Refusal::NoIssuerKeys { log, .. } => NotByCertificate::Refused(log),
            })
        })
    }

    fn discovery(&self) -> Option<Discovery> {
        self.issuers.discovery().or_else(|| self.own.clone())
    }
}

/// As the store has it, for last use.
fn address(from: Option<IpAddr>) -> Arc<str> {
    from.map_or_else(|| "unix".into(), |from| from.to_string().into())
}

fn refused(refusal: Refusal, method: &'static str) -> Refused {
    match refusal {
        Refusal::Unknown => Refused { cause: Cause::BearerFailed { method }, log: None },
        Refusal::Bad(why) => Refused { cause: Cause::BearerFailed { method }, log: Some(why) },
        Refusal::NotGranted(why) => {
            Refused { cause: Cause::NotGranted { why: why.as_str().into() }, log: Some(why) }
        }
        Refusal::Unavailable(why) => {
            let log = Some(why);
            // What is wrong with the store is not for everybody who knocks.
            let why = "the identity store does not answer, and this identity is not known from before".into();
            Refused { cause: Cause::IdentityUnavailable { why }, log }
        }
        Refusal::NoIssuerKeys { issuer, told, log } => {
            let cause = Cause::IssuerUnavailable { issuer: issuer.into(), why: told.into() };
            Refused { cause, log: Some(log) }
        }
    }
}

fn proved(welcome: Welcome) -> Proved {
    let Welcome { allowed, organisation, subject, name, key_id, token_id, client, evidence, until_ms } =
        welcome;
    let limits = &allowed.limits;
    Proved {
        organisation: organisation.into(),
        organisation_id: allowed.org.as_str().into(),
        name: name.into(),
        subject_id: subject.as_str().into(),
        key_id: key_id.map(Into::into),
        token_id: token_id.map(Into::into),
        issuer: evidence.as_ref().map(|evidence| evidence.issuer_name().into()),
        kept: evidence.map(Kept::new),
        client_id: client.map(|client| client.as_str().into()),
        dataset_id: allowed.dataset.as_str().into(),
        grant_id: allowed.grant.as_str().into(),
        role: allowed.role.as_str().into(),
        until: until_ms
            .and_then(|ms| u64::try_from(ms).ok())
            .map(|ms| UNIX_EPOCH + Duration::from_millis(ms)),
        limits: GrantLimits {
            clients: limits.clients,
            holds: limits.holds,
            statement: limits.statement_ms.map(Duration::from_millis),
            hold: limits.hold_ms.map(Duration::from_millis),
            weight: limits.weight,
        },
    }
}

/// Lets those go whose right ends, as long as the process lives. Nothing here waits for the store but the look at its
/// log, and that not for long: what has to be looked up or written down is so beside it.
async fn watch(service: Arc<OnceLock<Service>>, control: Control) {
    let mut going =
        Going { control, told: HashSet::new(), ended: Arc::default(), looking: Beside::default() };
    let (mut looked, mut written) = (Instant::now(), Instant::now());
    let mut writing = Beside::default();
    loop {
        let Some(door) = service.get().map(Service::door) else {
            tokio::time::sleep(LOOK_EVERY).await;
            continue;
        };
        // Whether it was told or waited makes no difference.
        let _ = tokio::time::timeout(LOOK_EVERY, door.changed()).await;
        door.set_stale_ms(millis(going.control.plan().own.identity.stale()));
        let followed = door.follow(now_ms()).await;
        if matches!(followed, Followed::Stale) {
            going.all("the identity store has not answered for identity_stale, so nothing is known any more");
        }
        // Also where nothing was heard: an end that was set for later, a look-up that failed, a login that was under
        // way when something changed.
        if matches!(followed, Followed::Changed(_)) || looked.elapsed() >= RECHECK_EVERY {
            looked = Instant::now();
            going.recheck(door);
        }
        if millis(written.elapsed()) >= USED_EVERY_MS {
            written = Instant::now();
            let door = door.clone();
            writing.start(async move {
                if let Err(why) = door.write_used().await {
                    tracing::debug!("last uses of keys were not written: {why}");
                }
            });
        }
    }
}

/// Work beside everything else, one piece at a time.
#[derive(Default)]
struct Beside {
    piece: Option<JoinHandle<()>>,
}

impl Beside {
    /// Whether the last piece has not ended. A panic is an end, too.
    fn is_busy(&self) -> bool {
        self.piece.as_ref().is_some_and(|piece| !piece.is_finished())
    }

    /// Begins a piece of work, unless the one of before has not ended.
    fn start(&mut self, work: impl Future<Output = ()> + Send + 'static) {
        if !self.is_busy() {
            self.piece = Some(tokio::spawn(work));
        }
    }
}

/// Who is told to go.
struct Going {
    control: Control,
    /// Those that have been told and may still be in a transaction.
    told: HashSet<u64>,
    /// Whose right has ended, as came out when it was looked up, and why.
    ended: Arc<Mutex<Vec<(ProvedView, String)>>>,
    looking: Beside,
}

impl Going {
    /// Everybody who is here is looked at again: by what is known at once, the others by a look into the store.
    fn recheck(&mut self, door: &Arc<Door>) {
        let views = self.control.identities();
        let here: HashSet<u64> = views.iter().map(|view| view.client).collect();
        self.told.retain(|client| here.contains(client));
        let (now, time) = (now_ms(), SystemTime::now());
        let mut over: HashMap<String, Vec<ProvedView>> = HashMap::new();
        let mut unknown = Vec::new();
        for (view, why) in self.ended.lock().drain(..) {
            over.entry(why).or_default().push(view);
        }
        for view in views.into_iter().filter(|view| !self.told.contains(&view.client)) {
            if view.proved.until.is_some_and(|until| until <= time) {
                let why = "its token, key or grant has come to its end".to_owned();
                over.entry(why).or_default().push(view);
                continue;
            }
            let Some(live) = live(&view) else {
                let why = "what it is here by cannot be read any more".to_owned();
                over.entry(why).or_default().push(view);
                continue;
            };
            match door.recheck_known(&live, now) {
                Some(Ok(())) => {}
                Some(Err(why)) => over.entry(why).or_default().push(view),
                None => unknown.push((view, live)),
            }
        }
        for (why, views) in over {
            self.go(&views, &why);
        }
        self.look_up(door, unknown);
    }

    /// Beside everything else, and one round after the other. What is not answered is asked in the next round.
    fn look_up(&mut self, door: &Arc<Door>, unknown: Vec<(ProvedView, Live)>) {
        if unknown.is_empty() {
            return;
        }
        let (door, ended) = (door.clone(), self.ended.clone());
        self.looking.start(async move {
            for (view, live) in unknown {
                match door.recheck(&live, now_ms()).await {
                    Some(Ok(())) => {}
                    Some(Err(why)) => ended.lock().push((view, why)),
                    None => break,
                }
            }
        });
    }

    fn all(&mut self, why: &str) {
        let views = self.control.identities();
        self.go(&views, why);
    }

    fn go(&mut self, views: &[ProvedView], why: &str) {
        let clients: HashSet<u64> =
            views.iter().map(|view| view.client).filter(|client| self.told.insert(*client)).collect();
        if clients.is_empty() {
            return;
        }
        tracing::info!("{} sessions are let go: {why}", clients.len());
        self.control.let_go(&clients, why);
        let (control, why) = (self.control.clone(), why.to_owned());
        tokio::spawn(async move {
            tokio::time::sleep(control.plan().own.identity.revoke_grace()).await;
            control.throw_out(&clients, &why);
        });
    }
}

/// `None`: something of it cannot be read, so nobody can say whether its right still holds.
fn live(view: &ProvedView) -> Option<Live> {
    let proved = &view.proved;
    let evidence = proved.kept.as_ref().and_then(Kept::get::<Evidence>);
    if proved.issuer.is_some() && evidence.is_none() {
        // It came by a token from outside before an online restart: what that said is not known any more.
        return None;
    }
    let client = match &proved.client_id {
        None => None,
        Some(client) => Some(Id::parse_any(client)?),
    };
    Some(Live {
        subject: Id::parse_any(&proved.subject_id)?,
        key_id: proved.key_id.as_deref().map(str::to_owned),
        token_id: proved.token_id.as_deref().map(str::to_owned),
        client,
        evidence,
        grant: Id::parse_any(&proved.grant_id)?,
        database: view.database.clone(),
        role: proved.role.clone(),
    })
}

#[cfg(test)]
mod tests;
