use proptest::prelude::*;

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn at(millis: u64) -> Moment {
    Moment(millis * 1000)
}

fn fetched(secret: &str, life: Option<u64>) -> Result<Fetched, Cause> {
    Ok(Fetched { secret: Secret::from_text(secret), life: life.map(Duration::from_secs) })
}

fn failed(why: &str) -> Result<Fetched, Cause> {
    Err(Cause::NoCredential { provider: "test".into(), why: why.into() })
}

/// What a lease wants, in words: `fetch`, `give WHO SECRET EPOCH`, `refuse WHO WHY`.
fn wants(lease: &mut Lease<u32>) -> Vec<String> {
    let told = |action| match action {
        Action::Fetch => "fetch".to_string(),
        Action::Give(who, held) => {
            let Held { secret, epoch, .. } = held;
            format!("give {who} {} {epoch}", secret.expose_text().expect("a text"))
        }
        Action::Refuse(who, Cause::NoCredential { why, .. }) => format!("refuse {who} {why}"),
        Action::Refuse(who, cause) => format!("refuse {who} {cause:?}"),
    };
    std::iter::from_fn(|| lease.poll_action()).map(told).collect()
}

/// A lease that has been given `secret`, good for `life` seconds, at the moment 0.
fn with(secret: &str, life: Option<u64>) -> Lease<u32> {
    let mut lease = Lease::new(at(0));
    lease.handle_ask(0, Look::Cached, at(0));
    lease.handle_fetched(fetched(secret, life), 0, at(0));
    wants(&mut lease);
    lease
}

#[test]
fn whoever_asks_at_once_waits_for_one_fetch() {
    let mut lease = Lease::new(at(0));
    for who in 0..50 {
        lease.handle_ask(who, Look::Cached, at(0));
    }
    assert_eq!(wants(&mut lease), ["fetch"]);
    lease.handle_fetched(fetched("a", None), 0, at(10));
    let given: Vec<String> = (0..50).map(|who| format!("give {who} a 1")).collect();
    assert_eq!(wants(&mut lease), given);
    lease.handle_ask(50, Look::Cached, at(1_000_000));
    assert_eq!(wants(&mut lease), ["give 50 a 1"]);
}

#[test]
fn it_is_renewed_at_four_fifths_of_its_life_or_a_little_before() {
    for (jitter, due) in [(0, 720_000), (JITTER_MAX, 630_000), (u16::MAX, 630_000)] {
        let mut lease = Lease::new(at(0));
        lease.handle_ask(0, Look::Cached, at(0));
        lease.handle_fetched(fetched("a", Some(900)), jitter, at(0));
        wants(&mut lease);
        assert_eq!(lease.poll_timeout(at(0)), Some(at(due)), "{jitter}");
        lease.handle_timeout(at(due - 1));
        assert!(wants(&mut lease).is_empty(), "{jitter}");
        lease.handle_timeout(at(due));
        assert_eq!(wants(&mut lease), ["fetch"], "{jitter}");
        assert_eq!(lease.poll_timeout(at(due)), None, "one at a time");
        lease.handle_timeout(at(due + 1));
        assert!(wants(&mut lease).is_empty(), "one at a time");
        // Meanwhile the old one is good enough.
        lease.handle_ask(1, Look::Cached, at(due + 2));
        assert_eq!(wants(&mut lease), ["give 1 a 1"]);
        lease.handle_fetched(fetched("b", Some(900)), jitter, at(due + 3));
        lease.handle_ask(2, Look::Cached, at(due + 4));
        assert_eq!(wants(&mut lease), ["give 2 b 2"]);
    }
}

#[test]
fn a_failing_provider_keeps_what_is_still_good() {
    let mut lease = with("a", Some(100));
    lease.handle_timeout(at(80_000));
    assert_eq!(wants(&mut lease), ["fetch"]);
    lease.handle_fetched(failed("down"), 0, at(81_000));
    assert!(wants(&mut lease).is_empty());
    // It is tried again, later and later.
    assert_eq!(lease.poll_timeout(at(81_000)), Some(at(81_500)));
    lease.handle_timeout(at(81_500));
    assert_eq!(wants(&mut lease), ["fetch"]);
    lease.handle_fetched(failed("still down"), 0, at(82_000));
    assert_eq!(lease.poll_timeout(at(82_000)), Some(at(83_000)));
    lease.handle_ask(1, Look::Cached, at(82_500));
    assert_eq!(wants(&mut lease), ["give 1 a 1"]);
    // When it has ended, nobody is given it; whoever asks in the meantime hears why, and the next one tries.
    lease.handle_timeout(at(99_999));
    assert_eq!(wants(&mut lease), ["fetch"]);
    lease.handle_fetched(failed("gone"), 0, at(100_000));
    lease.handle_ask(2, Look::Cached, at(100_100));
    assert_eq!(wants(&mut lease), ["refuse 2 gone"]);
    lease.handle_ask(3, Look::Cached, at(102_000));
    assert_eq!(wants(&mut lease), ["fetch"]);
    lease.handle_fetched(failed("for good"), 0, at(102_100));
    assert_eq!(wants(&mut lease), ["refuse 3 for good"]);
}

