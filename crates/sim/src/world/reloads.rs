//! Reloads, through the configuration: text is read into a plan, the plan is compared with the one before, and what has
//! changed is applied to pools in use.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use plimsoll_config::{Change, Database, Plan, diff, load};
use plimsoll_types::{PoolId, PoolMode};

use super::{Kept, World, broken, ensure};
use crate::history::{Cleaning, DatabaseLine, GeneralLines, Mode, Reload};

/// What the file says.
const RULE: &str = "config: a reload changes what it says, and nothing else";

/// The configuration as it is in force.
#[derive(Debug, Default)]
pub(crate) struct Configuration {
    plan: Option<Plan>,
    lines: BTreeMap<PoolId, DatabaseLine>,
    general: Option<GeneralLines>,
}

/// The name of a pool's database in the file.
fn name_of(pool: PoolId) -> String {
    format!("db{}", pool.0)
}

fn mode_word(mode: Mode) -> &'static str {
    match mode {
        Mode::Session => "session",
        Mode::Transaction => "transaction",
        Mode::Statement => "statement",
    }
}

/// The file.
fn text_of(lines: &BTreeMap<PoolId, DatabaseLine>, general: Option<&GeneralLines>) -> String {
    let mut text = "[databases]\n".to_owned();
    for (pool, line) in lines {
        let DatabaseLine { size, min_size, reserve_size, lifetime_s, mode } = line;
        // Nothing can fail that is written to memory.
        let _ = writeln!(
            text,
            "{} = host=10.0.0.1 pool_size={size} min_pool_size={min_size} reserve_pool_size={reserve_size} \
             server_lifetime={lifetime_s} pool_mode={}",
            name_of(*pool),
            mode_word(*mode)
        );
    }
    text.push_str("[pgbouncer]\n");
    if let Some(GeneralLines { prepared_max, query_s, idle_s, wait_s }) = general {
        let _ = writeln!(
            text,
            "max_prepared_statements = {prepared_max}\nquery_timeout = {query_s}\n\
             idle_transaction_timeout = {idle_s}\nquery_wait_timeout = {wait_s}"
        );
    }
    text
}

impl World {
    /// The files are read again, with one line changed, and perhaps the general keys.
    pub(crate) fn reload(&mut self, nth: u32, reload: &Reload) -> Kept {
        let pools: Vec<PoolId> = self.pools.keys().copied().collect();
        let Some(changed) = super::nth(&pools, nth) else { return Ok(()) };
        let Configuration { plan: before, mut lines, general } = std::mem::take(&mut self.configuration);
        lines.retain(|pool, _| self.pools.contains_key(pool));
        for (pool, model) in &self.pools {
            lines.entry(*pool).or_insert_with(|| line_of(model));
        }
        // Pools change in other ways too: the file has been told of that meanwhile.
        let before = match before {
            Some(plan)
                if plan.databases.iter().map(|line| &line.name).eq(lines
                    .keys()
                    .map(|id| name_of(*id))
                    .collect::<Vec<_>>()
                    .iter()) =>
            {
                plan
            }
            Some(_) | None => read(&text_of(&lines, general.as_ref()))?,
        };
        let old = lines.insert(changed, reload.line.clone());
        let renewed = reload.general.clone().or(general.clone());
        let plan = read(&text_of(&lines, renewed.as_ref()))?;
        let changes = diff(&before, &plan);
        for change in &changes {
            match change {
                Change::DatabaseLimits(name) => {
                    ensure(*name == name_of(changed), RULE, || format!("{change:?}, not {changed:?}"))?;
                    self.apply_line(changed, &plan)?;
                }
                Change::Settings => {
                    ensure(renewed != general, RULE, || format!("{change:?} for nothing"))?;
                    self.apply_general(&plan);
                }
                Change::DatabaseAdded(_)
                | Change::DatabaseRemoved(_)
                | Change::DatabaseReconnect(_)
                | Change::IssuerAdded(_)
                | Change::IssuerRemoved(_)
                | Change::IssuerChanged(_)
                | Change::NeedsRestart(_) => return broken(RULE, format!("{change:?}")),
            }
        }
        let told = changes.iter().any(|change| matches!(change, Change::DatabaseLimits(_)));
        let differs = old.as_ref() != Some(&reload.line);
        ensure(told == differs, RULE, || format!("{old:?} to {:?}: {changes:?}", reload.line))?;
        self.configuration = Configuration { plan: Some(plan), lines, general: renewed };
        Ok(())
    }

    fn apply_line(&mut self, pool: PoolId, plan: &Plan) -> Kept {
        let name = name_of(pool);
        let Some(database) = plan.databases.iter().find(|database| database.name == name) else {
            return broken(RULE, format!("{name} is not in the plan"));
        };
        let mut shape = self.pools[&pool].shape.clone();
        let Database { pool_size, min_pool_size, reserve_pool_size, server_lifetime, pool_mode, .. } =
            database;
        let limits = &mut shape.limits;
        limits.size = pool_size.unwrap_or(plan.general.default_pool_size);
        limits.min_size = min_pool_size.unwrap_or(plan.general.min_pool_size);
        limits.reserve_size = reserve_pool_size.unwrap_or(plan.general.reserve_pool_size);
        limits.lifetime_us = micros(server_lifetime.unwrap_or(plan.general.server_lifetime));
        shape.pooling.mode = match pool_mode.unwrap_or(plan.general.pool_mode) {
            PoolMode::Session => Mode::Session,
            PoolMode::Transaction => Mode::Transaction,
            PoolMode::Statement => Mode::Statement,
        };
        if shape.pooling.mode == Mode::Session {
            shape.pooling.cleaning = Cleaning::AfterSession;
        }
        self.set_pool(pool, &shape);
        Ok(())
    }

    fn apply_general(&mut self, plan: &Plan) {
        let pools: Vec<PoolId> = self.pools.keys().copied().collect();
        for pool in pools {
            let mut shape = self.pools[&pool].shape.clone();
            shape.pooling.prepared_max = plan.general.max_prepared_statements;
            shape.pooling.query_us = micros(plan.general.query_timeout);
            shape.pooling.idle_us = micros(plan.general.idle_transaction_timeout);
            self.set_pool(pool, &shape);
        }
        self.renew_waits(micros(plan.general.query_wait_timeout));
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// A pool's line before anybody has changed it.
fn line_of(model: &super::PoolModel) -> DatabaseLine {
    let limits = &model.shape.limits;
    DatabaseLine {
        size: limits.size,
        min_size: limits.min_size,
        reserve_size: limits.reserve_size,
        lifetime_s: limits.lifetime_us / 1_000_000,
        mode: model.shape.pooling.mode,
    }
}

fn read(text: &str) -> Result<Plan, super::Broken> {
    load(Path::new("sim.ini"), &mut |_| Ok(text.to_owned()))
        .or_else(|mistakes| broken(RULE, format!("{mistakes:?}")))
}
