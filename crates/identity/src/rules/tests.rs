use proptest::prelude::*;

use super::*;
use crate::id::Kind;
use crate::model::{
    AppData, Application, CredentialData, CredentialKind, DataSet, DataSetData, GrantData, Meta, OrgData,
    Organisation, Party, User, UserData,
};
use crate::store::Holder;

const NOW: i64 = 1000;
const STATES: [State; 3] = [State::Active, State::Disabled, State::Revoked];

fn id(kind: Kind, number: u8) -> Id {
    Id::new(kind, 1, [number; 10])
}

fn meta() -> Meta {
    Meta { created_ms: 0, changed_ms: 0, changed_by: "init".to_owned(), version: 1 }
}

fn org(state: State) -> Organisation {
    let data = OrgData { name: "org".to_owned(), state };
    Organisation { id: id(Kind::Org, 1), data, meta: meta() }
}

fn app(state: State) -> Holder {
    let data = AppData {
        org: id(Kind::Org, 1),
        name: "shop".to_owned(),
        party: Party::First,
        redirect_uris: Vec::new(),
        state,
    };
    Holder::App(Application { id: id(Kind::App, 1), data, meta: meta() })
}

fn user(state: State) -> Holder {
    let data =
        UserData { org: id(Kind::Org, 1), login: "ann@example.org".to_owned(), scopes: Vec::new(), state };
    Holder::User(User { id: id(Kind::User, 1), data, has_password: false, meta: meta() })
}

/// A grant to use data set `number`, which is in database `db`.
fn fact(number: u8, db: &str, role: &str, actions: &[&str]) -> GrantFact {
    let data = GrantData {
        subject: id(Kind::App, 1),
        dataset: id(Kind::DataSet, number),
        role: role.to_owned(),
        actions: actions.iter().map(|action| (*action).to_owned()).collect(),
        limits: Limits { clients: Some(u32::from(number)), ..Limits::default() },
        shared: false,
        expires_ms: None,
        state: State::Active,
    };
    let dataset = DataSetData {
        org: id(Kind::Org, 2),
        name: format!("set{number}"),
        database: db.to_owned(),
        schema: None,
        state: State::Active,
    };
    GrantFact {
        grant: Grant { id: id(Kind::Grant, number), data, meta: meta() },
        dataset: DataSet { id: id(Kind::DataSet, number), data: dataset, meta: meta() },
        dataset_org_state: State::Active,
    }
}

fn facts(grants: Vec<GrantFact>) -> SubjectFacts {
    SubjectFacts { holder: app(State::Active), org: org(State::Active), grants }
}

fn enter(facts: &SubjectFacts, database: &str, user: &str) -> Decision {
    decide(facts, &Ask::Connect { database, user }, NOW)
}

fn role_of(decision: &Decision) -> &str {
    match decision {
        Decision::Allowed(allowed) => &allowed.role,
        Decision::Refused(reason) => panic!("refused: {reason}"),
    }
}

fn grant_of(decision: Decision) -> Id {
    match decision {
        Decision::Allowed(allowed) => allowed.grant,
        Decision::Refused(reason) => panic!("refused: {reason}"),
    }
}

fn refusal(decision: Decision) -> Reason {
    match decision {
        Decision::Refused(reason) => reason,
        Decision::Allowed(allowed) => panic!("allowed by {}", allowed.grant),
    }
}

#[test]
fn a_grant_tells_what_it_allows() {
    let mut one = fact(3, "shop", "shop_rw", &["connect"]);
    one.grant.data.expires_ms = Some(NOW + 1);
    let decision = enter(&facts(vec![one]), "shop", "shop_rw");
    let expected = Allowed {
        grant: id(Kind::Grant, 3),
        dataset: id(Kind::DataSet, 3),
        org: id(Kind::Org, 1),
        role: "shop_rw".to_owned(),
        limits: Limits { clients: Some(3), ..Limits::default() },
        until_ms: Some(NOW + 1),
    };
    assert_eq!(decision, Decision::Allowed(expected));
}

