//! A history in readable words.

use std::fmt;

use crate::history::{
    Arrival, Back, Course, History, Limits, Mood, PoolShape, Pooling, Shape, Step, Visit, What,
};

/// A time in its best unit.
struct Us(u64);

impl fmt::Display for Us {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            us if us >= 1_000_000 && us % 100_000 == 0 => write!(f, "{} s", us as f64 / 1e6),
            us if us >= 1_000 && us % 100 == 0 => write!(f, "{} ms", us as f64 / 1e3),
            us => write!(f, "{us} us"),
        }
    }
}

/// A cap.
struct Max(Option<u32>);

impl fmt::Display for Max {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(max) => write!(f, "{max}"),
            None => f.write_str("none"),
        }
    }
}

/// One database or all.
struct Scope(Option<u32>);

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(database) => write!(f, "database {database}"),
            None => f.write_str("everything"),
        }
    }
}

impl fmt::Display for History {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.shape)?;
        for (number, step) in self.steps.iter().enumerate() {
            writeln!(f, "{:>4}  {step}", number + 1)?;
        }
        Ok(())
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "world: {} workers, {} logins at a time, slack {}, clocks behind by up to {}, timeouts every {}, weights {:?}, \
             ending: {:?}",
            self.workers,
            self.logins_max,
            Us(self.slack_us),
            Us(self.skew_us),
            Us(self.tick_us),
            self.weights,
            self.ending
        )?;
        for (number, target) in self.targets.iter().enumerate() {
            writeln!(
                f,
                "target {number}: max_connections {}, {} reserved, budget {}, {}",
                target.places,
                target.reserved,
                Max(target.budget),
                target.mood
            )?;
        }
        for (number, pool) in self.pools.iter().enumerate() {
            writeln!(f, "pool {number}: {pool}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Mood {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "login {:?} in {}, answers {:?} in {}, ends {:?} after {}",
            self.login,
            Us(self.login_us),
            self.answer,
            Us(self.answer_us),
            self.farewell,
            Us(self.close_us)
        )
    }
}

impl fmt::Display for PoolShape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let targets: Vec<String> =
            (0..3).filter(|bit| self.targets & (1 << bit) != 0).map(|bit| bit.to_string()).collect();
        write!(
            f,
            "database {}, user {}, targets [{}] {:?}, {:?}, {}, {}",
            self.database,
            self.user,
            targets.join(" "),
            self.picks,
            self.place,
            self.limits,
            self.pooling
        )
    }
}

impl fmt::Display for Limits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "size {}", self.size)?;
        if self.min_size > 0 {
            write!(f, ", min {} {:?}", self.min_size, self.min)?;
        }
        if self.reserve_size > 0 {
            write!(f, ", reserve {} after {}", self.reserve_size, Us(self.reserve_us))?;
        }
        write!(f, ", lifetime {}, idle {}", Us(self.lifetime_us), Us(self.idle_us))?;
        if let Some(check_us) = self.check_us {
            write!(f, ", check after {}", Us(check_us))?;
        }
        write!(
            f,
            ", retry {} {:?}, pool idle {}",
            Us(self.login_retry_us),
            self.backoff,
            Us(self.pool_idle_us)
        )?;
        if self.guaranteed > 0 {
            write!(f, ", guaranteed {}", self.guaranteed)?;
        }
        write!(f, ", weight {}, turns by {:?}, newcomers {:?}", self.weight, self.turns, self.newcomers)?;
        write!(f, ", {:?} first", self.order)
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "+{:<8} {}", Us(self.after_us).to_string(), self.what)
    }
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            What::Arrive(plan) => write!(f, "{plan}"),
            What::Vanish { nth } => write!(f, "client #{nth} vanishes"),
            What::Cancel { nth, cancel } => {
                let late = if cancel.course == Course::Late { ", given up before it strikes" } else { "" };
                let (connect, strike) = (Us(cancel.connect_us), Us(cancel.strike_us));
                write!(f, "holder #{nth} cancels: connects in {connect}, strikes after {strike}{late}")
            }
            What::Mood { target, mood } => write!(f, "target #{target}: {mood}"),
            What::Crash { target, notice_us } => {
                write!(f, "target #{target} crashes, seen after up to {}", Us(notice_us * 2))
            }
            What::Die { nth, notice_us } => write!(f, "backend #{nth} dies, seen after {}", Us(*notice_us)),
            What::Foreign { target, ordinary, superusers } => {
                write!(f, "target #{target} has {ordinary} sessions of others and {superusers} of superusers")
            }
            What::Look { target } => write!(f, "target #{target} is asked how many places it has"),
            What::SecretChanged { nth } => write!(f, "pool #{nth} may have another password"),
            What::Visit(visit) => write!(f, "{visit}"),
            What::Notify { channel } => write!(f, "channel ch{channel} is notified"),
            What::Stale { nth } => write!(f, "the id of gone slot #{nth} is used"),
            other => write_admin(f, other),
        }
    }
}

