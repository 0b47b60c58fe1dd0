//! Results that are not read: whose, how much, where, and how fast they go.

use plimsoll_config::Statements;

use super::views::{statement, who};
use crate::control::Control;
use crate::spill::{Lack, Record, StoreView};
use crate::views::SpillView;

impl Control {
    /// `SHOW SPILLS`: the oldest first.
    pub fn spills(&self) -> Vec<SpillView> {
        self.hub.spills.records().iter().map(|record| self.spill_view(record)).collect()
    }

    /// `SHOW SPILL_STORE`.
    pub fn spill_store(&self) -> StoreView {
        self.hub.spills.view()
    }

    fn spill_view(&self, record: &Record) -> SpillView {
        let plan = self.hub.plan();
        let (memory, disk) = record.bytes();
        let (age, taken) = (record.since.elapsed(), record.taken());
        let per_second = u128::from(taken) * 1_000_000 / age.as_micros().max(1);
        let client = &record.origin.client;
        SpillView {
            who: who(&self.hub, client),
            statement: (plan.own.ledger_statements != Statements::Off)
                .then(|| record.origin.statement.as_ref().map(|text| statement(text, &plan)))
                .flatten(),
            state: match (record.lack(), client.held().is_some()) {
                (Some(Lack::Client), _) => "full: spill_per_client",
                (Some(Lack::Memory), _) => "full: budgets",
                (Some(Lack::Terms), true) => "waiting: transaction",
                (None | Some(Lack::Disk), true) => "filling",
                (None | Some(Lack::Disk | Lack::Terms), false) => "draining",
            },
            memory,
            disk,
            total: record.total(),
            taken,
            per_second: u64::try_from(per_second).unwrap_or(u64::MAX),
            age,
        }
    }
}
