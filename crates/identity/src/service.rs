//! Everything of a store at work in one process: the pooler's door, the API, the signing keys, and what has to be done
//! now and then.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::Router;

use crate::door::{Door, DoorOptions};
use crate::http::{HttpSetup, HttpState, Nature, OAuthSetup, Rates, router};
use crate::password::Passwords;
use crate::signer::{Signer, SignerFault};
use crate::store::{Create, Store, StoreFault, StoreOptions};
use crate::token::OutsideIssuers;

/// How often what has ended is removed from the store.
const TIDY_EVERY: Duration = Duration::from_mins(10);

/// How a service works.
#[derive(Clone, Debug)]
pub struct ServiceSetup {
    /// Our name in tokens: the URL under which the API is reached, without a `/` at the end. `None`: no tokens are issued.
    pub issuer: Option<String>,
    /// For whom tokens of the door and of the API are.
    pub audience: String,
    /// How long known identities go on while the store does not answer, milliseconds.
    pub stale_ms: i64,
    /// How long access tokens are good, seconds.
    pub token_life_s: i64,
    /// Whose tokens the door takes besides our own.
    pub outside: Arc<OutsideIssuers>,
}

/// Why there is no service.
#[derive(Debug, thiserror::Error)]
pub enum ServiceFault {
    /// The store does not answer; a second try may help.
    #[error("{0}")]
    Down(StoreFault),
    /// There is no store, or not yet; it may be made or come back.
    #[error("{0}")]
    Absent(String),
    /// It can never work so.
    #[error("{0}")]
    Unusable(String),
}

impl From<StoreFault> for ServiceFault {
    fn from(fault: StoreFault) -> ServiceFault {
        match fault {
            StoreFault::Down(_) => ServiceFault::Down(fault),
            StoreFault::Absent { why } => ServiceFault::Absent(why),
            other => ServiceFault::Unusable(other.to_string()),
        }
    }
}

impl From<SignerFault> for ServiceFault {
    fn from(fault: SignerFault) -> ServiceFault {
        match fault {
            SignerFault::Store(fault) => fault.into(),
            SignerFault::Signing(fault) => ServiceFault::Unusable(fault.to_string()),
        }
    }
}

/// See the module.
pub struct Service {
    store: Store,
    door: Arc<Door>,
    signer: Option<Arc<Signer>>,
    outside: Arc<OutsideIssuers>,
    api: Router,
}

impl Service {
    /// Opens the store at a URL and begins to work.
    ///
    /// # Errors
    /// The store cannot be had, now or ever.
    pub async fn open(url: &str, setup: &ServiceSetup) -> Result<Service, ServiceFault> {
        let store = Store::open(url, StoreOptions { create: Create::Never }).await?;
        let now_ms = unix_ms();
        let signer = match &setup.issuer {
            None => None,
            Some(issuer) => Some(Arc::new(Signer::open(&store, issuer, setup.token_life_s, now_ms).await?)),
        };
        let options = DoorOptions {
            audience: setup.audience.clone(),
            stale_ms: setup.stale_ms,
            outside: setup.outside.clone(),
        };
        let door = Arc::new(Door::open(store.clone(), signer.clone(), options, now_ms).await?);
        let passwords = passwords()?;
        let api = router(HttpState::new(HttpSetup {
            store: store.clone(),
            passwords,
            uses: door.clone(),
            nature: Arc::new(System),
            rates: Rates::default(),
            oauth: signer
                .clone()
                .map(|signer| OAuthSetup { signer, audience: setup.audience.as_str().into() }),
        }));
        Ok(Service { store, door, signer, outside: setup.outside.clone(), api })
    }

    /// What the pooler asks.
    pub fn door(&self) -> &Arc<Door> {
        &self.door
    }

    /// The API.
    pub fn api(&self) -> Router {
        self.api.clone()
    }

    /// Does what has to be done now and then, and hears other instances, for ever. Cancel safe.
    pub async fn keep(&self) {
        let keys = async {
            if let Some(signer) = &self.signer {
                signer.keep(&self.store, unix_ms).await;
            }
        };
        let tidy = async {
            loop {
                tokio::time::sleep(TIDY_EVERY).await;
                if let Err(fault) = self.store.remove_ended_things(unix_ms()).await {
                    tracing::debug!("what has ended stays in the store for now: {fault}");
                }
            }
        };
        tokio::join!(keys, tidy, self.outside.keep(unix_ms), self.door.listen());
    }
}

fn passwords() -> Result<Passwords, ServiceFault> {
    let unusable = |fault: &dyn std::fmt::Display| ServiceFault::Unusable(fault.to_string());
    let mut chance = [0; 32];
    getrandom::fill(&mut chance).map_err(|fault| unusable(&fault))?;
    Passwords::new(&chance).map_err(|fault| unusable(&fault))
}

fn unix_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// The system's clock and chance.
struct System;

impl Nature for System {
    fn now_ms(&self) -> i64 {
        unix_ms()
    }

    fn fill(&self, bytes: &mut [u8]) -> Result<(), getrandom::Error> {
        getrandom::fill(bytes)
    }
}