fn write_admin(f: &mut fmt::Formatter<'_>, what: &What) -> fmt::Result {
    match what {
        What::Budget { target, max } => write!(f, "budget of target #{target}: {}", Max(*max)),
        What::DatabaseMax { database, max } => {
            write!(f, "max_db_connections of database {database}: {}", Max(*max))
        }
        What::UserMax { user, max } => write!(f, "max_user_connections of user {user}: {}", Max(*max)),
        What::Allotted { nth, max } => {
            write!(f, "CONNECTION LIMITs leave pool #{nth}: {}", Max(*max))
        }
        What::Slack { slack_us } => write!(f, "fairness_slack: {}", Us(*slack_us)),
        What::RenewWaits { wait_us } => write!(f, "query_wait_timeout of who waits: {}", Us(*wait_us)),
        What::AddPool(shape) => write!(f, "a new pool: {shape}"),
        What::SetPool { nth, shape } => write!(f, "pool #{nth} changes: {shape}"),
        What::Reload { nth, reload } => {
            write!(f, "RELOAD with another line for pool #{nth}: {:?}", reload.line)?;
            reload.general.iter().try_for_each(|general| write!(f, ", {general:?}"))
        }
        What::RemovePool { nth } => write!(f, "pool #{nth} is removed"),
        What::Pause { database } => write!(f, "PAUSE {}", Scope(*database)),
        What::Resume { database } => write!(f, "RESUME {}", Scope(*database)),
        What::Reconnect { database } => write!(f, "RECONNECT {}", Scope(*database)),
        What::RefuseWaiters { database } => write!(f, "KILL {}", Scope(*database)),
        _ => Ok(()),
    }
}

impl fmt::Display for Arrival {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "a client of application {} on worker {} asks pool #{}",
            self.application, self.worker, self.pool
        )?;
        if self.wait_us > 0 {
            write!(f, ", waits up to {}", Us(self.wait_us))?;
        }
        if self.take_us > 0 {
            write!(f, ", takes up after {}", Us(self.take_us))?;
        }
        write!(f, ", holds {}, gives back {}", Us(self.hold_us), self.back)?;
        if self.rounds > 1 {
            write!(f, ", {} times with {} in between", self.rounds, Us(self.think_us))?;
        }
        match self.leave_us {
            Some(leave_us) => write!(f, ", vanishes {} after it came", Us(leave_us)),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Visit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Visit { arrival, talk } = self;
        write!(f, "a speaker on worker {} comes to pool #{}", arrival.worker, arrival.pool)?;
        if arrival.wait_us > 0 {
            write!(f, ", waits up to {}", Us(arrival.wait_us))?;
        }
        if let Some(leave_us) = arrival.leave_us {
            write!(f, ", vanishes {} after it came", Us(leave_us))?;
        }
        write!(f, ", style {}, application {}, dice {:x}: ", talk.style, talk.application, talk.dice)?;
        write!(f, "{} | {:?}", talk.units.join(" | "), talk.leaving)
    }
}

impl fmt::Display for Pooling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} pooling, cleaned {:?}, {} statements", self.mode, self.cleaning, self.prepared_max)?;
        let limits = [("query", self.query_us), ("idle", self.idle_us), ("transaction", self.transaction_us)];
        for (name, us) in limits.into_iter().filter(|(_, us)| *us > 0) {
            write!(f, ", {name} at most {}", Us(us))?;
        }
        Ok(())
    }
}

impl fmt::Display for Back {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Back::Clean => "clean",
            Back::Dirty => "dirty",
            Back::Unusable => "unusable",
            Back::CutOff => "cut off",
        })
    }
}
