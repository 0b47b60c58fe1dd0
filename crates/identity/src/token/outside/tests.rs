use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use proptest::prelude::*;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::cache::{LEASE_MS, PAUSE_MS, RENEW_MS, STALE_MAX_MS};
use super::*;
use crate::token::testing::{NOW_S, Pair};
use crate::token::{Expected, Fetcher, PublicKey};

const NOW_MS: i64 = NOW_S * 1000;
const ISSUER: &str = "https://login.example.com/";

fn keys(kids: &[&str]) -> KeySet {
    KeySet::new(kids.iter().map(|kid| Pair::new(Alg::EdDsa, kid).public()).collect::<Vec<PublicKey>>())
}

fn app(number: u8) -> Id {
    Id::new(Kind::App, 1, [number; 10])
}

fn rule(claim: &str, value: &str, number: u8) -> ClaimRule {
    ClaimRule::Value { claim: claim.to_owned(), value: value.to_owned(), subject: app(number) }
}

fn issuer(jwks_uri: &str, rules: Vec<ClaimRule>) -> OutsideIssuer {
    OutsideIssuer {
        name: "login".to_owned(),
        issuer: ISSUER.to_owned(),
        audience: "plimsoll".to_owned(),
        jwks_uri: jwks_uri.to_owned(),
        ca_file: None,
        algorithms: vec![Alg::EdDsa],
        types: Types::USUAL,
        rules,
        org: None,
    }
}

/// What a look says, in a word.
fn word(look: &Look) -> &'static str {
    match look {
        Look::Have(_) => "have",
        Look::Fetch => "fetch",
        Look::Wait => "wait",
        Look::Unknown { .. } => "unknown",
        Look::NoKeys { .. } => "no keys",
    }
}

fn look(cache: &mut JwksCache, kid: &str, now_ms: i64) -> &'static str {
    word(&cache.look(Some(kid), now_ms))
}

#[test]
fn keys_are_fetched_when_they_are_asked_for() {
    let mut cache = JwksCache::default();
    assert_eq!(look(&mut cache, "a", 0), "fetch");
    // One fetches, the others wait.
    assert_eq!(look(&mut cache, "a", 1), "wait");
    assert_eq!(look(&mut cache, "b", 2000), "wait");
    assert!(!cache.begin_renewal(2000));
    cache.fetched(Ok(keys(&["a"])), 2500);
    assert_eq!(look(&mut cache, "a", 2501), "have");
    assert_eq!(word(&cache.look(None, 2501)), "have");
    // An unknown one: not again before 30 seconds have gone by since the last began.
    assert!(matches!(cache.look(Some("b"), 2501), Look::Unknown { until_ms: 30_000 }));
    assert_eq!(look(&mut cache, "b", 29_999), "unknown");
    assert_eq!(look(&mut cache, "b", 30_000), "fetch");
    // The known one is had all the while.
    assert_eq!(look(&mut cache, "a", 30_001), "have");
    cache.fetched(Ok(keys(&["a", "b"])), 30_100);
    assert_eq!(look(&mut cache, "b", 30_101), "have");
}

#[test]
fn inventions_cause_one_fetch_in_30_seconds() {
    let mut cache = JwksCache::default();
    let mut fetches = 0;
    for now_ms in (0..600_000).step_by(7) {
        if matches!(cache.look(Some(&format!("k{now_ms}")), now_ms), Look::Fetch) {
            fetches += 1;
            cache.fetched(Ok(keys(&["a"])), now_ms);
        }
    }
    assert_eq!(fetches, 20);
}

