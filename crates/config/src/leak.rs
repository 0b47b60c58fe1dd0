//! What is done about connections that are kept and not used: the policies of a login user, a database or all.

use std::time::Duration;

use crate::plan::{Database, Plan};

/// `leak_warn_after`, `leak_cancel_after`, `leak_close_after` and `leak_act`, as far as one place says them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LeakKeys {
    /// After so long unused the log is told; zero is off, whatever a wider place says.
    pub warn_after: Option<Duration>,
    /// After so long what it does is cancelled and rolled back, and its server connection taken; likewise.
    pub cancel_after: Option<Duration>,
    /// After so long its client is closed; likewise.
    pub close_after: Option<Duration>,
    /// When that is done.
    pub act: Option<LeakAct>,
}

/// `leak_act`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LeakAct {
    /// Only while somebody waits for what is kept.
    #[default]
    Waiting,
    /// Always.
    Always,
}

/// One limit of a policy, and where it is from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeakLimit {
    /// After so long unused.
    pub after: Duration,
    /// Where it is set, in words: `of database "shop"`.
    pub whose: String,
}

/// The policy for one login user of one database.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LeakPolicy {
    /// `leak_warn_after`.
    pub warn: Option<LeakLimit>,
    /// `leak_cancel_after`.
    pub cancel: Option<LeakLimit>,
    /// `leak_close_after`.
    pub close: Option<LeakLimit>,
    /// `leak_act`.
    pub act: LeakAct,
}

impl LeakKeys {
    fn is_empty(&self) -> bool {
        let limits = [self.warn_after, self.cancel_after, self.close_after];
        limits.into_iter().flatten().all(|after| after.is_zero())
    }
}

impl Plan {
    /// Whether any policy is set at all.
    pub fn has_leak_policies(&self) -> bool {
        let databases = self.databases.iter().chain(&self.auto_database).map(|database| database.leak);
        let users = self.users.values().map(|user| user.leak);
        databases.chain(users).chain([self.own.leak]).any(|keys| !keys.is_empty())
    }

    /// The policy for a login user of a database: each key by the user's word, else the database's, else the global one.
    pub fn leak_policy(&self, database: &Database, login: &str) -> LeakPolicy {
        let user = self.users.get(login).map(|user| user.leak).unwrap_or_default();
        let places = [
            (user, format!("of user \"{login}\"")),
            (database.leak, format!("of database \"{}\"", database.name)),
            (self.own.leak, "of [plimsoll]".to_string()),
        ];
        let limit = |of: fn(&LeakKeys) -> Option<Duration>| {
            let (after, whose) = places.iter().find_map(|(keys, whose)| Some((of(keys)?, whose)))?;
            (!after.is_zero()).then(|| LeakLimit { after, whose: whose.clone() })
        };
        LeakPolicy {
            warn: limit(|keys| keys.warn_after),
            cancel: limit(|keys| keys.cancel_after),
            close: limit(|keys| keys.close_after),
            act: places.iter().find_map(|(keys, _)| keys.act).unwrap_or_default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{LeakAct, LeakKeys};
    use crate::plan::{Database, Plan, UserSettings};

    const fn keys(warn: u64, cancel: u64) -> LeakKeys {
        LeakKeys {
            warn_after: Some(Duration::from_secs(warn)),
            cancel_after: Some(Duration::from_secs(cancel)),
            close_after: None,
            act: None,
        }
    }

    #[test]
    fn the_users_word_goes_before_the_databases_key_by_key() {
        let mut plan = Plan::default();
        assert!(!plan.has_leak_policies());
        plan.own.leak = LeakKeys { close_after: Some(Duration::from_secs(600)), ..keys(10, 20) };
        let database = Database {
            name: "shop".to_string(),
            leak: LeakKeys { act: Some(LeakAct::Always), warn_after: None, ..keys(0, 30) },
            ..Database::default()
        };
        let leak = LeakKeys { cancel_after: Some(Duration::ZERO), ..LeakKeys::default() };
        plan.users.insert("joe".to_string(), UserSettings { leak, ..UserSettings::default() });
        assert!(plan.has_leak_policies());
        let told = |login: &str| {
            let policy = plan.leak_policy(&database, login);
            let text = |limit: Option<super::LeakLimit>| {
                limit.map_or("off".to_string(), |limit| format!("{} {}", limit.after.as_secs(), limit.whose))
            };
            (text(policy.warn), text(policy.cancel), text(policy.close), policy.act)
        };
        let of = |words: [&str; 3]| {
            let [warn, cancel, close] = words.map(str::to_string);
            (warn, cancel, close, LeakAct::Always)
        };
        assert_eq!(told("ann"), of(["10 of [plimsoll]", "30 of database \"shop\"", "600 of [plimsoll]"]));
        assert_eq!(told("joe"), of(["10 of [plimsoll]", "off", "600 of [plimsoll]"]));
    }
}
