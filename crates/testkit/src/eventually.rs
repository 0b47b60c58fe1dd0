//! Bounded waiting for a condition. This is not a sleep that hopes: it ends as soon as the condition holds.

use std::thread;
use std::time::{Duration, Instant};

/// How long between two looks.
const STEP: Duration = Duration::from_millis(5);

/// Waits until `condition` holds.
///
/// # Panics
/// It does not hold within `bound`.
#[track_caller]
pub fn eventually(what: &str, bound: Duration, mut condition: impl FnMut() -> bool) {
    eventually_ok(what, bound, || if condition() { Ok(()) } else { Err(String::from("not yet")) });
}

/// Waits until `probe` gives `Ok`, and gives that. The last `Err` is what the panic message shows.
///
/// # Panics
/// It does not give `Ok` within `bound`.
#[track_caller]
pub fn eventually_ok<T>(what: &str, bound: Duration, mut probe: impl FnMut() -> Result<T, String>) -> T {
    let end = Instant::now() + bound;
    loop {
        match probe() {
            Ok(value) => return value,
            Err(seen) if Instant::now() >= end => {
                panic!("waited {bound:?} for: {what}; last seen: {seen}")
            }
            Err(_) => thread::sleep(STEP),
        }
    }
}
