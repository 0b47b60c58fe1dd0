//! `SHOW TARGETS` and `SHOW POOL_KEYS`: what each physical server has for us, and why there are the pools there are.

use plimsoll_pool::BudgetSource;
use plimsoll_proxy::{KeyView, PartView, TargetView};

use super::{Scene, shares};
use crate::table::{Column, Row, big, cell, int, text};

/// So many pools are looked at for what made them.
const MANY_POOLS: usize = 10;

pub(super) const TARGETS: &[Column] = &[
    text("target"),
    int("budget"),
    text("source"),
    int("max_connections"),
    int("reserved"),
    int("foreign"),
    int("used"),
    int("sv_login"),
    int("sv_idle"),
    int("sv_active"),
    int("sv_tested"),
    int("sv_closing"),
    int("sv_lost"),
    int("cl_waiting"),
    big("asked_us"),
    big("refused_us"),
    text("trouble"),
    text("pools"),
    text("foreign_by"),
    text("unseen"),
    big("differences"),
    int("walsenders"),
    int("used_walsenders"),
    int("max_walsenders"),
];

/// A row for each target there ever was.
pub(super) fn target_rows(scene: &Scene<'_>) -> Vec<Row> {
    scene.pooler.targets().iter().map(target_row).collect()
}

fn target_row(target: &TargetView) -> Row {
    let (counts, said) = (&target.counts, target.said.as_ref());
    let waiting: u32 = target.pools.iter().map(|part| part.waiting).sum();
    vec![
        cell(&target.address),
        target.budget.map(|budget| budget.to_string()),
        cell(source(target.source)),
        said.map(|said| said.max_connections.to_string()),
        said.map(|said| said.reserved.to_string()),
        said.and_then(|said| said.foreign).map(|foreign| foreign.to_string()),
        cell(target.used),
        cell(counts.opening),
        cell(counts.idle + counts.used),
        cell(counts.held + counts.being_canceled),
        cell(counts.tested),
        cell(counts.closing),
        cell(counts.lost),
        cell(waiting),
        said.map(|said| said.ago.as_micros().to_string()),
        target.refused.map(|refused| refused.as_micros().to_string()),
        target.trouble.clone(),
        cell(pools(target)),
        said.map(|said| {
            let all =
                said.by_user.iter().map(|(user, application, count)| format!("{user}/{application} {count}"));
            all.collect::<Vec<_>>().join(", ")
        }),
        cell(target.unseen.iter().map(u32::to_string).collect::<Vec<_>>().join(" ")),
        cell(target.differences),
        said.and_then(|said| said.walsenders).map(|walsenders| walsenders.to_string()),
        cell(target.walsenders),
        target.walsenders_max.map(|max| max.to_string()),
    ]
}

/// Where a budget comes from, in a word.
pub(crate) fn source(source: BudgetSource) -> &'static str {
    match source {
        BudgetSource::Unlimited => "none",
        BudgetSource::Configured => "file",
        BudgetSource::Asked => "server",
        BudgetSource::Presumed => "presumed",
        BudgetSource::Refused => "refusal",
    }
}

/// `shop/app 3, share 4, weight 2, floor 1, 5 waiting; …`: what a pool has, what is its when all want more, and the
/// words of its lines that say so.
fn pools(target: &TargetView) -> String {
    let one = |(part, share): (&PartView, Option<f64>)| {
        let mut text = format!("{}/{} {}", part.database, part.role, part.has);
        if part.purpose == "replication" {
            text.push_str(" for replication");
        }
        if let Some(share) = share {
            text.push_str(&format!(", share {}", shares::text(share)));
        }
        if part.weight != 1 {
            text.push_str(&format!(", weight {}", part.weight));
        }
        if part.floor > 0 {
            text.push_str(&format!(", floor {}", part.floor));
        }
        if part.waiting > 0 {
            text.push_str(&format!(", {} waiting", part.waiting));
        }
        text
    };
    target.pools.iter().zip(shares::shares(target)).map(one).collect::<Vec<_>>().join("; ")
}

