//! RELOAD and SET: a new plan into force.

use std::sync::{Mutex, PoisonError};

use plimsoll_config::{Mistake, Plan};

use crate::failure::Failure;
use crate::pooler::Pooler;

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

/// Keys without a default. A value SET on the console outlives a reload of files that do not name them, as in
/// PgBouncer.
const STICKY: &[&str] =
    &["auth_dbname", "auth_user", "client_tls13_ciphers", "server_tls13_ciphers", "verbose"];

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
                tracing::error!("{}", place(mistake));
            }
            tracing::warn!("config file loading failed");
            Failure::ReloadFailed(mistakes.len())
        })
    }

    fn put(&self, pooler: &dyn Pooler, old: &Plan, mut new: Plan) {
        for key in STICKY {
            if let (Some(value), None) = (value_of(old, key), value_of(&new, key)) {
                // The value was accepted once; a version that does not know the key has none.
                let _ = plimsoll_config::set(&mut new, key, value);
            }
        }
        let reloaded = pooler.reload(new);
        for warning in &reloaded.plan.warnings {
            tracing::warn!("{warning}");
        }
        for key in reloaded.needs_restart {
            tracing::warn!("{key} has a new value in the file, which counts after a restart");
        }
    }

    /// `SET key = value`.
    pub(crate) fn set(&self, pooler: &dyn Pooler, key: &str, value: &str) -> Result<(), Failure> {
        let _one_at_a_time = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut plan = Plan::clone(&pooler.plan());
        plimsoll_config::set(&mut plan, key, value).map_err(|reason| {
            tracing::error!("{reason}");
            Failure::SetFailed(reason)
        })?;
        pooler.reload(plan);
        (self.follow)(&pooler.plan(), Applied::Set);
        Ok(())
    }
}

fn value_of<'a>(plan: &'a Plan, key: &str) -> Option<&'a str> {
    plan.shown.iter().find(|shown| shown.key == key)?.value.as_deref()
}

/// A mistake as `FILE:LINE: what is wrong`, or without a line where the whole file is meant.
pub fn place(mistake: &Mistake) -> String {
    match mistake.line {
        0 => format!("{}: {}", mistake.file.display(), mistake.message),
        line => format!("{}:{line}: {}", mistake.file.display(), mistake.message),
    }
}