#[test]
fn the_role_that_is_asked_for_goes_before_the_name_of_the_subject() {
    let known = facts(vec![fact(1, "db", "reader", &["*"]), fact(2, "db", "shop", &["*"])]);
    assert_eq!(role_of(&enter(&known, "db", "reader")), "reader");
    assert_eq!(role_of(&enter(&known, "db", "shop")), "shop");
    let reason = refusal(enter(&known, "db", id(Kind::App, 1).as_str()));
    let roles = vec!["reader".to_owned(), "shop".to_owned()];
    assert_eq!(reason, Reason::SeveralRoles { subject: id(Kind::App, 1), roles: roles.clone() });
    let reason = refusal(enter(&known, "db", "writer"));
    let user = "writer".to_owned();
    assert_eq!(reason, Reason::RoleNotGranted { subject: id(Kind::App, 1), user, roles });
}

#[test]
fn the_name_of_the_subject_stands_for_its_only_role() {
    let mut known = facts(vec![fact(1, "db", "reader", &["*"]), fact(2, "other", "writer", &["*"])]);
    for name in ["shop", id(Kind::App, 1).as_str()] {
        assert_eq!(role_of(&enter(&known, "db", name)), "reader");
    }
    known.holder = user(State::Active);
    for name in ["ann@example.org", id(Kind::User, 1).as_str()] {
        assert_eq!(role_of(&enter(&known, "db", name)), "reader");
    }
    refusal(enter(&known, "db", "shop"));
    refusal(enter(&known, "db", "ANN@example.org"));
    refusal(enter(&known, "db", ""));
}

#[test]
fn two_grants_of_one_role_are_one_role() {
    let mut known = facts(vec![fact(2, "db", "r", &["*"]), fact(1, "db", "r", &["*"])]);
    assert_eq!(grant_of(enter(&known, "db", "shop")), id(Kind::Grant, 1), "the oldest");
    known.grants[1].grant.data.expires_ms = Some(i64::MAX - 1);
    assert_eq!(grant_of(enter(&known, "db", "r")), id(Kind::Grant, 2), "the one that holds longest");
}

#[test]
fn a_grant_that_is_of_no_use_is_in_nobodys_way() {
    for state in [State::Disabled, State::Revoked] {
        let mut dead = fact(1, "db", "a", &["*"]);
        dead.grant.data.state = state;
        let known = facts(vec![dead, fact(2, "db", "b", &["*"])]);
        assert_eq!(role_of(&enter(&known, "db", "shop")), "b");
        let reason = refusal(enter(&known, "db", "a"));
        assert!(matches!(reason, Reason::RoleNotGranted { roles, .. } if roles == ["b"]));
    }
}

#[test]
fn the_end_of_a_grant_or_credential_does_not_belong_to_it() {
    let ask = Ask::Connect { database: "db", user: "a" };
    let mut known = facts(vec![fact(1, "db", "a", &["*"])]);
    let mut credential = Credential {
        key_id: "K".repeat(16),
        data: CredentialData {
            app: id(Kind::App, 1),
            kind: CredentialKind::Key,
            env: "live".to_owned(),
            name: String::new(),
            public: String::new(),
            scopes: Vec::new(),
            expires_ms: Some(NOW),
            state: State::Active,
        },
        used_ms: None,
        used_from: None,
        meta: meta(),
    };
    known.grants[0].grant.data.expires_ms = Some(NOW);
    assert!(matches!(decide(&known, &ask, NOW - 1), Decision::Allowed(_)));
    assert_eq!(credential_good(&credential, NOW - 1), Ok(()));
    let grant = id(Kind::Grant, 1);
    let why = Unusable::Expired;
    assert_eq!(decide(&known, &ask, NOW), Decision::Refused(Reason::GrantUnusable { grant, why }));
    assert_eq!(credential_good(&credential, NOW), Err(Reason::CredentialExpired));
    credential.data.expires_ms = None;
    assert_eq!(credential_good(&credential, i64::MAX), Ok(()));
    for state in [State::Disabled, State::Revoked] {
        credential.data.state = state;
        assert_eq!(credential_good(&credential, 0), Err(Reason::Credential(state)));
    }
}

