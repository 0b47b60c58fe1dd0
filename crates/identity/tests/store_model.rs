//! Drawn histories of grants, compared with a model after every step: what is refused, what is there, what the log
//! says, and that no two organisations share a login role unawares.

#![allow(clippy::unwrap_used, reason = "a test ends where it goes wrong")]

mod house;

use house::*;
use plimsoll_identity::{
    AppData, Application, AuditFilter, DataSet, Grant, GrantData, GrantFilter, Id, State, Store, StoreFault,
};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

const HISTORIES: usize = 25;
const STEPS: usize = 40;
const DATABASES: usize = 2;
const ROLES: usize = 2;

/// What is done; numbers are taken modulo what there is.
#[derive(Clone, Debug)]
enum Step {
    Create { app: usize, dataset: usize, role: usize, shared: bool },
    Change { grant: usize, shared: bool, state: State, expect: Expect },
    Delete { grant: usize, expect: Expect },
    Move { dataset: usize, database: usize },
}

#[derive(Clone, Copy, Debug)]
enum Expect {
    Nothing,
    Right,
    Wrong,
}

fn step() -> impl Strategy<Value = Step> {
    let state = prop_oneof![3 => Just(State::Active), 1 => Just(State::Disabled), 1 => Just(State::Revoked)];
    let expect = prop_oneof![1 => Just(Expect::Nothing), 3 => Just(Expect::Right), 1 => Just(Expect::Wrong)];
    let (shared, number) = (prop::bool::weighted(0.6), 0_usize..1000);
    prop_oneof![
        4 => (0_usize..4, 0_usize..4, 0..ROLES, shared)
            .prop_map(|(app, dataset, role, shared)| Step::Create { app, dataset, role, shared }),
        3 => (number.clone(), shared, state, expect.clone())
            .prop_map(|(grant, shared, state, expect)| Step::Change { grant, shared, state, expect }),
        2 => (number, expect).prop_map(|(grant, expect)| Step::Delete { grant, expect }),
        1 => (0_usize..4, 0..DATABASES).prop_map(|(dataset, database)| Step::Move { dataset, database }),
    ]
}

/// Two organisations with two applications and two data sets each, and the grants there should be.
struct World {
    store: Store,
    name: String,
    apps: Vec<Application>,
    datasets: Vec<DataSet>,
    grants: Vec<Grant>,
}

impl World {
    async fn build(store: &Store, number: usize) -> World {
        let name = format!("world{number}");
        let (mut apps, mut datasets) = (Vec::new(), Vec::new());
        for half in 0..2 {
            let org = store.create_org(org_data(&format!("{name} {half}")), WHO).await.unwrap();
            for place in 0..2 {
                let data = AppData { name: format!("app{place}"), ..app_data(&org.id, "") };
                apps.push(store.create_app(data, WHO).await.unwrap());
                let database = format!("{name}db{place}");
                let data = dataset_data(&org.id, &format!("set{place}"), &database);
                datasets.push(store.create_dataset(data, WHO).await.unwrap());
            }
        }
        World { store: store.clone(), name, apps, datasets, grants: Vec::new() }
    }

    fn org_of(&self, grant: &GrantData) -> &Id {
        let app = self.apps.iter().find(|app| app.id == grant.subject);
        &app.unwrap().data.org
    }

    fn database_of(&self, grant: &GrantData) -> &str {
        let dataset = self.datasets.iter().find(|dataset| dataset.id == grant.dataset);
        &dataset.unwrap().data.database
    }

    /// Whether two grants can be beside each other on one database.
    fn get_along(&self, one: &GrantData, other: &GrantData) -> bool {
        one.role != other.role
            || one.state == State::Revoked
            || other.state == State::Revoked
            || self.org_of(one) == self.org_of(other)
            || one.shared && other.shared
    }

    fn fits(&self, data: &GrantData, database: &str) -> bool {
        let mut there = self.grants.iter().filter(|grant| self.database_of(&grant.data) == database);
        there.all(|grant| self.get_along(data, &grant.data))
    }