#[test]
fn nothing_is_fetched_by_itself_for_a_secret_that_has_ended() {
    let mut lease = with("a", Some(100));
    lease.handle_timeout(at(100_000));
    assert!(wants(&mut lease).is_empty());
    assert_eq!(lease.poll_timeout(at(100_000)), Some(at(0) + KEPT_UNASKED));
    assert!(!lease.is_forgotten(at(100_000)) && lease.is_forgotten(at(0) + KEPT_UNASKED));
}

#[test]
fn what_nobody_asks_for_is_not_renewed_for_ever() {
    let mut lease = with("a", Some(900));
    let mut now = at(0);
    let mut renewals = 0;
    while let Some(due) = lease.poll_timeout(now)
        && !lease.is_forgotten(due)
    {
        now = due;
        lease.handle_timeout(now);
        if wants(&mut lease) == ["fetch"] {
            renewals += 1;
            lease.handle_fetched(fetched(&format!("a{renewals}"), Some(900)), 0, now);
        }
    }
    assert_eq!(renewals, 9, "ten times 720 s are two hours");
}

#[test]
fn a_refused_secret_is_given_to_nobody_and_fetched_again_at_once() {
    let mut lease = with("old", None);
    lease.handle_refused(1);
    lease.handle_ask(1, Look::Cached, at(1000));
    // Others whose login was refused at the same time share the fetch.
    lease.handle_refused(1);
    lease.handle_ask(2, Look::Cached, at(1001));
    assert_eq!(wants(&mut lease), ["fetch"]);
    lease.handle_fetched(fetched("new", None), 0, at(1002));
    assert_eq!(wants(&mut lease), ["give 1 new 2", "give 2 new 2"]);
    // A refusal that comes late is of one that nobody is given any more.
    lease.handle_refused(1);
    lease.handle_ask(3, Look::Cached, at(1003));
    assert_eq!(wants(&mut lease), ["give 3 new 2"]);
}

#[test]
fn the_same_secret_again_keeps_its_epoch_so_that_nobody_tries_it_twice() {
    let mut lease = with("wrong", None);
    lease.handle_refused(1);
    lease.handle_ask(1, Look::Cached, at(1000));
    lease.handle_fetched(fetched("wrong", None), 0, at(1001));
    assert_eq!(wants(&mut lease), ["fetch", "give 1 wrong 1"]);
}

#[test]
fn a_refusal_is_worth_one_attempt_in_spite_of_the_backoff() {
    let mut lease = with("a", Some(100));
    lease.handle_timeout(at(80_000));
    lease.handle_fetched(failed("down"), 0, at(80_000));
    wants(&mut lease);
    lease.handle_refused(1);
    lease.handle_ask(1, Look::Cached, at(80_001));
    assert_eq!(wants(&mut lease), ["fetch"]);
    lease.handle_fetched(failed("down again"), 0, at(80_002));
    lease.handle_refused(1);
    lease.handle_ask(2, Look::Cached, at(80_003));
    assert_eq!(wants(&mut lease), ["refuse 1 down again", "refuse 2 down again"]);
}

#[test]
fn a_file_is_looked_at_each_time_and_goes_on_when_it_cannot_be_read() {
    let mut lease = Lease::new(at(0));
    lease.handle_ask(0, Look::Always, at(0));
    lease.handle_fetched(fetched("a", None), 0, at(0));
    lease.handle_ask(1, Look::Always, at(1));
    lease.handle_ask(2, Look::Always, at(2));
    assert_eq!(wants(&mut lease), ["fetch", "give 0 a 1", "fetch"]);
    lease.handle_fetched(fetched("b", None), 0, at(3));
    assert_eq!(wants(&mut lease), ["give 1 b 2", "give 2 b 2"]);
    lease.handle_ask(3, Look::Always, at(4));
    lease.handle_fetched(failed("no such file"), 0, at(5));
    assert_eq!(wants(&mut lease), ["fetch", "give 3 b 2"]);
    lease.handle_ask(4, Look::Always, at(6));
    assert_eq!(wants(&mut lease), ["give 4 b 2"]);
}