/// Every combination of the five states: allowed only if all are active, else for the first that is not, from the
/// subject to the owner of the data.
#[test]
fn all_that_a_grant_depends_on_has_to_be_active() {
    let numbers = 0..3_usize.pow(5);
    for number in numbers {
        let state = |place: u32| STATES[number / 3_usize.pow(place) % 3];
        let (holder, own, grant, dataset, owner) = (state(0), state(1), state(2), state(3), state(4));
        let mut one = fact(1, "db", "a", &["*"]);
        one.grant.data.state = grant;
        one.dataset.data.state = dataset;
        one.dataset_org_state = owner;
        let known = SubjectFacts { holder: app(holder), org: org(own), grants: vec![one] };
        let subject = id(Kind::App, 1);
        let unusable = |why| Err(Reason::GrantUnusable { grant: id(Kind::Grant, 1), why });
        let expected = if holder != State::Active {
            Err(Reason::Subject { subject, state: holder })
        } else if own != State::Active {
            Err(Reason::Org { subject, state: own })
        } else if grant != State::Active {
            unusable(Unusable::Grant(grant))
        } else if dataset != State::Active {
            unusable(Unusable::DataSet(dataset))
        } else if owner != State::Active {
            unusable(Unusable::DataSetOrg(owner))
        } else {
            Ok(())
        };
        let dataset = id(Kind::DataSet, 1);
        for ask in [
            Ask::Connect { database: "db", user: "a" },
            Ask::Connect { database: "db", user: "shop" },
            Ask::Action { dataset: &dataset, action: "read" },
        ] {
            let seen = match decide(&known, &ask, NOW) {
                Decision::Allowed(_) => Ok(()),
                Decision::Refused(reason) => Err(reason),
            };
            assert_eq!(seen, expected, "{ask:?}");
        }
    }
}

#[test]
fn actions_are_words_compared_whole() {
    let known = facts(vec![fact(1, "db", "a", &["read", "connect"]), fact(2, "db", "b", &[])]);
    let ask = |number, action| {
        let dataset = id(Kind::DataSet, number);
        decide(&known, &Ask::Action { dataset: &dataset, action }, NOW)
    };
    assert_eq!(grant_of(ask(1, "read")), id(Kind::Grant, 1));
    for action in ["rea", "reads", "READ", "", "*"] {
        let expected = Reason::ActionNotGranted { subject: id(Kind::App, 1), action: action.to_owned() };
        assert_eq!(refusal(ask(1, action)), expected);
    }
    assert!(matches!(refusal(ask(2, "read")), Reason::ActionNotGranted { .. }));
    assert!(matches!(refusal(ask(3, "read")), Reason::NoGrantOnDataSet { .. }));
    assert!(matches!(refusal(enter(&known, "db", "b")), Reason::RoleNotGranted { .. }));
    assert!(matches!(refusal(enter(&known, "dbx", "a")), Reason::NoGrantOnDatabase { .. }));
}