    /// Does a step; whether it was done, as the store and as the model say.
    async fn take(&mut self, step: &Step) -> (Result<(), StoreFault>, Option<&'static str>) {
        match *step {
            Step::Create { app, dataset, role, shared } => {
                let (app, dataset) = (&self.apps[app], &self.datasets[dataset]);
                let mut data = grant_data(&app.id, &dataset.id, &format!("role{role}"));
                data.shared = shared;
                let refusal = (!self.fits(&data, &dataset.data.database)).then_some("conflict");
                let seen = self.store.create_grant(data, WHO).await;
                (seen.map(|grant| self.grants.push(grant)), refusal)
            }
            Step::Change { grant, shared, state, expect } => {
                let Some(at) = grant.checked_rem(self.grants.len()) else { return (Ok(()), Some("none")) };
                let old = self.grants[at].clone();
                let data = GrantData { shared, state, ..old.data.clone() };
                let refusal = match (expect, old.data.state) {
                    (Expect::Wrong, _) => Some("stale"),
                    (_, State::Revoked) if data == old.data => Some("none"),
                    (_, State::Revoked) => Some("conflict"),
                    _ => (!self.fits(&data, self.database_of(&data))).then_some("conflict"),
                };
                let seen = self.store.change_grant(&old.id, version(&old, expect), data, WHO).await;
                (seen.map(|grant| self.grants[at] = grant), refusal)
            }
            Step::Delete { grant, expect } => {
                let Some(at) = grant.checked_rem(self.grants.len()) else { return (Ok(()), Some("none")) };
                let old = self.grants[at].clone();
                let refusal = matches!(expect, Expect::Wrong).then_some("stale");
                let seen = self.store.delete_grant(&old.id, version(&old, expect), WHO).await;
                (seen.map(|()| drop(self.grants.remove(at))), refusal)
            }
            Step::Move { dataset, database } => {
                let mut data = self.datasets[dataset].data.clone();
                let id = self.datasets[dataset].id.clone();
                data.database = format!("{}db{database}", self.name);
                let mut moved = self.grants.iter().filter(|grant| grant.data.dataset == id);
                let fits = moved.all(|grant| self.fits(&grant.data, &data.database));
                let seen = self.store.change_dataset(&id, None, data, WHO).await;
                (seen.map(|changed| self.datasets[dataset] = changed), (!fits).then_some("conflict"))
            }
        }
    }

    async fn check(&self) {
        for one in &self.grants {
            for other in &self.grants {
                let same = self.database_of(&one.data) == self.database_of(&other.data);
                assert!(!same || self.get_along(&one.data, &other.data), "{one:?} {other:?}");
            }
            assert_eq!(self.store.grant(&one.id).await.unwrap(), *one);
        }
        let mut there = 0;
        for app in &self.apps {
            let filter = GrantFilter { subject: Some(app.id.clone()), ..GrantFilter::default() };
            there += self.store.grants(filter, page(200)).await.unwrap().items.len();
        }
        assert_eq!(there, self.grants.len());
        for grant in &self.grants {
            let filter = AuditFilter { object: Some(grant.id.to_string()), ..AuditFilter::default() };
            let log = self.store.audit(filter, page(200)).await.unwrap().items;
            assert_eq!(i64::try_from(log.len()).unwrap(), grant.meta.version);
            assert_eq!(log[0].detail, serde_json::to_value(&grant.data).unwrap());
        }
    }
}

fn version(grant: &Grant, expect: Expect) -> Option<i64> {
    match expect {
        Expect::Nothing => None,
        Expect::Right => Some(grant.meta.version),
        Expect::Wrong => Some(grant.meta.version + 1),
    }
}

#[test]
fn grants_are_as_their_model_says() {
    on_both(async |store| {
        let mut runner = TestRunner::deterministic();
        let histories = prop::collection::vec(step(), STEPS);
        let mut refused = 0;
        for number in 0..HISTORIES {
            let steps = histories.new_tree(&mut runner).unwrap().current();
            let mut world = World::build(&store, number).await;
            for (at, step) in steps.iter().enumerate() {
                let before = store.last_change().await.unwrap();
                let (seen, expected) = world.take(step).await;
                let told = match &seen {
                    Ok(()) if store.last_change().await.unwrap() == before => Some("none"),
                    Ok(()) => None,
                    Err(StoreFault::Conflict { .. }) => Some("conflict"),
                    Err(StoreFault::Stale { .. }) => Some("stale"),
                    Err(fault) => panic!("{fault}"),
                };
                assert_eq!(told, expected, "step {at} of {steps:?}: {seen:?}");
                refused += usize::from(told == Some("conflict"));
                let grown = store.last_change().await.unwrap() - before;
                assert_eq!(grown, i64::from(told.is_none()), "entries of step {at} of {steps:?}");
            }
            world.check().await;
        }
        assert!(refused > HISTORIES, "the rule was hardly tried: {refused}");
    });
}
