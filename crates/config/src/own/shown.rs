//! The keys of `[plimsoll]` as `SHOW CONFIG` writes them.

use super::{
    At, CANCEL_ON_CLIENT_LOSS, DISCLOSE, FAIRNESS, Field, IN_TRANSACTION, KEYS, Key, LEAK_ACT, LEDGER, SPILL,
    STATEMENTS, Words,
};
use crate::plan::{Compat, Own, Shown, SnapshotDir};
use crate::table::When;
use crate::value;

/// A line for each key of `[plimsoll]`: the value in force, and the default with `compat = plimsoll`.
pub fn shown(own: &Own) -> Vec<Shown> {
    // What knows where a value lives can write there, too.
    let mut own = own.clone();
    KEYS.iter()
        .map(|key| Shown {
            key: key.name,
            value: Some(key.field.text(&mut own).unwrap_or_else(|| key.plain_default().to_string())),
            default: Some(key.plain_default()),
            changeable: key.when == When::Always,
        })
        .collect()
}

impl Key {
    /// The default as a value: what people are told beside it left out.
    fn plain_default(&self) -> &'static str {
        match &self.field {
            Field::Name(_) | Field::Networks(_) | Field::HttpHosts => "",
            Field::Text(_) if self.name == "identity_issuer" => "",
            Field::Folder(_) if self.name.starts_with("http_tls_") || self.name == "ldap_ca_file" => "",
            Field::Text(_) | Field::IdentityStore => self.default,
            Field::TimeOrOff(..) => "0",
            Field::Workers | Field::Budget | Field::Compat | Field::Ledger | Field::Statements => {
                self.default
            }
            Field::PamService => self.default,
            Field::Disclose | Field::Fairness | Field::Proxy | Field::LeakAct => self.default,
            Field::Spill | Field::SpillInTransaction | Field::Folder(_) | Field::Count(..) => self.default,
            Field::SnapshotDir => self.default,
            Field::CancelOnClientLoss | Field::Http | Field::Time(..) | Field::Size(..) => {
                self.default.split(';').next().unwrap_or(self.default)
            }
        }
    }
}

impl Field {
    /// The value as a file would write it; `None`: none is set.
    fn text(&self, own: &mut Own) -> Option<String> {
        match self {
            Field::Workers => own.workers.map(|number| number.to_string()),
            Field::Budget => Some(own.target_budget.to_string()),
            Field::Compat => Some(match own.compat {
                Compat::Plimsoll => "plimsoll".to_string(),
                Compat::Pgbouncer => "pgbouncer".to_string(),
            }),
            Field::Ledger => word(own.ledger, LEDGER),
            Field::Statements => word(own.ledger_statements, STATEMENTS),
            Field::Disclose => word(own.disclose_holders, DISCLOSE),
            Field::Fairness => word(own.queue_fairness, FAIRNESS),
            Field::CancelOnClientLoss => {
                own.cancel_on_client_loss.and_then(|when| word(when, CANCEL_ON_CLIENT_LOSS))
            }
            Field::Proxy => Some(own.proxy_protocol.to_string()),
            Field::Http => Some(own.http_listen().to_string()),
            Field::IdentityStore => Some(own.identity.store.to_string()),
            Field::PamService => own.vouch.pam_service.clone(),
            Field::HttpHosts => Some(own.http_hosts.to_string()),
            Field::Spill => word(own.spill, SPILL),
            Field::LeakAct => word(own.leak.act.unwrap_or_default(), LEAK_ACT),
            Field::SpillInTransaction => word(own.spill_in_transaction, IN_TRANSACTION),
            Field::Networks(at) => {
                let all: Vec<String> = at(own).iter().map(ToString::to_string).collect();
                Some(all.join(", "))
            }
            Field::Folder(at) => at(own).as_ref().map(|folder| folder.display().to_string()),
            Field::SnapshotDir => Some(match &own.snapshot_dir {
                SnapshotDir::Auto => "auto".to_string(),
                SnapshotDir::Off => "off".to_string(),
                SnapshotDir::Folder(folder) => folder.display().to_string(),
            }),
            Field::Name(at) | Field::Text(at) => at(own).clone(),
            Field::Count(at, ..) => at(own).map(|number| number.to_string()),
            Field::Time(at, ..) | Field::TimeOrOff(at, ..) => time(*at, own),
            Field::Size(at, ..) => at(own).map(value::size_text),
        }
    }
}

fn time(at: At<std::time::Duration>, own: &mut Own) -> Option<String> {
    at(own).map(value::time_text)
}

fn word<T: Copy + PartialEq>(value: T, words: &Words<T>) -> Option<String> {
    words.all.iter().find(|(_, known)| *known == value).map(|(word, _)| (*word).to_string())
}

#[cfg(test)]
mod tests {
    use super::super::{KEYS, find, set};
    use super::shown;
    use crate::plan::{Own, Plan};

    #[test]
    fn what_is_shown_is_a_value_that_can_be_set() {
        let lines = shown(&Own::default());
        assert_eq!(lines.len(), KEYS.len());
        for line in lines.iter().filter(|line| line.key != "workers") {
            assert_eq!(line.value.as_deref(), line.default, "{}", line.key);
            let mut plan = Plan::default();
            let row = find(line.key).expect("a key");
            assert_eq!(set(&mut plan, row, line.default.unwrap_or_default()), Ok(()), "{}", line.key);
        }
    }

    #[test]
    fn what_was_set_is_shown() {
        let mut plan = Plan::default();
        for (key, value) in [
            ("target_budget", "5"),
            ("control_user", "watcher"),
            ("control_interval", "500ms"),
            ("queue_fairness", "application"),
            ("batch_hold_bytes", "0"),
            ("client_heartbeat", "30s"),
            ("proxy_protocol_from", "10.0.0.0/8"),
            ("proxy_protocol", "off, 10.0.9.5/32=v2, 10.0.9.0/24=any"),
            ("spill_dir", "/data"),
            ("spill", "memory"),
            ("snapshot_dir", "/data/snapshots"),
            ("snapshot_dir", "off"),
            ("snapshot_interval", "1min"),
            ("http_hosts", "db1.example.com, metrics"),
        ] {
            set(&mut plan, find(key).expect("a key"), value).expect("a good value");
            let line = shown(&plan.own).into_iter().find(|line| line.key == key).expect("a line");
            assert_eq!(line.value.as_deref(), Some(value), "{key}");
            assert!(line.changeable && plan.set_live.contains(key));
        }
        let before = plan.own.clone();
        assert_eq!(set(&mut plan, find("workers").expect("a key"), "3"), Ok(()));
        assert!(set(&mut plan, find("connect_backoff_max").expect("a key"), "50ms").is_err());
        assert!(set(&mut plan, find("target_budget").expect("a key"), "0").is_err());
        assert!(set(&mut plan, find("snapshot_dir").expect("a key"), "relative").is_err());
        assert_eq!(plan.own, before);
    }
}
