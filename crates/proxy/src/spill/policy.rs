//! When a result is spilled.

use std::time::Duration;

use plimsoll_config::{Database, Plan, SpillInTransaction};
use plimsoll_types::{PoolMode, TxState};

/// The default of `spill_after`.
const AFTER: Duration = Duration::from_millis(20);

/// Where a spill may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Medium {
    /// Into memory only.
    Memory,
    /// Into memory, and into a file when that is short.
    Disk,
}

/// What the configuration says for one client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Terms {
    /// `None`: nowhere.
    pub(crate) medium: Option<Medium>,
    /// How long the client's socket must have refused bytes.
    pub(crate) after: Duration,
    in_transaction: SpillInTransaction,
}

impl Terms {
    /// For a login user of a database.
    pub(crate) fn of(plan: &Plan, database: &Database, login: &str) -> Terms {
        let medium = match plan.spill(database, login) {
            plimsoll_config::Spill::Off => None,
            plimsoll_config::Spill::Memory => Some(Medium::Memory),
            plimsoll_config::Spill::Disk => Some(Medium::Disk),
        };
        Terms {
            medium,
            after: plan.own.spill_after.unwrap_or(AFTER),
            in_transaction: plan.own.spill_in_transaction,
        }
    }

    /// Where the answer goes, if it is spilled at all. In a session, and as a rule in an open transaction, the server
    /// connection stays with its client even when the answer is off the server: nothing would be won. `tx` is what the
    /// server said last: a statement outside a transaction block is `Idle` for as long as it runs.
    pub(crate) fn medium(&self, mode: PoolMode, tx: TxState) -> Option<Medium> {
        let frees = match (mode, tx, self.in_transaction) {
            (PoolMode::Session, ..) => false,
            (PoolMode::Transaction | PoolMode::Statement, TxState::Idle, _)
            | (PoolMode::Transaction | PoolMode::Statement, _, SpillInTransaction::On) => true,
            (
                PoolMode::Transaction | PoolMode::Statement,
                TxState::Open | TxState::Failed,
                SpillInTransaction::Off,
            ) => false,
        };
        self.medium.filter(|_| frees)
    }
}

#[cfg(test)]
mod tests {
    use plimsoll_config::{Database, Plan, Spill, SpillInTransaction, UserSettings};
    use plimsoll_types::{PoolMode, TxState};

    use super::{Medium, Terms};

    fn terms(global: Spill, database: Option<Spill>, user: Option<Spill>) -> Terms {
        let mut plan = Plan::default();
        plan.own.spill = global;
        plan.users.insert("joe".to_string(), UserSettings { spill: user, ..UserSettings::default() });
        Terms::of(&plan, &Database { spill: database, ..Database::default() }, "joe")
    }

    #[test]
    fn the_users_word_goes_before_the_databases() {
        let medium = |global, database, user| terms(global, database, user).medium;
        assert_eq!(medium(Spill::Disk, None, None), Some(Medium::Disk));
        assert_eq!(medium(Spill::Disk, Some(Spill::Off), None), None);
        assert_eq!(medium(Spill::Disk, Some(Spill::Off), Some(Spill::Memory)), Some(Medium::Memory));
        assert_eq!(medium(Spill::Off, None, Some(Spill::Disk)), Some(Medium::Disk));
    }

    #[test]
    fn only_what_frees_a_server_is_spilled() {
        let mut terms = terms(Spill::Disk, None, None);
        for mode in [PoolMode::Transaction, PoolMode::Statement] {
            assert_eq!(terms.medium(mode, TxState::Idle), Some(Medium::Disk));
            assert_eq!(terms.medium(mode, TxState::Open), None);
            assert_eq!(terms.medium(mode, TxState::Failed), None);
        }
        assert_eq!(terms.medium(PoolMode::Session, TxState::Idle), None);
        terms.in_transaction = SpillInTransaction::On;
        assert_eq!(terms.medium(PoolMode::Transaction, TxState::Open), Some(Medium::Disk));
        assert_eq!(terms.medium(PoolMode::Session, TxState::Open), None);
    }
}