#[test]
fn a_fetch_that_fails_keeps_what_was_there_for_a_day() {
    let mut cache = JwksCache::default();
    assert_eq!(look(&mut cache, "a", 0), "fetch");
    cache.fetched(Err(FetchFault::TimedOut), 10);
    assert!(matches!(cache.look(Some("a"), 11), Look::NoKeys { until_ms: 30_000 }));
    assert_eq!(look(&mut cache, "a", 30_000), "fetch");
    cache.fetched(Ok(keys(&["a"])), 30_000);
    assert!(!cache.begin_renewal(30_000 + RENEW_MS - 1));
    for failure in 0..20 {
        let now_ms = 30_000 + RENEW_MS + failure * RENEW_MS;
        assert!(cache.begin_renewal(now_ms));
        assert!(!cache.begin_renewal(now_ms + 1));
        cache.fetched(Err(FetchFault::TimedOut), now_ms + 10);
        assert!(!cache.begin_renewal(now_ms + PAUSE_MS - 1) && look(&mut cache, "a", now_ms) == "have");
    }
    assert_eq!(look(&mut cache, "a", 30_000 + STALE_MAX_MS - 1), "have");
    assert_eq!(look(&mut cache, "a", 30_000 + STALE_MAX_MS), "fetch");
}

#[test]
fn a_key_that_was_withdrawn_is_gone_with_the_next_set() {
    let mut cache = JwksCache::default();
    assert!(cache.begin_renewal(0));
    cache.fetched(Ok(keys(&["old"])), 0);
    assert!(cache.begin_renewal(RENEW_MS));
    cache.fetched(Ok(keys(&["new"])), RENEW_MS);
    assert_eq!((look(&mut cache, "old", RENEW_MS), look(&mut cache, "new", RENEW_MS)), ("unknown", "have"));
}

#[test]
fn a_fetch_that_never_ends_and_a_clock_set_back_lock_nothing() {
    let mut cache = JwksCache::default();
    assert_eq!(look(&mut cache, "a", NOW_MS), "fetch");
    assert_eq!(look(&mut cache, "a", NOW_MS + LEASE_MS - 1), "wait");
    assert_eq!(look(&mut cache, "a", NOW_MS + LEASE_MS), "no keys");
    assert_eq!(look(&mut cache, "a", NOW_MS + PAUSE_MS), "fetch");
    assert_eq!(look(&mut cache, "a", 0), "fetch");
    cache.fetched(Ok(keys(&["a"])), i64::MAX);
    assert_eq!(look(&mut cache, "a", i64::MAX), "have");
    assert_eq!(look(&mut cache, "a", i64::MIN), "fetch");
}

#[test]
fn who_has_read_the_clock_a_little_earlier_is_told_the_same() {
    let mut cache = JwksCache::default();
    assert_eq!(look(&mut cache, "a", NOW_MS), "fetch");
    assert_eq!(
        (look(&mut cache, "a", NOW_MS - 1), look(&mut cache, "a", NOW_MS - LEASE_MS)),
        ("wait", "wait")
    );
    cache.fetched(Ok(keys(&["a"])), NOW_MS + 40);
    assert_eq!((look(&mut cache, "a", NOW_MS + 39), look(&mut cache, "b", NOW_MS - 1)), ("have", "unknown"));
    // This is a clock that was set back.
    assert_eq!(look(&mut cache, "a", NOW_MS - LEASE_MS - 1), "fetch");
}

proptest! {
    /// Whatever is asked when, and however fetches end: two never run at once, and they begin 30 seconds apart.
    #[test]
    fn fetches_are_apart(steps in proptest::collection::vec((0_i64..20_000, 0_u8..5), 1..200)) {
        let mut cache = JwksCache::default();
        let (mut now_ms, mut last_ms, mut runs) = (0, None::<i64>, false);
        for (step, what) in steps {
            now_ms += step;
            let begins = match what {
                0 => cache.begin_renewal(now_ms),
                1 | 2 => matches!(cache.look(Some(&format!("k{what}")), now_ms), Look::Fetch),
                _ => {
                    if runs {
                        cache.fetched(if what == 3 { Ok(keys(&["k1"])) } else { Err(FetchFault::TimedOut) }, now_ms);
                        runs = false;
                    }
                    false
                }
            };
            if begins {
                prop_assert!(last_ms.is_none_or(|last_ms| now_ms - last_ms >= PAUSE_MS));
                (last_ms, runs) = (Some(now_ms), true);
            }
        }
    }
}