#[test]
fn reasons_are_sentences() {
    let roles: Vec<String> = (0..7).map(|number| format!("r{number}")).collect();
    let subject = id(Kind::App, 1);
    let reason = Reason::SeveralRoles { subject: subject.clone(), roles };
    let expected = format!(
        "{subject} has several login roles there, so one has to be named: \"r0\", \"r1\", \"r2\", \"r3\", \"r4\" \
         and 2 more"
    );
    assert_eq!(reason.to_string(), expected);
    assert_eq!(Reason::Credential(State::Revoked).to_string(), "the credential is revoked");
    let reason = Reason::NoGrantOnDatabase { subject: subject.clone(), database: "a\"\n".to_owned() };
    assert_eq!(reason.to_string(), format!(r#"{subject} has no grant on database "a\"\n""#));
}

#[test]
fn a_login_role_is_shared_between_organisations_by_both_or_not_at_all() {
    let role_use = |number, shared| RoleUse { org: id(Kind::Org, number), shared };
    for (mine, other) in [(false, false), (false, true), (true, false), (true, true)] {
        assert_eq!(role_conflict(&role_use(1, mine), &role_use(1, other)), None);
        let seen = role_conflict(&role_use(1, mine), &role_use(2, other));
        let theirs = id(Kind::Org, 2);
        let expected = match (mine, other) {
            (true, true) => None,
            (_, false) => Some(RoleConflict::Theirs(theirs)),
            (false, true) => Some(RoleConflict::Mine(theirs)),
        };
        assert_eq!(seen, expected);
    }
}

fn any_state() -> impl Strategy<Value = State> {
    prop_oneof![4 => Just(State::Active), 1 => Just(State::Disabled), 1 => Just(State::Revoked)]
}

fn any_fact() -> impl Strategy<Value = GrantFact> {
    let actions = prop::collection::vec(prop::sample::select(vec!["connect", "read", "*"]), 0..3);
    let roles = prop::sample::select(vec!["a", "b", "shop"]);
    let databases = prop::sample::select(vec!["x", "y"]);
    let ends = prop::option::of(NOW - 2..NOW + 3);
    (1_u8..5, databases, roles, actions, ends, any_state(), any_state(), any_state()).prop_map(
        |(number, db, role, actions, expires_ms, grant, dataset, owner)| {
            let mut one = fact(number, db, role, &actions);
            one.grant.data.expires_ms = expires_ms;
            one.grant.data.state = grant;
            one.dataset.data.state = dataset;
            one.dataset_org_state = owner;
            one
        },
    )
}

fn any_facts() -> impl Strategy<Value = SubjectFacts> {
    (any_state(), any_state(), prop::collection::vec(any_fact(), 0..6)).prop_map(
        |(holder, own, mut grants)| {
            for (grant, number) in grants.iter_mut().zip(1..) {
                grant.grant.id = id(Kind::Grant, number);
            }
            SubjectFacts { holder: app(holder), org: org(own), grants }
        },
    )
}

/// The rule, said once more: the grants by which something may be done.
fn of_use<'f>(known: &'f SubjectFacts, word: &str) -> Vec<&'f GrantFact> {
    if known.holder.state() != State::Active || known.org.data.state != State::Active {
        return Vec::new();
    }
    let mut found = Vec::new();
    for one in &known.grants {
        let states = [one.grant.data.state, one.dataset.data.state, one.dataset_org_state];
        let word_fits = one.grant.data.actions.iter().any(|action| action == word || action == "*");
        let in_time = one.grant.data.expires_ms.is_none_or(|end| NOW < end);
        if states == [State::Active; 3] && word_fits && in_time {
            found.push(one);
        }
    }
    found
}

proptest! {
    #[test]
    fn entering_is_as_the_rule_says(known in any_facts(), db in "[xy]", user in "a|b|c|shop") {
        let there: Vec<_> =
            of_use(&known, "connect").into_iter().filter(|one| one.dataset.data.database == db).collect();
        let mut roles: Vec<&str> = there.iter().map(|one| one.grant.data.role.as_str()).collect();
        roles.sort_unstable();
        roles.dedup();
        let expected = match roles.as_slice() {
            roles if roles.contains(&user.as_str()) => Some(user.as_str()),
            [only] if user == "shop" => Some(*only),
            _ => None,
        };
        match (enter(&known, &db, &user), expected) {
            (Decision::Allowed(allowed), Some(role)) => {
                prop_assert_eq!(&allowed.role, role);
                prop_assert!(there.iter().any(|one| one.grant.id == allowed.grant && one.grant.data.role == role));
            }
            (Decision::Refused(reason), None) => prop_assert!(!reason.to_string().is_empty()),
            (seen, expected) => prop_assert!(false, "{seen:?} is not {expected:?}"),
        }
    }

    #[test]
    fn acting_is_as_the_rule_says(known in any_facts(), number in 1_u8..5, action in "read|connect|write") {
        let dataset = id(Kind::DataSet, number);
        let good = of_use(&known, &action).into_iter().any(|one| one.dataset.id == dataset);
        let seen = decide(&known, &Ask::Action { dataset: &dataset, action: &action }, NOW);
        prop_assert_eq!(matches!(seen, Decision::Allowed(_)), good);
    }

    /// Taking something away never allows more.
    #[test]
    fn revoking_never_opens_a_door_to_another_role(known in any_facts(), which in 0_usize..6, user in "a|b") {
        let mut less = known.clone();
        if let Some(one) = less.grants.get_mut(which) {
            one.grant.data.state = State::Revoked;
        }
        let before = matches!(enter(&known, "x", &user), Decision::Allowed(_));
        let after = matches!(enter(&less, "x", &user), Decision::Allowed(_));
        prop_assert!(before || !after);
    }
}
