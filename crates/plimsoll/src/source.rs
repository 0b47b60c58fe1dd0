//! Where the plan comes from, at start and at every reload.

use std::path::{Path, PathBuf};

use plimsoll_config::{Budget, Compat, Mistake, Plan};

use crate::args::RunArgs;

/// A place that can be read again.
#[derive(Clone, Debug)]
pub(crate) enum Source {
    /// An ini file, and the name the program was started under.
    File {
        /// The file.
        path: PathBuf,
        /// The name; PgBouncer's stands above `compat` in the file.
        name: Compat,
    },
    /// The command line of `run`.
    Url(RunArgs),
}

impl Source {
    /// The file, by its whole name; `None`: it is none.
    pub(crate) fn path(&self) -> Option<PathBuf> {
        match self {
            // A name that cannot be made whole is still one.
            Source::File { path, .. } => Some(std::path::absolute(path).unwrap_or_else(|_| path.clone())),
            Source::Url(_) => None,
        }
    }

    /// Reads it.
    ///
    /// # Errors
    /// All mistakes.
    pub(crate) fn load(&self) -> Result<Plan, Vec<Mistake>> {
        match self {
            Source::File { path, name } => {
                let mut plan = plimsoll_config::load(path, &mut |path: &Path| std::fs::read_to_string(path))?;
                match name {
                    Compat::Pgbouncer => plan.own.compat = Compat::Pgbouncer,
                    Compat::Plimsoll => {}
                }
                // Logged with the other warnings, at start and at every reload.
                let doubts = plimsoll_config::doubts(&plan);
                plan.warnings.extend(doubts.iter().map(ToString::to_string));
                Ok(plan)
            }
            Source::Url(run) => from_url(run).map_err(|mistake| vec![mistake]),
        }
    }
}

fn from_url(run: &RunArgs) -> Result<Plan, Mistake> {
    let mut plan = plimsoll_config::from_url(&run.url)?;
    plan.general.listen_port = run.port;
    show(&mut plan, "listen_port", run.port.to_string());
    if let Some(size) = run.pool_size {
        plan.general.default_pool_size = size;
        show(&mut plan, "default_pool_size", size.to_string());
    }
    if let Some(budget) = run.budget {
        plan.own.target_budget = Budget::Max(budget);
    }
    Ok(plan)
}

/// What `SHOW CONFIG` says of a key.
fn show(plan: &mut Plan, key: &str, value: String) {
    if let Some(line) = plan.shown.iter_mut().find(|line| line.key == key) {
        line.value = Some(value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubts_are_warnings_of_every_load() {
        let path = std::env::temp_dir().join(format!("plimsoll-source-{}.ini", std::process::id()));
        let text = "[pgbouncer]\nlisten_addr = 127.0.0.1\n[plimsoll]\ncontrol_user = nobody\n";
        std::fs::write(&path, text).expect("a file");
        let source = Source::File { path: path.clone(), name: Compat::Plimsoll };
        let warnings = source.load().map(|plan| plan.warnings);
        std::fs::remove_file(&path).expect("it was there");
        let warnings = warnings.expect("a good file");
        let place = format!("{}:4: control_user nobody cannot log in", path.display());
        assert!(warnings.len() == 1 && warnings[0].starts_with(&place), "{warnings:?}");
    }
}