fn claims(all: &serde_json::Value) -> Claims {
    let full = json!({"iss": ISSUER, "sub": "s", "aud": "plimsoll", "exp": NOW_S});
    let read = Claims::read(full.as_object().expect("an object")).expect("whole");
    Claims { all: all.as_object().expect("an object").clone(), ..read }
}

#[test]
fn rules_say_for_whom_a_token_speaks() {
    let rules = vec![
        rule("azp", "billing", 1),
        rule("realm_access.roles", "reporting", 2),
        rule("https://example.com/team", "red", 3),
        rule("sub", "system:serviceaccount:shop:web", 4),
    ];
    let issuer = issuer("https://login.example.com/keys", rules);
    let table = [
        (json!({"azp": "billing"}), Some(1)),
        (json!({"azp": ["x", "billing"]}), Some(1)),
        (json!({"azp": "billing", "realm_access": {"roles": ["reporting"]}}), Some(1)),
        (json!({"azp": "other", "realm_access": {"roles": ["a", "reporting"]}}), Some(2)),
        (json!({"realm_access": {"roles": "reporting"}}), Some(2)),
        (json!({"realm_access.roles": "reporting"}), Some(2)),
        (json!({"https://example.com/team": "red"}), Some(3)),
        (json!({"sub": "system:serviceaccount:shop:web"}), Some(4)),
        (json!({"azp": "Billing"}), None),
        (json!({"azp": "billing "}), None),
        (json!({"azp": {"billing": true}}), None),
        (json!({"azp": true}), None),
        (json!({"realm_access": ["roles", "reporting"]}), None),
        (json!({"realm_access": {"roles": {"reporting": 1}}}), None),
        (json!({}), None),
    ];
    for (all, number) in table {
        let speaks = number.map(|number| Speaks::Subject(app(number)));
        assert_eq!(issuer.speaks_for(&claims(&all)), speaks.ok_or(TokenFault::NoRule), "{all}");
    }
    let stranger = Claims { issuer: "https://x".to_owned(), ..claims(&json!({"azp": "billing"})) };
    assert_eq!(issuer.speaks_for(&stranger), Err(TokenFault::Issuer));
}

#[test]
fn settings_are_checked() {
    let good = issuer("https://login.example.com/keys", vec![rule("azp", "x", 1)]);
    assert_eq!(good.check(), Ok(()));
    let empty = |change: fn(&mut OutsideIssuer)| {
        let mut issuer = good.clone();
        change(&mut issuer);
        issuer.check().expect_err("wrong")
    };
    assert_eq!(empty(|issuer| issuer.issuer.clear()), OutsideFault::Empty("issuer"));
    assert_eq!(empty(|issuer| issuer.audience.clear()), OutsideFault::Empty("audience"));
    assert_eq!(empty(|issuer| issuer.algorithms.clear()), OutsideFault::Empty("algorithms"));
    assert_eq!(empty(|issuer| issuer.rules.clear()), OutsideFault::Empty("rules"));
    assert_eq!(empty(|issuer| issuer.types = Types::of(&[])), OutsideFault::Empty("types"));
    assert_eq!(
        empty(|issuer| issuer.rules = vec![rule("", "x", 1)]),
        OutsideFault::Empty("the claim of a rule")
    );
    for open in
        [ClaimRule::Subject { claim: "azp".to_owned() }, ClaimRule::Login { claim: "login".to_owned() }]
    {
        let mut issuer = OutsideIssuer { rules: vec![open], ..good.clone() };
        assert_eq!(issuer.check(), Err(OutsideFault::Unbound));
        issuer.org = Some(Id::new(Kind::Org, 1, [1; 10]));
        assert_eq!(issuer.check(), Ok(()));
    }
    let uri = empty(|issuer| issuer.jwks_uri = "http://login.example.com/keys".to_owned());
    assert!(matches!(uri, OutsideFault::Uri(FetchFault::Uri(_))));
    let org = Id::new(Kind::Org, 1, [1; 10]);
    let wrong = OutsideIssuer {
        rules: vec![ClaimRule::Value { claim: "a".to_owned(), value: "b".to_owned(), subject: org.clone() }],
        ..good.clone()
    };
    assert_eq!(wrong.check(), Err(OutsideFault::Subject(org)));
}

