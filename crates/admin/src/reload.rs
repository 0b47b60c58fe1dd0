//! RELOAD and SET: a new plan into force.

use std::sync::{Mutex, PoisonError};

use plimsoll_config::{Change, Mistake, Plan};
use plimsoll_proxy::Reloaded;

use crate::failure::Failure;
use crate::pooler::Pooler;

/// What is said when TLS cannot be had as the plan wants it.
pub(crate) const TLS_STAYS: &str = "TLS settings could not be applied, still using old configuration";

/// Makes a plan of the configuration files as they are now.
pub type Load = dyn Fn() -> Result<Plan, Vec<Mistake>> + Send + Sync;

/// Told after a plan came into force, so that `main` can follow: see [`Applied`].
pub type Follow = dyn Fn(&Plan, Applied) + Send + Sync;

/// How a plan came into force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Applied {
    /// By RELOAD or SIGHUP, successful or not: the log file is to be opened anew.
    Reloaded,
    /// By SET: only values like `verbose` may have changed.
    Set,
}

/// The configuration and who has to be told of a new one. One change at a time.
pub(crate) struct Settings {
    load: Box<Load>,
    follow: Box<Follow>,
    changing: Mutex<()>,
}

impl Settings {
    pub(crate) fn new(load: Box<Load>, follow: Box<Follow>) -> Settings {
        Settings { load, follow, changing: Mutex::new(()) }
    }

    /// Reads the files again. Mistakes are logged, all of them, and change nothing.
    pub(crate) fn reload(&self, pooler: &dyn Pooler) -> Result<(), Failure> {
        let _one_at_a_time = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let old = pooler.plan();
        let outcome = (self.load)().map(|new| self.put(pooler, &old, new));
        (self.follow)(&pooler.plan(), Applied::Reloaded);
        outcome.map_err(|mistakes| {
            for mistake in &mistakes {
                tracing::error!("{mistake}");
            }
            tracing::warn!("config file loading failed");
            Failure::ReloadFailed(mistakes.len())
        })
    }

    /// Puts a freshly loaded plan into force, as far as a running program can take it.
    fn put(&self, pooler: &dyn Pooler, old: &Plan, mut new: Plan) {
        for change in plimsoll_config::diff(old, &new) {
            match change {
                Change::NeedsRestart(key) => {
                    tracing::warn!("{key} has a new value in the file, which counts after a restart");
                }
                Change::IssuerAdded(name) => tracing::info!("issuer {name} is new: its tokens are taken"),
                Change::IssuerRemoved(name) => {
                    tracing::info!(
                        "issuer {name} is gone: its tokens are taken no more, and who came by them goes"
                    );
                }
                Change::IssuerChanged(name) => tracing::info!("issuer {name} has changed"),
                Change::DatabaseAdded(_)
                | Change::DatabaseRemoved(_)
                | Change::DatabaseReconnect(_)
                | Change::DatabaseLimits(_)
                | Change::Settings => {}
            }
        }
        plimsoll_config::carry(old, &mut new);
        let reloaded = pooler.reload(new);
        for warning in &reloaded.plan.warnings {
            tracing::warn!("{warning}");
        }
        tls_stays(&reloaded);
    }

    /// `SET key = value`: ignored without a word for a key that only a restart changes, as PgBouncer does.
    pub(crate) fn set(&self, pooler: &dyn Pooler, key: &str, value: &str) -> Result<Tls, Failure> {
        let _one_at_a_time = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let old = pooler.plan();
        let mut plan = Plan::clone(&old);
        plimsoll_config::set(&mut plan, key, value).map_err(|reason| {
            tracing::error!("{reason}");
            Failure::SetFailed(reason)
        })?;
        let before = plimsoll_config::doubts(&old);
        for doubt in plimsoll_config::doubts(&plan).iter().filter(|doubt| !before.contains(doubt)) {
            tracing::warn!("{doubt}");
        }
        let reloaded = pooler.reload(plan);
        (self.follow)(&pooler.plan(), Applied::Set);
        // What an earlier SET left unfinished has been told to whoever set it.
        if !key.to_ascii_lowercase().contains("_tls") {
            return Ok(Tls::AsWanted);
        }
        Ok(tls_stays(&reloaded))
    }
}

/// What became of TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tls {
    /// It is as the plan says.
    AsWanted,
    /// It cannot be, and goes on as it was.
    AsBefore,
}

fn tls_stays(reloaded: &Reloaded) -> Tls {
    for reason in &reloaded.tls_refused {
        tracing::error!("{reason}");
    }
    if reloaded.tls_refused.is_empty() {
        return Tls::AsWanted;
    }
    tracing::error!("{TLS_STAYS}");
    Tls::AsBefore
}
