//! Times in fixed memory.

/// Buckets for each doubling.
const STEPS: u64 = 4;

/// Exponent of the first bucket: times below 128 us are as one.
const FIRST: u32 = 7;

/// Buckets: up to 2^36 us, some 19 hours.
const BUCKETS: usize = ((36 - FIRST) as usize) * STEPS as usize;

/// How often times of each size were seen, in buckets of a quarter of a doubling.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Histogram {
    /// Made with the first time.
    counts: Option<Box<[u32; BUCKETS]>>,
    total: u64,
}

impl Histogram {
    /// Adds a time, as often as `weight` says.
    pub fn add(&mut self, us: u64, weight: u32) {
        let counts = self.counts.get_or_insert_with(|| Box::new([0; BUCKETS]));
        if let Some(count) = counts.get_mut(bucket(us)) {
            *count = count.saturating_add(weight);
        }
        self.total += u64::from(weight);
        if self.total > u64::from(u32::MAX) / 2 {
            self.halve();
        }
    }

    /// What was long ago counts for less.
    pub fn halve(&mut self) {
        let Some(counts) = &mut self.counts else { return };
        self.total = 0;
        for count in counts.iter_mut() {
            *count /= 2;
            self.total += u64::from(*count);
        }
    }

    /// How many there are.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// The time that `per_mille` of 1,000 do not pass, microseconds (the end of its bucket); 0 when there are none.
    pub fn percentile_us(&self, per_mille: u64) -> u64 {
        let Some(counts) = &self.counts else { return 0 };
        let wanted = (self.total * per_mille).div_ceil(1000).max(1);
        let mut seen = 0;
        for (bucket, count) in (0..).zip(counts.iter()) {
            seen += u64::from(*count);
            if seen >= wanted {
                return end_of(bucket);
            }
        }
        0
    }
}

fn bucket(us: u64) -> usize {
    let exponent = us.checked_ilog2().unwrap_or(0);
    if exponent < FIRST {
        return 0;
    }
    let step = (us >> (exponent - 2)) & (STEPS - 1);
    let bucket = u64::from(exponent - FIRST) * STEPS + step;
    usize::try_from(bucket).unwrap_or(BUCKETS).min(BUCKETS - 1)
}

/// The first time beyond a bucket.
fn end_of(bucket: u64) -> u64 {
    let (exponent, step) = (bucket / STEPS + u64::from(FIRST), bucket % STEPS);
    (STEPS + step + 1) << (exponent - 2)
}