#[test]
fn an_answer_that_nobody_waits_for_any_more_changes_nothing() {
    let mut lease: Lease<u32> = with("a", None);
    lease.handle_fetched(fetched("b", None), 0, at(1));
    lease.handle_ask(1, Look::Cached, at(2));
    assert_eq!(wants(&mut lease), ["give 1 a 1"]);
}

#[test]
fn the_backoff_grows_to_its_end_and_never_overflows() {
    let steps: Vec<u128> = [0, 1, 2, 5, 100, u32::MAX].map(|n| backoff(n, 0).as_millis()).to_vec();
    assert_eq!(steps, [500, 1000, 2000, 10_000, 10_000, 10_000]);
    assert_eq!(backoff(1, JITTER_MAX), Duration::from_millis(750));
    assert_eq!(renewal_after(Duration::MAX, 0), Duration::MAX / 1000 * 800);
}

/// A step of a random history.
#[derive(Clone, Debug)]
enum Step {
    Ask(Look),
    Answer { secret: u8, life: Option<u64> },
    Fail,
    Refuse(u64),
    Pass(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => prop_oneof![Just(Look::Cached), Just(Look::Always)].prop_map(Step::Ask),
        3 => (0..3_u8, prop::option::of(1..100_u64))
            .prop_map(|(secret, life)| Step::Answer { secret, life }),
        2 => Just(Step::Fail),
        1 => (0..6_u64).prop_map(Step::Refuse),
        4 => (1..60_000_u64).prop_map(Step::Pass),
    ]
}

proptest! {
    /// Whatever happens: everybody who asks is answered once, at the latest when the fetch ends; there is one fetch at
    /// a time; nothing is given that has ended or was refused; a higher epoch never has the secret of the one before.
    #[test]
    fn nobody_waits_without_a_fetch_and_nothing_bad_is_given(
        steps in prop::collection::vec(step(), 0..120),
        jitter in 0..=JITTER_MAX,
    ) {
        let mut lease = Lease::new(at(0));
        let (mut now, mut asked, mut flying) = (at(0), 0_u32, false);
        let mut open = std::collections::BTreeSet::new();
        let mut known: Option<(u64, Vec<u8>)> = None;
        let mut refused: Option<u64> = None;
        for step in steps {
            match step {
                Step::Ask(look) => {
                    asked += 1;
                    open.insert(asked);
                    lease.handle_ask(asked, look, now);
                }
                Step::Answer { secret, life } if flying => {
                    flying = false;
                    refused = None;
                    let life = life.map(|life| SECOND * u32::try_from(life).expect("it is small"));
                    let answer = Fetched { secret: Secret::new(vec![b'a' + secret]), life };
                    lease.handle_fetched(Ok(answer), jitter, now);
                }
                Step::Fail if flying => {
                    flying = false;
                    lease.handle_fetched(failed("down"), jitter, now);
                }
                Step::Answer { .. } | Step::Fail => {}
                Step::Refuse(epoch) => {
                    if known.as_ref().is_some_and(|(known, _)| *known == epoch) {
                        refused = Some(epoch);
                    }
                    lease.handle_refused(epoch);
                }
                Step::Pass(millis) => {
                    now = Moment(now.0 + millis * 1000);
                    lease.handle_timeout(now);
                }
            }
            while let Some(action) = lease.poll_action() {
                match action {
                    Action::Fetch => {
                        prop_assert!(!flying, "two at once");
                        flying = true;
                    }
                    Action::Give(who, held) => {
                        prop_assert!(open.remove(&who), "answered twice");
                        prop_assert!(held.ends.is_none_or(|ends| now < ends), "it has ended");
                        prop_assert!(refused != Some(held.epoch), "it was refused");
                        let bytes = held.secret.expose().to_vec();
                        if let Some((epoch, before)) = &known {
                            prop_assert!(held.epoch >= *epoch, "epochs only grow");
                            prop_assert!((held.epoch == *epoch) == (bytes == *before) || held.epoch > epoch + 1);
                        }
                        known = Some((held.epoch, bytes));
                    }
                    Action::Refuse(who, cause) => {
                        prop_assert!(open.remove(&who), "answered twice");
                        let is_ours = matches!(cause, Cause::NoCredential { .. });
                        prop_assert!(is_ours, "{cause:?}");
                    }
                }
            }
            prop_assert!(flying || open.is_empty(), "somebody waits for nothing");
            if !flying {
                prop_assert!(lease.poll_timeout(now).is_some());
            }
        }
    }
}