/// Answers every request with a document, and counts.
async fn serve(listener: TcpListener, body: String, served: Arc<AtomicUsize>) {
    while let Ok((mut stream, _)) = listener.accept().await {
        let _ = stream.read(&mut [0; 1024]).await;
        served.fetch_add(1, Ordering::SeqCst);
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
        stream.write_all(format!("{head}{body}").as_bytes()).await.expect("written");
    }
}

#[tokio::test]
async fn many_askers_have_one_fetch() {
    let pair = Pair::new(Alg::EdDsa, "k1");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let uri = format!("http://{}/keys", listener.local_addr().expect("bound"));
    let served = Arc::new(AtomicUsize::new(0));
    let _server = tokio::spawn(serve(listener, json!({"keys": [pair.jwk]}).to_string(), Arc::clone(&served)));
    let outside = OutsideKeys::new(issuer(&uri, vec![rule("sub", "s", 1)]), Fetcher::trusting(None));
    let token = pair.token(&json!({"iss": ISSUER, "sub": "s", "aud": "plimsoll", "exp": NOW_S + 60}));
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..50 {
        let (outside, token) = (outside.clone(), token.clone());
        tasks.spawn(async move {
            let verifier =
                outside.verifier(Some(if number % 2 == 0 { "k1" } else { "invented" }), NOW_MS).await?;
            let expected = Expected { audience: "plimsoll", now_s: NOW_S };
            let claims = verifier.verify(&token, &expected).expect("it is good");
            Ok(outside.issuer().speaks_for(&claims).expect("a rule fits"))
        });
    }
    let answers = tasks.join_all().await;
    assert_eq!(answers.iter().filter(|answer| **answer == Ok(Speaks::Subject(app(1)))).count(), 25);
    assert_eq!(answers.iter().filter(|answer| **answer == Err(KeysFault::UnknownKid)).count(), 25);
    assert_eq!(outside.renew(NOW_MS + 1000).await, Ok(Renewal::NotDue));
    assert_eq!(outside.renew(NOW_MS + RENEW_MS + 60_000).await, Ok(Renewal::Done));
    assert_eq!(served.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn an_issuer_that_is_away_is_named_as_the_cause() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let uri = format!("http://{}/keys", listener.local_addr().expect("bound"));
    drop(listener);
    let outside = OutsideKeys::new(issuer(&uri, vec![rule("sub", "s", 1)]), Fetcher::trusting(None));
    let refused = FetchFault::Connect(std::io::ErrorKind::ConnectionRefused);
    let away = Some(KeysFault::Unreachable(refused.clone()));
    assert_eq!(outside.verifier(Some("k1"), NOW_MS).await.err(), away);
    assert_eq!(outside.verifier(None, NOW_MS + 1).await.err(), away);
    assert!(outside.known(Some("k1"), NOW_MS + 1).is_none());
    assert_eq!(outside.renew(NOW_MS + 60_000).await, Err(refused));
}

#[tokio::test]
async fn no_more_wait_for_an_issuer_than_fit() {
    // It takes connections and says nothing.
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let uri = format!("http://{}/keys", listener.local_addr().expect("bound"));
    let outside = OutsideKeys::new(issuer(&uri, vec![rule("sub", "s", 1)]), Fetcher::trusting(None));
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..100 {
        let outside = outside.clone();
        tasks.spawn(async move { outside.verifier(Some("k1"), NOW_MS).await.err() });
    }
    let answers = tasks.join_all().await;
    let count = |fault: KeysFault| answers.iter().filter(|answer| **answer == Some(fault.clone())).count();
    assert_eq!((count(KeysFault::Busy), count(KeysFault::Unreachable(FetchFault::TimedOut))), (36, 64));
}

#[test]
fn a_failure_is_told_once_and_so_is_its_end() {
    let mut cache = JwksCache::default();
    let mut ends = |fetched, now_ms| {
        assert_eq!(cache.begin(now_ms), Begin::Fetch);
        cache.fetched(fetched, now_ms)
    };
    assert_eq!(ends(Err(FetchFault::TimedOut), 0), Turn::Fails);
    assert_eq!(ends(Err(FetchFault::Status(500)), PAUSE_MS), Turn::None);
    assert_eq!(ends(Ok(keys(&["a"])), 2 * PAUSE_MS), Turn::Works);
    assert_eq!(ends(Ok(keys(&["a"])), 3 * PAUSE_MS), Turn::None);
    assert_eq!(ends(Err(FetchFault::TooLong), 4 * PAUSE_MS), Turn::Fails);
    assert_eq!(cache.failing(), Some(&FetchFault::TooLong));
    // What was there goes on.
    assert!(cache.known(Some("a"), 4 * PAUSE_MS).is_some());
}

#[test]
fn claims_name_ids_and_logins_where_rules_let_them() {
    let org = Some(Id::new(Kind::Org, 1, [1; 10]));
    let rules = vec![
        ClaimRule::Subject { claim: "client_id".to_owned() },
        ClaimRule::Login { claim: "email".to_owned() },
    ];
    let issuer = OutsideIssuer { org, ..issuer("https://login.example.com/keys", rules) };
    let (app, user) = (app(1), Id::new(Kind::User, 1, [1; 10]));
    let dataset = Id::new(Kind::DataSet, 1, [1; 10]);
    let login = || Ok(Speaks::Login("ada@example.com".to_owned()));
    for (all, expected) in [
        (json!({"client_id": app.as_str()}), Ok(Speaks::Subject(app.clone()))),
        (json!({"client_id": user.as_str()}), Ok(Speaks::Subject(user.clone()))),
        (json!({"client_id": dataset.as_str()}), Err(TokenFault::NoRule)),
        (json!({"client_id": [app.as_str()]}), Err(TokenFault::NoRule)),
        (json!({"client_id": "shop"}), Err(TokenFault::NoRule)),
        (json!({"email": "ada@example.com", "email_verified": true}), login()),
        (json!({"email": "ada@example.com", "email_verified": "true"}), login()),
        (json!({"email": "ada@example.com", "email_verified": false}), Err(TokenFault::Unverified)),
        (json!({"email": "ada@example.com", "email_verified": 1}), Err(TokenFault::Unverified)),
        (json!({"email": "ada@example.com"}), Err(TokenFault::Unverified)),
        (json!({"email": "", "email_verified": true}), Err(TokenFault::NoRule)),
    ] {
        assert_eq!(issuer.speaks_for(&claims(&all)), expected, "{all}");
    }
}

#[test]
fn other_settings_keep_the_keys_that_come_from_the_same_place() {
    let table = OutsideIssuers::default();
    assert!(table.is_empty());
    let first = issuer("https://login.example.com/keys", vec![rule("sub", "s", 1)]);
    table.set(vec![first.clone()]).expect("good");
    let find = || table.find(ISSUER).expect("it is there");
    let before = find();
    before.source().cache.lock().fetched(Ok(keys(&["a"])), NOW_MS);
    assert!(table.find("https://login.example.com").is_none(), "names are compared exactly");
    table.set(vec![first.clone()]).expect("good");
    assert!(Arc::ptr_eq(find().issuer(), before.issuer()), "nothing has changed");
    let other = OutsideIssuer { rules: vec![rule("sub", "t", 2)], ..first.clone() };
    table.set(vec![other]).expect("good");
    assert!(find().known(Some("a"), NOW_MS).is_some() && find().issuer().rules[0] == rule("sub", "t", 2));
    let moved = OutsideIssuer { jwks_uri: "https://login.example.com/other".to_owned(), ..first.clone() };
    table.set(vec![moved]).expect("good");
    assert!(find().known(Some("a"), NOW_MS).is_none());
    let wrong = OutsideIssuer { rules: Vec::new(), ..first };
    assert_eq!(table.set(vec![wrong]), Err(OutsideFault::Empty("rules")));
    assert_eq!(find().issuer().rules.len(), 1, "what was there stays");
    table.set(Vec::new()).expect("good");
    assert!(table.is_empty());
}

#[test]
fn what_was_taken_may_be_taken_no_more() {
    let first = issuer("https://login.example.com/keys", vec![rule("sub", "s", 1)]);
    let taken = |change: fn(&mut OutsideIssuer)| {
        let mut other = first.clone();
        change(&mut other);
        first.is_taken_by(&other)
    };
    assert!(
        taken(|_| ())
            && taken(|other| other.rules.clear())
            && taken(|other| other.algorithms.push(Alg::Es256))
    );
    assert!(!taken(|other| other.algorithms = vec![Alg::Es256]));
    assert!(!taken(|other| other.types = Types::of(&[crate::token::Typ::AtJwt])));
    assert!(!taken(|other| other.jwks_uri.push('x')) && !taken(|other| other.ca_file = Some("/x".into())));
}

#[tokio::test]
async fn who_goes_away_does_not_take_the_fetch_along() {
    let pair = Pair::new(Alg::EdDsa, "k1");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let uri = format!("http://{}/keys", listener.local_addr().expect("bound"));
    let outside = OutsideKeys::new(issuer(&uri, vec![rule("sub", "s", 1)]), Fetcher::trusting(None));
    {
        let asked = outside.verifier(Some("k1"), NOW_MS);
        let mut asked = std::pin::pin!(asked);
        let first =
            std::future::poll_fn(|context| std::task::Poll::Ready(asked.as_mut().poll(context))).await;
        assert!(first.is_pending());
    }
    let served = Arc::new(AtomicUsize::new(0));
    let _server = tokio::spawn(serve(listener, json!({"keys": [pair.jwk]}).to_string(), Arc::clone(&served)));
    assert!(outside.verifier(Some("k1"), NOW_MS + 1).await.is_ok());
    assert_eq!(served.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn who_names_no_key_waits_for_the_fetch_of_another() {
    let pair = Pair::new(Alg::EdDsa, "k1");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let uri = format!("http://{}/keys", listener.local_addr().expect("bound"));
    let outside = OutsideKeys::new(issuer(&uri, vec![rule("sub", "s", 1)]), Fetcher::trusting(None));
    let mut askers: Vec<_> = (0..64).map(|_| Box::pin(outside.refresh(NOW_MS))).collect();
    for asker in &mut askers {
        let first = std::future::poll_fn(|context| std::task::Poll::Ready(asker.as_mut().poll(context)));
        assert!(first.await.is_pending());
    }
    assert_eq!(outside.refresh(NOW_MS).await, Err(KeysFault::Busy), "there is an end to those who wait");
    let served = Arc::new(AtomicUsize::new(0));
    let _server = tokio::spawn(serve(listener, json!({"keys": [pair.jwk]}).to_string(), Arc::clone(&served)));
    for asker in askers {
        assert_eq!(asker.await, Ok(Renewal::Done));
    }
    assert_eq!(outside.refresh(NOW_MS + 1).await, Ok(Renewal::NotDue));
    assert_eq!(served.load(Ordering::SeqCst), 1);
}
