use super::*;

const RATE: Rate = Rate { per_second: 2, burst: 3 };

fn gate() -> Gate {
    Gate::new(Rates { requests: RATE, failures: RATE, passwords: RATE })
}

#[test]
fn a_bucket_is_emptied_and_refills() {
    let gate = gate();
    let key = Count::Requests("key");
    for _ in 0..3 {
        assert_eq!(gate.take(key, 1_000), Ok(()));
    }
    assert_eq!(gate.take(key, 1_000), Err(TooOften { retry_s: 1 }));
    assert_eq!(gate.look(key, 1_499), Err(TooOften { retry_s: 1 }));
    assert_eq!(gate.look(key, 1_500), Ok(()));
    assert_eq!((gate.take(key, 1_500), gate.take(key, 1_500)), (Ok(()), Err(TooOften { retry_s: 1 })));
    assert_eq!(gate.take(Count::Requests("other"), 1_500), Ok(()));
    assert!(gate.has_taken(key, 2_999) && !gate.has_taken(key, 3_000));
}

#[test]
fn a_clock_that_is_set_back_shuts_nobody_out_for_long() {
    let gate = gate();
    let key = Count::FailuresOf("key");
    for _ in 0..3 {
        assert_eq!(gate.take(key, 1_000_000_000), Ok(()));
    }
    assert_eq!(gate.take(key, 1_000), Err(TooOften { retry_s: 1 }));
    // From here on it is as long as ever.
    assert_eq!(gate.take(key, 1_000_000_000_000), Ok(()));
}

#[test]
fn a_table_has_an_end_and_whoever_is_not_in_it_is_let_through() {
    let gate = gate();
    for number in 0..(BUCKETS_MAX + 500) {
        assert_eq!(gate.take(Count::FailuresOf(&number.to_string()), 1_000), Ok(()));
    }
    assert_eq!(gate.failures.lock().full_at_us.len(), BUCKETS_MAX);
    for _ in 0..10 {
        assert_eq!(gate.take(Count::FailuresOf("late"), 1_000), Ok(()));
    }
    // What is full again makes room.
    assert_eq!(gate.take(Count::FailuresOf("late"), 3_000), Ok(()));
    assert_eq!(gate.failures.lock().full_at_us.len(), 1);
}

#[test]
fn names_do_not_mix() {
    let address: IpAddr = [192, 0, 2, 1].into();
    let mapped: IpAddr = "::ffff:192.0.2.1".parse().expect("an address");
    assert_eq!(name(Count::FailuresFrom(address)), name(Count::FailuresFrom(mapped)));
    assert_ne!(name(Count::FailuresFrom(address)), name(Count::FailuresOf("\u{c0}\u{0}\u{2}\u{1}")));
}