pub(super) const POOL_KEYS: &[Column] = &[
    text("database"),
    text("role"),
    text("purpose"),
    text("options"),
    int("clients"),
    int("servers"),
    text("why"),
    text("warning"),
    int("weight"),
    int("floor"),
];

/// A row for each pool; where pools have come with the clients, every row says so.
pub(super) fn key_rows(scene: &Scene<'_>) -> Vec<Row> {
    let keys = scene.pooler.pool_keys();
    let warning = growth(&keys);
    let row = |key: &KeyView| {
        let counts = &key.counts;
        let servers =
            counts.opening + counts.idle + counts.used + counts.held + counts.being_canceled + counts.tested;
        vec![
            cell(&key.database),
            cell(&key.role),
            cell(key.purpose),
            cell(key.options.join(" ")),
            cell(key.clients),
            cell(servers),
            cell(&key.why),
            warning.clone(),
            cell(key.weight),
            cell(key.floor),
        ]
    };
    keys.iter().map(row).collect()
}

/// Whether there is a pool for nearly every client: then nobody shares a connection with anybody.
fn growth(keys: &[KeyView]) -> Option<String> {
    let pools = keys.iter().filter(|key| key.purpose == "clients").count();
    let lonely = keys.iter().filter(|key| key.purpose == "clients" && key.clients <= 1).count();
    let roles: std::collections::BTreeSet<_> = keys.iter().map(|key| &key.role).collect();
    (pools >= MANY_POOLS && lonely * 10 >= pools * 9).then(|| {
        format!(
            "WARNING: {lonely} of {pools} pools have one client at most: pools grow with the number of clients \
             ({} server login roles). Give the database line a user=, so that all share one pool",
            roles.len()
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(role: &str, clients: u32) -> KeyView {
        KeyView {
            database: "shop".into(),
            role: role.into(),
            purpose: "clients",
            why: String::new(),
            clients,
            counts: plimsoll_pool::PoolCounts::default(),
            options: Vec::new(),
            weight: 1,
            floor: 0,
        }
    }

    #[test]
    fn pools_have_their_shares() {
        let part = |role: &str, has, purpose| PartView {
            database: "shop".into(),
            role: role.into(),
            purpose,
            has,
            waiting: 0,
            size: 20,
            weight: 1,
            floor: 0,
        };
        let mut target = TargetView {
            address: String::new(),
            budget: Some(10),
            source: BudgetSource::Configured,
            configured: Some(10),
            learned: None,
            counts: plimsoll_pool::PoolCounts::default(),
            used: 10,
            walsenders: 2,
            walsenders_max: None,
            said: None,
            trouble: None,
            refused: None,
            unseen: Vec::new(),
            differences: 0,
            line: None,
            pools: vec![
                PartView { weight: 2, floor: 1, waiting: 5, ..part("app", 3, "clients") },
                part("bob", 6, "clients"),
                part("watcher", 1, "control_user"),
                part("app", 2, "replication"),
            ],
        };
        let expected = "shop/app 3, share 6, weight 2, floor 1, 5 waiting; shop/bob 6, share 3; shop/watcher 1; shop/app 2 for replication";
        assert_eq!(pools(&target), expected);
        target.budget = None;
        assert_eq!(
            pools(&target),
            "shop/app 3, weight 2, floor 1, 5 waiting; shop/bob 6; shop/watcher 1; shop/app 2 for replication"
        );
    }

    #[test]
    fn a_pool_for_every_client_is_told() {
        let many: Vec<_> = (0..20).map(|n| key(&format!("token{n}"), 1)).collect();
        assert!(growth(&many).expect("a warning").starts_with("WARNING: 20 of 20 pools"));
        assert_eq!(growth(&many[..5]), None);
        let shared: Vec<_> = (0..20).map(|n| key(&format!("role{n}"), 30)).collect();
        assert_eq!(growth(&shared), None);
    }
}
