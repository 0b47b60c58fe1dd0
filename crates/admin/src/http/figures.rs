//! How often figures are gathered: whoever asks in a loop does not keep a core, and the locks of the data plane, busy.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::metrics::Format;

/// An answer is good for so many times as long as it took to make: gathering takes at most a tenth of the time.
const REST_TIMES: u32 = 9;

/// An answer is never older than this.
const AGE_MAX: Duration = Duration::from_millis(500);

/// The last answers, one for each format.
#[derive(Debug, Default)]
pub(super) struct Served {
    last: Mutex<[Option<Last>; 2]>,
}

#[derive(Debug)]
struct Last {
    text: String,
    good_until: Instant,
}

impl Served {
    /// What `gather` gives, or the last of it while that is good.
    pub(super) fn text(
        &self,
        format: Format,
        clock: impl Fn() -> Instant,
        gather: impl FnOnce() -> String,
    ) -> String {
        let place = match format {
            Format::Text => 0,
            Format::OpenMetrics => 1,
        };
        // A panic while it was held has left what was there before.
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let begun = clock();
        if let Some(known) = last[place].as_ref().filter(|known| begun < known.good_until) {
            return known.text.clone();
        }
        let text = gather();
        let now = clock();
        let rest = (now.saturating_duration_since(begun) * REST_TIMES).min(AGE_MAX);
        last[place] = Some(Last { text: text.clone(), good_until: now + rest });
        text
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn what_was_costly_to_make_is_used_again_and_each_format_has_its_own() {
        let (served, start, gone_by) = (Served::default(), Instant::now(), Cell::new(Duration::ZERO));
        let wait = |ms| gone_by.set(gone_by.get() + Duration::from_millis(ms));
        let ask = |format, text: &str| {
            let gather = || {
                wait(10);
                text.to_string()
            };
            served.text(format, || start + gone_by.get(), gather)
        };
        assert_eq!(ask(Format::Text, "one"), "one");
        assert_eq!(ask(Format::OpenMetrics, "two"), "two");
        wait(79);
        assert_eq!(ask(Format::Text, "three"), "one");
        wait(1);
        assert_eq!(ask(Format::Text, "four"), "four");
    }
}
